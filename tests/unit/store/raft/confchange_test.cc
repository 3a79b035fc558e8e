#include "store/raft/confchange.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

ConfChangeStep add(std::uint64_t id) { return {ConfChangeKind::kAddVoter, NodeId{id}}; }
ConfChangeStep learn(std::uint64_t id) { return {ConfChangeKind::kAddLearner, NodeId{id}}; }
ConfChangeStep drop(std::uint64_t id) { return {ConfChangeKind::kRemove, NodeId{id}}; }

Configuration voters(std::initializer_list<std::uint64_t> ids) {
  ConfState conf;
  for (std::uint64_t id : ids) conf.voters.push_back(NodeId{id});
  return *restore(conf, 2, Index{10});
}

Result<Configuration> apply(const Configuration& from, ConfChange change) {
  return Changer(from, 2, Index{20}).apply(change);
}

// Thesis 4.1: one server at a time keeps majorities overlapping.
TEST(ConfChange, SimpleChangesOneVoter) {
  const auto one_more = apply(voters({1, 2}), {Transition::kAuto, {add(3)}, {}});
  ASSERT_TRUE(one_more);
  EXPECT_EQ(one_more->members.describe(), "voters=(1 2 3)");
  EXPECT_EQ(one_more->progress.at(NodeId{3}).next(), Index{20});
  EXPECT_TRUE(one_more->progress.at(NodeId{3}).recent_active);
  const Changer changer(voters({1}), 2, Index{20});
  const std::vector<ConfChangeStep> two = {add(2), add(3)};
  const auto refused = changer.simple(two);
  EXPECT_EQ(refused.error().code, Errc::kConfChangeInvalid);
  EXPECT_EQ(refused.error().detail, "more than one voter changed without entering joint config");
}

// Thesis 4.3: several at once go through a joint configuration.
TEST(ConfChange, SeveralStepsEnterAJointConfiguration) {
  const auto joint = apply(voters({1, 2, 3}), {Transition::kAuto, {add(4), drop(1)}, {}});
  ASSERT_TRUE(joint);
  EXPECT_EQ(joint->members.describe(), "voters=(2 3 4)&&(1 2 3) autoleave");
  EXPECT_TRUE(joint->progress.contains(NodeId{1}));
  EXPECT_FALSE(apply(*joint, {Transition::kAuto, {add(5)}, {}}));
  EXPECT_FALSE(apply(*joint, {Transition::kJointExplicit, {add(5)}, {}}));
  const auto left = apply(*joint, ConfChange{});
  ASSERT_TRUE(left);
  EXPECT_EQ(left->members.describe(), "voters=(2 3 4)");
  EXPECT_FALSE(left->progress.contains(NodeId{1}));
  EXPECT_FALSE(apply(*left, ConfChange{}));
}

TEST(ConfChange, ExplicitTransitionStaysJoint) {
  const auto joint = apply(voters({1}), {Transition::kJointExplicit, {add(2)}, {}});
  ASSERT_TRUE(joint);
  EXPECT_FALSE(joint->members.auto_leave);
  EXPECT_TRUE(joint->members.joint());
  const auto implicit = apply(voters({1}), {Transition::kJointImplicit, {add(2)}, {}});
  ASSERT_TRUE(implicit);
  EXPECT_TRUE(implicit->members.auto_leave);
}

TEST(ConfChange, ADemotedVoterLearnsWhenTheJointConfigurationIsLeft) {
  const auto joint = apply(voters({1, 2, 3}), {Transition::kJointExplicit, {learn(3)}, {}});
  ASSERT_TRUE(joint);
  EXPECT_EQ(joint->members.describe(), "voters=(1 2)&&(1 2 3) learners_next=(3)");
  EXPECT_FALSE(joint->progress.at(NodeId{3}).learner);
  const auto left = apply(*joint, ConfChange{});
  ASSERT_TRUE(left);
  EXPECT_EQ(left->members.describe(), "voters=(1 2) learners=(3)");
  EXPECT_TRUE(left->progress.at(NodeId{3}).learner);
}

TEST(ConfChange, NeverWithoutVoters) {
  EXPECT_EQ(apply(voters({1}), {Transition::kAuto, {drop(1)}, {}}).error().detail, "removed all voters");
  EXPECT_FALSE(apply(voters({1, 2}), {Transition::kAuto, {drop(1), drop(2)}, {}}));
  EXPECT_FALSE(apply(Configuration{}, {Transition::kJointExplicit, {add(1)}, {}}));
}

