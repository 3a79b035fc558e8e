// The judge must convict every broken rule, and nobody else: each test breaks one rule by hand.

#include "tests/sim/judge.h"

#include <gtest/gtest.h>

#include <string>

namespace sim {
namespace {

using store::raft::ConfState;
using store::raft::Entry;
using store::raft::EntryKind;
using store::raft::Index;
using store::raft::NodeId;
using store::raft::Payload;
using store::raft::Term;

Entry entry(std::uint64_t index, std::uint64_t term, const std::string& data = "x") {
  return {Term{term}, Index{index}, EntryKind::kNormal, Payload(data)};
}

agent::Epoch epoch(std::uint64_t n) { return agent::Epoch{n}; }

void expect_rule(const Judge& judge, const std::string& rule) {
  ASSERT_TRUE(judge.violation().has_value());
  EXPECT_NE(judge.violation()->find(rule + ":"), std::string::npos) << *judge.violation();
}

TEST(Judge, AcquitsAnOrdinaryRun) {
  Judge judge(3);
  for (int node = 0; node < 3; ++node) {
    judge.appended(1, node, {entry(1, 1), entry(2, 1, "a")});
    judge.committed(2, node, Index{2});
    judge.state_is(2, node, Index{2}, 77);
  }
  judge.leads(0, 0, Term{1});
  judge.leads(0, 0, Term{1});
  judge.appended(3, 2, {entry(3, 1, "lost")});
  judge.leads(4, 1, Term{2});
  judge.appended(5, 2, {entry(3, 2, "won")});  // replaces what was never committed
  judge.appended(5, 1, {entry(3, 2, "won")});
  judge.committed(6, 1, Index{3});
  judge.committed(6, 2, Index{3});
  judge.voted(0, 0, Term{1}, NodeId{5});
  judge.voted(0, 0, Term{1}, NodeId{5});
  judge.passes(7, {{0, epoch(1)}});
  judge.passes(8, {});
  judge.passes(9, {{1, epoch(2)}});
  judge.granted(7, 0, epoch(1));
  judge.lease_is(7, 0, Index{3}, epoch(1), agent::HolderId{9});
  EXPECT_FALSE(judge.violation().has_value()) << *judge.violation();
  EXPECT_EQ(judge.committed_up_to(), Index{3});
}

TEST(Judge, ElectionSafety) {
  Judge judge(2);
  judge.leads(0, 0, Term{4});
  judge.leads(0, 1, Term{4});
  expect_rule(judge, "election safety");
}

TEST(Judge, LogMatchingByContent) {
  Judge judge(2);
  judge.appended(0, 0, {entry(1, 1, "a")});
  judge.appended(0, 1, {entry(1, 1, "b")});
  expect_rule(judge, "log matching");
}

TEST(Judge, LogMatchingByPredecessor) {
  Judge judge(2);
  judge.appended(0, 0, {entry(1, 1), entry(2, 3)});
  judge.appended(0, 1, {entry(1, 2), entry(2, 3)});
  expect_rule(judge, "log matching");
}

TEST(Judge, LogWithAGap) {
  Judge judge(1);
  judge.appended(0, 0, {entry(2, 1)});
  expect_rule(judge, "log matching");
}

TEST(Judge, CommittedEntryReplacedOnTheSameNode) {
  Judge judge(1);
  judge.appended(0, 0, {entry(1, 1)});
  judge.committed(0, 0, Index{1});
  judge.appended(0, 0, {entry(1, 2)});
  expect_rule(judge, "state-machine safety");
}

TEST(Judge, TwoNodesCommitDifferentEntries) {
  Judge judge(2);
  judge.appended(0, 0, {entry(1, 1)});
  judge.appended(0, 1, {entry(1, 2)});
  judge.committed(0, 0, Index{1});
  judge.committed(0, 1, Index{1});
  expect_rule(judge, "state-machine safety");
}

TEST(Judge, CommitBeyondTheLog) {
  Judge judge(1);
  judge.committed(0, 0, Index{1});
  expect_rule(judge, "state-machine safety");
}

TEST(Judge, ForgetsTheLogOfAnEarlierProcessButNotWhatWasCommitted) {
  Judge judge(1);
  judge.appended(0, 0, {entry(1, 1), entry(2, 1)});
  judge.committed(0, 0, Index{1});
  judge.log_starts_after(0, Index{0}, Term{0});
  judge.appended(1, 0, {entry(1, 1)});  // the second entry was never synced
  judge.committed(1, 0, Index{1});
  EXPECT_FALSE(judge.violation().has_value());
  judge.log_starts_after(0, Index{0}, Term{0});
  judge.appended(1, 0, {entry(1, 2)});
  judge.committed(1, 0, Index{1});
  expect_rule(judge, "state-machine safety");
}

TEST(Judge, LeaderCompleteness) {
  Judge judge(2);
  judge.leads(0, 0, Term{1});
  judge.appended(0, 0, {entry(1, 1)});
  judge.committed(0, 0, Index{1});
  judge.leads(1, 1, Term{2});
  expect_rule(judge, "leader completeness");
}

TEST(Judge, StatesDiffer) {
  Judge judge(2);
  judge.state_is(0, 0, Index{5}, 1);
  judge.state_is(0, 1, Index{5}, 2);
  expect_rule(judge, "state-machine safety");
}

TEST(Judge, DurableMajorityOfBothHalvesOfAJointConfiguration) {
  ConfState conf;
  conf.voters = {NodeId{1}, NodeId{2}, NodeId{3}};
  conf.voters_outgoing = {NodeId{1}, NodeId{4}};
  Judge judge(1);
  judge.appended(0, 0, {entry(1, 1)});
  EXPECT_TRUE(judge.durable_majority(0, Index{1}, conf, [](NodeId, Index, Term) { return true; }));
  EXPECT_FALSE(judge.durable_majority(0, Index{1}, conf, [](NodeId node, Index, Term) { return node.value <= 3; }));
  EXPECT_FALSE(judge.durable_majority(0, Index{1}, conf, [](NodeId node, Index, Term) { return node.value % 3 == 1; }));
  EXPECT_TRUE(judge.durable_majority(0, Index{2}, conf, [](NodeId, Index, Term) { return false; }));  // not known
}

TEST(Judge, EntriesOfEarlierTermsAreNotCommittedByCounting) {
  Judge judge(1);
  judge.appended(0, 0, {entry(1, 1), entry(2, 3)});
  judge.counted(0, 0, Index{2}, Term{3});
  EXPECT_FALSE(judge.violation().has_value());
  judge.counted(0, 0, Index{1}, Term{3});
  expect_rule(judge, "own-term commit");
}

TEST(Judge, LogCutWithoutReplacement) {
  Judge judge(1);
  judge.appended(0, 0, {entry(1, 1), entry(2, 1)});
  judge.log_ends_at(0, Index{1});
  EXPECT_EQ(judge.log_end(0), Index{1});
  EXPECT_EQ(judge.term_at(0, Index{1}), Term{1});
  EXPECT_EQ(judge.term_at(0, Index{2}), std::nullopt);
  judge.appended(0, 0, {entry(2, 2)});
  EXPECT_FALSE(judge.violation().has_value());
}

TEST(Judge, TwoVotesInOneTerm) {
  Judge judge(1);
  judge.voted(0, 0, Term{3}, NodeId{});
  judge.voted(0, 0, Term{3}, NodeId{1});
  judge.voted(0, 0, Term{3}, NodeId{2});
  expect_rule(judge, "one vote per term");
}

/// Votes count when they are on a disk, and in both halves of a joint configuration.
TEST(Judge, ElectedByVotesOnDisks) {
  Judge judge(5);
  const auto node_of = [](NodeId id) { return static_cast<int>(id.value) - 1; };
  store::raft::ConfState conf;
  conf.voters = {NodeId{1}, NodeId{2}, NodeId{3}};
  judge.means_to_vote(0, Term{4}, NodeId{1});
  judge.means_to_vote(1, Term{4}, NodeId{1});
  judge.voted(0, 0, Term{4}, NodeId{1});
  EXPECT_FALSE(judge.elected(NodeId{1}, Term{4}, conf, node_of)) << "the second vote is not on its disk";
  judge.voted(0, 1, Term{4}, NodeId{1});
  EXPECT_TRUE(judge.elected(NodeId{1}, Term{4}, conf, node_of));
  EXPECT_FALSE(judge.elected(NodeId{2}, Term{4}, conf, node_of));
  conf.voters_outgoing = {NodeId{3}, NodeId{4}, NodeId{5}};
  judge.voted(0, 2, Term{4}, NodeId{1});
  EXPECT_FALSE(judge.elected(NodeId{1}, Term{4}, conf, node_of));
  judge.voted(0, 4, Term{4}, NodeId{1});
  EXPECT_TRUE(judge.elected(NodeId{1}, Term{4}, conf, node_of));
}

/// A vote that was overtaken by a later term on its way to the disk: nobody can have the voter's vote any more.
TEST(Judge, ALaterTermOnTheDiskKeepsAVoteToo) {
  Judge judge(3);
  const auto node_of = [](NodeId id) { return static_cast<int>(id.value) - 1; };
  store::raft::ConfState conf;
  conf.voters = {NodeId{1}, NodeId{2}, NodeId{3}};
  judge.voted(0, 0, Term{4}, NodeId{1});
  judge.voted(0, 1, Term{5}, NodeId{2});
  EXPECT_FALSE(judge.elected(NodeId{1}, Term{4}, conf, node_of)) << "it never meant to vote for 1";
  judge.means_to_vote(1, Term{4}, NodeId{1});
  EXPECT_TRUE(judge.elected(NodeId{1}, Term{4}, conf, node_of));
}

TEST(Judge, OtherMembersAtOneIndex) {
  Judge judge(2);
  store::raft::ConfState conf;
  conf.voters = {NodeId{1}, NodeId{2}};
  judge.conf_is(0, 0, Index{8}, conf);
  judge.conf_is(0, 1, Index{8}, conf);
  EXPECT_FALSE(judge.violation().has_value());
  conf.learners = {NodeId{3}};
  judge.conf_is(0, 1, Index{8}, conf);
  expect_rule(judge, "equal configurations");
}

TEST(Judge, TwoNodesPass) {
  Judge judge(2);
  judge.passes(0, {{0, epoch(1)}, {1, epoch(2)}});
  expect_rule(judge, "I1");
}

TEST(Judge, OldEpochPassesAfterANewerOne) {
  Judge judge(2);
  judge.passes(0, {{0, epoch(2)}});
  judge.passes(1, {{1, epoch(1)}});
  expect_rule(judge, "I1");
}

TEST(Judge, EpochGrantedTwiceOrZeroOrBack) {
  Judge twice(2);
  twice.granted(0, 0, epoch(3));
  twice.granted(1, 1, epoch(3));
  expect_rule(twice, "I4");
  Judge zero(1);
  zero.granted(0, 0, epoch(0));
  expect_rule(zero, "I4");
  Judge back(1);
  back.lease_is(0, 0, Index{5}, epoch(4), agent::HolderId{1});
  back.lease_is(0, 0, Index{6}, epoch(3), agent::HolderId{1});
  expect_rule(back, "I4");
  Judge holders(2);
  holders.lease_is(0, 0, Index{5}, epoch(4), agent::HolderId{1});
  holders.lease_is(0, 1, Index{5}, epoch(4), agent::HolderId{2});
  expect_rule(holders, "I4");
}

TEST(Judge, KeepsTheFirstViolation) {
  Judge judge(1);
  judge.fail(1'500'000, "first", "x");
  judge.fail(2, "second", "y");
  EXPECT_EQ(*judge.violation(), "1.500000 ms: first: x");
}

}  // namespace
}  // namespace sim
