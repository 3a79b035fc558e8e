// Elections, one test per rule: thesis 3.4, 3.6.1, 4.2, 6.2, 9.6, figure 3.1.
#include <gtest/gtest.h>

#include "tests/unit/store/raft/network.h"

namespace store::raft::test {
namespace {

void plain(Config& config) { config.pre_vote = config.check_quorum = false; }

// 3.4: a follower that hears nothing for its election time-out stands, and wins with a majority.
TEST(RaftElection, TimeOutLeadsToALeader) {
  Network net(3);
  net.run(milliseconds(245));
  EXPECT_EQ(net.leader(), kNobody);
  net.run(milliseconds(10));
  EXPECT_EQ(net.leader(), NodeId{1});
  EXPECT_EQ(net.raft(1).term(), Term{2});
  for (std::uint64_t id : {2, 3}) EXPECT_EQ(net.raft(id).leader(), NodeId{1});
}

// 3.4: heartbeats prevent elections.
TEST(RaftElection, HeartbeatsKeepTheLeader) {
  Network net(5);
  net.run(milliseconds(300));
  const Term term = net.raft(1).term();
  net.run(milliseconds(5000));
  EXPECT_EQ(net.leader(), NodeId{1});
  EXPECT_EQ(net.raft(3).term(), term);
}

// 3.4: at most one vote per term, first come first served; asked again, the same answer.
TEST(RaftElection, OneVotePerTerm) {
  Network net(3, plain);
  Message ask;
  ask.kind = MessageKind::kVote;
  ask.to = NodeId{1};
  ask.term = Term{5};
  ask.log_term = Term{9};
  ask.index = Index{9};
  const auto granted_to = [&](std::uint64_t candidate) {
    ask.from = NodeId{candidate};
    EXPECT_TRUE(net.raft(1).step(ask, net.now));
    net.messages.clear();
    net.collect(1);
    EXPECT_EQ(net.messages.size(), 1u);
    return !net.messages.at(0).reject;
  };
  EXPECT_TRUE(granted_to(2));
  EXPECT_FALSE(granted_to(3));
  EXPECT_TRUE(granted_to(2));
  EXPECT_EQ(net.raft(1).vote(), NodeId{2});
}

// Figure 3.1: the vote survives a crash.
TEST(RaftElection, VoteSurvivesARestart) {
  Network net(3, plain);
  net.elect(2);
  EXPECT_EQ(net[1].disk.hard.vote, NodeId{2});
  net.start(NodeId{1});
  EXPECT_EQ(net.raft(1).vote(), NodeId{2});
  EXPECT_EQ(net.raft(1).term(), Term{2});
}

// Figure 3.1: answers leave after the disk has term and vote.
TEST(RaftElection, VoteIsAnsweredWhenItIsDurable) {
  Network net(3, plain);
  net.disk = Network::DiskMode::kManual;
  ASSERT_TRUE(net.raft(1).step(Campaign{}, net.now));
  net.collect(1);
  EXPECT_TRUE(net.messages.empty());  // not even asked before the own term is durable
  net.persist(1);
  ASSERT_EQ(net.messages.size(), 2u);
  net.settle();
  EXPECT_EQ(net.raft(1).role(), Role::kCandidate);
  net.persist(2);
  net.settle();
  EXPECT_EQ(net.raft(1).role(), Role::kLeader);
}

// 10.2.1 by analogy: a candidate's own vote counts when its own disk has it.
TEST(RaftElection, OwnVoteCountsWhenItIsDurable) {
  Network net(1);
  net.disk = Network::DiskMode::kManual;
  net.raft(1).tick(net.now);
  net.collect(1);
  EXPECT_EQ(net.raft(1).role(), Role::kCandidate);
  net.persist(1);
  EXPECT_EQ(net.raft(1).role(), Role::kLeader);
}

// 3.6.1: no vote for a less complete log.
TEST(RaftElection, ShorterLogLoses) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.isolate(3);
  ASSERT_TRUE(net.propose(1, "x"));
  net.settle();
  net.heal();
  EXPECT_FALSE(net.elect(3));
  EXPECT_TRUE(net.elect(2));
}

// 3.6.1: the last term counts before the length.
TEST(RaftElection, HigherLastTermBeatsLength) {
  Network net(3, plain);
  ASSERT_TRUE(net.elect(1));
  net.isolate(1);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(net.propose(1, "long"));
  net.settle();
  ASSERT_TRUE(net.elect(2));
  net.heal();
  net.start(NodeId{1});
  EXPECT_GT(net.raft(1).log().last_index(), net.raft(2).log().last_index());
  EXPECT_FALSE(net.elect(1));
  EXPECT_TRUE(net.elect(2));
}

// 9.6: a pre-candidate raises no term, so a node that was cut off does not disturb when it is back.
TEST(RaftElection, PreVoteLeavesTheTermAlone) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(3);
  net.run(milliseconds(3000));
  EXPECT_EQ(net.raft(3).role(), Role::kPreCandidate);
  EXPECT_EQ(net.raft(3).term(), Term{2});
  net.heal();
  net.run(milliseconds(100));
  EXPECT_EQ(net.leader(), NodeId{1});
  EXPECT_EQ(net.raft(1).term(), Term{2});
  EXPECT_EQ(net.raft(3).leader(), NodeId{1});
}

