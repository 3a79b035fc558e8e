#include "store/membership.h"

#include <gtest/gtest.h>

/// The leader's policy, rule by rule as membership.h numbers them. Node 1 is the leader.
namespace store {
namespace {

using namespace std::chrono_literals;
using raft::ConfChangeKind;

const TimePoint kStart = TimePoint{} + 1h;

class MembershipTest : public testing::Test {
 protected:
  MembershipTest() : policy(settings()) { policy.take_office(); }
  static Membership::Settings settings() {
    Membership::Settings s;
    s.self = NodeId{1};
    s.voters_target = 5;
    s.replace_after = 60s;
    return s;
  }
  void voters(std::vector<std::uint64_t> ids) { conf.voters = nodes(ids); }
  void learners(std::vector<std::uint64_t> ids) { conf.learners = nodes(ids); }
  static std::vector<NodeId> nodes(const std::vector<std::uint64_t>& ids) {
    std::vector<NodeId> found;
    for (const std::uint64_t id : ids) found.push_back(NodeId{id});
    return found;
  }
  void know(std::uint64_t id, Liveness liveness = Liveness::kAlive) {
    std::erase_if(members, [id](const MemberInfo& member) { return member.id == NodeId{id}; });
    MemberInfo info;
    info.id = NodeId{id};
    info.liveness = liveness;
    members.push_back(info);
  }
  /// Looks every 100 ms for a while; `silent` are not heard by Raft.
  void observe(Duration time = 1s, const std::set<std::uint64_t>& silent = {}) {
    for (const TimePoint end = now + time; now < end; now += 100ms) {
      std::vector<raft::PeerStatus> peers;
      std::set<NodeId> all(conf.voters.begin(), conf.voters.end());
      all.insert(conf.learners.begin(), conf.learners.end());
      for (const NodeId id : all) {
        raft::PeerStatus peer;
        peer.id = id;
        const bool heard = !silent.contains(id.value);
        if (heard) heard_at[id] = now;
        if (heard_at.contains(id)) peer.last_contact = heard_at[id];
        peer.match = heard ? last : raft::Index{1};
        peers.push_back(peer);
      }
      policy.observe(peers, members, last, now);
      last = last.plus(3);
    }
  }
  std::optional<raft::ConfChange> wanted() { return policy.wanted(conf, ours, now); }
  /// E.g. "+v4 -2 +l5"; "" = nothing.
  std::string text() {
    const auto change = wanted();
    std::string words;
    if (!change) return words;
    for (const raft::ConfChangeStep& step : change->steps) {
      words += words.empty() ? "" : " ";
      words += step.kind == ConfChangeKind::kAddVoter ? "+v" : step.kind == ConfChangeKind::kAddLearner ? "+l" : "-";
      words += std::to_string(step.node.value);
    }
    return words;
  }

