#include "store/raft/quorum.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

VoterSet set(std::initializer_list<std::uint64_t> ids) {
  VoterSet out;
  for (std::uint64_t id : ids) out.insert(NodeId{id});
  return out;
}

AckedIndex acked(std::map<std::uint64_t, std::uint64_t> values) {
  return [values](NodeId id) -> std::optional<Index> {
    const auto found = values.find(id.value);
    return found == values.end() ? std::nullopt : std::optional(Index{found->second});
  };
}

TEST(Quorum, EmptySetCommitsEverythingAndWinsEveryVote) {
  EXPECT_EQ(committed_index({}, acked({})), kIndexUnlimited);
  EXPECT_EQ(vote_result(VoterSet{}, {}), VoteResult::kWon);
}

TEST(Quorum, CommittedIsWhatAMajorityHas) {
  EXPECT_EQ(committed_index(set({1}), acked({{1, 7}})), Index{7});
  EXPECT_EQ(committed_index(set({1, 2}), acked({{1, 7}, {2, 3}})), Index{3});
  EXPECT_EQ(committed_index(set({1, 2, 3}), acked({{1, 7}, {2, 3}})), Index{3});
  EXPECT_EQ(committed_index(set({1, 2, 3, 4}), acked({{1, 7}, {2, 5}, {3, 4}, {4, 1}})), Index{4});
  EXPECT_EQ(committed_index(set({1, 2, 3, 4, 5}), acked({{1, 9}, {2, 8}, {3, 7}})), Index{7});
  EXPECT_EQ(committed_index(set({1, 2, 3}), acked({{4, 100}, {1, 2}})), Index{0});
}

// Brute force: the answer is the greatest value that at least a majority reaches.
TEST(Quorum, CommittedAgreesWithCountingOnAllSmallCases) {
  for (std::size_t n = 1; n <= 5; ++n) {
    std::size_t cases = 1;
    for (std::size_t i = 0; i < n; ++i) cases *= 4;
    for (std::size_t code = 0; code < cases; ++code) {
      VoterSet voters;
      std::map<std::uint64_t, std::uint64_t> values;
      for (std::size_t i = 0, rest = code; i < n; ++i, rest /= 4) {
        voters.insert(NodeId{i + 1});
        values[i + 1] = rest % 4;
      }
      std::uint64_t best = 0;
      for (std::uint64_t candidate = 1; candidate < 4; ++candidate) {
        std::size_t have = 0;
        for (const auto& [id, value] : values) have += value >= candidate ? 1 : 0;
        if (have >= n / 2 + 1) best = candidate;
      }
      ASSERT_EQ(committed_index(voters, acked(values)), Index{best}) << n << " voters, case " << code;
    }
  }
}

// Thesis 4.3: in a joint configuration both majorities must agree.
TEST(Quorum, JointNeedsBothHalves) {
  const auto values = acked({{1, 10}, {2, 10}, {3, 10}, {4, 2}, {5, 2}});
  EXPECT_EQ(committed_index(set({1, 2, 3}), set({3, 4, 5}), values), Index{2});
  EXPECT_EQ(committed_index(set({1, 2, 3}), {}, values), Index{10});
  const std::map<NodeId, bool> votes = {{NodeId{1}, true}, {NodeId{2}, true}, {NodeId{4}, false}};
  EXPECT_EQ(vote_result(set({1, 2, 3}), set({3, 4, 5}), votes), VoteResult::kPending);
  EXPECT_EQ(vote_result(set({1, 2, 3}), set({4}), votes), VoteResult::kLost);
  EXPECT_EQ(vote_result(set({1, 2, 3}), set({1, 2}), votes), VoteResult::kWon);
}

TEST(Quorum, VoteIsLostWhenAMajorityIsOutOfReach) {
  std::map<NodeId, bool> votes = {{NodeId{1}, false}};
  EXPECT_EQ(vote_result(set({1, 2, 3}), votes), VoteResult::kPending);
  votes[NodeId{2}] = false;
  EXPECT_EQ(vote_result(set({1, 2, 3}), votes), VoteResult::kLost);
  EXPECT_EQ(vote_result(set({1, 2}), {{NodeId{1}, false}}), VoteResult::kLost);
  EXPECT_STREQ(to_string(VoteResult::kPending), "VotePending");
  EXPECT_STREQ(to_string(VoteResult::kLost), "VoteLost");
  EXPECT_STREQ(to_string(VoteResult::kWon), "VoteWon");
}

}  // namespace
}  // namespace store::raft