TEST(ConfChange, ProgressSurvivesPromotionAndDemotion) {
  Configuration from = *apply(voters({1}), {Transition::kAuto, {learn(2)}, {}});
  ASSERT_TRUE(from.progress.at(NodeId{2}).maybe_update(Index{17}));
  const auto promoted = apply(from, {Transition::kAuto, {add(2)}, {}});
  ASSERT_TRUE(promoted);
  EXPECT_EQ(promoted->progress.at(NodeId{2}).match(), Index{17});
  EXPECT_FALSE(promoted->progress.at(NodeId{2}).learner);
  const auto demoted = apply(*promoted, {Transition::kAuto, {learn(2)}, {}});
  ASSERT_TRUE(demoted);
  EXPECT_EQ(demoted->progress.at(NodeId{2}).match(), Index{17});
}

TEST(ConfChange, RestoreIsTheInverseOfConfState) {
  for (const ConfState& conf : {ConfState{{NodeId{1}, NodeId{2}}, {}, {NodeId{3}}, {}, false},
                                ConfState{{NodeId{1}}, {NodeId{1}, NodeId{4}}, {NodeId{3}}, {NodeId{4}}, true},
                                ConfState{}}) {
    const auto restored = restore(conf, 2, Index{1});
    ASSERT_TRUE(restored);
    EXPECT_EQ(to_conf_state(restored->members), conf);
  }
}

TEST(ConfChange, RestoreRefusesContradictions) {
  EXPECT_FALSE(restore({{NodeId{1}}, {}, {NodeId{1}}, {}, false}, 2, Index{1}));           // voter and learner
  EXPECT_FALSE(restore({{NodeId{1}}, {}, {}, {NodeId{2}}, false}, 2, Index{1}));           // learners_next, not joint
  EXPECT_FALSE(restore({{NodeId{1}}, {}, {}, {}, true}, 2, Index{1}));                     // auto_leave, not joint
  EXPECT_FALSE(restore({{}, {}, {NodeId{2}}, {}, false}, 2, Index{1}));                    // no voters
  EXPECT_EQ(restore({{kNobody}, {}, {}, {}, false}, 2, Index{1}).error().code, Errc::kConfChangeInvalid);
}

TEST(ConfChange, CheckNamesWhatIsWrong) {
  Configuration broken = voters({1, 2});
  broken.progress.erase(NodeId{2});
  EXPECT_EQ(check(broken), "no progress for 2");
  broken = voters({1});
  broken.progress.emplace(NodeId{9}, Progress(Index{1}, 2));
  EXPECT_EQ(check(broken), "progress for a node that is no member");
  EXPECT_EQ(check(voters({1, 2, 3})), "");
}

TEST(Tracker, CountsVotesOncePerNodeAndOfVotersOnly) {
  Tracker tracker(2);
  Configuration three = *apply(voters({1, 2, 3}), {Transition::kAuto, {learn(4)}, {}});
  tracker.set(three.members, three.progress);
  tracker.record_vote(NodeId{1}, true);
  tracker.record_vote(NodeId{4}, true);
  EXPECT_EQ(tracker.tally(), VoteResult::kPending);
  tracker.record_vote(NodeId{2}, false);
  tracker.record_vote(NodeId{2}, true);  // the first answer stands
  EXPECT_EQ(tracker.tally(), VoteResult::kPending);
  tracker.record_vote(NodeId{3}, true);
  EXPECT_EQ(tracker.tally(), VoteResult::kWon);
  tracker.reset_votes();
  EXPECT_EQ(tracker.tally(), VoteResult::kPending);
}

TEST(Tracker, RoundsAreConfirmedByAQuorumWithTheLeaderCounted) {
  Tracker tracker(2);
  Configuration three = voters({1, 2, 3});
  three.progress.at(NodeId{2}).round_acked = Round{5};
  tracker.set(three.members, three.progress);
  EXPECT_EQ(tracker.confirmed_round(NodeId{1}), Round{5});
  EXPECT_EQ(tracker.confirmed_round(NodeId{7}), Round{0});  // a leader that is no voter counts for nothing
  EXPECT_TRUE(tracker.quorum_of([](NodeId id, const Progress&) { return id != NodeId{3}; }));
  EXPECT_FALSE(tracker.quorum_of([](NodeId id, const Progress&) { return id == NodeId{3}; }));
}

TEST(Tracker, ResetKeepsLearnersLearners) {
  Tracker tracker(2);
  Configuration conf = *apply(voters({1}), {Transition::kAuto, {learn(4)}, {}});
  tracker.set(conf.members, conf.progress);
  tracker.reset_progress(Index{33});
  EXPECT_TRUE(tracker.find(NodeId{4})->learner);
  EXPECT_EQ(tracker.find(NodeId{4})->next(), Index{33});
  EXPECT_EQ(tracker.find(NodeId{5}), nullptr);
}

}  // namespace
}  // namespace store::raft
