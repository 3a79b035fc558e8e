// The model of locks and sessions must refuse what may not be, or the runs prove nothing.

#include <gtest/gtest.h>

#include <vector>

#include "tests/sim/linearizability.h"
#include "tests/sim/lockers.h"

namespace sim {
namespace {

constexpr std::size_t kEffort = 100'000;

/// Calls one after the other, each with its answer before the next begins.
class Story {
 public:
  Story& say(OperationKind kind, LockArgument about, Outcome outcome, ValueId result = kAbsent) {
    Operation operation;
    operation.kind = kind;
    operation.argument = pack(about);
    operation.outcome = outcome;
    operation.result = result;
    operation.invoked = now_;
    operation.returned = now_ + 5;
    now_ += 10;
    operations_.push_back(operation);
    return *this;
  }
  /// The session may end by itself from `at` on.
  Story& ends_from(std::uint64_t session, Nanos at) {
    Operation end;
    end.kind = OperationKind::kEnd;
    end.argument = pack({false, session, 0, 0});
    end.outcome = Outcome::kUnknown;
    end.invoked = at;
    operations_.push_back(end);
    return *this;
  }
  [[nodiscard]] bool holds() const {
    std::size_t effort = 0;
    return check_order(operations_, lock_effect, kEffort, &effort) == Verdict::kLinearizable;
  }

 private:
  std::vector<Operation> operations_;
  Nanos now_ = 100;
};

using K = OperationKind;
constexpr LockArgument one(std::uint64_t value = 0) { return {false, 1, value, 0}; }
constexpr LockArgument two(std::uint64_t value = 0) { return {false, 2, value, 0}; }

Story both() { return Story().say(K::kCreate, one(), Outcome::kDone).say(K::kCreate, two(), Outcome::kDone); }

TEST(LockModel, OneHolderAtATime) {
  EXPECT_TRUE(both().say(K::kAcquire, one(5), Outcome::kDone).say(K::kAcquire, two(7), Outcome::kMismatch).holds());
  EXPECT_FALSE(both().say(K::kAcquire, one(5), Outcome::kDone).say(K::kAcquire, two(7), Outcome::kDone).holds());
  EXPECT_FALSE(both().say(K::kAcquire, one(5), Outcome::kMismatch).holds()) << "nobody holds it";
  EXPECT_TRUE(both()
                  .say(K::kAcquire, one(5), Outcome::kDone)
                  .say(K::kRelease, one(6), Outcome::kDone)
                  .say(K::kAcquire, two(7), Outcome::kDone)
                  .holds());
  EXPECT_FALSE(both().say(K::kAcquire, one(5), Outcome::kDone).say(K::kRelease, two(6), Outcome::kDone).holds());
}

TEST(LockModel, ASessionMayEndByItselfFromItsTimeOnAndNotBefore) {
  const auto taken_over = [](Nanos from) {
    return both().say(K::kAcquire, one(5), Outcome::kDone).say(K::kAcquire, two(7), Outcome::kDone).ends_from(1, from);
  };
  EXPECT_TRUE(taken_over(110).holds());
  EXPECT_FALSE(taken_over(500).holds());
}

TEST(LockModel, ARenewalProvesLife) {
  const auto renewed = [](Nanos from) {
    return both()
        .say(K::kAcquire, one(5), Outcome::kDone)
        .say(K::kAcquire, two(7), Outcome::kDone)
        .say(K::kRenew, one(), Outcome::kDone)
        .ends_from(1, from);
  };
  EXPECT_FALSE(renewed(110).holds()) << "it cannot have ended in between";
  EXPECT_FALSE(both().say(K::kEnd, one(), Outcome::kDone).say(K::kRenew, one(), Outcome::kDone).holds());
}

TEST(LockModel, LocksAndKeysGoWithTheirSession) {
  const auto look = [](std::uint64_t value, std::uint64_t holder) {
    LockLook seen;
    seen.value[0] = value;
    seen.holder[0] = holder;
    return pack_look(seen);
  };
  const auto ended = [&](LockArgument about, ValueId seen) {
    return both()
        .say(K::kAcquire, about, Outcome::kDone)
        .say(K::kEnd, about, Outcome::kDone)
        .say(K::kLook, about, Outcome::kDone, seen)
        .holds();
  };
  EXPECT_TRUE(ended(one(5), look(0, 0))) << "an odd session takes its keys with it";
  EXPECT_FALSE(ended(one(5), look(5, 1)));
  EXPECT_TRUE(ended(two(5), look(5, 0)));
  EXPECT_FALSE(ended(two(5), look(5, 2)));
  EXPECT_FALSE(both().say(K::kEnd, one(), Outcome::kDone).say(K::kAcquire, one(5), Outcome::kDone).holds());
  EXPECT_TRUE(both().say(K::kEnd, one(), Outcome::kDone).say(K::kAcquire, one(5), Outcome::kMismatch, kNoSuchSession).holds());
  EXPECT_FALSE(both().say(K::kAcquire, one(5), Outcome::kMismatch, kNoSuchSession).holds());
}

TEST(LockModel, ATransactionIsWholeOrNothing) {
  LockLook whole, half;
  whole.value[0] = 8;
  whole.value[1] = 9;
  whole.holder[0] = half.holder[0] = 1;
  half.value[0] = 5;
  half.value[1] = 9;
  const LockArgument move{false, 1, 8, 9};
  const auto story = [&](LockArgument about, Outcome outcome, const LockLook& seen) {
    return both()
        .say(K::kAcquire, one(5), Outcome::kDone)
        .say(K::kMove, about, outcome)
        .say(K::kLook, one(), Outcome::kDone, pack_look(seen))
        .holds();
  };
  EXPECT_TRUE(story(move, Outcome::kDone, whole));
  EXPECT_FALSE(story(move, Outcome::kDone, half));
  EXPECT_FALSE(story({false, 2, 8, 9}, Outcome::kMismatch, half));
  EXPECT_FALSE(story({false, 2, 8, 9}, Outcome::kDone, whole)) << "the other one holds the key";
  EXPECT_TRUE(story(move, Outcome::kUnknown, whole));
}

}  // namespace
}  // namespace sim
