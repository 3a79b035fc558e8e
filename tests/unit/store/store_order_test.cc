#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "store/store.h"
#include "tests/unit/store/fake_cluster.h"

/// Orders through the whole Store: batches, answers at the node that asked, sweeps, snapshots, restarts.
namespace store::test {
namespace {

constexpr std::uint64_t kT = 1'700'000'000'000;
constexpr std::uint64_t kSlack = 300'000, kDay = 86'400'000;

class StoreOrders : public testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      cluster.add([](Config& c) {
        c.bootstrap_expect = 3;
        c.log_keep_entries = 64;
      });
    }
    ASSERT_TRUE(cluster.await_leader());
    cluster.run(500ms);
    leader = cluster.leader().value;
    follower = leader % 3 + 1;
    third = follower % 3 + 1;
    epoch = cluster.acquire(follower, "trader", 600'000);
    ASSERT_NE(epoch, kv::Epoch{});
  }
  kv::OrderReserve wish(const std::string& key) const {
    return {{"trader", "orders", key}, kv::Fingerprint{1}, epoch, kv::NodeId{follower}, time, retention};
  }
  Written write(std::uint64_t node, kv::CommandBody body) {
    const auto answer = cluster.await(node, cluster.write(node, std::move(body)));
    EXPECT_TRUE(answer) << (answer ? "" : answer.error().detail);
    return answer ? std::get<Written>(*answer) : Written{kv::Outcome::kForgotten, {}, {}, {}, {}};
  }
  kv::Index reserve(std::uint64_t node, const std::string& key) {
    const Written written = write(node, wish(key));
    EXPECT_TRUE(kv::may_send(written.outcome, written.index, written.order));
    return written.index;
  }
  kv::OrderOutcome done(const std::string& key, kv::Index reserved, const std::string& body) const {
    return {{"trader", "orders", key}, reserved, kv::OrderState::kDone, {kv::AnswerKept::kWhole, 201, "a: b\r\n", body}, time};
  }
  void tell(std::uint64_t node, std::uint64_t wall_ms) {
    cluster.store(node).on_wall_clock(wall_ms, cluster.now());
    cluster.run(500ms);
  }
  kv::OrderRow row(std::uint64_t node, const std::string& key) {
    return cluster.store(node).state().orders().find({"trader", "orders", key});
  }
  FakeCluster cluster{11};
  std::uint64_t leader = 0, follower = 0, third = 0;
  kv::Epoch epoch{};
  std::uint64_t time = kT, retention = kv::kOrderRetentionMsMin;  // of the next orders
};

