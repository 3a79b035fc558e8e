// Reads without writing to the log: thesis 6.4.
#include <gtest/gtest.h>

#include "tests/unit/store/raft/network.h"

namespace store::raft::test {
namespace {

void plain(Config& config) { config.pre_vote = config.check_quorum = false; }

TEST(RaftRead, LeaderAnswersAfterARound) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(1).step(ReadIndex{5, ReadMode::kQuorum}, net.now));
  net.collect(1);
  EXPECT_TRUE(net[1].reads.empty());
  net.settle();
  ASSERT_EQ(net[1].reads.size(), 1u);
  EXPECT_EQ(net[1].reads[0].context, 5u);
  EXPECT_EQ(net[1].reads[0].index, net.raft(1).commit());
}

TEST(RaftRead, OneRoundServesAll) {
  Network net(3);
  net.run(milliseconds(300));
  for (std::uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(net.raft(1).step(ReadIndex{i, ReadMode::kQuorum}, net.now));
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kHeartbeat, 2), 1u);
  net.settle();
  EXPECT_EQ(net[1].reads.size(), 100u);
}

// 6.4.1: the round rides on the append that is going out anyway, and is answered before that append is durable.
TEST(RaftRead, TheRoundRidesOnTheNextAppend) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(1).step(Propose{{Payload("x")}}, net.now));
  ASSERT_TRUE(net.raft(1).step(ReadIndex{5, ReadMode::kQuorum}, net.now));
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kHeartbeat, 2), 0u);
  EXPECT_EQ(net.count(MessageKind::kHeartbeat, 3), 0u);
  EXPECT_EQ(net.count(MessageKind::kAppend, 2), 1u);
  const auto carries = [](const Message& m) { return m.kind == MessageKind::kAppend && m.round > Round{}; };
  EXPECT_EQ(std::count_if(net.messages.begin(), net.messages.end(), carries), 2);
  // Nobody's disk ever answers: the read is served all the same.
  net.disk = Network::DiskMode::kManual;
  net.settle();
  ASSERT_EQ(net[1].reads.size(), 1u);
  EXPECT_EQ(net[1].reads[0].context, 5u);
}

// Who gets no append (its log is complete, or a probe is out) gets the round as a heartbeat.
TEST(RaftRead, TheRoundOfAFollowerWithoutAppendIsAHeartbeat) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(3);
  ASSERT_TRUE(net.raft(1).step(ReportUnreachable{NodeId{3}}, net.now));
  ASSERT_TRUE(net.raft(1).step(Propose{{Payload("a")}}, net.now));
  net.collect(1);  // the probe to 3 is out and lost
  ASSERT_TRUE(net.raft(1).step(Propose{{Payload("b")}}, net.now));
  ASSERT_TRUE(net.raft(1).step(ReadIndex{6, ReadMode::kQuorum}, net.now));
  net.messages.clear();
  net.heal();
  net.collect(1);
  EXPECT_EQ(net.count(MessageKind::kHeartbeat, 3), 1u);
  EXPECT_EQ(net.count(MessageKind::kAppend, 3), 0u);
}

// 6.4: a leader that was replaced unawares answers no read.
TEST(RaftRead, DeposedLeaderAnswersNothing) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.isolate(1);
  ASSERT_TRUE(net.elect(2));
  ASSERT_EQ(net.raft(1).role(), Role::kLeader);
  ASSERT_TRUE(net.raft(1).step(ReadIndex{1, ReadMode::kQuorum}, net.now));
  net.run(milliseconds(500));
  EXPECT_TRUE(net[1].reads.empty());
  net.heal();
  net.run(milliseconds(100));
  ASSERT_EQ(net[1].reads.size(), 1u);
  EXPECT_EQ(net[1].reads[0].index, std::nullopt);  // dropped when it stepped down
}

TEST(RaftRead, FollowersAskTheLeader) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(3).step(ReadIndex{9, ReadMode::kQuorum}, net.now));
  net.settle();
  ASSERT_EQ(net[3].reads.size(), 1u);
  EXPECT_EQ(net[3].reads[0].index, net.raft(1).commit());
}

TEST(RaftRead, NobodyToAsk) {
  Network net(3);
  EXPECT_EQ(net.raft(3).step(ReadIndex{9, ReadMode::kQuorum}, net.now).error().code, Errc::kNotLeader);
}

TEST(RaftRead, ForwardedReadsAreDroppedWhenTheLeaderIsLost) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(3);
  ASSERT_TRUE(net.raft(3).step(ReadIndex{9, ReadMode::kQuorum}, net.now));
  net.run(milliseconds(600));
  ASSERT_EQ(net[3].reads.size(), 1u);
  EXPECT_EQ(net[3].reads[0].index, std::nullopt);
}

