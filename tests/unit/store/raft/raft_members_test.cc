// Membership and leadership transfer: thesis 3.10, 4.
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

// Seed 90505 of the simulator: a candidate learns from a refusal that it was removed, and the votes of those who stayed still
// come in. In office it could commit nothing of its own, and nobody would have deposed it.
TEST(RaftMembers, ACandidateThatWasRemovedStandsNoLonger) {
  for (const bool pre_vote : {true, false}) {
    Network net(3, [&](Config& config) { config.pre_vote = pre_vote; });
    net.run(milliseconds(300));
    ASSERT_EQ(net.leader(), NodeId{1});
    const Index before = net.raft(1).commit();
    net.filter = [&](const Message& message) { return message.to != NodeId{3} || message.commit <= before; };
    ASSERT_TRUE(change(net, 1, {drop(3)}));
    net.settle();
    ASSERT_EQ(members(net, 1), "voters=(1 2)");
    ASSERT_EQ(members(net, 3), "voters=(1 2 3)");
    ASSERT_EQ(net.raft(3).log().last_index(), net.raft(1).commit());
    net.isolate(3);
    ASSERT_TRUE(net.raft(3).step(Campaign{}, net.now));
    net.settle();
    ASSERT_EQ(net.raft(3).role(), pre_vote ? Role::kPreCandidate : Role::kCandidate);
    const auto answer = [&](std::uint64_t from, bool reject) {
      Message message;
      message.kind = pre_vote ? MessageKind::kPreVoteResponse : MessageKind::kVoteResponse;
      message.from = NodeId{from};
      message.to = NodeId{3};
      message.term = pre_vote && !reject ? net.raft(3).term().next() : net.raft(3).term();
      message.reject = reject;
      if (reject) {
        message.index = net.raft(1).commit();
        message.log_term = *net.raft(1).log().term(message.index);
      }
      ASSERT_TRUE(net.raft(3).step(std::move(message), net.now));
      net.collect(3);
    };
    answer(1, true);
    ASSERT_FALSE(net.raft(3).voter());
    EXPECT_EQ(net.raft(3).role(), Role::kFollower);
    answer(1, false);
    answer(2, false);
    EXPECT_EQ(net.raft(3).role(), Role::kFollower);
    EXPECT_EQ(net.count(MessageKind::kVote, 1), 0U);
  }
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

}  // namespace
}  // namespace store::raft::test
