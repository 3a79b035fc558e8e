// The judge of I2. Every kind of wrong answer must be called wrong, every right one right.

#include "tests/sim/linearizability.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "tests/support/random.h"

namespace sim {
namespace {

constexpr ValueId v(std::uint64_t n) { return ValueId{n}; }

Operation put(std::uint64_t value, Nanos from, Nanos to) {
  return {OperationKind::kPut, Outcome::kDone, v(value), kAbsent, kAbsent, from, to, 0};
}
Operation read(std::uint64_t value, Nanos from, Nanos to) {
  return {OperationKind::kRead, Outcome::kDone, kAbsent, kAbsent, v(value), from, to, 0};
}
Operation remove(Nanos from, Nanos to) {
  return {OperationKind::kRemove, Outcome::kDone, kAbsent, kAbsent, kAbsent, from, to, 0};
}
Operation swap(std::uint64_t expected, std::uint64_t value, Outcome outcome, Nanos from, Nanos to) {
  return {OperationKind::kCompareAndSwap, outcome, v(value), v(expected), kAbsent, from, to, 0};
}
Operation open(Operation operation, Outcome outcome = Outcome::kUnknown) {
  operation.outcome = outcome;
  return operation;
}

Verdict judge(std::initializer_list<Operation> operations) {
  std::size_t effort = 0;
  return check_register(operations, 100'000, &effort);
}

#define EXPECT_FINE(...) EXPECT_EQ(judge({__VA_ARGS__}), Verdict::kLinearizable)
#define EXPECT_WRONG(...) EXPECT_EQ(judge({__VA_ARGS__}), Verdict::kNotLinearizable)

TEST(Linearizability, SequentialReadsSeeTheLastWrite) {
  EXPECT_FINE(read(0, 0, 1), put(1, 2, 3), read(1, 4, 5), remove(6, 7), read(0, 8, 9));
  EXPECT_WRONG(put(1, 0, 1), read(0, 2, 3));
  EXPECT_WRONG(put(1, 0, 1), put(2, 2, 3), read(1, 4, 5));
  EXPECT_WRONG(put(1, 0, 1), remove(2, 3), read(1, 4, 5));
  EXPECT_WRONG(read(7, 0, 1));
}

TEST(Linearizability, OverlappingCallsMayComeInEitherOrder) {
  EXPECT_FINE(put(1, 0, 10), read(0, 1, 2), read(1, 3, 4));
  EXPECT_WRONG(put(1, 0, 10), read(1, 1, 2), read(0, 3, 4));
  EXPECT_FINE(put(1, 0, 10), put(2, 0, 10), read(1, 11, 12));
  EXPECT_FINE(put(1, 0, 10), put(2, 0, 10), read(2, 11, 12));
  EXPECT_WRONG(put(1, 0, 10), put(2, 0, 10), read(1, 11, 12), read(2, 13, 14));
}

TEST(Linearizability, TouchingAtOneInstantCountsAsOverlap) { EXPECT_FINE(put(1, 0, 5), read(0, 5, 6)); }

TEST(Linearizability, UnknownWriteMayHappenLateOrNever) {
  EXPECT_FINE(open(put(1, 0, 0)), read(0, 1, 2), read(0, 100, 101));
  EXPECT_FINE(open(put(1, 0, 0)), read(0, 1, 2), read(1, 100, 101));
  EXPECT_WRONG(open(put(1, 0, 0)), read(1, 1, 2), read(0, 100, 101));
  EXPECT_WRONG(read(1, 0, 1), open(put(1, 2, 2)));
  EXPECT_FINE(put(1, 0, 1), open(remove(2, 2)), read(0, 3, 4));
  EXPECT_WRONG(put(1, 0, 1), open(remove(2, 2)), read(0, 3, 4), read(1, 5, 6));
  EXPECT_FINE(open(put(1, 0, 0), Outcome::kPending), read(1, 1, 2));
}

TEST(Linearizability, RefusedWriteNeverHappened) {
  EXPECT_FINE(open(put(1, 0, 1), Outcome::kRefused), read(0, 2, 3));
  EXPECT_WRONG(open(put(1, 0, 1), Outcome::kRefused), read(1, 2, 3));
}

TEST(Linearizability, CompareAndSwap) {
  EXPECT_FINE(swap(0, 1, Outcome::kDone, 0, 1), swap(1, 2, Outcome::kDone, 2, 3), read(2, 4, 5));
  EXPECT_WRONG(swap(0, 1, Outcome::kDone, 0, 1), swap(0, 2, Outcome::kDone, 2, 3));
  EXPECT_WRONG(put(1, 0, 1), swap(1, 2, Outcome::kMismatch, 2, 3));
  EXPECT_FINE(put(1, 0, 1), swap(5, 2, Outcome::kMismatch, 2, 3), read(1, 4, 5));
  EXPECT_FINE(put(1, 0, 1), swap(1, 2, Outcome::kUnknown, 2, 3), read(2, 4, 5));
  EXPECT_WRONG(put(1, 0, 1), swap(5, 2, Outcome::kUnknown, 2, 3), read(2, 4, 5));
}

TEST(Linearizability, UnseenUnknownPutStillExplainsAMismatch) {
  EXPECT_FINE(put(1, 0, 1), open(put(2, 2, 2)), swap(1, 3, Outcome::kMismatch, 4, 5));
}

/// A long quarrel without a quorum: dozens of writes that nobody ever saw, and a mismatch for which any could be the
/// reason. The simplest explanation is found before all others are tried.
TEST(Linearizability, UnseenCallsByTheDozenDoNotMatter) {
  std::vector<Operation> calls = {put(1, 0, 1), swap(9, 7, Outcome::kMismatch, 2, 3)};
  for (std::uint64_t i = 10; i <= 60; ++i) {
    calls.push_back(open(i % 5 == 0 ? remove(4 + static_cast<Nanos>(i), 0) : put(i, 4 + static_cast<Nanos>(i), 0)));
  }
  calls.push_back(read(1, 100, 101));
  std::size_t effort = 0;
  EXPECT_EQ(check_register(calls, 10'000, &effort), Verdict::kLinearizable);
}

TEST(Linearizability, GivesUpWithAWordInsteadOfHanging) {
  std::vector<Operation> hard;
  for (std::uint64_t i = 1; i <= 24; ++i) {
    hard.push_back(put(i, 0, 1'000));
  }
  hard.push_back(read(99, 2'000, 2'001));
  std::size_t effort = 0;
  EXPECT_EQ(check_register(hard, 1'000, &effort), Verdict::kUndecided);
}

TEST(Linearizability, KeysAreApartAndTheWrongOneIsNamed) {
  History history;
  history.complete(history.invoke("a", OperationKind::kPut, 0, 1, v(1)), Outcome::kDone, 1);
  history.complete(history.invoke("b", OperationKind::kRead, 2, 1), Outcome::kDone, 3, kAbsent);
  EXPECT_EQ(check_linearizable(history).verdict, Verdict::kLinearizable);
  history.complete(history.invoke("b", OperationKind::kRead, 4, 2), Outcome::kDone, 5, v(1));
  const LinearizabilityResult result = check_linearizable(history);
  EXPECT_EQ(result.verdict, Verdict::kNotLinearizable);
  EXPECT_EQ(result.key, "b");
  EXPECT_NE(result.detail.find("result=1"), std::string::npos);
  EXPECT_EQ(history.count(Outcome::kDone), 3U);
}

/// A real register, calls that take effect at a random instant inside their interval: always fine. Then one read is
/// turned into a value overwritten before the read began: always wrong.
TEST(Linearizability, RandomHistoriesOfARealRegister) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    support::Random random(seed);
    std::vector<Operation> operations;
    std::vector<std::pair<Nanos, std::size_t>> effects;
    for (std::size_t i = 0; i < 60; ++i) {
      const Nanos from = random.between(0, 2'000);
      const Nanos to = from + random.between(1, 60);
      const bool lost = random.chance_ppm(150'000);
      Operation operation = random.chance_ppm(500'000) ? put(i + 1, from, to) : read(0, from, to);
      operation.outcome = lost ? Outcome::kUnknown : Outcome::kDone;
      operations.push_back(operation);
      const bool never = lost && random.chance_ppm(500'000);
      effects.emplace_back(never ? Nanos{1'000'000} : random.between(from, lost ? 3'000 : to), i);
    }
    std::sort(effects.begin(), effects.end());
    ValueId value = kAbsent;
    for (const auto& [time, i] : effects) {
      if (time == 1'000'000) continue;
      if (operations[i].kind == OperationKind::kPut) value = operations[i].argument;
      operations[i].result = value;
    }
    std::sort(operations.begin(), operations.end(),
              [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; });
    std::size_t effort = 0;
    ASSERT_EQ(check_register(operations, 500'000, &effort), Verdict::kLinearizable) << "seed " << seed;
    operations.push_back(put(1'000, 5'000, 5'001));
    operations.push_back(read(1'000, 5'002, 5'003));
    ASSERT_EQ(check_register(operations, 500'000, &effort), Verdict::kLinearizable) << "seed " << seed;
    operations.push_back(read(static_cast<std::uint64_t>(value) + 2'000, 5'004, 5'005));
    ASSERT_EQ(check_register(operations, 500'000, &effort), Verdict::kNotLinearizable) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sim
