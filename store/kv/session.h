#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/kv/types.h"

/// Sessions and what they do to keys.
/// Source: sessions and locks as Consul's clients know them; lock-delay after Burrows (The Chubby lock service, 2006,
///         section 2.4). Time is the Raft leader's alone (store/session_keeper.h): nothing here has a clock.
namespace store::kv {

/// What happens to the keys of a session that ends.
enum class SessionBehavior : std::uint8_t {
  kRelease = 0,  ///< their locks are freed, the keys stay
  kDelete = 1,   ///< the keys are deleted
};

/// Somebody's claim to be alive. It ends by SessionDestroy, by SessionExpire (its TTL passed without a renewal), with
/// its node, and when one of its checks turns critical or is removed.
struct Session {
  SessionId id;
  std::string name;                                ///< for people; may be empty
  std::string node;                                ///< "" = tied to no node; else a node of the catalog
  std::uint32_t ttl_ms = 0;                        ///< 0 = none; else kSessionTtlMsMin..kSessionTtlMsMax
  std::uint32_t lock_delay_ms = 15'000;            ///< 0..kLockDelayMsMax
  SessionBehavior behavior = SessionBehavior::kRelease;
  std::vector<std::string> node_checks;            ///< check ids on `node` that must not be critical
  std::vector<std::string> service_checks;         ///< the same, listed apart because clients see them apart
  Index create{}, modify{};                        ///< set by the state machine
  friend bool operator==(const Session&, const Session&) = default;
};

/// The lock of one key. Kept beside the entries: most keys never have one.
struct Lock {
  std::uint64_t lock_index = 0;  ///< how often the key was acquired since it was created; survives release and Set
  SessionId session;             ///< none = free now
  friend bool operator==(const Lock&, const Lock&) = default;
};

/// A key that nobody may acquire until the leader proposes LockDelayEnd: its last holder did not let go of it itself.
struct LockDelay {
  std::uint32_t delay_ms = 0;  ///< > 0
  Index since{};               ///< entry that ended the session
  friend bool operator==(const LockDelay&, const LockDelay&) = default;
};

}  // namespace store::kv
