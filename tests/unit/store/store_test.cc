#include "store/store.h"

#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

Written written(const FakeCluster::Answer& answer) {
  EXPECT_TRUE(answer) << (answer ? "" : answer.error().detail);
  return answer ? std::get<Written>(*answer) : Written{kv::Outcome::kForgotten, {}, {}};
}

TEST(Store, BootstrapsAloneAndKeepsWritesOverARestart) {
  FakeCluster cluster;
  cluster.add();
  EXPECT_TRUE(cluster.store(1).cluster_id().is_none());
  ASSERT_TRUE(cluster.bootstrap());
  EXPECT_FALSE(cluster.store(1).cluster_id().is_none());
  EXPECT_EQ(written(cluster.put(1, "a", "1")).outcome, kv::Outcome::kDone);
  const auto id = cluster.store(1).cluster_id();
  cluster.crash(NodeId{1});
  cluster.restart(NodeId{1});
  ASSERT_TRUE(cluster.await_leader());
  EXPECT_EQ(cluster.store(1).cluster_id(), id);
  ASSERT_NE(cluster.store(1).state().get("a"), nullptr);
  EXPECT_EQ(cluster.store(1).state().get("a")->value, "1");
}

TEST(Store, ThreeExpectedMembersFoundOneClusterOfThreeVoters) {
  FakeCluster cluster;
  for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
  ASSERT_TRUE(cluster.await_leader());
  ASSERT_TRUE(cluster.await_voters(3));
  cluster.run(1s);
  EXPECT_EQ(cluster.store(1).cluster_id(), cluster.store(2).cluster_id());
  EXPECT_EQ(cluster.store(1).cluster_id(), cluster.store(3).cluster_id());
  EXPECT_FALSE(cluster.store(1).cluster_id().is_none());
  for (std::uint64_t node = 1; node <= 3; ++node)
    EXPECT_EQ(written(cluster.put(node, "k" + std::to_string(node), "v")).outcome, kv::Outcome::kDone) << node;
  cluster.run(100ms);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_EQ(cluster.store(3).state().entry_count(), 3U);
}

TEST(Store, JoinersBecomeLearnersThenVotersKeepingTheCountOdd) {
  FakeCluster cluster;
  cluster.add();
  ASSERT_TRUE(cluster.bootstrap());
  cluster.add();
  cluster.run(2s);
  EXPECT_EQ(cluster.store(1).raft().conf_state().voters.size(), 1U);
  EXPECT_EQ(cluster.store(1).raft().conf_state().learners.size(), 1U);
  cluster.add();
  ASSERT_TRUE(cluster.await_voters(3));
  cluster.add();
  cluster.run(2s);
  EXPECT_EQ(cluster.at(cluster.leader()).store->raft().conf_state().voters.size(), 3U);
  cluster.add();
  ASSERT_TRUE(cluster.await_voters(5));
  cluster.run(2s);
  EXPECT_EQ(cluster.store(1).state().members().size(), 5U);
}

TEST(Store, LeaderChangeLosesNoAcknowledgedWriteAndAnswersTheWaitingOnes) {
  FakeCluster cluster;
  for (int i = 0; i < 3; ++i) cluster.add([](Config& c) { c.bootstrap_expect = 3; });
  ASSERT_TRUE(cluster.await_leader());
  cluster.run(500ms);
  const NodeId old = cluster.leader();
  const std::uint64_t other = old.value % 3 + 1;
  ASSERT_TRUE(cluster.put(other, "before", "1"));
  cluster.crash(old);
  const RequestNo request = cluster.write(other, kv::Set{"during", "2", 0}, 3s);
  EXPECT_EQ(written(cluster.await(other, request)).outcome, kv::Outcome::kDone);
  EXPECT_NE(cluster.leader(), old);
  cluster.restart(old);
  cluster.run(1s);
  EXPECT_TRUE(cluster.same_state());
  EXPECT_EQ(cluster.at(old).store->state().get("during")->value, "2");
}

}  // namespace
}  // namespace store::test
