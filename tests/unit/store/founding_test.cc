#include "store/founding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/store/fake_cluster.h"

namespace store::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const TimePoint kStart = TimePoint{} + 1h;
const TimePoint kSettled = kStart + Founding::kSettle;

Chance counting() {
  return [n = std::uint64_t{0}](std::uint64_t bound) mutable { return ++n % bound; };
}

MemberInfo member(std::uint64_t id, std::uint32_t expect = 3) {
  MemberInfo info;
  info.id = NodeId{id};
  info.name = "n" + std::to_string(id);
  info.bootstrap_expect = expect;
  return info;
}

disk::Grant grant_of(std::uint64_t founder, std::vector<std::uint64_t> voters, std::uint8_t mark = 9) {
  disk::Grant grant;
  grant.id.bytes[0] = mark;
  grant.founder = NodeId{founder};
  for (const std::uint64_t voter : voters) grant.voters.push_back(NodeId{voter});
  return grant;
}

template <class T>
std::vector<std::pair<NodeId, T>> frames(const Founding::Actions& actions) {
  std::vector<std::pair<NodeId, T>> found;
  for (const auto& [to, body] : actions.frames) {
    if (const T* frame = std::get_if<T>(&body)) found.emplace_back(to, *frame);
  }
  return found;
}

/// Brings the founder to the point where it has asked.
Founding::Actions ask(Founding& founding) {
  founding.on_members({member(1), member(2), member(3)}, counting(), kStart);
  EXPECT_FALSE(founding.take_actions().persist) << "the view may still change";
  EXPECT_EQ(founding.next_deadline(), kSettled);
  founding.tick(counting(), kSettled);
  auto promised = founding.take_actions();
  EXPECT_TRUE(promised.persist && *promised.persist);
  EXPECT_THAT(promised.frames, IsEmpty()) << "nothing leaves before the own promise is durable";
  founding.on_durable();
  founding.tick(counting(), kSettled);
  return founding.take_actions();
}

TEST(Founding, TheLowestOfNAsksTheOthersAndFoundsWithAllPromises) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  const auto asked = frames<GrantAskFrame>(ask(founding));
  ASSERT_EQ(asked.size(), 2U);
  const disk::Grant grant = asked[0].second.grant;
  EXPECT_EQ(grant.voters, (std::vector<NodeId>{NodeId{1}, NodeId{2}, NodeId{3}}));
  founding.on_answer(NodeId{2}, {grant.id, GrantVerdict::kGranted, NodeId{1}, {}});
  EXPECT_FALSE(founding.take_actions().found) << "two of three are not enough";
  founding.on_answer(NodeId{2}, {grant.id, GrantVerdict::kGranted, NodeId{1}, {}});
  founding.on_answer(NodeId{9}, {grant.id, GrantVerdict::kGranted, NodeId{1}, {}});
  EXPECT_FALSE(founding.take_actions().found) << "repeats and strangers do not count";
  founding.on_answer(NodeId{3}, {grant.id, GrantVerdict::kGranted, NodeId{1}, {}});
  const auto done = founding.take_actions();
  ASSERT_TRUE(done.found);
  EXPECT_EQ(*done.found, grant);
  EXPECT_EQ(founding.next_deadline(), TimePoint::max());
}

TEST(Founding, NobodyElseStartsAndFewerThanNWait) {
  Founding second(NodeId{2}, 3, std::nullopt);
  second.on_members({member(1), member(2), member(3)}, counting(), kStart);
  second.tick(counting(), kSettled);
  EXPECT_FALSE(second.take_actions().persist);
  Founding first(NodeId{1}, 3, std::nullopt);
  first.on_members({member(1), member(2), member(3, 5)}, counting(), kStart);
  const auto waits = first.take_actions();
  EXPECT_FALSE(waits.persist) << "another setting does not count";
  ASSERT_TRUE(waits.waits);
  EXPECT_THAT(waits.waits->reason, HasSubstr("2 of 3"));
}

TEST(Founding, NoneIsFoundedBesideALiveCluster) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  MemberInfo settled = member(4);
  settled.cluster_id.bytes[0] = 1;
  founding.on_members({member(1), member(2), member(3), settled}, counting(), kStart);
  founding.tick(counting(), kSettled);
  EXPECT_FALSE(founding.take_actions().persist);
}

