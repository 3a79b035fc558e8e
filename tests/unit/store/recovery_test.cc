#include "store/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

kv::ClusterId fresh_id() {
  kv::ClusterId id;
  id.bytes[5] = 55;
  return id;
}

class RecoveryTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) cluster.add([](Config& config) { config.bootstrap_expect = 3; });
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    other = leader % 3 + 1;
    third = other % 3 + 1;
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.put(leader, "k" + std::to_string(i), std::to_string(i)));
    ASSERT_EQ(cluster.acquire(leader), kv::Epoch{1});
    cluster.run(200ms);
  }
  /// What the disk of a crashed node holds.
  disk::LoadedState disk_of(std::uint64_t id) { return *cluster.at(id).disk.load(); }
  FakeCluster cluster{11};
  std::uint64_t leader = 0, other = 0, third = 0;
};

TEST_F(RecoveryTest, ThePlanSaysWhatIsKnownAndWhoIsDropped) {
  cluster.crash(NodeId{other});
  const disk::LoadedState loaded = disk_of(other);
  const auto recovery = plan_recovery(NodeId{other}, loaded, fresh_id());
  ASSERT_TRUE(recovery) << recovery.error().detail;
  const RecoveryPlan& plan = recovery->plan;
  EXPECT_EQ(plan.last, loaded.entries.back().index);
  EXPECT_GE(plan.last, plan.commit);
  EXPECT_EQ(plan.dropped_voters.size(), 2U);
  EXPECT_THAT(plan.names, testing::UnorderedElementsAre("n" + std::to_string(leader), "n" + std::to_string(third)));
  EXPECT_EQ(plan.keys, 20U);
  const disk::PersistBatch& batch = recovery->batch;
  EXPECT_EQ(batch.applied->conf.voters, std::vector<NodeId>{NodeId{other}});
  EXPECT_GT(batch.hard->term, plan.term);
  EXPECT_GE(batch.applied->index.value, plan.last.value + kIndexJump);
}

TEST_F(RecoveryTest, TheSurvivorGoesOnAloneWithAllItHadAndNothingOldDisturbsIt) {
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.crash(NodeId{id});
  const auto recovery = plan_recovery(NodeId{other}, disk_of(other), fresh_id());
  ASSERT_TRUE(recovery);
  ASSERT_TRUE(cluster.at(other).disk.write(recovery->batch));
  cluster.restart(NodeId{other});
  ASSERT_FALSE(cluster.at(other).fatal) << *cluster.at(other).fatal;
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader().value == other; }));
  const kv::StateMachine& state = cluster.store(other).state();
  EXPECT_EQ(state.cluster_id(), fresh_id());
  for (int i = 0; i < 20; ++i) {
    const kv::Entry* entry = state.get("k" + std::to_string(i));
    ASSERT_NE(entry, nullptr) << i;
    EXPECT_EQ(entry->value, std::to_string(i));
    EXPECT_GT(kv::value(entry->modify), kIndexJump) << "no wait may sleep through what was lost";
  }
  EXPECT_EQ(state.lease("trader")->holder, kv::NodeId{}) << "whoever held it may be gone";
  EXPECT_TRUE(cluster.put(other, "after", "1"));
  EXPECT_EQ(cluster.acquire(other), kv::Epoch{1 + kEpochJump + 1}) << "above every epoch of the lost majority";
  // The others come back with their disks: they are of another cluster now.
  cluster.restart(NodeId{leader});
  cluster.restart(NodeId{third});
  cluster.run(3s);
  EXPECT_EQ(cluster.store(other).raft().role(), raft::Role::kLeader);
  EXPECT_TRUE(cluster.put(other, "still", "1"));
  EXPECT_GT(cluster.store(other).counters().frames_foreign + cluster.store(third).counters().frames_foreign, 0U);
}

TEST_F(RecoveryTest, AReseededNodeJoinsTheRecoveredCluster) {
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.crash(NodeId{id});
  const auto recovery = plan_recovery(NodeId{other}, disk_of(other), fresh_id());
  ASSERT_TRUE(cluster.at(other).disk.write(recovery->batch));
  cluster.restart(NodeId{other});
  cluster.add();  // a new node with an empty disk
  ASSERT_TRUE(cluster.run_until([&] { return cluster.store(4).cluster_id() == fresh_id(); }));
  EXPECT_TRUE(cluster.put(4, "from", "the new one"));
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(RecoveryTest, WhatIsNotCommittedYetIsKept) {
  cluster.cut({leader}, {other, third});
  const RequestNo unknown = cluster.write(leader, kv::Set{"unknown", "x", 0}, 100ms);
  cluster.run(50ms);
  static_cast<void>(unknown);
  cluster.crash(NodeId{leader});
  const auto recovery = plan_recovery(NodeId{leader}, disk_of(leader), fresh_id());
  ASSERT_TRUE(recovery);
  EXPECT_GT(recovery->plan.last, recovery->plan.commit);
  EXPECT_EQ(recovery->plan.keys, 21U) << "nobody knows whether it was acknowledged";
}

TEST(RecoveryRefused, ADirectoryWithoutAClusterHasNothingToRecover) {
  EXPECT_EQ(plan_recovery(NodeId{1}, disk::LoadedState{}, fresh_id()).error().code, Errc::kBadState);
}

}  // namespace
}  // namespace store::test
