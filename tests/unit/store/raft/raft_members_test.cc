// Membership, leadership transfer, snapshots, reads: thesis 3.10, 4, 6.4, 7.
#include <gtest/gtest.h>

#include "store/raft/wire.h"
#include "tests/unit/store/raft/network.h"

namespace store::raft::test {
namespace {

void plain(Config& config) { config.pre_vote = config.check_quorum = false; }

ConfChangeStep add(std::uint64_t id) { return {ConfChangeKind::kAddVoter, NodeId{id}}; }
ConfChangeStep learn(std::uint64_t id) { return {ConfChangeKind::kAddLearner, NodeId{id}}; }
ConfChangeStep drop(std::uint64_t id) { return {ConfChangeKind::kRemove, NodeId{id}}; }

Result<Proposed> change(Network& net, std::uint64_t id, std::vector<ConfChangeStep> steps,
                        Transition transition = Transition::kAuto) {
  return net.raft(id).step(ProposeConfChange{{transition, std::move(steps), {}}}, net.now);
}

std::string members(Network& net, std::uint64_t id) { return net.raft(id).tracker().members().describe(); }

// 4.2.1: a new server joins as learner, gets the state, is promoted.
TEST(RaftMembers, LearnerJoinsAndIsPromoted) {
  Network net(1);
  net.run(milliseconds(10));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  net.add(NodeId{2}, InitialState{});
  ASSERT_TRUE(change(net, 1, {learn(2)}));
  net.run(milliseconds(100));
  EXPECT_TRUE(net.raft(2).learner());
  EXPECT_EQ(net.raft(2).applied(), net.raft(1).applied());
  EXPECT_EQ(net[1].snapshot_requests.size(), 1u);
  ASSERT_TRUE(change(net, 1, {add(2)}));
  net.run(milliseconds(100));
  EXPECT_EQ(members(net, 2), "voters=(1 2)");
  EXPECT_TRUE(net.raft(2).voter());
}

// 4.2.1: a learner does not count for commit.
TEST(RaftMembers, LearnersDoNotCount) {
  Network net(2, plain);
  ASSERT_TRUE(net.elect(1));
  net.add(NodeId{3}, InitialState{}, plain);
  ASSERT_TRUE(change(net, 1, {learn(3)}));
  net.run(milliseconds(100));
  net.isolate(2);
  const Index before = net.raft(1).commit();
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  EXPECT_EQ(net.raft(1).commit(), before);
  EXPECT_EQ(net.raft(3).log().last_index(), net.raft(1).log().last_index());
}

// 4.3: several changes go through a joint configuration that the leader leaves by itself.
TEST(RaftMembers, JointChangeLeavesByItself) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.add(NodeId{4}, InitialState{}, plain);
  net.add(NodeId{5}, InitialState{}, plain);
  ASSERT_TRUE(change(net, 1, {learn(4)}));
  net.run(milliseconds(100));
  ASSERT_TRUE(change(net, 1, {add(4), drop(3)}));
  net.run(milliseconds(200));
  EXPECT_EQ(members(net, 1), "voters=(1 2 4)");
  EXPECT_EQ(members(net, 4), "voters=(1 2 4)");
}

// 4.3: while joint, nothing commits without a majority of the old voters, nor without one of the new.
TEST(RaftMembers, JointNeedsBothMajorities) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  for (std::uint64_t id : {4, 5}) net.add(NodeId{id}, InitialState{}, plain);
  ASSERT_TRUE(change(net, 1, {add(4), add(5), drop(2), drop(3)}, Transition::kJointExplicit));
  net.run(milliseconds(200));
  ASSERT_EQ(members(net, 1), "voters=(1 4 5)&&(1 2 3)");
  net.isolate(2);
  net.isolate(3);
  const Index before = net.raft(1).commit();
  ASSERT_TRUE(net.propose(1, "x"));
  net.run(milliseconds(100));
  EXPECT_EQ(net.raft(1).commit(), before);  // 1 4 5 have it: not enough
  net.heal();
  net.isolate(4);
  net.isolate(5);
  const auto second = net.propose(1, "y");
  ASSERT_TRUE(second);
  net.run(milliseconds(200));
  EXPECT_LT(net.raft(1).commit(), second->last);  // 1 2 3 have it: not enough
  net.heal();
  net.run(milliseconds(200));
  EXPECT_EQ(net.raft(1).commit(), second->last);
}

// 4.1: one change at a time.
TEST(RaftMembers, OneChangeAtATime) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  ASSERT_TRUE(change(net, 1, {learn(4)}));
  EXPECT_EQ(change(net, 1, {learn(5)}).error().code, Errc::kConfChangePending);
  net.settle();
  EXPECT_TRUE(change(net, 1, {learn(5)}));
}

TEST(RaftMembers, NoOtherChangeWhileJoint) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  ASSERT_TRUE(change(net, 1, {drop(3)}, Transition::kJointExplicit));
  net.settle();
  EXPECT_EQ(change(net, 1, {learn(5)}).error().code, Errc::kConfChangePending);
  EXPECT_TRUE(change(net, 1, {}));
  net.settle();
  EXPECT_EQ(members(net, 1), "voters=(1 2)");
  EXPECT_EQ(change(net, 1, {}).error().code, Errc::kConfChangeInvalid);
}

