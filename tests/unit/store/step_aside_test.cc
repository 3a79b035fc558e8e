#include "store/step_aside.h"

#include <gtest/gtest.h>

/// The rules by which a leader with a slow disk hands over, as step_aside.h numbers them. Node 1 leads.
namespace store {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart = TimePoint{} + 1h;

class StepAsideTest : public testing::Test {
 protected:
  StepAsideTest() {
    for (std::uint64_t id = 1; id <= 5; ++id) {
      conf.voters.push_back(NodeId{id});
      peers.push_back({NodeId{id}, raft::ProgressState::kReplicate, raft::Index{1'000}, raft::Index{1'001}, false, true,
                       kStart, DiskTimes{200us, 2ms}});
    }
    policy.take_office(now);
  }
  raft::PeerStatus& peer(std::uint64_t id) { return peers[id - 1]; }
  void p99(std::uint64_t id, std::chrono::microseconds time) { peer(id).disk = DiskTimes{200us, time}; }
  /// Looks every 100 ms for `time`. @return to whom it handed over, each time
  std::vector<std::uint64_t> look(Duration time) {
    std::vector<std::uint64_t> handed;
    for (const TimePoint end = now + time; now < end; now += 100ms) {
      for (raft::PeerStatus& each : peers) {
        if (!silent.contains(each.id)) each.last_contact = now;
      }
      if (const auto to = policy.successor(peers, conf, raft::Index{1'000}, now)) handed.push_back(to->value);
    }
    return handed;
  }
  using Handed = std::vector<std::uint64_t>;

  StepAside policy{NodeId{1}, 1s};
  raft::ConfState conf;
  std::vector<raft::PeerStatus> peers;
  std::set<NodeId> silent;
  TimePoint now = kStart;
};

TEST_F(StepAsideTest, Rule1FarSlowerThanItsPeersAndSlowAtAll) {
  EXPECT_EQ(look(20s), Handed{}) << "all alike";
  p99(1, 45ms);
  EXPECT_EQ(look(20s), Handed{}) << "22 times slower than the others, but not slow";
  p99(1, 300ms);
  for (std::uint64_t id = 2; id <= 5; ++id) p99(id, 60ms);
  EXPECT_EQ(look(20s), Handed{}) << "slow, but so are the others";
  p99(2, 2ms);
  p99(3, 2ms);
  EXPECT_EQ(look(20s), Handed{}) << "two of five have better disks";
  p99(4, 2ms);
  EXPECT_EQ(look(20s).size(), 1u);
}

TEST_F(StepAsideTest, Rule2OnlyWhenItLasts) {
  p99(1, 300ms);
  EXPECT_EQ(look(9'900ms), Handed{});
  p99(1, 2ms);
  EXPECT_EQ(look(100ms), Handed{}) << "one good look";
  p99(1, 300ms);
  EXPECT_EQ(look(10s), Handed{}) << "the wait began anew";
  EXPECT_EQ(look(200ms).size(), 1u);
}

TEST_F(StepAsideTest, Rule3NotIntoAClusterThatCouldNotWorkWithoutIt) {
  p99(1, 300ms);
  silent = {NodeId{4}, NodeId{5}};
  look(2s);
  EXPECT_EQ(look(30s), Handed{}) << "two healthy peers of five voters are no majority";
  silent = {NodeId{5}};
  EXPECT_EQ(look(30s).size(), 1u);
}

TEST_F(StepAsideTest, Rule3UnknownDisksAreNotHealthyOnes) {
  p99(1, 300ms);
  peer(2).disk.reset();
  peer(3).disk.reset();
  EXPECT_EQ(look(30s), Handed{});
  conf.voters.resize(3);
  p99(2, 2ms);
  EXPECT_EQ(look(30s), Handed{}) << "of three voters both others must be known";
  p99(3, 2ms);
  EXPECT_EQ(look(30s).size(), 1u);
  peer(1).disk.reset();
  EXPECT_EQ(look(700s), Handed{}) << "the own disk is not measured";
}

TEST_F(StepAsideTest, Rule4ToTheOneWithMostOfTheLog) {
  p99(1, 300ms);
  peer(3).match = raft::Index{999};
  peer(2).match = raft::Index{998};
  peer(4).state = peer(5).state = raft::ProgressState::kSnapshot;
  EXPECT_EQ(look(20s), Handed{3});
}

TEST_F(StepAsideTest, Rule4ToNobodyWhoLacksMuchOfIt) {
  p99(1, 300ms);
  for (std::uint64_t id = 2; id <= 5; ++id) peer(id).match = raft::Index{0};
  conf.voters.resize(3);
  std::vector<std::uint64_t> handed;
  for (int i = 0; i < 300; ++i, now += 100ms) {
    for (raft::PeerStatus& each : peers) each.last_contact = now;
    if (policy.successor(peers, conf, raft::Index{1 + StepAside::kBehindMax}, now)) ++handed.emplace_back();
  }
  EXPECT_EQ(handed, Handed{});
}

TEST_F(StepAsideTest, Rule5AtMostOncePerPauseAndNotInANewOffice) {
  p99(1, 300ms);
  EXPECT_EQ(look(11s).size(), 1u);
  EXPECT_EQ(look(500s), Handed{}) << "the transfer failed, or it was elected again: it stays";
  policy.take_office(now);
  EXPECT_EQ(look(9s), Handed{});
  EXPECT_EQ(look(100s).size(), 1u) << "after the pause";
}

// Two voters: the other one alone is no majority of two, and one voter has nobody to hand over to.
TEST_F(StepAsideTest, SmallClustersStayAsTheyAre) {
  p99(1, 300ms);
  conf.voters.resize(2);
  EXPECT_EQ(look(30s), Handed{});
  conf.voters.resize(1);
  EXPECT_EQ(look(30s), Handed{});
}

TEST_F(StepAsideTest, NotInTheMiddleOfAChange) {
  p99(1, 300ms);
  conf.voters_outgoing = conf.voters;
  EXPECT_EQ(look(30s), Handed{});
}

}  // namespace
}  // namespace store
