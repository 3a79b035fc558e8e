#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/lease_keeper.h"
#include "tests/unit/store/fake_cluster.h"

/// The leader's half of the lease rules (design, section 5, rules 1 - 3 and 5), alone and in a cluster.
namespace store::test {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kStart = TimePoint{} + 1h;

kv::Lease held(std::uint64_t epoch, std::uint64_t holder = 1) {
  kv::Lease lease;
  lease.epoch = kv::Epoch{epoch};
  lease.holder = kv::NodeId{holder};
  lease.lease_ms = 1500;
  lease.margin_ms = 500;
  return lease;
}

TEST(LeaseKeeper, ExpiresOnlyLeasePlusMarginAfterTheLastRenewal) {
  LeaseKeeper keeper;
  keeper.take_office({}, kStart);
  const kv::Lease lease = held(3);
  keeper.on_lease("trader", &lease, kStart);
  EXPECT_EQ(keeper.next_deadline(), kStart + 2s);
  keeper.on_renewal("trader", kv::Epoch{3}, kStart + 1s);
  EXPECT_THAT(keeper.due(kStart + 2999ms), IsEmpty());
  const auto due = keeper.due(kStart + 3s);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(std::get<kv::LeaseExpire>(due[0]).epoch, kv::Epoch{3});
  EXPECT_THAT(keeper.due(kStart + 10s), IsEmpty()) << "in flight once";
}

TEST(LeaseKeeper, ARenewalAfterTheExpireWasProposedIsTooLate) {
  LeaseKeeper keeper;
  keeper.take_office({{"trader", held(3)}}, kStart);
  EXPECT_TRUE(keeper.renewable("trader", kv::Epoch{3}));
  ASSERT_THAT(keeper.due(kStart + 2s), SizeIs(1));
  EXPECT_FALSE(keeper.renewable("trader", kv::Epoch{3}));
  keeper.on_renewal("trader", kv::Epoch{3}, kStart + 2s);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
}

TEST(LeaseKeeper, OtherEpochsRenewNothing) {
  LeaseKeeper keeper;
  keeper.take_office({{"trader", held(3)}}, kStart);
  keeper.on_renewal("trader", kv::Epoch{2}, kStart + 1s);
  keeper.on_renewal("other", kv::Epoch{3}, kStart + 1s);
  EXPECT_FALSE(keeper.renewable("trader", kv::Epoch{2}));
  EXPECT_FALSE(keeper.renewable("other", kv::Epoch{3}));
  EXPECT_EQ(keeper.next_deadline(), kStart + 2s);
}

TEST(LeaseKeeper, ANewLeaderGivesOneFullFreshPeriod) {
  LeaseKeeper keeper;
  keeper.take_office({{"trader", held(3)}}, kStart);
  keeper.leave_office();
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
  EXPECT_FALSE(keeper.renewable("trader", kv::Epoch{3})) << "only the leader may say so";
  keeper.take_office({{"trader", held(3)}}, kStart + 1900ms);
  EXPECT_THAT(keeper.due(kStart + 3899ms), IsEmpty());
  EXPECT_THAT(keeper.due(kStart + 3900ms), SizeIs(1));
}

TEST(LeaseKeeper, AReservationIsOpenedAfterOneLeasePeriod) {
  LeaseKeeper keeper;
  keeper.take_office({}, kStart);
  kv::Lease vacant = held(3, 0);
  keeper.on_lease("trader", &vacant, kStart);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max()) << "vacant and open";
  vacant.preferred = kv::NodeId{2};
  keeper.on_lease("trader", &vacant, kStart);
  EXPECT_THAT(keeper.due(kStart + 1499ms), IsEmpty());
  const auto due = keeper.due(kStart + 1500ms);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(std::get<kv::LeaseOpen>(due[0]).epoch, kv::Epoch{3});
}

TEST(LeaseKeeper, AProposalThatWasRefusedComesAgain) {
  LeaseKeeper keeper;
  keeper.take_office({{"trader", held(3)}}, kStart);
  const auto due = keeper.due(kStart + 2s);
  keeper.not_proposed(due[0], kStart + 2010ms);
  EXPECT_THAT(keeper.due(kStart + 2s), IsEmpty());
  EXPECT_TRUE(keeper.renewable("trader", kv::Epoch{3})) << "its end is not being decided after all";
  EXPECT_THAT(keeper.due(kStart + 2010ms), SizeIs(1));
  keeper.not_proposed(kv::CommandBody{kv::Delete{"x"}}, kStart);
  keeper.not_proposed(kv::CommandBody{kv::LeaseExpire{"trader", kv::Epoch{2}}}, kStart);
  EXPECT_THAT(keeper.due(kStart + 9s), IsEmpty());
}

TEST(LeaseKeeper, AForgottenLeaseIsWatchedNoLonger) {
  LeaseKeeper keeper;
  keeper.take_office({{"trader", held(3)}}, kStart);
  keeper.on_lease("trader", nullptr, kStart);
  EXPECT_EQ(keeper.next_deadline(), TimePoint::max());
}

class LeaseCluster : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    holder = leader % 3 + 1;
    other = holder % 3 + 1;
  }
  const kv::Lease* lease(std::uint64_t id) { return cluster.store(id).state().lease("trader"); }
  bool renews(std::uint64_t id, std::uint64_t epoch) {
    const auto answer = cluster.await(id, cluster.renew(id, "trader", epoch, 1s));
    return answer.has_value();
  }
  FakeCluster cluster{3};
  std::uint64_t leader = 0, holder = 0, other = 0;
};