// 9.6 without it: the returning node's term deposes the leader. Shows what the test above would see.
TEST(RaftElection, WithoutPreVoteTheTermGrows) {
  Network net(3, [](Config& config) { config.pre_vote = config.check_quorum = false; });
  net.run(milliseconds(300));
  net.isolate(3);
  net.run(milliseconds(1000));
  EXPECT_GT(net.raft(3).term(), Term{2});
}

// 6.2: who hears a leader ignores a candidate, whatever its term.
TEST(RaftElection, VotersThatHearALeaderIgnoreCandidates) {
  Network net(3, [](Config& config) { config.pre_vote = false; });
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(3).step(Campaign{}, net.now));
  net.collect(3);
  const auto request = std::find_if(net.messages.begin(), net.messages.end(),
                                    [](const Message& m) { return m.kind == MessageKind::kVote && m.to == NodeId{2}; });
  ASSERT_NE(request, net.messages.end());
  const Message ask = *request;
  net.messages.clear();
  EXPECT_TRUE(net.raft(2).step(ask, net.now));
  net.collect(2);
  EXPECT_TRUE(net.messages.empty());
  EXPECT_EQ(net.raft(2).term(), Term{2});
  // The promise ends with the least election time-out after the leader was heard last.
  net.now += milliseconds(251);
  EXPECT_TRUE(net.raft(2).step(ask, net.now));
  EXPECT_EQ(net.raft(2).term(), Term{3});
}

// A restart forgets the promise that a leader's lease may rest on: no vote for one election time-out.
TEST(RaftElection, QuietAfterARestart) {
  Network net(3, [](Config& config) { config.pre_vote = false; });
  net.run(milliseconds(300));
  net.start(NodeId{2});
  Message ask;
  ask.kind = MessageKind::kVote;
  ask.from = NodeId{3};
  ask.to = NodeId{2};
  ask.term = Term{9};
  ask.index = Index{99};
  ask.log_term = Term{9};
  EXPECT_TRUE(net.raft(2).step(ask, net.now + milliseconds(249)));
  EXPECT_EQ(net.raft(2).term(), Term{2});
  EXPECT_TRUE(net.raft(2).step(ask, net.now + milliseconds(250)));
  EXPECT_EQ(net.raft(2).vote(), NodeId{3});
}

// 6.2: a leader that no quorum answers steps down within two time-outs.
TEST(RaftElection, CheckQuorumStepsDown) {
  Network net(3);
  net.run(milliseconds(300));
  EXPECT_TRUE(net.raft(1).quorum_active(net.now));
  net.isolate(1);
  net.run(milliseconds(550));
  EXPECT_NE(net.raft(1).role(), Role::kLeader);
  EXPECT_FALSE(net.raft(1).quorum_active(net.now));
  EXPECT_NE(net.leader(), kNobody);
  EXPECT_NE(net.leader(), NodeId{1});
}