// 4.1 and its correction of 2015: not before an entry of the own term is committed.
TEST(RaftMembers, NotBeforeTheOwnTermIsCommitted) {
  Network net(3, plain);
  net.filter = [](const Message& m) { return m.kind != MessageKind::kAppend; };
  ASSERT_TRUE(net.elect(1));
  ASSERT_FALSE(net.raft(1).own_term_committed());
  EXPECT_EQ(change(net, 1, {drop(3)}).error().code, Errc::kConfChangeTooEarly);
  net.filter = nullptr;
  net.run(milliseconds(100));
  EXPECT_TRUE(change(net, 1, {drop(3)}));
}

// 4.3: neither is a joint configuration left before that by a new leader.
TEST(RaftMembers, AutoLeaveWaitsForTheOwnTerm) {
  InitialState joint = bootstrap_state(ids({1, 2}));
  joint.conf.voters_outgoing = ids({1, 2, 3});
  joint.conf.auto_leave = true;
  joint.snapshot.conf = joint.conf;
  Network net;
  for (std::uint64_t id : {1, 2, 3}) net.add(NodeId{id}, joint, plain);
  net.filter = [](const Message& m) { return m.kind != MessageKind::kAppend; };
  ASSERT_TRUE(net.elect(1));
  net.run(milliseconds(100));
  EXPECT_EQ(net.raft(1).log().last_index(), Index{2});  // the no-op and nothing else
  net.filter = nullptr;
  net.run(milliseconds(200));
  EXPECT_EQ(members(net, 1), "voters=(1 2)");
  EXPECT_EQ(members(net, 2), "voters=(1 2)");
}

TEST(RaftMembers, ChangesThatCannotBeMade) {
  Network net(2, plain);
  EXPECT_EQ(change(net, 1, {drop(2)}).error().code, Errc::kNotLeader);
  ASSERT_TRUE(net.elect(1));
  EXPECT_EQ(change(net, 1, {drop(1), drop(2)}).error().code, Errc::kConfChangeInvalid);
  EXPECT_EQ(change(net, 1, std::vector<ConfChangeStep>(kConfStepsMax + 1, drop(9))).error().code,
            Errc::kConfChangeInvalid);
  ConfChange wordy{Transition::kAuto, {drop(2)}, std::string(kConfContextBytesMax + 1, 'x')};
  EXPECT_EQ(net.raft(1).step(ProposeConfChange{wordy}, net.now).error().code, Errc::kConfChangeInvalid);
}

// 4.2.2: a leader that removes itself leads until that is committed, then steps down and hands over.
TEST(RaftMembers, RemovedLeaderHandsOver) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(change(net, 1, {drop(1)}));
  net.settle();
  EXPECT_EQ(net.raft(1).role(), Role::kFollower);
  EXPECT_FALSE(net.raft(1).voter());
  EXPECT_EQ(net.leader(), NodeId{2});  // without any time passing
  EXPECT_EQ(net.raft(1).step(Campaign{}, net.now).error().code, Errc::kNotPromotable);
}

// 4.2.3: a removed server that was not told goes on asking and disturbs nobody.
TEST(RaftMembers, RemovedServerDoesNotDisturb) {
  Network net(3);
  net.run(milliseconds(300));
  const Term term = net.raft(1).term();
  net.isolate(3);
  ASSERT_TRUE(change(net, 1, {drop(3)}));
  net.run(milliseconds(100));
  net.heal();
  net.run(milliseconds(3000));
  EXPECT_EQ(net.leader(), NodeId{1});
  EXPECT_EQ(net.raft(1).term(), term);
}

// Found by the random runs: {1,2} -> {2}, leader 1 removes itself and dies before 2 hears that this is committed. Node 2
// must ask node 1, whose log is longer; the refusal tells it that its own change is committed.
TEST(RaftMembers, RemovalOfTheLeaderOfTwoIsLearnedFromARefusal) {
  Network net(2);
  net.run(milliseconds(300));
  ASSERT_TRUE(change(net, 1, {drop(1)}));
  net.collect(1);
  ASSERT_TRUE(net.propose(1, "behind the change"));
  std::vector<Message> first = std::exchange(net.messages, {});
  for (Message& message : first) net.deliver(std::move(message));
  net.collect(2);
  net.cut(1, 2);  // 2's answer arrives, nothing comes back
  net.settle();
  ASSERT_FALSE(net.raft(1).voter());
  ASSERT_TRUE(net.raft(2).voter());
  ASSERT_GT(net.raft(1).log().last_index(), net.raft(2).log().last_index());
  net.heal();
  net.run(milliseconds(1500));
  EXPECT_EQ(net.leader(), NodeId{2});
  EXPECT_EQ(members(net, 2), "voters=(2)");
}

