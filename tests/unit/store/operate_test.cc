#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

/// What an operator asks at any node, and what a node does that runs out of room.
namespace store::test {
namespace {

class Operated : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      cluster.add([](Config& config) {
        config.bootstrap_expect = 3;
        config.log_keep_entries = 50;
      });
    }
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    follower = leader % 3 + 1;
    third = follower % 3 + 1;
  }
  void tell_space(std::uint64_t id, disk::Space space) {
    cluster.store(id).on_space(space, cluster.now());
    cluster.run(5ms);
  }
  Errc write_error(std::uint64_t at) {
    const auto answer = cluster.await(at, cluster.write(at, kv::Set{"full", "x", 0}, 300ms));
    return answer ? Errc::kStopped : answer.error().code;
  }
  FakeCluster cluster{7};
  std::uint64_t leader = 0, follower = 0, third = 0;
};

TEST_F(Operated, FiguresOfAllServersAreKnownAtEveryNode) {
  for (std::uint64_t id = 1; id <= 3; ++id) {
    cluster.store(id).on_disk_times({std::chrono::microseconds(100 * id), std::chrono::microseconds(1000 * id)}, cluster.now());
  }
  cluster.run(300ms);
  for (std::uint64_t id = 1; id <= 3; ++id) {
    const RequestNo request{50000 + id};
    cluster.store(id).figures(request, cluster.now());
    const auto answer = cluster.await(id, request);
    ASSERT_TRUE(answer) << answer.error().detail;
    const auto& servers = std::get<Figures>(*answer).servers;
    ASSERT_EQ(servers.size(), 3U);
    for (const ServerFigures& one : servers) {
      EXPECT_EQ(one.fsync_p50.count(), static_cast<std::int64_t>(100 * one.id.value));
      EXPECT_EQ(one.fsync_p99.count(), static_cast<std::int64_t>(1000 * one.id.value));
      EXPECT_GT(one.match, raft::Index{0});
      EXPECT_LT(one.last_contact, 1s);
    }
  }
}

TEST_F(Operated, WithoutALeaderOrAnswerItIsSaidSo) {
  cluster.cut({leader}, {follower});
  cluster.cut({leader}, {third});
  cluster.store(follower).figures(RequestNo{1}, cluster.now());
  EXPECT_FALSE(cluster.await(follower, RequestNo{1}, 10s)) << "the leader cannot be heard";
  cluster.crash(NodeId{third});
  cluster.run(2s);
  cluster.store(follower).remove_server(RequestNo{2}, NodeId{third}, cluster.now());
  const auto answer = cluster.await(follower, RequestNo{2});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kNoLeader);
}

TEST_F(Operated, ALeaderShortOfRoomRefusesClientsEarlyHandsOverAndComesBack) {
  tell_space(leader, disk::Space::kLow);
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() && cluster.leader().value != leader; }, 2s))
      << "another voter may have room";
  ASSERT_TRUE(cluster.await_leader());
  EXPECT_TRUE(cluster.put(leader, "through", "the new leader")) << "it still takes writes for the others";
  EXPECT_EQ(cluster.store(leader).status(cluster.now()).space, disk::Space::kLow);
}

TEST_F(Operated, WhenNobodyHasRoomWritesAreRefusedReadsGoOnAndItEndsByItself) {
  for (std::uint64_t id = 1; id <= 3; ++id) tell_space(id, disk::Space::kLow);
  cluster.run(1s);
  ASSERT_TRUE(cluster.await_leader());
  const std::uint64_t now_leads = cluster.leader().value;
  EXPECT_EQ(write_error(now_leads), Errc::kDiskFull);
  EXPECT_EQ(write_error(now_leads % 3 + 1), Errc::kDiskFull) << "forwarded ones, too";
  EXPECT_TRUE(cluster.await(now_leads % 3 + 1, cluster.read(now_leads % 3 + 1, Consistency::kConsistent)));
  EXPECT_NE(cluster.acquire(now_leads, "trader"), kv::Epoch{99}) << "no crash: a lease is a client's write as well";
  EXPECT_GT(cluster.store(now_leads).counters().writes_refused_disk_full, 1U);
  for (std::uint64_t id = 1; id <= 3; ++id) tell_space(id, disk::Space::kPlenty);
  EXPECT_TRUE(cluster.put(now_leads, "again", "1"));
}

TEST_F(Operated, AFullFollowerTakesNoEntriesAndCatchesUpLater) {
  tell_space(follower, disk::Space::kFull);
  const auto before = cluster.store(follower).raft().log().last_index();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(cluster.put(leader, "k" + std::to_string(i), "v")) << "the majority goes on";
  cluster.run(1s);
  EXPECT_EQ(cluster.store(follower).raft().log().last_index(), before);
  EXPECT_GT(cluster.store(follower).counters().appends_dropped_disk_full, 0U);
  EXPECT_EQ(cluster.leader().value, leader) << "it hears heartbeats and does not stand for election";
  tell_space(follower, disk::Space::kPlenty);
  EXPECT_TRUE(cluster.run_until(
      [&] { return cluster.store(follower).state().applied() == cluster.store(leader).state().applied(); }));
}

TEST_F(Operated, ASnapshotThatTheDiskCannotStageIsRefusedAndTriedAgain) {
  cluster.crash(NodeId{follower});
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(cluster.put(leader, "k" + std::to_string(i), "v"));
  cluster.restart(NodeId{follower});
  cluster.at(follower).disk.task_error = disk::Error{disk::Errc::kDiskFull, "no room"};
  ASSERT_TRUE(cluster.run_until([&] { return cluster.store(follower).counters().snapshots_refused > 0; }));
  EXPECT_FALSE(cluster.at(follower).fatal) << "no reason to stop";
  cluster.at(follower).disk.task_error.reset();
  ASSERT_TRUE(cluster.run_until(
      [&] { return cluster.store(follower).state().applied() == cluster.store(leader).state().applied(); }, 30s));
  EXPECT_TRUE(cluster.same_state());
  EXPECT_FALSE(cluster.at(follower).disk.tasks().staging()) << "nothing is left behind";
}

}  // namespace
}  // namespace store::test
