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
  EXPECT_GT(cluster.store(now_leads).counters().writes_refused_disk_full, 1U);
  for (std::uint64_t id = 1; id <= 3; ++id) tell_space(id, disk::Space::kPlenty);
  EXPECT_TRUE(cluster.put(now_leads, "again", "1"));
}

TEST_F(Operated, WhatSettlesGivesBackOrStopsIsTakenWhenNobodyHasRoom) {
  const kv::Epoch epoch = cluster.acquire(follower, "trader", 600'000);
  std::vector<kv::Index> reserved;
  const auto name = [](int i) { return kv::OrderName{"trader", "orders", std::to_string(i)}; };
  for (int i = 0; i < 3; ++i) {
    const auto got = cluster.await(follower, cluster.write(follower, kv::OrderReserve{name(i), {}, epoch, kv::NodeId{follower}, 1}));
    ASSERT_TRUE(got);
    reserved.push_back(std::get<Written>(*got).index);
  }
  for (std::uint64_t id = 1; id <= 3; ++id) tell_space(id, disk::Space::kLow);
  cluster.run(1s);
  ASSERT_TRUE(cluster.await_leader());
  const auto outcome = [&](int i, std::size_t bytes) {
    return kv::OrderOutcome{name(i), reserved[static_cast<std::size_t>(i)], kv::OrderState::kDone, {kv::AnswerKept::kWhole, 201, "", std::string(bytes, 'x')}, 1};
  };
  const auto decided = [&](std::uint64_t node, kv::CommandBody body) {
    const auto got = cluster.await(node, cluster.write(node, std::move(body)));
    return got && std::get<Written>(*got).outcome == kv::Outcome::kDone;
  };
  const auto refused = [&](std::uint64_t node, kv::CommandBody body) {
    const auto got = cluster.await(node, cluster.write(node, std::move(body)));
    return !got && got.error().code == Errc::kDiskFull;
  };
  const std::uint64_t leads = cluster.leader().value;
  const std::uint64_t other = leads % 3 + 1;
  EXPECT_TRUE(refused(leads, kv::OrderReserve{name(9), {}, epoch, kv::NodeId{follower}, 1}));
  EXPECT_TRUE(refused(other, kv::OrderReserve{name(9), {}, epoch, kv::NodeId{follower}, 1}));
  EXPECT_TRUE(decided(leads, outcome(0, 4096)));
  EXPECT_TRUE(decided(other, outcome(1, 4096)));
  EXPECT_TRUE(refused(leads, outcome(2, 4097))) << "4,096 of these are more than the reserve";
  EXPECT_TRUE(refused(other, outcome(2, 4097)));
  EXPECT_TRUE(decided(other, kv::LeaseRelease{"trader", epoch, kv::NodeId{}}));
  EXPECT_NE(cluster.acquire(other, "trader", 600'000), kv::Epoch{}) << "or nobody could cancel";
  const auto unknown = cluster.store(other).state().orders().find(name(2));
  ASSERT_NE(unknown, nullptr);
  EXPECT_TRUE(decided(other, kv::OrderResolve{name(2), unknown->changed, kv::OrderState::kNotSent, kv::OrderSource::kHook, {}, 1}));
  for (std::uint64_t id = 1; id <= 3; ++id) tell_space(id, disk::Space::kFull);
  EXPECT_TRUE(refused(leads, kv::LeaseRelease{"trader", epoch, kv::NodeId{}})) << "nothing at all is appended";
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