  Membership policy;
  raft::ConfState conf;
  std::vector<MemberInfo> members;
  std::map<NodeId, TimePoint> heard_at;
  kv::ClusterId ours{{1}};
  raft::Index last{100};
  TimePoint now = kStart;
};

TEST_F(MembershipTest, Rule1LiveMembersOfNoClusterOrOursBecomeLearners) {
  voters({1});
  know(1);
  know(2);
  observe();
  EXPECT_EQ(text(), "+l2");
  members.back().cluster_id = ours;
  observe();
  EXPECT_EQ(text(), "+l2");
  members.back().cluster_id.bytes[0] = 7;
  observe();
  EXPECT_EQ(text(), "") << "another cluster's";
  know(2, Liveness::kDead);
  observe();
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Rule2PromotionsKeepTheCountOdd) {
  voters({1});
  learners({2});
  observe();
  EXPECT_EQ(text(), "") << "two nodes: one voter and one learner";
  learners({2, 3});
  observe();
  EXPECT_EQ(text(), "+v2 +v3") << "one joint change";
  voters({1, 2, 3});
  learners({4});
  observe();
  EXPECT_EQ(text(), "");
  learners({4, 5, 6, 7});
  observe();
  EXPECT_EQ(text(), "+v4 +v5") << "no more than the target";
  voters({1, 2});
  learners({3});
  observe();
  EXPECT_EQ(text(), "+v3") << "from two to three";
}

TEST_F(MembershipTest, Rule2OnlyCaughtUpLearnersThatAreThereAndWantTo) {
  voters({1});
  learners({2, 3});
  observe(1s, {3});
  EXPECT_EQ(text(), "") << "3 lags behind and is silent";
  observe(1s);
  EXPECT_EQ(text(), "+v2 +v3");
  know(3);
  members.back().wants_vote = false;
  observe();
  EXPECT_EQ(text(), "") << "a witness stays a learner";
}

TEST_F(MembershipTest, Rule2ARoundThatTakesTooLongIsNotCaughtUp) {
  voters({1});
  learners({2, 3});
  observe();
  ASSERT_EQ(text(), "+v2 +v3");
  observe(700ms, {2, 3});  // heard a moment ago, but its log stands still
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Rule3AVoterGoneForLongIsExchanged) {
  voters({1, 2, 3});
  learners({4});
  observe();
  observe(60s, {3});
  EXPECT_EQ(text(), "") << "gone from the moment at which its silence was noticed";
  observe(1500ms, {3});
  EXPECT_EQ(text(), "-3 +v4");
  observe(100ms);
  EXPECT_EQ(text(), "") << "it came back";
}

TEST_F(MembershipTest, Rule3WithoutALearnerADeadVoterStays) {
  voters({1, 2, 3});
  observe();
  observe(70s, {3});
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Rule3NothingIsTriedWithoutALiveMajority) {
  voters({1, 2, 3});
  learners({4});
  observe();
  observe(70s, {2, 3});
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Rule4WhoLeftGoesAtOnce) {
  voters({1, 2, 3});
  learners({4});
  observe();
  know(3, Liveness::kLeft);
  observe(100ms);
  EXPECT_EQ(text(), "-3 +v4");
  learners({});
  observe(100ms);
  EXPECT_EQ(text(), "-3");
  voters({1, 3});
  observe(100ms);
  EXPECT_EQ(text(), "") << "1 alone is no majority of the old two: 3 cannot confirm its own removal";
  know(1, Liveness::kLeft);
  voters({1});
  observe(100ms);
  EXPECT_EQ(text(), "") << "the leader never removes itself";
}

TEST_F(MembershipTest, Rule5LearnersGoneForVeryLongAreDropped) {
  voters({1, 2, 3});
  learners({4});
  observe();
  observe(599s, {4});
  EXPECT_EQ(text(), "");
  observe(2s, {4});
  EXPECT_EQ(text(), "-4");
  observe(100ms);
  know(4, Liveness::kLeft);
  observe(100ms);
  EXPECT_EQ(text(), "-4");
}

TEST_F(MembershipTest, WhileJointNothingIsWanted) {
  voters({1, 2, 3});
  conf.voters_outgoing = nodes({1});
  know(9);
  observe();
  EXPECT_EQ(text(), "");
  EXPECT_FALSE(policy.removable(conf, NodeId{2}));
}

TEST_F(MembershipTest, ANewLeaderTrustsNobodyBeforeItHearsThem) {
  voters({1, 2, 3});
  learners({4});
  observe();
  policy.take_office();
  heard_at.clear();
  observe(100ms, {2, 3, 4});
  EXPECT_FALSE(policy.removable(conf, NodeId{2}));
  know(3, Liveness::kLeft);
  observe(100ms, {2, 3, 4});
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Removable) {
  voters({1, 2, 3});
  learners({4});
  observe();
  EXPECT_TRUE(policy.removable(conf, NodeId{3}));
  EXPECT_TRUE(policy.removable(conf, NodeId{4}));
  EXPECT_FALSE(policy.removable(conf, NodeId{9}));
  observe(2s, {2});
  EXPECT_FALSE(policy.removable(conf, NodeId{3})) << "1 of {1, 2} would be no majority";
  EXPECT_TRUE(policy.removable(conf, NodeId{2}));
  voters({1});
  EXPECT_FALSE(policy.removable(conf, NodeId{1}));
}

TEST_F(MembershipTest, TheConfigurationIsBounded) {
  voters({1});
  for (std::uint64_t id = 2; id <= kv::kMembersMax; ++id) conf.learners.push_back(NodeId{id});
  know(5000);
  observe(100ms, {});
  policy.take_office();
  EXPECT_EQ(text(), "");
}

TEST_F(MembershipTest, Rule6FourVotersBecomeThreeAndALearnerAfterAWhile) {
  voters({1, 2, 3, 4});
  observe(59s);
  EXPECT_EQ(text(), "");
  observe(2s);
  EXPECT_EQ(text(), "+l4");
  voters({1, 2, 3, 4, 5});
  observe(61s);
  EXPECT_EQ(text(), "") << "five are odd";
  voters({1, 2});
  observe(120s);
  EXPECT_EQ(text(), "") << "two hold every write twice";
}

TEST_F(MembershipTest, Rule6TheGoneOneGoesFirstAndNeverBelowAMajority) {
  voters({1, 2, 3, 4, 5, 6});
  observe(40s);
  observe(21s, {3});
  EXPECT_EQ(text(), "+l3");
  observe(2s, {3, 4});
  EXPECT_EQ(text(), "+l3") << "four of six live: three of five would, too";
  observe(2s, {3, 4, 5});
  EXPECT_EQ(text(), "") << "no majority lives: nothing can be committed";
}

TEST_F(MembershipTest, Rule6NotTheLeaderItself) {
  Membership::Settings other = settings();
  other.self = NodeId{4};
  policy = Membership(other);
  voters({1, 2, 3, 4});
  observe(61s);
  EXPECT_EQ(text(), "+l3");
}

}  // namespace
}  // namespace store
