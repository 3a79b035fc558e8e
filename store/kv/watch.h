#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "store/kv/error.h"
#include "store/kv/types.h"

namespace store::kv {

/// What a reader waits for.
struct Topic {
  enum class Kind : std::uint8_t {
    kKey,
    kPrefix,    ///< everything below it; the empty prefix is the whole KV space
    kLease,     ///< by service; the empty name is the lease of any service
    kLeaseNames,  ///< which services have a lease at all; who holds it does not matter
    kService,   ///< instances of a service, their checks, their nodes
    kServices,  ///< list of services with their tags
    kNodes,     ///< list of nodes
    kNode,      ///< one node, its instances and checks
    kChecks,    ///< any check
    kSession,   ///< one session; name = SessionId::text()
    kSessions,  ///< any session
    kEvents,
    kHalts,     ///< any halt, given or lifted
  };
  Kind kind = Kind::kKey;
  std::string name;  ///< key, prefix, service, node or session; empty for the kinds that need none
  auto operator<=>(const Topic&) const = default;
};

/// A registered wait of this replica; never 0, never used twice.
enum class WatchId : std::uint64_t {};

/// Waits of readers at this replica, woken when their topic changes. Local: not part of the replicated state.
/// Source:    blocking queries as Consul's clients know them: early wake-ups are allowed, missed ones are not.
/// Invariant: an id is handed out by take_woken() at most once, and never after cancel().
/// Bound:     kWatchesMax waits; one costs its topic's name once, however many wait for it, and some 200 bytes.
class WatchTable {
 public:
  /// @param pending  the topic has changed already: the wait is woken at once. Errors: kWatchesFull.
  Result<WatchId> add(Topic topic, bool pending);
  /// The reader hung up. Unknown or woken ids are ignored.
  void cancel(WatchId id);

  void touch_key(std::string_view key);  ///< wakes its own and all prefix waits above it
  void touch(Topic::Kind kind, std::string_view name = {});  ///< any kind but kKey and kPrefix
  void touch_all();  ///< the state was replaced

  [[nodiscard]] std::vector<WatchId> take_woken();  ///< in order of waking
  [[nodiscard]] bool has_woken() const { return !woken_.empty(); }
  [[nodiscard]] std::size_t size() const { return topics_.size(); }  ///< waits not woken yet

 private:
  void wake(const Topic& topic);
  void drop_length(const Topic& topic);

  using Waits = std::map<Topic, std::set<WatchId>>;
  Waits waits_;
  std::map<std::size_t, std::size_t> prefix_lengths_;  // length -> how many topics: what touch_key has to look up
  std::unordered_map<std::uint64_t, Waits::iterator> topics_;
  std::vector<WatchId> woken_;
  std::uint64_t next_id_ = 1;
};

}  // namespace store::kv
