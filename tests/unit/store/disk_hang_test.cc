#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

/// A disk that takes a batch and never answers: no error, no end. The others are whole, so they go on.
namespace store::test {
namespace {

using namespace std::chrono_literals;

class DiskHang : public testing::Test {
 protected:
  void found() {
    for (int i = 0; i < 3; ++i) cluster.add();
    cluster.gossip();
    ASSERT_TRUE(cluster.bootstrap());
    ASSERT_TRUE(cluster.await_voters(3));
    leader = cluster.leader().value;
    for (std::uint64_t id = 1; id <= 3; ++id) {
      if (id != leader) (other == 0 ? other : third) = id;
    }
  }
  void hang(std::uint64_t id) { cluster.at(id).flush_time = 1h; }
  void heal(std::uint64_t id) {
    cluster.at(id).flush_time = kFlush;
    if (cluster.at(id).flushing) cluster.at(id).flushing->first = cluster.now();
  }
  bool done(std::uint64_t at, RequestNo request) {
    const auto reply = cluster.reply(at, request);
    return reply && *reply && std::get<Written>(**reply).outcome == kv::Outcome::kDone;
  }
  std::vector<bool> told(std::uint64_t id) {
    std::vector<bool> all;
    for (const DiskHangs& one : cluster.events<DiskHangs>(id)) all.push_back(one.hangs);
    return all;
  }
  FakeCluster cluster;
  std::uint64_t leader = 0, other = 0, third = 0;
};

TEST_F(DiskHang, ALeaderHandsOverAndEverybodyGoesOnWithoutIt) {
  found();
  hang(leader);
  cluster.write(leader, kv::Set{"a", "1", 0}, 1h);
  cluster.run(1s);
  EXPECT_TRUE(told(leader).empty()) << "it may only be slow";
  ASSERT_TRUE(cluster.run_until([&] { return cluster.leader().value != leader && cluster.leader().value != 0; }, 4s));
  const RequestNo next = cluster.write(other, kv::Set{"b", "2", 0}, 4s);
  EXPECT_TRUE(cluster.run_until([&] { return done(other, next); }, 4s)) << "two of three disks are a majority";
  EXPECT_EQ(told(leader), std::vector<bool>{true}) << "once";
  EXPECT_EQ(cluster.events<SteppedAside>(leader).size(), 1U);
  EXPECT_FALSE(cluster.events<SteppedAside>(leader)[0].own) << "no figure: nothing has ended";
  EXPECT_TRUE(cluster.store(leader).disk_hangs());
  EXPECT_TRUE(told(other).empty() && told(third).empty());
  heal(leader);
  EXPECT_TRUE(cluster.run_until([&] { return cluster.store(leader).state().get("b") != nullptr; }, 4s)) << "it catches up";
  EXPECT_EQ(told(leader), (std::vector<bool>{true, false}));
  EXPECT_FALSE(cluster.store(leader).disk_hangs());
  EXPECT_TRUE(cluster.same_state());
}

TEST_F(DiskHang, ALeaseOfSomebodyElseOutlivesIt) {
  found();
  const kv::Epoch epoch = cluster.acquire(other, "trader", 3000);
  hang(leader);
  cluster.write(leader, kv::Set{"a", "1", 0}, 1h);
  const auto renewed = [&](const std::optional<FakeCluster::Answer>& reply) { return reply && reply->has_value() && std::holds_alternative<Renewed>(**reply); };
  int granted = 0;
  std::optional<RequestNo> asked;
  for (int i = 0; i < 80; ++i) {
    if (!asked || cluster.reply(other, *asked)) {
      granted += asked && renewed(cluster.reply(other, *asked)) ? 1 : 0;
      asked = cluster.renew(other, "trader", kv::value(epoch), 1s);
    }
    cluster.run(100ms);
  }
  EXPECT_GE(granted, 20) << "but for the seconds until it was sure";
  EXPECT_EQ(cluster.store(other).state().lease("trader")->epoch, epoch) << "the same epoch as before";
}

TEST_F(DiskHang, AFollowerSaysSoAndNobodyWaitsForIt) {
  found();
  hang(other);
  const RequestNo one = cluster.write(third, kv::Set{"a", "1", 0}, 4s);
  EXPECT_TRUE(cluster.run_until([&] { return done(third, one); }, 4s));
  EXPECT_TRUE(cluster.run_until([&] { return told(other) == std::vector<bool>{true}; }, 4s));
  EXPECT_EQ(cluster.leader().value, leader);
}

// A process that was stopped finds a batch of long ago. The answer may be there, too, and nobody has read it yet.
TEST_F(DiskHang, WhoeverWasStoppedHimselfWaitsOnceMore) {
  found();
  hang(leader);
  cluster.write(leader, kv::Set{"a", "1", 0}, 1h);
  cluster.run(500ms);
  Store& store = cluster.store(leader);
  const auto hangs_at = [&](TimePoint now) {
    store.tick(now);
    static_cast<void>(store.take_output(now));
    return store.disk_hangs();
  };
  const TimePoint woken = cluster.now() + 30s;
  EXPECT_FALSE(hangs_at(woken));
  EXPECT_FALSE(hangs_at(woken + 1900ms));
  EXPECT_TRUE(hangs_at(woken + 2s)) << "it really does";
}

// Handing over to a cluster that could not elect anybody would only add an election to what does not work.
TEST_F(DiskHang, WithoutAMajorityOfOthersItStays) {
  found();
  cluster.crash(NodeId{third});
  hang(leader);
  cluster.write(leader, kv::Set{"a", "1", 0}, 1h);
  cluster.run(6s);
  EXPECT_EQ(told(leader), std::vector<bool>{true});
  EXPECT_TRUE(cluster.events<SteppedAside>(leader).empty());
}

}  // namespace
}  // namespace store::test
