#include "store/raft/reads.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

constexpr NodeId kSelf{1};
const TimePoint kStart = TimePoint{} + std::chrono::hours(1);

// Thesis 6.4: only a round begun after the read came in proves anything about it.
TEST(Reads, NeedARoundBegunAfterThem) {
  Reads reads;
  const Round early = reads.begin_round(kStart);
  reads.add(kSelf, 7, Index{5});
  EXPECT_TRUE(reads.round_wanted());
  EXPECT_TRUE(reads.confirm(early).empty());
  const Round late = reads.begin_round(kStart);
  EXPECT_FALSE(reads.round_wanted());
  const auto ready = reads.confirm(late);
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].context, 7u);
  EXPECT_EQ(ready[0].index, Index{5});
  EXPECT_EQ(reads.size(), 0u);
}

TEST(Reads, OneRoundServesAllThatWait) {
  Reads reads;
  for (std::uint64_t i = 0; i < 10; ++i) reads.add(kSelf, i, Index{i});
  const Round round = reads.begin_round(kStart);
  reads.add(kSelf, 99, Index{50});
  EXPECT_EQ(reads.confirm(round).size(), 10u);
  EXPECT_EQ(reads.size(), 1u);
}

TEST(Reads, ALaterRoundConfirmsTheEarlierOnes) {
  Reads reads;
  reads.add(kSelf, 1, Index{1});
  reads.begin_round(kStart);
  reads.begin_round(kStart + std::chrono::milliseconds(5));
  const Round third = reads.begin_round(kStart + std::chrono::milliseconds(9));
  EXPECT_EQ(reads.rounds_open(), 3u);
  EXPECT_EQ(reads.confirm(third).size(), 1u);
  EXPECT_EQ(reads.rounds_open(), 0u);
  EXPECT_EQ(reads.confirmed_at(), kStart + std::chrono::milliseconds(9));
  reads.forget_lease();
  EXPECT_EQ(reads.confirmed_at(), std::nullopt);
}

TEST(Reads, ARoundThatHasNotBegunProvesNothing) {
  Reads reads;
  reads.add(kSelf, 1, Index{1});
  EXPECT_TRUE(reads.confirm(Round{UINT64_MAX}).empty());
  reads.begin_round(kStart);
  EXPECT_EQ(reads.confirm(Round{UINT64_MAX}).size(), 1u);
}

TEST(Reads, HeldReadsGetTheirIndexLate) {
  Reads reads;
  reads.hold(NodeId{2}, 4);
  EXPECT_FALSE(reads.round_wanted());
  EXPECT_TRUE(reads.confirm(reads.begin_round(kStart)).empty());
  reads.release_held(Index{12});
  EXPECT_TRUE(reads.round_wanted());
  const auto ready = reads.confirm(reads.begin_round(kStart));
  ASSERT_EQ(ready.size(), 1u);
  EXPECT_EQ(ready[0].index, Index{12});
  EXPECT_EQ(ready[0].from, NodeId{2});
}

TEST(Reads, DropsHeldAndWaiting) {
  Reads reads;
  reads.hold(kSelf, 1);
  reads.add(kSelf, 2, Index{1});
  EXPECT_EQ(reads.drop_all().size(), 2u);
  EXPECT_EQ(reads.size(), 0u);
}

TEST(Reads, OpenRoundsAreBounded) {
  Reads reads;
  for (int i = 0; i < 1000; ++i) reads.begin_round(kStart);
  EXPECT_EQ(reads.rounds_open(), Reads::kRoundsMax);
}

}  // namespace
}  // namespace store::raft
