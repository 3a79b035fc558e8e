#include "tests/sim/lockers.h"

/// The model of one group: two keys, their holders, and which of 15 sessions live, packed into one number.
namespace sim {
namespace {

constexpr std::uint64_t kValueMask = (1U << 20U) - 1;
constexpr std::uint64_t kSessionMask = 15;

/// value of key i at bit 20 * i, holder at 40 + 4 * i, session s alive at 47 + s.
class State {
 public:
  explicit State(ValueId packed) : bits_(static_cast<std::uint64_t>(packed)) {}
  [[nodiscard]] std::uint64_t holder(bool second) const { return (bits_ >> (second ? 44U : 40U)) & kSessionMask; }
  [[nodiscard]] bool alive(std::uint64_t session) const { return (bits_ >> (47U + session) & 1U) != 0; }
  void set_value(bool second, std::uint64_t value) { put(second ? 20U : 0U, kValueMask, value); }
  void set_holder(bool second, std::uint64_t session) { put(second ? 44U : 40U, kSessionMask, session); }
  void set_alive(std::uint64_t session, bool lives) { put(47U + static_cast<unsigned>(session), 1, lives ? 1 : 0); }
  [[nodiscard]] std::uint64_t seen() const { return bits_ & ((std::uint64_t{1} << 48U) - 1); }
  [[nodiscard]] ValueId packed() const { return ValueId{bits_}; }
  /// Sessions with an odd number take their keys with them.
  void end(std::uint64_t session) {
    if (!alive(session)) return;
    set_alive(session, false);
    for (const bool second : {false, true}) {
      if (holder(second) != session) continue;
      set_holder(second, 0);
      if (session % 2 == 1) set_value(second, 0);
    }
  }

 private:
  void put(unsigned at, std::uint64_t mask, std::uint64_t value) { bits_ = (bits_ & ~(mask << at)) | (value << at); }
  std::uint64_t bits_;
};

LockArgument unpack(ValueId packed) {
  const auto bits = static_cast<std::uint64_t>(packed);
  return {(bits & 1U) != 0, (bits >> 1U) & kSessionMask, (bits >> 8U) & kValueMask, (bits >> 28U) & kValueMask};
}

/// A call that does nothing unless `holds`: its answer must say which, and an unknown one may do either.
std::optional<ValueId> conditional(const Operation& operation, bool holds, const State& before, const State& after) {
  if (operation.outcome == Outcome::kDone && !holds) return std::nullopt;
  if (operation.outcome == Outcome::kMismatch && holds) return std::nullopt;
  return holds ? after.packed() : before.packed();
}

std::optional<ValueId> acquire_effect(const Operation& operation, const LockArgument& about, const State& before) {
  const bool gone = operation.outcome == Outcome::kMismatch && operation.result == kNoSuchSession;
  if (gone) return before.alive(about.session) ? std::nullopt : std::optional(before.packed());
  if (operation.outcome == Outcome::kMismatch && !before.alive(about.session)) return std::nullopt;
  const std::uint64_t holder = before.holder(about.second);
  State after = before;
  after.set_holder(about.second, about.session);
  after.set_value(about.second, about.value);
  return conditional(operation, before.alive(about.session) && (holder == 0 || holder == about.session), before, after);
}

}  // namespace

ValueId pack(const LockArgument& argument) {
  return ValueId{(argument.second ? 1U : 0U) | argument.session << 1U | argument.value << 8U | argument.other << 28U};
}

ValueId pack_look(const LockLook& look) {
  return ValueId{look.value[0] | look.value[1] << 20U | look.holder[0] << 40U | look.holder[1] << 44U};
}

std::optional<ValueId> lock_effect(const Operation& operation, ValueId state) {
  const LockArgument about = unpack(operation.argument);
  const State before(state);
  State after = before;
  switch (operation.kind) {
    case OperationKind::kCreate:
      after.set_alive(about.session, true);
      return after.packed();
    case OperationKind::kEnd:
      after.end(about.session);
      return after.packed();
    case OperationKind::kRenew:
      return conditional(operation, before.alive(about.session), before, before);
    case OperationKind::kAcquire:
      return acquire_effect(operation, about, before);
    case OperationKind::kRelease:
      after.set_holder(about.second, 0);
      after.set_value(about.second, about.value);
      return conditional(operation, before.holder(about.second) == about.session, before, after);
    case OperationKind::kWrite:
      after.set_value(about.second, about.value);
      return after.packed();
    case OperationKind::kMove:
      after.set_value(false, about.value);
      after.set_value(true, about.other);
      return conditional(operation, before.holder(false) == about.session, before, after);
    case OperationKind::kLook:
      return before.seen() == static_cast<std::uint64_t>(operation.result) ? std::optional(state) : std::nullopt;
    case OperationKind::kRead:
    case OperationKind::kPut:
    case OperationKind::kRemove:
    case OperationKind::kCompareAndSwap:
      break;  // of a single register
  }
  return std::nullopt;
}

}  // namespace sim
