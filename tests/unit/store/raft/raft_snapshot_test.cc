// Snapshots, compaction, reports of the host: thesis 7.
#include <gtest/gtest.h>

#include "tests/unit/store/raft/network.h"

namespace store::raft::test {
namespace {

void plain(Config& config) { config.pre_vote = config.check_quorum = false; }

void lag_and_compact(Network& net) {
  net.isolate(3);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(net.propose(1, std::to_string(i)));
    net.settle();
  }
  EXPECT_TRUE(net.raft(1).step(Compact{net.raft(1).applied()}, net.now));
  net.heal();
}

TEST(RaftSnapshot, LaggingFollowerGetsOne) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  lag_and_compact(net);
  net.run(milliseconds(200));
  EXPECT_EQ(net.raft(3).applied(), net.raft(1).applied());
  EXPECT_EQ(net[3].disk.snapshot.index, net.raft(1).applied());
  EXPECT_EQ(net.raft(1).tracker().find(NodeId{3})->state(), ProgressState::kReplicate);
  ASSERT_TRUE(net.propose(1, "after"));
  net.run(milliseconds(100));
  EXPECT_EQ(net.applied(3).back(), "after");
  net.start(NodeId{3});
  EXPECT_EQ(net.raft(3).log().first_index(), net[3].disk.snapshot.index.next());
}

TEST(RaftSnapshot, NothingElseIsSentMeanwhileAndFailureIsRetried) {
  Network net(3, plain);
  net.send_snapshots = false;
  ASSERT_TRUE(net.elect(1));
  lag_and_compact(net);
  net.run(milliseconds(200));
  ASSERT_EQ(net[1].snapshot_requests.size(), 1u);
  EXPECT_EQ(net[1].snapshot_requests[0].to, NodeId{3});
  ASSERT_TRUE(net.propose(1, "x"));
  net.run(milliseconds(200));
  EXPECT_EQ(net[1].snapshot_requests.size(), 1u);
  ASSERT_TRUE(net.raft(1).step(ReportSnapshot{NodeId{3}, SnapshotOutcome::kFailed}, net.now));
  net.send_snapshots = true;
  net.run(milliseconds(200));
  EXPECT_EQ(net[1].snapshot_requests.size(), 2u);
  EXPECT_EQ(net.raft(3).applied(), net.raft(1).applied());
}

TEST(RaftSnapshot, DeliveredButUnansweredIsProbed) {
  Network net(3, plain);
  net.send_snapshots = false;
  ASSERT_TRUE(net.elect(1));
  lag_and_compact(net);
  net.run(milliseconds(200));
  ASSERT_TRUE(net.raft(1).step(ReportSnapshot{NodeId{3}, SnapshotOutcome::kDelivered}, net.now));
  EXPECT_EQ(net.raft(1).tracker().find(NodeId{3})->state(), ProgressState::kProbe);
  net.send_snapshots = true;  // it never arrived: the probe behind it is refused, and it is sent again
  net.run(milliseconds(300));
  EXPECT_EQ(net.raft(3).applied(), net.raft(1).applied());
}

TEST(RaftSnapshot, IsAnsweredWhenDurable) {
  Network net;
  net.add(NodeId{2}, InitialState{}, plain);
  net.disk = Network::DiskMode::kManual;
  Message message;
  message.kind = MessageKind::kSnapshot;
  message.from = NodeId{1};
  message.to = NodeId{2};
  message.term = Term{3};
  message.snapshot = SnapshotMeta{Index{10}, Term{2}, {ids({1, 2}), {}, {}, {}, false}};
  ASSERT_TRUE(net.raft(2).step(message, net.now));
  net.collect(2);
  EXPECT_TRUE(net.messages.empty());
  EXPECT_EQ(net.raft(2).step(Campaign{}, net.now).error().code, Errc::kNotPromotable);  // not durable yet
  net.persist(2);
  ASSERT_EQ(net.messages.size(), 1u);
  EXPECT_EQ(net.messages[0].index, Index{10});
  EXPECT_EQ(net[2].disk.snapshot.index, Index{10});
  EXPECT_TRUE(net.raft(2).step(Campaign{}, net.now));
}

