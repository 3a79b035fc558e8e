#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/scheduler.h"

namespace sim {

/// Stands for one value of one key: every write of a run writes a value of its own. kAbsent = key not there.
enum class ValueId : std::uint64_t {};
inline constexpr ValueId kAbsent{0};

enum class OperationKind : std::uint8_t {
  kRead,            ///< found `result`
  kPut,             ///< wrote `argument`
  kRemove,          ///< removed the key, there or not
  kCompareAndSwap,  ///< wrote `argument` if the key held `expected`
  // On a group of two keys with locks (lockers.h); `argument` says which key, session and value.
  kCreate,   ///< a session
  kEnd,      ///< it was destroyed, or ended by itself
  kRenew,    ///< it was alive
  kAcquire,  ///< wrote and locked
  kRelease,  ///< wrote and unlocked
  kWrite,    ///< wrote, whoever holds the lock
  kMove,     ///< a transaction: wrote both keys if the session holds the first
  kLook,     ///< found both values and holders, packed in `result`
};

enum class Outcome : std::uint8_t {
  kPending,   ///< no answer yet; at the end of the run the same as kUnknown
  kDone,      ///< acknowledged; for a read `result` holds
  kMismatch,  ///< compare-and-swap acknowledged as "held something else", nothing written
  kUnknown,   ///< time-out, connection lost: may take effect at any time from its start on, or never
  kRefused,   ///< answered "did not and will not happen"
};

/// One call of one client on one key, as the client saw it.
struct Operation {
  OperationKind kind{};
  Outcome outcome = Outcome::kPending;
  ValueId argument = kAbsent;
  ValueId expected = kAbsent;
  ValueId result = kAbsent;
  Nanos invoked = 0;
  Nanos returned = 0;  ///< only when the outcome is kDone or kMismatch
  int client = 0;
};

/// What all clients did, by key, in the order of the calls.
/// Ownership: a value. Bound: the clients stop after a bounded number of calls.
class History {
 public:
  /// Names one operation; stays valid for the life of the history.
  struct Handle {
    std::string key;
    std::size_t position = 0;
  };

  /// A call leaves the client.
  Handle invoke(const std::string& key, OperationKind kind, Nanos now, int client, ValueId argument = kAbsent,
                ValueId expected = kAbsent);
  /// Its answer arrives. @param result  only read for a finished read
  void complete(const Handle& handle, Outcome outcome, Nanos now, ValueId result = kAbsent);

  [[nodiscard]] const std::map<std::string, std::vector<Operation>>& by_key() const { return by_key_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t count(Outcome outcome) const;

 private:
  std::map<std::string, std::vector<Operation>> by_key_;
  std::size_t size_ = 0;
};

/// "read k7 -> 12 [1.5 ms, 2.5 ms] by 3", for messages.
std::string describe(const std::string& key, const Operation& operation);

}  // namespace sim