TEST_F(StoreOrders, TheAnswerComesToWhoeverAskedAndTheRowToAll) {
  const kv::Index at = reserve(follower, "k");
  EXPECT_EQ(write(third, wish("k")).outcome, kv::Outcome::kExists);
  const Written settled = write(follower, done("k", at, "filled"));
  EXPECT_EQ(settled.outcome, kv::Outcome::kDone);
  const Written told = write(third, wish("k"));
  ASSERT_NE(told.order, nullptr);
  EXPECT_EQ(told.order->answer.body, "filled");
  cluster.run(200ms);
  for (const std::uint64_t node : {leader, follower, third}) EXPECT_EQ(*row(node, "k"), *told.order) << node;
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(StoreOrders, SixtyFourReservationsOfOneTurnCostTheSyncsOfOne) {
  std::uint64_t asked = 1'000'000;
  const auto batches_of = [this, &asked](std::uint64_t node, int orders) {
    cluster.run(1s);
    std::vector<std::uint64_t> batches;
    for (std::uint64_t id = 1; id <= 3; ++id) batches.push_back(cluster.store(id).counters().batches);
    std::vector<RequestNo> requests;
    for (int i = 0; i < orders; ++i) {
      requests.push_back(RequestNo{++asked});
      const std::string key = std::to_string(node) + "-" + std::to_string(orders) + "-" + std::to_string(i);
      cluster.store(node).write(requests.back(), wish(key), cluster.now() + 2s, cluster.now());  // nothing is carried out yet
    }
    for (const RequestNo request : requests) {
      const auto answer = cluster.await(node, request);
      EXPECT_TRUE(answer && std::get<Written>(*answer).outcome == kv::Outcome::kDone);
    }
    cluster.run(1s);
    for (std::uint64_t id = 1; id <= 3; ++id) batches[id - 1] = cluster.store(id).counters().batches - batches[id - 1];
    return batches;
  };
  for (const std::uint64_t node : {leader, follower}) EXPECT_EQ(batches_of(node, 64), batches_of(node, 1)) << "at node " << node;
}

TEST_F(StoreOrders, OnlyTheLeaderSweepsAndOnlyWhenItsClocksSaySo) {
  write(follower, done("k", reserve(follower, "k"), "x"));
  const std::uint64_t due = kT + kv::kOrderRetentionMsMin + kSlack;
  tell(leader, due);
  EXPECT_NE(row(leader, "k"), nullptr) << "half a second has passed, whatever the wall clock shows";
  cluster.run(2s);
  for (std::uint64_t id = 1; id <= 3; ++id) tell(id, due - 1);
  EXPECT_NE(row(leader, "k"), nullptr);
  tell(follower, due);
  tell(third, due);
  EXPECT_NE(row(leader, "k"), nullptr) << "they do not lead";
  tell(leader, 1);
  tell(leader, ~std::uint64_t{0});
  EXPECT_NE(row(leader, "k"), nullptr) << "no clock shows that";
  tell(leader, due);
  for (std::uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(row(id, "k"), nullptr) << id;

  const auto refused = cluster.await(follower, cluster.write(follower, kv::OrderSweep{due}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kBadRequest);
}

// Whoever holds the lease has a clock that is two days behind, and its rows are a minute old when somebody else's stamp and the leader's
// clock say the right time.
TEST_F(StoreOrders, AHoldersClockThatIsBehindCutsNoRetentionShort) {
  retention = 600'000;
  time = kT - 2 * kDay;
  write(follower, done("k", reserve(follower, "k"), "x"));
  cluster.run(60s);
  time = kT;
  write(follower, done("l", reserve(follower, "l"), "x"));
  tell(leader, kT);
  cluster.run(530s);
  tell(leader, kT + 530'000 + kSlack);
  ASSERT_NE(row(leader, "k"), nullptr) << "it would be sent a second time";
  cluster.run(20s);
  tell(leader, kT + 550'000 + kSlack);
  EXPECT_EQ(row(leader, "k"), nullptr) << "ten minutes are over";
  EXPECT_NE(row(leader, "l"), nullptr);
}

TEST_F(StoreOrders, ALeadersClockThatIsAheadCutsNoRetentionShort) {
  retention = 600'000;
  write(follower, done("k", reserve(follower, "k"), "x"));
  cluster.run(2s);
  tell(leader, kT + 30 * kDay);
  EXPECT_NE(row(leader, "k"), nullptr);
  write(follower, done("l", reserve(follower, "l"), "x"));
  cluster.run(1s);
  write(follower, done("m", reserve(follower, "m"), "x"));
  EXPECT_EQ(cluster.store(leader).counters().wall_ahead_ms / 86'400'000, 30) << "and that is shown";
  tell(leader, kT + 30 * kDay);
  EXPECT_NE(row(leader, "k"), nullptr);
}

// A process that began a moment ago has seen nothing pass: it counts from the newest row.
TEST_F(StoreOrders, AfterARestartTheNewestRowIsAsOldAsTheProcess) {
  retention = 600'000;
  write(follower, done("k", reserve(follower, "k"), "x"));
  cluster.run(2s);
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.crash(raft::NodeId{id});
  for (std::uint64_t id = 1; id <= 3; ++id) cluster.restart(raft::NodeId{id});
  ASSERT_TRUE(cluster.await_leader());
  cluster.run(500ms);
  leader = cluster.leader().value;
  tell(leader, kT + 30 * kDay);
  EXPECT_NE(row(leader, "k"), nullptr) << "a clock that is ahead";
  cluster.run(600s);
  tell(leader, kT + 30 * kDay);
  EXPECT_EQ(row(leader, "k"), nullptr);
}

TEST_F(StoreOrders, RowsComeBackFromDiskAndInSnapshots) {
  cluster.crash(raft::NodeId{third});
  // More than the log keeps: the third has to get a snapshot, of several chunks.
  std::vector<std::string> bodies;
  for (int i = 0; i < 12; ++i) {
    const std::string key = "big" + std::to_string(i);
    bodies.push_back(std::string(200'000, static_cast<char>('a' + i)));
    write(follower, done(key, reserve(follower, key), bodies.back()));
  }
  reserve(follower, "open");
  for (int i = 0; i < 200; ++i) static_cast<void>(cluster.put(leader, "k", std::to_string(i)));
  cluster.restart(raft::NodeId{third});
  ASSERT_TRUE(cluster.run_until([&] { return cluster.store(third).state().orders().size() == 13; }, 20s));
  EXPECT_GE(cluster.store(third).counters().snapshots_installed, 1u);
  cluster.crash(raft::NodeId{follower});
  cluster.restart(raft::NodeId{follower});
  cluster.run(2s);
  for (const std::uint64_t node : {leader, follower, third}) {
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      const kv::OrderRow order = row(node, "big" + std::to_string(i));
      ASSERT_NE(order, nullptr) << node;
      EXPECT_TRUE(order->answer.body == bodies[i]) << node << " " << i;
    }
    EXPECT_EQ(row(node, "open")->state, kv::OrderState::kReserved) << node;
  }
  EXPECT_TRUE(cluster.same_state());
  cluster.await(leader, cluster.write(leader, kv::LeaseRelease{"trader", epoch, kv::NodeId{third}}));
  ASSERT_NE(cluster.acquire(third, "trader", 600'000), kv::Epoch{});
  cluster.run(200ms);
  for (const std::uint64_t node : {leader, follower, third})
    EXPECT_EQ(row(node, "open")->state, kv::OrderState::kUnknown) << node;
}

}  // namespace
}  // namespace store::test