TEST(Founding, AViewThatChangesIsWaitedOut) {
  Founding founding(NodeId{3}, 3, std::nullopt);
  founding.on_members({member(3), member(4), member(5)}, counting(), kStart);
  founding.tick(counting(), kStart + Founding::kSettle - 1ms);
  EXPECT_FALSE(founding.take_actions().persist);
  founding.on_members({member(3), member(4), member(5), member(6)}, counting(), kStart + Founding::kSettle - 1ms);
  founding.tick(counting(), kSettled);
  EXPECT_FALSE(founding.take_actions().persist) << "a fourth came: the wait begins anew";
  founding.on_members({member(1), member(3), member(4), member(5), member(6)}, counting(), kSettled);
  founding.tick(counting(), kSettled + Founding::kSettle);
  EXPECT_FALSE(founding.take_actions().persist) << "no longer the lowest";
}

// 2N agents: whoever sees a candidate that is left out, though its id is lower than a voter's, does not promise.
TEST(Founding, NobodyPromisesWhoSeesALowerCandidateLeftOut) {
  Founding founding(NodeId{5}, 3, std::nullopt);
  founding.on_members({member(2), member(4), member(5), member(6)}, counting(), kStart);
  founding.on_ask(NodeId{4}, grant_of(4, {4, 5, 6}));
  auto actions = founding.take_actions();
  EXPECT_FALSE(actions.persist);
  auto answers = frames<GrantAnswerFrame>(actions);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].second.verdict, GrantVerdict::kOtherView);
  EXPECT_EQ(answers[0].second.founder, NodeId{2});
  // One in the middle counts as well; one above all voters does not, and neither does a dead one.
  founding.on_members({member(1), member(3), member(5), member(6)}, counting(), kStart);
  founding.on_ask(NodeId{1}, grant_of(1, {1, 5, 6}));
  EXPECT_FALSE(founding.take_actions().persist);
  MemberInfo dead = member(3);
  dead.liveness = Liveness::kDead;
  founding.on_members({member(1), dead, member(5), member(6), member(7)}, counting(), kStart);
  founding.on_ask(NodeId{1}, grant_of(1, {1, 5, 6}));
  EXPECT_TRUE(founding.take_actions().persist);
}

TEST(Founding, AFounderThatLearnsOfALowerCandidateThanAVoterBeginsAnew) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  founding.on_members({member(1), member(4), member(5)}, counting(), kStart);
  founding.tick(counting(), kSettled);
  ASSERT_TRUE(founding.take_actions().persist);
  founding.on_durable();
  founding.on_members({member(1), member(2), member(4), member(5)}, counting(), kSettled);
  const auto actions = founding.take_actions();
  EXPECT_TRUE(actions.persist && !*actions.persist);
  founding.on_durable();
  founding.tick(counting(), kSettled);
  founding.tick(counting(), kSettled + Founding::kSettle);
  const auto anew = founding.take_actions();
  ASSERT_TRUE(anew.persist && *anew.persist);
  EXPECT_EQ((*anew.persist)->voters, (std::vector<NodeId>{NodeId{1}, NodeId{2}, NodeId{4}}));
}

TEST(Founding, AFounderWithTooNarrowAViewSaysWhatItWaitsFor) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  const disk::Grant grant = frames<GrantAskFrame>(ask(founding))[0].second.grant;
  founding.on_answer(NodeId{2}, {grant.id, GrantVerdict::kOtherView, NodeId{9}, {}});
  const auto actions = founding.take_actions();
  EXPECT_FALSE(actions.found);
  ASSERT_TRUE(actions.waits);
  EXPECT_THAT(actions.waits->reason, HasSubstr("another candidate"));
}

TEST(Founding, QuestionsAreRepeatedUntilAnswered) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  const disk::Grant grant = frames<GrantAskFrame>(ask(founding))[0].second.grant;
  founding.on_answer(NodeId{2}, {grant.id, GrantVerdict::kGranted, NodeId{1}, {}});
  founding.tick(counting(), founding.next_deadline());
  const auto again = frames<GrantAskFrame>(founding.take_actions());
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].first, NodeId{3});
}

