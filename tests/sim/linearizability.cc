#include "tests/sim/linearizability.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_set>

#include "tests/sim/trace.h"

namespace sim {
namespace {

constexpr Nanos kNever = std::numeric_limits<Nanos>::max();

/// One end of a call in a doubly linked list in time order; `match` of a call is its answer, of an answer its call.
struct Event {
  Nanos time = 0;
  bool is_answer = false;
  std::size_t call = 0;
  std::size_t match = 0;
  std::size_t previous = 0;
  std::size_t next = 0;
};

/// The value after `operation` took effect on `value`, or nothing when its answer contradicts that.
std::optional<ValueId> effect(const Operation& operation, ValueId value) {
  const bool answered = operation.outcome == Outcome::kDone || operation.outcome == Outcome::kMismatch;
  switch (operation.kind) {
    case OperationKind::kRead:
      return operation.result == value ? std::optional(value) : std::nullopt;
    case OperationKind::kPut:
      return operation.argument;
    case OperationKind::kRemove:
      return kAbsent;
    case OperationKind::kCompareAndSwap: {
      const bool matches = operation.expected == value;
      if (answered && matches != (operation.outcome == Outcome::kDone)) {
        return std::nullopt;
      }
      return matches ? operation.argument : value;
    }
    default:
      break;  // of a group of keys: lock_model.cc
  }
  return std::nullopt;
}

/// Which calls of unknown outcome take part in a search.
enum class Open {
  kSeen,    ///< those whose value somebody saw: an order of fewer calls is an order, and most often there is one
  kAnyUse,  ///< all that could matter
};

/// Calls that take part in the search: refused ones never happened, unanswered reads say nothing, and an unanswered
/// put whose value nobody saw can be left out of every order unless some compare-and-swap came out as a mismatch
/// (only then can a write matter without being seen).
std::vector<Operation> relevant(const std::vector<Operation>& operations, Open which) {
  std::unordered_set<std::uint64_t> seen;
  bool mismatch = false;
  for (const Operation& operation : operations) {
    mismatch |= operation.outcome == Outcome::kMismatch;
    seen.insert(static_cast<std::uint64_t>(operation.expected));
    if (operation.kind == OperationKind::kRead && operation.outcome == Outcome::kDone) {
      seen.insert(static_cast<std::uint64_t>(operation.result));
    }
  }
  std::vector<Operation> kept;
  for (const Operation& operation : operations) {
    const bool open = operation.outcome == Outcome::kPending || operation.outcome == Outcome::kUnknown;
    const bool unseen = seen.count(static_cast<std::uint64_t>(operation.argument)) == 0;
    const bool unseen_put = operation.kind == OperationKind::kPut && !mismatch && unseen;
    if (open && which == Open::kSeen && (unseen || operation.kind == OperationKind::kRemove)) {
      continue;
    }
    if (operation.outcome == Outcome::kRefused || (open && (operation.kind == OperationKind::kRead || unseen_put))) {
      continue;
    }
    kept.push_back(operation);
  }
  return kept;
}

class Search {
 public:
  Search(const std::vector<Operation>& operations, Effect effect) : operations_(operations), effect_(effect) {
    std::vector<Event> events;
    for (std::size_t i = 0; i < operations.size(); ++i) {
      const bool open = operations[i].outcome == Outcome::kPending || operations[i].outcome == Outcome::kUnknown;
      events.push_back({operations[i].invoked, false, i, 0, 0, 0});
      events.push_back({open ? kNever : operations[i].returned, true, i, 0, 0, 0});
    }
    // At one instant calls come before answers: such calls overlap, which only allows more orders.
    std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
      return a.time != b.time ? a.time < b.time : a.is_answer < b.is_answer;
    });
    list_.resize(events.size() + 1);  // [0] is the head
    std::vector<std::size_t> call_at(operations.size());
    for (std::size_t i = 0; i < events.size(); ++i) {
      list_[i + 1] = events[i];
      list_[i + 1].previous = i;
      list_[i].next = i + 1;
      if (events[i].is_answer) {
        list_[i + 1].match = call_at[events[i].call];
        list_[call_at[events[i].call]].match = i + 1;
      } else {
        call_at[events[i].call] = i + 1;
      }
    }
    list_.back().next = 0;
    done_.resize((operations.size() + 63) / 64);
  }

  Verdict run(std::size_t effort_max, std::size_t* effort) {
    std::size_t at = list_[0].next;
    while (at != 0) {
      const Event& event = list_[at];
      if (event.is_answer) {
        if (event.time == kNever) {
          return Verdict::kLinearizable;  // only calls that need not happen are left
        }
        if (stack_.empty()) {
          return Verdict::kNotLinearizable;
        }
        at = list_[undo()].next;
        continue;
      }
      const std::optional<ValueId> after = effect_(operations_[event.call], value_);
      if (after && remember(event.call, *after)) {
        if (++*effort > effort_max) {
          return Verdict::kUndecided;
        }
        apply(at, *after);
        at = list_[0].next;
      } else {
        at = event.next;
      }
    }
    return Verdict::kLinearizable;
  }