TEST(RaftElection, WithoutCheckQuorumALonelyLeaderGoesOn) {
  Network net(3, plain);
  net.elect(1);
  net.isolate(1);
  net.run(milliseconds(2000));
  EXPECT_EQ(net.raft(1).role(), Role::kLeader);
}

// 6.2: the old leader learns of the new term from those it still reaches, and steps down.
TEST(RaftElection, OldLeaderIsToldOfTheNewTerm) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(1);
  net.run(milliseconds(800));
  ASSERT_NE(net.leader(), NodeId{1});
  net.heal();
  net.run(milliseconds(100));
  EXPECT_EQ(net.raft(1).role(), Role::kFollower);
  EXPECT_EQ(net.raft(1).leader(), net.leader());
}

// etcd's rule behind the checkquorum vector: a node with a higher term that cannot win answers an old leader so that
// the leader steps down instead of both waiting for ever.
TEST(RaftElection, StuckHigherTermGetsUnstuck) {
  Network net(3, [](Config& config) { config.pre_vote = false; });
  net.run(milliseconds(300));
  net.isolate(3);
  net.run(milliseconds(2000));
  ASSERT_GT(net.raft(3).term(), net.raft(1).term());
  net.heal();
  net.run(milliseconds(1500));
  EXPECT_NE(net.leader(), kNobody);
  EXPECT_EQ(net.raft(1).term(), net.raft(3).term());
}

// Connection reset and reconnect refused: a new leader at once, not after a time-out.
TEST(RaftElection, RefusedConnectionElectsAtOnce) {
  Network net(5);
  net.run(milliseconds(300));
  net.isolate(1);
  net.stopped.insert(NodeId{1});
  for (std::uint64_t id : {2, 3, 4, 5}) ASSERT_TRUE(net.raft(id).step(PeerRefused{NodeId{1}}, net.now));
  net.run(milliseconds(10));
  EXPECT_EQ(net.leader(), NodeId{2});
}

// The first to try may find the others still bound by their promise: it asks again every heartbeat.
TEST(RaftElection, RefusedConnectionSeenByOneOnlyAsksAgain) {
  Network net(3);
  net.run(milliseconds(300));
  net.isolate(1);
  net.stopped.insert(NodeId{1});
  ASSERT_TRUE(net.raft(2).step(PeerRefused{NodeId{1}}, net.now));
  net.run(milliseconds(20));
  EXPECT_EQ(net.leader(), kNobody);
  ASSERT_TRUE(net.raft(3).step(PeerRefused{NodeId{1}}, net.now));
  net.run(milliseconds(50));
  EXPECT_NE(net.leader(), kNobody);
}

TEST(RaftElection, RefusedConnectionOfAnotherNodeMeansNothing) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_TRUE(net.raft(2).step(PeerRefused{NodeId{3}}, net.now));
  ASSERT_TRUE(net.raft(1).step(PeerRefused{NodeId{2}}, net.now));
  EXPECT_EQ(net.raft(2).leader(), NodeId{1});
  EXPECT_EQ(net.raft(1).role(), Role::kLeader);
}

// 4.2.1 and etcd issue 10998: a node asked for its vote gives it, even if it believes to be a learner or no member.
TEST(RaftElection, VotesIfAskedWhateverItBelieves) {
  Network net;
  InitialState stranger;
  net.add(NodeId{7}, stranger);
  Message ask;
  ask.kind = MessageKind::kVote;
  ask.from = NodeId{1};
  ask.to = NodeId{7};
  ask.term = Term{3};
  ask.index = Index{5};
  ask.log_term = Term{2};
  EXPECT_TRUE(net.raft(7).step(ask, net.now));
  net.collect(7);
  ASSERT_EQ(net.messages.size(), 1u);
  EXPECT_FALSE(net.messages[0].reject);
}