TEST(Founding, APromiseIsDurableBeforeItIsAnsweredAndGivenOnce) {
  Founding founding(NodeId{2}, 3, std::nullopt);
  const disk::Grant grant = grant_of(1, {1, 2, 3});
  founding.on_ask(NodeId{1}, grant);
  auto actions = founding.take_actions();
  ASSERT_TRUE(actions.persist && *actions.persist);
  EXPECT_THAT(actions.frames, IsEmpty());
  founding.on_durable();
  auto answers = frames<GrantAnswerFrame>(founding.take_actions());
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].second.verdict, GrantVerdict::kGranted);
  founding.on_ask(NodeId{1}, grant);
  EXPECT_EQ(frames<GrantAnswerFrame>(founding.take_actions())[0].second.verdict, GrantVerdict::kGranted)
      << "repeatable";
  founding.on_ask(NodeId{3}, grant_of(3, {2, 3, 4}, 8));
  actions = founding.take_actions();
  answers = frames<GrantAnswerFrame>(actions);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].second.verdict, GrantVerdict::kPromised);
  EXPECT_EQ(answers[0].second.founder, NodeId{1});
  EXPECT_EQ(answers[1].first, NodeId{1}) << "the founder is shown the promise, in case it was given up";
  EXPECT_FALSE(actions.persist);
}

TEST(Founding, APromiseSurvivesARestart) {
  Founding founding(NodeId{2}, 3, grant_of(1, {1, 2, 3}));
  founding.on_ask(NodeId{3}, grant_of(3, {2, 3, 4}, 8));
  EXPECT_EQ(frames<GrantAnswerFrame>(founding.take_actions())[0].second.verdict, GrantVerdict::kPromised);
  EXPECT_TRUE(founding.founded_by_others(grant_of(1, {}).id));
  EXPECT_FALSE(founding.founded_by_others(grant_of(3, {}, 8).id));
}

TEST(Founding, AFounderThatRestartsGoesOnWithTheSameId) {
  const disk::Grant grant = grant_of(1, {1, 2, 3});
  Founding founding(NodeId{1}, 3, grant);
  founding.tick(counting(), kStart);
  EXPECT_EQ(frames<GrantAskFrame>(founding.take_actions())[0].second.grant, grant);
}

TEST(Founding, AHigherFounderGivesWayToALowerOne) {
  Founding founding(NodeId{2}, 3, grant_of(2, {2, 3, 4}));
  founding.on_ask(NodeId{1}, grant_of(1, {1, 2, 3}, 8));
  auto actions = founding.take_actions();
  ASSERT_TRUE(actions.persist && !*actions.persist) << "withdrawn durably first";
  EXPECT_THAT(actions.frames, IsEmpty());
  founding.on_durable();
  const auto withdrawals = frames<GrantWithdrawFrame>(founding.take_actions());
  EXPECT_EQ(withdrawals.size(), 2U);
  founding.on_ask(NodeId{1}, grant_of(1, {1, 2, 3}, 8));
  EXPECT_TRUE(founding.take_actions().persist);
}

TEST(Founding, AWithdrawalFreesThePromiseOnlyFromItsFounder) {
  Founding founding(NodeId{3}, 3, grant_of(2, {2, 3, 4}));
  founding.on_withdraw(NodeId{4}, grant_of(2, {}).id);
  EXPECT_FALSE(founding.take_actions().persist);
  founding.on_withdraw(NodeId{2}, grant_of(2, {}, 7).id);
  EXPECT_FALSE(founding.take_actions().persist) << "another founding";
  founding.on_withdraw(NodeId{2}, grant_of(2, {}).id);
  const auto actions = founding.take_actions();
  EXPECT_TRUE(actions.persist && !*actions.persist);
}

TEST(Founding, APromiseToSomebodyWhoFoundedElsewhereIsVoid) {
  Founding founding(NodeId{3}, 3, grant_of(2, {2, 3, 4}));
  MemberInfo elsewhere = member(2);
  elsewhere.cluster_id.bytes[0] = 77;
  founding.on_members({elsewhere, member(3)}, counting(), kStart);
  const auto actions = founding.take_actions();
  EXPECT_TRUE(actions.persist && !*actions.persist);
}