TEST(RaftSnapshot, OldOrForeignOnesChangeNothing) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  Message message;
  message.kind = MessageKind::kSnapshot;
  message.from = NodeId{1};
  message.to = NodeId{2};
  message.term = net.raft(1).term();
  message.snapshot = SnapshotMeta{Index{1}, Term{1}, {ids({1, 2}), {}, {}, {}, false}};
  ASSERT_TRUE(net.raft(2).step(message, net.now));  // old
  message.snapshot = SnapshotMeta{Index{50}, Term{2}, {ids({1, 3}), {}, {}, {}, false}};
  ASSERT_TRUE(net.raft(2).step(message, net.now));  // without this node
  message.snapshot = SnapshotMeta{Index{50}, Term{2}, {ids({2}), {}, ids({2}), {}, false}};
  ASSERT_TRUE(net.raft(2).step(message, net.now));  // contradicts itself
  net.settle();
  EXPECT_EQ(net.raft(2).log().last_index(), Index{2});
  EXPECT_EQ(net[2].disk.snapshot.index, Index{1});
}

// A snapshot of entries that the log has only moves the commit index.
TEST(RaftSnapshot, FastForward) {
  Network net(2, plain);
  net.disk = Network::DiskMode::kPrompt;
  ASSERT_TRUE(net.elect(1));
  net.filter = [](const Message& m) { return m.to != NodeId{2} || !m.entries.empty(); };
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  ASSERT_LT(net.raft(2).commit(), net.raft(1).commit());
  net.filter = nullptr;
  Message message;
  message.kind = MessageKind::kSnapshot;
  message.from = NodeId{1};
  message.to = NodeId{2};
  message.term = net.raft(1).term();
  message.snapshot = net.raft(1).snapshot_meta();
  ASSERT_TRUE(net.raft(2).step(message, net.now));
  net.settle();
  EXPECT_EQ(net.raft(2).commit(), net.raft(1).commit());
  EXPECT_EQ(net[2].disk.snapshot.index, Index{1});
  EXPECT_EQ(net.applied(2), std::vector<std::string>{"x"});
}

TEST(RaftSnapshot, CompactIsChecked) {
  Network net(1);
  net.run(milliseconds(5));
  EXPECT_EQ(net.raft(1).step(Compact{Index{99}}, net.now).error().code, Errc::kUnavailable);
  EXPECT_EQ(net.raft(1).step(Compact{Index{1}}, net.now).error().code, Errc::kCompacted);
  EXPECT_TRUE(net.raft(1).step(Compact{Index{2}}, net.now));
  EXPECT_EQ(net.raft(1).snapshot_meta().term, net.raft(1).term());
}

TEST(RaftSnapshot, ReportsAboutStrangers) {
  Network net(2, plain);
  const ReportSnapshot report{NodeId{2}, SnapshotOutcome::kFailed};
  EXPECT_EQ(net.raft(1).step(report, net.now).error().code, Errc::kNotLeader);
  EXPECT_EQ(net.raft(1).step(ReportUnreachable{NodeId{2}}, net.now).error().code, Errc::kNotLeader);
  ASSERT_TRUE(net.elect(1));
  EXPECT_TRUE(net.raft(1).step(report, net.now));  // nothing under way: no effect
  EXPECT_EQ(net.raft(1).step(ReportSnapshot{NodeId{7}, SnapshotOutcome::kFailed}, net.now).error().code,
            Errc::kUnknownPeer);
  EXPECT_EQ(net.raft(1).step(ReportUnreachable{NodeId{7}}, net.now).error().code, Errc::kUnknownPeer);
  EXPECT_EQ(net.raft(1).step(ReportUnreachable{NodeId{1}}, net.now).error().code, Errc::kUnknownPeer);
}

TEST(RaftErrors, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Errc::kTooLarge); ++code) {
    EXPECT_STRNE(to_string(static_cast<Errc>(code)), "?") << code;
  }
}

}  // namespace
}  // namespace store::raft::test
