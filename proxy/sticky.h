#pragma once
/// Which node a session is at: one bounded table per agent, read and written by its workers without a lock.
///
/// A session that the table does not know goes where rendezvous hashing sends it, so agents that see it for the first time at
/// the same moment agree without asking each other. Whoever sees it a second time wants it written down (a *row* in the
/// replicated store, the keeper's business); a row *pins* the session: newcomers, weights and a node that comes back no
/// longer move it. A node that cannot take it any more loses it for good: the session is put elsewhere and that is wanted too.
/// Source:    rendezvous hashing (Thaler and Ravishankar 1998); the set-associative table is that of rate_limit.h.
/// Invariant: a session that is read is that session's: a place is marked busy before its key changes, so whoever has seen
///            the new key never reads the value of the old one. Pinned places are the last to make room for others.
/// Bound:     kPlaces sessions of 16 bytes (4 MiB), kZonesMax zones, kNodesMax nodes for as long as the process lives.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admission.h"
#include "proxy/upstream.h"

namespace proxy {

enum class SessionHash : std::uint64_t {};  ///< of a zone and a client's key; the same at every agent; 0 = no session
enum class ZoneNumber : std::uint16_t {};   ///< of one table; routes of one zone share their sessions

/// The hash that stands for `value` (of the cookie, header or address) in `zone`. Its key is fixed: agents must agree. Whoever
/// can choose values can choose collisions as well, and gains by it no more than by choosing the value itself.
[[nodiscard]] SessionHash session_hash(std::string_view zone, std::string_view value);
/// What stands for a client's address as such a value: IPv4 as it is written; of IPv6 the /64, because a host has all of that.
/// @param scratch  holds the result if it differs from `address`
[[nodiscard]] std::string_view session_address(std::string_view address, std::string& scratch);
/// 128 bits as 32 hexadecimal digits in lower case: what a cookie of ours holds.
[[nodiscard]] bool is_session_id(std::string_view text);
inline constexpr std::string_view kStickyCookie = "outrigger_sticky";
/// The value that a Set-Cookie line gives to the cookie `name`; nullopt = it is about another one, or removes it.
/// Source: RFC 6265, section 5.2.
[[nodiscard]] std::optional<std::string_view> cookie_set(std::string_view line, std::string_view name);

/// One session as the table has it.
struct StickyPlace {
  SessionHash session{};
  ZoneNumber zone{};
  NodeNumber node{};
  TimePoint last_use{};  ///< at this agent, or when a row about it came
  bool pinned = false;   ///< a row says so
  bool wanted = false;   ///< a row should say so
};

class StickyTable {
 public:
  static constexpr std::size_t kPlaces = 262'144, kWays = 16, kSets = kPlaces / kWays;
  static constexpr std::size_t kZonesMax = 1024, kNodesMax = 4095;

  /// @param on_news  something is wanted: take_news() soon. Called on any thread, once until then
  explicit StickyTable(std::function<void()> on_news);

  // --- Thread: any ---
  /// Where the session is; kNone = not known, or not used for longer than its zone's time to live. Takes no note.
  [[nodiscard]] NodeNumber node_of(SessionHash session, TimePoint now) const;
  /// The same for a new request of the session: notes the use, and from the second one on that a row is wanted.
  NodeNumber use(SessionHash session, TimePoint now);
  enum class Why : std::uint8_t {
    kNew,      ///< chosen by hash; every agent would choose the same
    kMoved,    ///< its node could not take it
    kLearned,  ///< the instance there has made it
  };
  void put(SessionHash session, ZoneNumber zone, NodeNumber node, TimePoint now, Why why);

  // --- Thread: the control loop ---
  /// @return the zone's number, its time to live from now on `ttl`; nullopt = more than kZonesMax
  std::optional<ZoneNumber> zone(const std::string& name, Milliseconds ttl);
  [[nodiscard]] const std::string& zone_name(ZoneNumber zone) const { return zone_names_[static_cast<std::size_t>(zone)]; }
  [[nodiscard]] Milliseconds ttl(ZoneNumber zone) const;
  [[nodiscard]] std::optional<ZoneNumber> find_zone(const std::string& name) const;
  [[nodiscard]] Milliseconds least_ttl() const;  ///< of all zones; 0 = there are none
  /// @return kNone beyond kNodesMax
  NodeNumber number_of(const std::string& node);
  [[nodiscard]] const std::string& node_name(NodeNumber node) const { return node_names_[static_cast<std::size_t>(node)]; }

  using Visit = std::function<void(const StickyPlace&)>;
  void take_news(const Visit& visit);  ///< the places whose rows are wanted, each at least once
  /// Places of `count` sets from `first` on; those whose time is over are emptied instead.
  void sweep(std::size_t first, std::size_t count, TimePoint now, const Visit& visit);
  [[nodiscard]] std::optional<StickyPlace> look(SessionHash session) const;
  /// A row says where the session is.
  void pin(SessionHash session, ZoneNumber zone, NodeNumber node, TimePoint now);
  void forget(SessionHash session);  ///< its row is gone

  [[nodiscard]] std::uint64_t entries() const { return entries_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t moved() const { return moved_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> key{0};
    std::atomic<std::uint64_t> value{0};  ///< 0 = free; else see Fields in sticky.cc
  };
  struct alignas(64) Set {
    std::array<Slot, kWays> slots;
  };
  struct Found {
    Slot* slot = nullptr;
    std::uint64_t value = 0;
  };
  [[nodiscard]] Found find(std::uint64_t key) const;
  void insert(std::uint64_t key, std::uint64_t value, TimePoint now);
  [[nodiscard]] std::uint64_t rank_of(std::uint64_t value, TimePoint now) const;
  [[nodiscard]] bool is_over(std::uint64_t value, TimePoint now) const;
  void drop_twins(std::uint64_t key, const Slot* kept);
  void tell(std::uint64_t key);

  std::function<void()> on_news_;
  std::unique_ptr<std::array<Set, kSets>> sets_;
  std::array<std::atomic<std::uint64_t>, kSets / 64> news_{};  ///< a bit per set
  std::atomic<bool> told_{false};
  std::array<std::atomic<std::int64_t>, kZonesMax> ttl_ms_{};
  std::atomic<std::uint64_t> entries_{0}, moved_{0}, evicted_{0};
  std::vector<std::string> zone_names_, node_names_;
  std::map<std::string, ZoneNumber> zones_;
  std::map<std::string, NodeNumber> nodes_;
};

/// How the sessions of a route are kept together.
struct StickyRule {
  ClientKey key;                ///< kIp, kHeader or kCookie
  bool issue = false;           ///< the cookie is ours: who comes without one gets one
  std::string zone;             ///< empty = the route's name
  Milliseconds ttl{3'600'000};  ///< a session not used for so long is forgotten
  Milliseconds drain{30'000};   ///< so long sessions stay at a node that drains
  std::shared_ptr<StickyTable> table;  ///< of the agent; never null
  ZoneNumber zone_number{};            ///< filled by RouteTable::make
};

}  // namespace proxy