TEST(RaftElection, WhoIsNoVoterDoesNotStand) {
  Network net;
  InitialState state = bootstrap_state(ids({1, 2}));
  state.conf.learners = state.snapshot.conf.learners = ids({3});
  net.add(NodeId{3}, state);
  EXPECT_TRUE(net.raft(3).learner());
  EXPECT_FALSE(net.raft(3).voter());
  EXPECT_EQ(net.raft(3).step(Campaign{}, net.now).error().code, Errc::kNotPromotable);
  EXPECT_EQ(net.raft(3).next_deadline(), TimePoint::max());
  net.now += milliseconds(5000);
  net.raft(3).tick(net.now);
  EXPECT_EQ(net.raft(3).role(), Role::kFollower);
}

// A single node does not wait for anybody.
TEST(RaftElection, AloneLeadsAtOnce) {
  Network net(1);
  EXPECT_LE(net.raft(1).next_deadline(), net.now);
  net.run(milliseconds(5));
  EXPECT_EQ(net.leader(), NodeId{1});
  EXPECT_EQ(net.raft(1).leader_since(), net.now);
}

// 3.4: split votes are resolved by time-outs that differ.
TEST(RaftElection, SplitVoteIsResolved) {
  Network net(4, plain);
  ASSERT_TRUE(net.raft(1).step(Campaign{}, net.now));
  ASSERT_TRUE(net.raft(2).step(Campaign{}, net.now));
  net.settle();
  net.run(milliseconds(1000));
  EXPECT_NE(net.leader(), kNobody);
}

// 3.2: two leaders in one term are a broken invariant, not something to live with.
TEST(RaftElection, TwoLeadersInOneTermAreFatal) {
  Network net(3, plain);
  net.elect(1);
  Message rogue;
  rogue.kind = MessageKind::kHeartbeat;
  rogue.from = NodeId{3};
  rogue.to = NodeId{1};
  rogue.term = net.raft(1).term();
  EXPECT_TRUE(net.raft(1).step(rogue, net.now));
  net.collect(1);
  ASSERT_TRUE(net[1].fatal);
  EXPECT_NE(net[1].fatal->invariant.find("election safety"), std::string::npos);
  EXPECT_EQ(net.propose(1, "x").error().code, Errc::kStopped);
  EXPECT_EQ(net.raft(1).step(Campaign{}, net.now).error().code, Errc::kStopped);
  EXPECT_EQ(net.raft(1).next_deadline(), TimePoint::max());
  EXPECT_FALSE(net.raft(1).has_output());
  rogue.to = NodeId{2};
  EXPECT_TRUE(net.raft(2).step(rogue, net.now));
  net.collect(2);
  EXPECT_TRUE(net[2].fatal);
}

TEST(RaftElection, DeadlineIsTheNextThingToDo) {
  Network net(3);
  EXPECT_EQ(net.raft(2).next_deadline(), net.now + milliseconds(300));
  net.run(milliseconds(250));
  EXPECT_EQ(net.raft(1).next_deadline(), net.now + milliseconds(50));
}

// 6.4.2: a restarted node keeps the promise of the process before it, also when connections come up at once.
TEST(RaftElection, ARestartedVoterDoesNotStandBeforeItsPromiseIsOver) {
  Network net(3);
  net.run(milliseconds(300));
  ASSERT_EQ(net.leader(), NodeId{1});
  net.start(NodeId{2});
  const TimePoint restarted = net.now;
  net.isolate(1);
  ASSERT_TRUE(net.raft(2).step(PeerConnected{NodeId{3}}, net.now));
  while (net.now < restarted + net[2].config.election_timeout_min - milliseconds(5)) {
    net.run(milliseconds(5));
    ASSERT_EQ(net.raft(2).role(), Role::kFollower);
  }
  net.run(milliseconds(10));
  EXPECT_EQ(net.leader(), NodeId{2}) << "and then it does not wait for its time-out";
}

}  // namespace
}  // namespace store::raft::test