// A change is taken up again after a restart, whether it was applied on disk or not.
TEST(RaftMembers, SurvivesARestart) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  ASSERT_TRUE(change(net, 1, {drop(3)}));
  net.run(milliseconds(100));
  net.start(NodeId{2});
  net.run(milliseconds(100));
  EXPECT_EQ(members(net, 2), "voters=(1 2)");
}

TEST(RaftMembers, OutputTellsOfTheChange) {
  Network net(1);
  net.run(milliseconds(5));
  ASSERT_TRUE(change(net, 1, {learn(2)}));
  bool told = false;
  while (net.raft(1).has_output()) {
    const Output output = net.raft(1).take_output();
    told = told || output.conf_changed;
    if (output.seq) {
      ASSERT_TRUE(net.raft(1).step(Persisted{*output.seq, output.last, output.last_term}, net.now));
    }
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(net.raft(1).conf_state().learners, ids({2}));
}

// A committed change that cannot be read or made stops the node: it would part from the others.
TEST(RaftMembers, UnreadableChangeIsFatal) {
  Network net;
  InitialState state = bootstrap_state(ids({1}));
  state.entries = {{Term{1}, Index{2}, EntryKind::kConfChange, Payload("rubbish")}};
  state.hard.commit = Index{2};
  net.add(NodeId{1}, state);
  net.collect(1);
  EXPECT_TRUE(net[1].fatal);
  Network other;
  state.entries[0].data = Payload(encode(ConfChange{Transition::kAuto, {drop(1)}, {}}));
  other.add(NodeId{1}, state);
  other.collect(1);
  EXPECT_TRUE(other[1].fatal);
}

// --- Transfer: 3.10 -------------------------------------------------------------------------------------------------

TEST(RaftTransfer, HandsOverWithoutATimeOut) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(1).step(TransferLeader{NodeId{3}}, net.now));
  EXPECT_EQ(net.raft(1).transferee(), NodeId{3});
  net.settle();
  EXPECT_EQ(net.leader(), NodeId{3});
  EXPECT_EQ(net.raft(1).leader(), NodeId{3});
}

TEST(RaftTransfer, FirstBringsTheSuccessorUpToDate) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(3);
  ASSERT_TRUE(net.propose(1, "x"));
  net.run(milliseconds(50));
  net.heal();
  ASSERT_TRUE(net.raft(1).step(ReportUnreachable{NodeId{3}}, net.now));
  ASSERT_TRUE(net.raft(1).step(TransferLeader{NodeId{3}}, net.now));
  net.settle();
  EXPECT_EQ(net.leader(), NodeId{3});
  EXPECT_EQ(net.applied(3), std::vector<std::string>{"x"});
}

TEST(RaftTransfer, PicksTheLongestLog) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(2);
  ASSERT_TRUE(net.propose(1, "x"));
  net.run(milliseconds(50));
  net.heal();
  ASSERT_TRUE(net.raft(1).step(TransferLeader{}, net.now));
  net.settle();
  EXPECT_EQ(net.leader(), NodeId{3});
}

TEST(RaftTransfer, ProposalsWaitAndItIsGivenUp) {
  Network net(3);
  net.run(milliseconds(300));
  net.filter = [](const Message& m) { return m.kind != MessageKind::kTimeoutNow; };
  ASSERT_TRUE(net.raft(1).step(TransferLeader{NodeId{2}}, net.now));
  net.settle();
  EXPECT_EQ(net.propose(1, "x").error().code, Errc::kTransferring);
  net.run(milliseconds(260));
  EXPECT_EQ(net.raft(1).transferee(), kNobody);
  EXPECT_TRUE(net.propose(1, "x"));
}

TEST(RaftTransfer, Refusals) {
  Network net(2);
  EXPECT_EQ(net.raft(1).step(TransferLeader{NodeId{2}}, net.now).error().code, Errc::kNotLeader);
  net.run(milliseconds(300));
  EXPECT_EQ(net.raft(1).step(TransferLeader{NodeId{9}}, net.now).error().code, Errc::kUnknownPeer);
  EXPECT_TRUE(net.raft(1).step(TransferLeader{NodeId{1}}, net.now));
  EXPECT_EQ(net.raft(1).transferee(), kNobody);
  Network alone(1);
  alone.run(milliseconds(5));
  EXPECT_EQ(alone.raft(1).step(TransferLeader{}, alone.now).error().code, Errc::kUnknownPeer);
}

// 3.10: a learner is no successor.
TEST(RaftTransfer, NotToALearner) {
  Network net(1);
  net.run(milliseconds(5));
  net.add(NodeId{2}, InitialState{});
  ASSERT_TRUE(change(net, 1, {learn(2)}));
  net.run(milliseconds(100));
  EXPECT_EQ(net.raft(1).step(TransferLeader{NodeId{2}}, net.now).error().code, Errc::kUnknownPeer);
}

// --- Reads: 6.4 -----------------------------------------------------------------------------------------------------

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

// --- Snapshots: 7 ---------------------------------------------------------------------------------------------------

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