TEST(Founding, APromiseToADeadFounderStandsAndIsReported) {
  Founding founding(NodeId{3}, 3, grant_of(2, {2, 3, 4}));
  MemberInfo dead = member(2);
  dead.liveness = Liveness::kDead;
  founding.on_members({dead, member(3), member(4), member(5)}, counting(), kStart);
  const auto actions = founding.take_actions();
  EXPECT_FALSE(actions.persist) << "the dead one may have founded already";
  ASSERT_TRUE(actions.waits);
  EXPECT_EQ(actions.waits->founder, NodeId{2});
}

TEST(Founding, ALostMemberMakesTheFounderBeginAnew) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  const disk::Grant first = frames<GrantAskFrame>(ask(founding))[0].second.grant;
  MemberInfo dead = member(3);
  dead.liveness = Liveness::kDead;
  founding.on_members({member(1), member(2), dead, member(4)}, counting(), kStart);
  const auto actions = founding.take_actions();
  ASSERT_TRUE(actions.persist && !*actions.persist);
  founding.on_durable();
  static_cast<void>(founding.take_actions());
  Chance other = [n = std::uint64_t{100}](std::uint64_t bound) mutable { return ++n % bound; };
  founding.tick(other, kStart);
  EXPECT_FALSE(founding.take_actions().persist) << "other candidates than before";
  founding.tick(other, kSettled);
  const auto anew = founding.take_actions();
  ASSERT_TRUE(anew.persist && *anew.persist);
  EXPECT_NE((*anew.persist)->id, first.id);
  EXPECT_EQ((*anew.persist)->voters, (std::vector<NodeId>{NodeId{1}, NodeId{2}, NodeId{4}}));
}

TEST(Founding, WhoBelongsToAClusterEndsTheFounding) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  const disk::Grant grant = frames<GrantAskFrame>(ask(founding))[0].second.grant;
  kv::ClusterId other;
  other.bytes[0] = 5;
  founding.on_answer(NodeId{2}, {grant.id, GrantVerdict::kFounded, {}, other});
  const auto actions = founding.take_actions();
  EXPECT_TRUE(actions.persist && !*actions.persist);
  EXPECT_FALSE(founding.may_join_other()) << "not before the withdrawal is durable";
  founding.on_durable();
  EXPECT_TRUE(founding.may_join_other());
}

TEST(Founding, OthersWithoutTheSettingRefuse) {
  Founding founding(NodeId{2}, 0, std::nullopt);
  founding.on_ask(NodeId{1}, grant_of(1, {1, 2, 3}));
  EXPECT_EQ(frames<GrantAnswerFrame>(founding.take_actions())[0].second.verdict, GrantVerdict::kNotExpecting);
  Founding asked(NodeId{1}, 3, std::nullopt);
  const disk::Grant grant = frames<GrantAskFrame>(ask(asked))[0].second.grant;
  asked.on_answer(NodeId{2}, {grant.id, GrantVerdict::kNotExpecting, {}, {}});
  EXPECT_TRUE(asked.take_actions().waits);
}

TEST(Founding, APromiseForAFoundingThatIsOffIsWithdrawn) {
  Founding founding(NodeId{1}, 3, std::nullopt);
  kv::ClusterId stale;
  stale.bytes[0] = 3;
  founding.on_answer(NodeId{2}, {stale, GrantVerdict::kGranted, {}, {}});
  const auto withdrawals = frames<GrantWithdrawFrame>(founding.take_actions());
  ASSERT_EQ(withdrawals.size(), 1U);
  EXPECT_EQ(withdrawals[0].second.id, stale);
}

// --- in a cluster -------------------------------------------------------------------------------------------------

void expect_three(Config& config) { config.bootstrap_expect = 3; }

bool one_cluster(FakeCluster& cluster, std::uint64_t count) {
  for (std::uint64_t id = 2; id <= count; ++id) {
    if (cluster.store(id).cluster_id() != cluster.store(1).cluster_id()) return false;
  }
  return !cluster.store(1).cluster_id().is_none();
}

TEST(FoundingCluster, FourOfThreeExpectedEndInOneCluster) {
  FakeCluster cluster;
  for (int i = 0; i < 4; ++i) cluster.add(expect_three);
  EXPECT_TRUE(cluster.run_until([&] { return one_cluster(cluster, 4); }, 10s));
  EXPECT_TRUE(cluster.await_voters(3));
}