TEST_F(LeaseCluster, AcquireRenewRelease) {
  EXPECT_EQ(cluster.acquire(holder), kv::Epoch{1});
  EXPECT_EQ(cluster.acquire(other), kv::Epoch{}) << "held";
  for (int i = 0; i < 10; ++i) {
    cluster.run(500ms);
    EXPECT_TRUE(renews(holder, 1)) << i;
  }
  EXPECT_EQ(lease(other)->holder, kv::NodeId{holder});
  const auto released = cluster.await(holder, cluster.write(holder, kv::LeaseRelease{"trader", kv::Epoch{1}, {}}));
  ASSERT_TRUE(released);
  EXPECT_FALSE(renews(holder, 1));
  EXPECT_EQ(cluster.acquire(other), kv::Epoch{2});
  EXPECT_GE(cluster.events<LeaseChanged>(leader).size(), 3U);
}

TEST_F(LeaseCluster, TheLeaderRenewsItsOwnLeaseToo) {
  EXPECT_EQ(cluster.acquire(leader), kv::Epoch{1});
  cluster.run(500ms);
  EXPECT_TRUE(renews(leader, 1));
}

TEST_F(LeaseCluster, ASilentHolderLosesItAfterLeaseAndMargin) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  cluster.run(1900ms);
  EXPECT_EQ(lease(leader)->holder, kv::NodeId{holder});
  cluster.run(200ms);
  EXPECT_EQ(lease(leader)->holder, kv::NodeId{});
  const auto late = cluster.await(holder, cluster.renew(holder, "trader", 1));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kStaleEpoch);
  EXPECT_GE(cluster.store(leader).counters().expires, 1U);
}

TEST_F(LeaseCluster, ARenewalThatWasLostIsSentAgain) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  int lost = 0;
  cluster.loses = [&](NodeId from, NodeId to, bool) {
    return from.value == holder && to.value == leader && ++lost <= 1;
  };
  EXPECT_TRUE(renews(holder, 1));
}

// Rule 2: the leader may answer only after a round that proves that it still leads.
TEST_F(LeaseCluster, ADeposedLeaderAnswersNoRenewal) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  cluster.loses = [&](NodeId from, NodeId to, bool) {
    return (from.value == leader && to.value == other) || (from.value == other && to.value == leader) ||
           (from.value == leader && to.value == holder);
  };
  // The holder's question arrives, but no round of the old leader completes.
  const RequestNo request = cluster.renew(holder, "trader", 1, 200ms);
  const auto answer = cluster.await(holder, request);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().code, Errc::kStaleEpoch);
}

// Rule 3: a new leader counts a full period from taking office.
TEST_F(LeaseCluster, ANewLeaderGivesTheHolderAFullPeriod) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  cluster.run(1800ms);
  ASSERT_TRUE(renews(holder, 1));
  cluster.run(1300ms);
  cluster.crash(NodeId{leader});
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader().value != 0; }, 2s));
  const TimePoint office = cluster.now();
  const std::uint64_t fresh = cluster.leader().value;
  ASSERT_TRUE(cluster.run_until([&] { return lease(fresh)->holder == kv::NodeId{}; }, 5s));
  EXPECT_GE(cluster.now() - office, 1999ms);
  EXPECT_LE(cluster.now() - office, 2200ms);
}

TEST_F(LeaseCluster, RenewalsSurviveALeaderChange) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  cluster.crash(NodeId{leader});
  EXPECT_TRUE(cluster.await(holder, cluster.renew(holder, "trader", 1, 3s)));
  EXPECT_EQ(lease(holder)->holder, kv::NodeId{holder});
}

// An expire of the old leader that the new one carries in its log is applied before any renewal is answered.
TEST_F(LeaseCluster, AnExpireOfTheOldLeaderIsKnownBeforeARenewalIsAnswered) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  // The expire reaches one follower only, whose answer does not come back: not committed when the leader dies.
  cluster.run(1990ms);
  cluster.loses = [&](NodeId from, NodeId to, bool) {
    return to.value == leader || (from.value == leader && to.value == other);
  };
  cluster.run(30ms);
  cluster.crash(NodeId{leader});
  cluster.loses = nullptr;
  ASSERT_TRUE(cluster.await_leader());
  ASSERT_EQ(cluster.leader().value, holder) << "only its log has the expire";
  const auto answer = cluster.await(holder, cluster.renew(holder, "trader", 1, 2s));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kStaleEpoch);
  EXPECT_EQ(lease(holder)->holder, kv::NodeId{});
}

TEST_F(LeaseCluster, ReleaseInFavourOfSomebodyKeepsOthersOutForOneLease) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  ASSERT_TRUE(
      cluster.await(holder, cluster.write(holder, kv::LeaseRelease{"trader", kv::Epoch{1}, kv::NodeId{leader}})));
  EXPECT_EQ(cluster.acquire(other), kv::Epoch{});
  cluster.run(1600ms);
  EXPECT_EQ(cluster.acquire(other), kv::Epoch{2});
}

TEST_F(LeaseCluster, EpochsGrowOverRestartsOfTheWholeCluster) {
  ASSERT_EQ(cluster.acquire(holder), kv::Epoch{1});
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.crash(NodeId{id});
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.restart(NodeId{id});
  ASSERT_TRUE(cluster.await_leader());
  EXPECT_EQ(cluster.acquire(holder), kv::Epoch{2}) << "its process began anew";
}

}  // namespace
}  // namespace store::test