// A node that does not lead answers at once that it cannot.
TEST(RaftRead, WrongLeaderRefuses) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  Message ask;
  ask.kind = MessageKind::kReadIndex;
  ask.from = NodeId{3};
  ask.to = NodeId{2};
  ask.read_context = 4;
  for (const Term term : {net.raft(2).term(), Term{1}}) {
    ask.term = term;
    ASSERT_TRUE(net.raft(2).step(ask, net.now));
    net.collect(2);
    ASSERT_EQ(net.messages.size(), 1u);
    EXPECT_EQ(net.messages[0].kind, MessageKind::kReadIndexResponse);
    EXPECT_TRUE(net.messages[0].reject);
    net.messages.clear();
  }
}

TEST(RaftRead, WaitingReadsAreBounded) {
  Network net(3, [](Config& config) { config.reads_max = 2; });
  net.run(milliseconds(300));
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_TRUE(net.raft(1).step(ReadIndex{i, ReadMode::kQuorum}, net.now));
  EXPECT_EQ(net.raft(1).step(ReadIndex{2, ReadMode::kQuorum}, net.now).error().code, Errc::kReadsFull);
  // A forwarded read is refused by message.
  ASSERT_TRUE(net.raft(2).step(ReadIndex{7, ReadMode::kQuorum}, net.now));
  net.collect(2);
  net.deliver(net.messages.back());
  net.messages.clear();
  net.collect(1);
  EXPECT_EQ(std::count_if(net.messages.begin(), net.messages.end(),
                          [](const Message& m) { return m.kind == MessageKind::kReadIndexResponse && m.reject; }),
            1);
}

TEST(RaftRead, AloneAnswersAtOnce) {
  Network net(1);
  net.run(milliseconds(5));
  ASSERT_TRUE(net.raft(1).step(ReadIndex{1, ReadMode::kQuorum}, net.now));
  net.collect(1);
  EXPECT_EQ(net[1].reads.size(), 1u);
}

// 6.4 step 1: a new leader does not know what is committed before its no-op is.
TEST(RaftRead, NewLeaderWaitsForItsNoOp) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  ASSERT_TRUE(net.propose(1, "acknowledged"));
  net.collect(1);
  std::vector<Message> appends = std::exchange(net.messages, {});
  net.filter = [](const Message& m) { return m.kind != MessageKind::kAppend; };
  for (Message& m : appends) {
    if (m.to != NodeId{2}) continue;
    ASSERT_TRUE(net.raft(2).step(m, net.now));
  }
  net.settle();
  ASSERT_EQ(net.raft(1).commit(), Index{3});  // acknowledged to a client
  ASSERT_TRUE(net.elect(2));
  ASSERT_EQ(net.raft(2).commit(), Index{2});  // not known here
  ASSERT_TRUE(net.raft(2).step(ReadIndex{1, ReadMode::kQuorum}, net.now));
  net.run(milliseconds(100));
  EXPECT_TRUE(net[2].reads.empty());
  net.filter = nullptr;
  net.run(milliseconds(100));
  ASSERT_EQ(net[2].reads.size(), 1u);
  EXPECT_GE(*net[2].reads[0].index, Index{3});
}

// 6.4.2: the lease counts from when the round was sent, and ends before the voters may vote again.
TEST(RaftRead, LeaseEndsBeforeThePromise) {
  Network net(3);
  net.run(milliseconds(300));
  const TimePoint sent = net.now;
  ASSERT_TRUE(net.raft(1).lease_valid(net.now));
  net.isolate(1);
  EXPECT_TRUE(net.raft(1).lease_valid(sent + milliseconds(199)));
  EXPECT_FALSE(net.raft(1).lease_valid(sent + milliseconds(200)));
  ASSERT_TRUE(net.raft(1).step(ReadIndex{1, ReadMode::kLease}, sent + milliseconds(100)));
  net.collect(1);
  EXPECT_EQ(net[1].reads.size(), 1u);
  ASSERT_TRUE(net.raft(1).step(ReadIndex{2, ReadMode::kLease}, sent + milliseconds(200)));
  net.collect(1);
  EXPECT_EQ(net[1].reads.size(), 1u);
}

TEST(RaftRead, NoLeaseWithoutCheckQuorumNorWhileHandingOver) {
  Network careless(3, plain);
  ASSERT_TRUE(careless.elect(1));
  careless.run(milliseconds(100));
  EXPECT_FALSE(careless.raft(1).lease_valid(careless.now));
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(1).lease_valid(net.now));
  net.filter = [](const Message& m) { return m.kind != MessageKind::kTimeoutNow; };
  ASSERT_TRUE(net.raft(1).step(TransferLeader{NodeId{2}}, net.now));
  EXPECT_FALSE(net.raft(1).lease_valid(net.now));
  net.run(milliseconds(400));  // given up, but the TimeoutNow may still be on its way
  EXPECT_EQ(net.raft(1).role(), Role::kLeader);
  EXPECT_FALSE(net.raft(1).lease_valid(net.now));
}

}  // namespace
}  // namespace store::raft::test