/// Six agents, all told to found with three: two groups that know only one another, but for one agent in each group that
/// has heard of the other. Without the promisers' own look this makes two clusters.
TEST(FoundingCluster, TwiceAsManyAsExpectedInTwoGroupsEndInOneCluster) {
  for (std::uint64_t bridge = 4; bridge <= 6; ++bridge) {
    FakeCluster cluster(bridge);
    for (std::uint64_t id = 1; id <= 6; ++id) {
      const bool low = id <= 3;
      auto& view = cluster.gossip_override[NodeId{id}];
      for (std::uint64_t other = low ? 1 : 4; other <= (low ? 3U : 6U); ++other) view.push_back(member(other));
      if (id == bridge) view.push_back(member(2));
      cluster.add(expect_three);
    }
    cluster.run(3s);
    for (std::uint64_t id = 4; id <= 6; ++id) EXPECT_TRUE(cluster.store(id).cluster_id().is_none()) << id;
    cluster.gossip_override.clear();
    EXPECT_TRUE(cluster.run_until([&] { return one_cluster(cluster, 6); }, 20s)) << "bridge " << bridge;
  }
}

TEST(FoundingCluster, DifferentViewsOfWhoIsThereEndInOneCluster) {
  FakeCluster cluster;
  for (int i = 0; i < 4; ++i) {
    // 2 believes that it is the lowest for a while.
    cluster.gossip_override[NodeId{2}] = {member(2), member(3), member(4)};
    cluster.gossip_override[NodeId{1}] = {member(1), member(2), member(3)};
    cluster.add(expect_three);
  }
  cluster.run(100ms);
  cluster.gossip_override.clear();
  EXPECT_TRUE(cluster.run_until([&] { return one_cluster(cluster, 4); }, 10s));
}

TEST(FoundingCluster, CrashesAtEveryMomentOfTheFoundingNeverMakeTwoClusters) {
  for (int moment = 0; moment < 40; ++moment) {
    FakeCluster cluster(static_cast<std::uint64_t>(moment) + 1);
    for (int i = 0; i < 3; ++i) cluster.add(expect_three);
    cluster.run(Founding::kSettle + moment * 500us);
    const NodeId victim{static_cast<std::uint64_t>(moment) % 3 + 1};
    cluster.crash(victim);
    cluster.run(300ms);
    cluster.restart(victim);
    ASSERT_TRUE(cluster.run_until([&] { return one_cluster(cluster, 3); }, 20s)) << moment;
    ASSERT_TRUE(cluster.await_leader());
    EXPECT_TRUE(cluster.put(2, "k", "v")) << moment;
  }
}

TEST(FoundingCluster, TwoBootstrappedClustersDoNotMix) {
  FakeCluster cluster;
  cluster.add();
  cluster.add();
  // Neither has heard of the other yet.
  cluster.gossip_override[NodeId{1}] = {member(1, 0)};
  cluster.gossip_override[NodeId{2}] = {member(2, 0)};
  ASSERT_TRUE(cluster.bootstrap(1));
  ASSERT_TRUE(cluster.await(2, cluster.bootstrap_request(2)));
  // A stale view lets leader 1 believe that 2 is free: its frames are refused, and both ids are named.
  cluster.gossip_override[NodeId{1}] = {member(1, 0), member(2, 0)};
  ASSERT_TRUE(cluster.run_until([&] { return !cluster.events<ForeignPeer>(2).empty(); }, 5s));
  const ForeignPeer foreign = cluster.events<ForeignPeer>(2).front();
  EXPECT_EQ(foreign.theirs, cluster.store(1).cluster_id());
  EXPECT_EQ(foreign.ours, cluster.store(2).cluster_id());
  EXPECT_GT(cluster.store(2).counters().frames_foreign, 0U);
  cluster.run(1s);
  EXPECT_EQ(cluster.events<ForeignPeer>(2).size(), 1U) << "told once";
}

TEST(FoundingCluster, BootstrapAfterAPromiseIsRefused) {
  FakeCluster cluster;
  for (int i = 0; i < 3; ++i) cluster.add(expect_three);
  cluster.cut({1}, {2, 3});
  cluster.run(Founding::kSettle + 100ms);
  const auto answer = cluster.await(1, cluster.bootstrap_request(1));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kConflict);
}

}  // namespace
}  // namespace store::test
