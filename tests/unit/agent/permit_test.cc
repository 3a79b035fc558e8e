// What the kernel is told and when; rule R4: nothing of an old epoch passes once its lease may be somebody else's.
#include "agent/permit.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

using namespace std::chrono_literals;
using Kind = PermitRun::Kind;

class PermitTest : public ::testing::Test {
 protected:
  /// Over the doubt that every start begins with.
  void shut_at_start() {
    ASSERT_TRUE(core.next(now, {}));
    core.ended(now, true);
    ASSERT_TRUE(core.is_shut(now));
  }
  std::optional<HeldLease> lease(std::uint64_t epoch = 1) { return HeldLease{Epoch{epoch}, until}; }
  void granted() {
    shut_at_start();
    ASSERT_EQ(core.next(now, lease()), (PermitRun{Kind::kRenew, Epoch{1}, until}));
    core.ended(now, true);
    ASSERT_TRUE(core.granted(now));
  }

  TimePoint now{1000s};
  TimePoint until = now + 1500ms;
  Permit core{now, 1500ms};
};

TEST_F(PermitTest, AProcessThatBeginsDoesNotKnowWhatTheOneBeforeItLeftOpen) {
  EXPECT_FALSE(core.is_shut(now));
  EXPECT_FALSE(core.granted(now));
  EXPECT_EQ(core.next(now, {}), (PermitRun{Kind::kRevoke, Epoch{}, {}}));
  EXPECT_FALSE(core.is_shut(now)) << "begun is not done";
  EXPECT_EQ(core.next(now, {}), std::nullopt) << "one at a time";
  core.ended(now, true);
  EXPECT_TRUE(core.is_shut(now));
  EXPECT_EQ(core.next(now, {}), std::nullopt);
  EXPECT_EQ(core.next_deadline(now, {}), TimePoint::max());
}

TEST_F(PermitTest, WithoutARevocationTheDoorIsShutWhenTheLastPeriodIsOver) {
  granted();
  EXPECT_FALSE(core.is_shut(until + Permit::kSlack - 1ms));
  EXPECT_TRUE(core.is_shut(until + Permit::kSlack));
}

TEST_F(PermitTest, ARenewalFollowsTheLeaseAndIsNotRepeatedForNothing) {
  granted();
  EXPECT_EQ(core.next(now, lease()), std::nullopt);
  EXPECT_EQ(core.next_deadline(now, lease()), now + 500ms);
  until += 500ms;
  EXPECT_EQ(core.next(now + 500ms, lease()), (PermitRun{Kind::kRenew, Epoch{1}, until}));
  core.ended(now + 500ms, true);
  EXPECT_EQ(core.next(now + 500ms, lease(2))->epoch, Epoch{2}) << "the same period under another epoch";
}

TEST_F(PermitTest, ARevocationThatFailedIsTriedAgainUntilThePeriodIsOver) {
  granted();
  int tries = 0;
  TimePoint last = now - Permit::kPauseMin;
  for (; now < until + 3s; now += 1ms) {
    if (!core.next(now, {})) continue;
    ++tries;
    EXPECT_GE(now - last, Permit::kPauseMin);
    last = now;
    EXPECT_EQ(core.is_shut(now), now >= until + Permit::kSlack);
    core.ended(now, false);
  }
  EXPECT_GE(tries, 4);
  EXPECT_LE(tries, 8);
  EXPECT_LT(last, until + 1s) << "then there is nothing left to take back";
  EXPECT_EQ(core.next_deadline(now, {}), TimePoint::max());
}

TEST_F(PermitTest, ARevocationThatWorksAtTheSecondTryShutsTheDoor) {
  granted();
  ASSERT_TRUE(core.next(now, {}));
  core.ended(now, false);
  EXPECT_FALSE(core.is_shut(now)) << "the program failed: the kernel may let pass as before";
  EXPECT_EQ(core.next_deadline(now, {}), now + 100ms);
  ASSERT_TRUE(core.next(now + 100ms, {}));
  core.ended(now + 120ms, true);
  EXPECT_TRUE(core.is_shut(now + 120ms));
}

TEST_F(PermitTest, ARenewalCountsFromItsBeginBecauseItMayBeKilledBehindItsCommit) {
  shut_at_start();
  ASSERT_TRUE(core.next(now, lease()));
  EXPECT_FALSE(core.is_shut(now));
  core.ended(now + 400ms, false);  // killed at its deadline
  EXPECT_FALSE(core.granted(now + 400ms));
  EXPECT_FALSE(core.is_shut(now + 400ms));
  EXPECT_EQ(core.next(now + 400ms, {}), (PermitRun{Kind::kRevoke, Epoch{1}, {}})) << "and a failure of a renewal does not hold it up";
}

TEST_F(PermitTest, ARenewalThatRunsWhenTheLeaseIsLostIsStoppedAndThenRevoked) {
  granted();
  until += 500ms;
  ASSERT_TRUE(core.next(now, lease()));
  EXPECT_FALSE(core.wants_stop(lease()));
  EXPECT_TRUE(core.wants_stop({}));
  core.ended(now, false, true);
  EXPECT_FALSE(core.is_shut(now + 1500ms + Permit::kSlack)) << "it may have been done";
  EXPECT_EQ(core.next(now, {}), (PermitRun{Kind::kRevoke, Epoch{1}, {}}));
}

TEST_F(PermitTest, AProgramThatFailsIsRunWithPausesThatGrowToAThirdOfTheLease) {
  shut_at_start();
  std::vector<TimePoint> begun;
  const TimePoint first = now;
  for (; now < first + 3s; now += 1ms) {
    until = now + 1500ms;  // the lease itself is renewed all the time
    if (!core.next(now, lease())) continue;
    begun.push_back(now);
    core.ended(now, false);
    EXPECT_GE(core.next_deadline(now, lease()), now + 100ms);
  }
  const std::vector<TimePoint> expected{first, first + 100ms, first + 300ms, first + 700ms, first + 1200ms, first + 1700ms, first + 2200ms, first + 2700ms};
  EXPECT_EQ(begun, expected);
  // Once it works the pause is forgotten.
  ASSERT_TRUE(core.next(now += 200ms, lease()));
  core.ended(now, true);
  until += 1s;
  ASSERT_TRUE(core.next(now, lease()));
  core.ended(now, false);
  EXPECT_FALSE(core.next(now + 99ms, lease()));
  EXPECT_TRUE(core.next(now + 100ms, lease()));
}

TEST_F(PermitTest, AShortLeaseDoesNotShortenThePause) {
  Permit fast(now, 100ms);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(fast.next(now, lease()));
    fast.ended(now, false);
    EXPECT_FALSE(fast.next(now + 99ms, lease()));
    now += 100ms;
  }
}

TEST_F(PermitTest, ANewEpochOwesNothingToAnOldFailure) {
  shut_at_start();
  ASSERT_TRUE(core.next(now, lease()));
  core.ended(now, false);
  EXPECT_FALSE(core.next(now, lease()));
  EXPECT_TRUE(core.next(now, lease(2)));
}

}  // namespace
}  // namespace agent
