#pragma once
/// Clients that fail too often are kept out for a while: failures are counted by address, bans are one word each, and both
/// stand in one table that all workers of an agent share without a lock.
///
/// A word counts (up to `fails` failures within `within` of the first of them) or bans (until a moment). When a ban is over
/// the client begins at nothing. An IPv6 address counts as its /64, because a host has all of that. Clients on a unix socket
/// have no address and are never banned, and neither is whoever is in `never`.
/// Source: the rule is fail2ban's (maxretry, findtime, bantime); the table is a hash table with 16 neighbours.
/// Bounds: kSlots addresses, 256 KiB. When the 16 places of a new address are taken, it takes that of the one with the fewest
///         failures that is not banned; when all 16 are banned it is not counted (untracked()). So a flood of addresses can
///         push out counts, never bans.
/// Thread: any.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/stream.h"
#include "proxy/trusted_proxies.h"

namespace proxy {

/// AccessRecord::reason and code of what banned clients are told.
inline constexpr std::string_view kBannedReason = "banned";

/// An address as the guard counts it, exactly: all of an IPv4 address, the /64 of an IPv6 one. 0 is nobody.
enum class GuardKey : std::uint64_t { kNone = 0 };
/// kNone: no IP address, or one that cannot come from a network (0.0.0.0, ::).
[[nodiscard]] GuardKey guard_key(std::string_view address);
/// "192.0.2.7", "2001:db8:0:1::/64"; guard_key reads both. "-" for kNone.
[[nodiscard]] std::string text_of(GuardKey key);

struct GuardRule {
  std::uint32_t fails = 5;         ///< 1..10,000 failures ban
  Milliseconds within{600'000};    ///< the first and the last of them lie within this time
  Milliseconds ban{3'600'000};     ///< how long
  std::vector<int> statuses{401, 403};  ///< answers to clients that count, whoever has made them
  AddressBlocks never;             ///< who is never banned, by whatever word
};

class GuardTable {
 public:
  static constexpr std::size_t kSlots = 16'384;
  /// @param seed  chance: which addresses are neighbours is nobody's to know
  GuardTable(GuardRule rule, std::uint64_t seed);

  [[nodiscard]] const GuardRule& rule() const { return rule_; }
  /// Whether an answer of that status is a failure.
  [[nodiscard]] bool counts(int status) const;
  /// One failure of a client. @return true if it has just been banned for it
  bool fail(std::string_view address, TimePoint now);

  /// Cheap: whether a look at bans() is worth it.
  [[nodiscard]] bool bans_any(TimePoint now) const;
  [[nodiscard]] bool bans(std::string_view address, TimePoint now) const;
  void count_refusal() const { refused_.fetch_add(1, std::memory_order_relaxed); }

  /// Who has banned somebody.
  enum class By : std::uint8_t {
    kHere,  ///< this agent, or an operator at it: told to the others
    kPeer,  ///< another agent
  };
  struct Ban {
    GuardKey key{};
    TimePoint until{};
    By by = By::kHere;
    friend bool operator==(const Ban&, const Ban&) = default;
  };
  enum class Banned : std::uint8_t { kYes, kAlready, kNever, kNoRoom };
  /// Bans, or makes a ban longer, never shorter. kAlready: a ban at least as long stands; what an agent bans itself stays its own.
  Banned ban(GuardKey key, TimePoint until, By by, TimePoint now);
  /// Ends a ban and forgets what was counted. @return false: there was none
  bool unban(GuardKey key, TimePoint now);
  /// All that are in force, in no order: at most kSlots.
  [[nodiscard]] std::vector<Ban> bans_at(TimePoint now) const;

  [[nodiscard]] std::uint64_t banned() const { return banned_.load(std::memory_order_relaxed); }        ///< bans begun here by failures
  [[nodiscard]] std::uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }    ///< counted
  [[nodiscard]] std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }      ///< requests
  [[nodiscard]] std::uint64_t untracked() const { return untracked_.load(std::memory_order_relaxed); }  ///< no room to count or ban

 private:
  struct Slot {
    std::atomic<std::uint64_t> key{0};   // once set never 0 again
    std::atomic<std::uint64_t> word{0};
  };
  [[nodiscard]] std::size_t home(GuardKey key) const;
  [[nodiscard]] const Slot* find(GuardKey key) const;
  Slot* place_of(GuardKey key, std::uint64_t now_ms);
  [[nodiscard]] bool is_spared(GuardKey key) const;
  void remember_end(std::uint64_t until_ms);

  GuardRule rule_;
  std::uint64_t seed_;
  std::array<Slot, kSlots> slots_;
  std::atomic<std::uint64_t> last_end_{0};  // of all bans; in ms. Nobody is banned behind it
  std::atomic<std::uint64_t> banned_{0}, failures_{0}, untracked_{0};
  mutable std::atomic<std::uint64_t> refused_{0};
};

}  // namespace proxy