 private:
  struct Step {
    std::size_t event;
    ValueId before;
  };

  void toggle(std::size_t call) { done_[call / 64] ^= std::uint64_t{1} << (call % 64); }

  /// Has (calls done with `call`, value) not been looked at before? 128-bit hashes stand for the sets.
  bool remember(std::size_t call, ValueId after) {
    toggle(call);
    const std::string_view bytes(reinterpret_cast<const char*>(done_.data()), done_.size() * 8);
    std::string key;
    const std::uint64_t parts[2] = {hash_bytes(bytes, static_cast<std::uint64_t>(after)),
                                    hash_bytes(bytes, ~static_cast<std::uint64_t>(after) * 0x9e3779b97f4a7c15U)};
    key.assign(reinterpret_cast<const char*>(parts), sizeof parts);
    toggle(call);
    return visited_.insert(std::move(key)).second;
  }

  void unlink(std::size_t i) {
    list_[list_[i].previous].next = list_[i].next;
    if (list_[i].next != 0) {
      list_[list_[i].next].previous = list_[i].previous;
    }
  }

  void relink(std::size_t i) {
    list_[list_[i].previous].next = i;
    if (list_[i].next != 0) {
      list_[list_[i].next].previous = i;
    }
  }

  void apply(std::size_t event, ValueId after) {
    stack_.push_back({event, value_});
    toggle(list_[event].call);
    value_ = after;
    unlink(event);
    unlink(list_[event].match);
  }

  /// Takes the last call back. @return its event
  std::size_t undo() {
    const Step step = stack_.back();
    stack_.pop_back();
    relink(list_[step.event].match);
    relink(step.event);
    toggle(list_[step.event].call);
    value_ = step.before;
    return step.event;
  }

  const std::vector<Operation>& operations_;
  Effect effect_;
  std::vector<Event> list_;
  std::vector<std::uint64_t> done_;
  std::vector<Step> stack_;
  ValueId value_ = kAbsent;
  std::unordered_set<std::string> visited_;
};

}  // namespace

Verdict check_register(const std::vector<Operation>& operations, std::size_t effort_max, std::size_t* effort) {
  // Without the calls that nobody saw first: every further call of unknown outcome doubles the search.
  for (const Open which : {Open::kSeen, Open::kAnyUse}) {
    const std::vector<Operation> kept = relevant(operations, which);
    std::size_t spent = 0;
    const Verdict verdict = kept.empty() ? Verdict::kLinearizable : Search(kept, effect).run(effort_max, &spent);
    *effort += spent;
    if (verdict == Verdict::kLinearizable || which == Open::kAnyUse) {
      return verdict;
    }
  }
  return Verdict::kUndecided;
}

Verdict check_order(const std::vector<Operation>& operations, Effect effect, std::size_t effort_max,
                    std::size_t* effort) {
  // An unanswered write first only if a later look shows its value, then in any case.
  std::unordered_set<std::uint64_t> seen;
  for (const Operation& operation : operations) {
    if (operation.kind != OperationKind::kLook || operation.outcome != Outcome::kDone) continue;
    const auto look = static_cast<std::uint64_t>(operation.result);
    constexpr std::uint64_t kValueMask = (1U << 20U) - 1;
    seen.insert(look & kValueMask);
    seen.insert((look >> 20U) & kValueMask);
  }
  for (const Open which : {Open::kSeen, Open::kAnyUse}) {
    std::vector<Operation> kept;
    for (const Operation& operation : operations) {
      const bool open = operation.outcome == Outcome::kPending || operation.outcome == Outcome::kUnknown;
      const bool idle = operation.kind == OperationKind::kLook || operation.kind == OperationKind::kRenew;
      if (operation.outcome == Outcome::kRefused || (open && idle)) continue;
      const auto argument = static_cast<std::uint64_t>(operation.argument);
      const bool shown = seen.contains((argument >> 8U) & 0xfffffU) || seen.contains((argument >> 28U) & 0xfffffU);
      const bool session = operation.kind == OperationKind::kCreate || operation.kind == OperationKind::kEnd;
      if (open && which == Open::kSeen && !shown && !session) continue;
      kept.push_back(operation);
    }
    std::size_t spent = 0;
    const Verdict verdict = Search(kept, effect).run(effort_max, &spent);
    *effort += spent;
    if (verdict == Verdict::kLinearizable || which == Open::kAnyUse) return verdict;
  }
  return Verdict::kUndecided;
}

LinearizabilityResult check_linearizable(const History& history, std::size_t effort_max) {
  LinearizabilityResult result;
  for (const auto& [key, operations] : history.by_key()) {
    std::size_t effort = 0;
    const Verdict verdict = check_register(operations, effort_max, &effort);
    result.effort += effort;
    if (verdict == Verdict::kLinearizable) {
      continue;
    }
    result.verdict = verdict;
    result.key = key;
    for (const Operation& operation : operations) {
      result.detail += describe(key, operation) + "\n";
    }
    return result;
  }
  return result;
}

}  // namespace sim
