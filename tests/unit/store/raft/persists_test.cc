#include "store/raft/persists.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

TEST(Persists, AckConfirmsItsBatchAndAllBefore) {
  Persists persists;
  const PersistSeq first = persists.begin(Index{3}, Term{1});
  const PersistSeq second = persists.begin(Index{5}, Term{1});
  EXPECT_EQ(persists.newest(), second);
  EXPECT_FALSE(persists.idle());
  EXPECT_EQ(persists.acknowledge(second, Index{5}, Term{1}), Index{5});
  EXPECT_TRUE(persists.idle());
  EXPECT_EQ(persists.acknowledged(), second);
  EXPECT_EQ(persists.acknowledge(first, Index{3}, Term{1}), Index{0});  // old news
}

// The entry (5, term 1) is replaced by (5, term 2) and comes back as (5, term 1), all three writes under way. The ack
// of the first names index and term of the present entry, and still confirms only what was not touched.
TEST(Persists, ReplacedEntriesAreNotConfirmedEvenIfTheSameOnesComeBack) {
  Persists persists;
  const PersistSeq first = persists.begin(Index{5}, Term{1});
  persists.truncate(Index{5});
  const PersistSeq second = persists.begin(Index{5}, Term{2});
  persists.truncate(Index{5});
  const PersistSeq third = persists.begin(Index{5}, Term{1});
  EXPECT_EQ(persists.acknowledge(first, Index{5}, Term{1}), Index{4});
  EXPECT_EQ(persists.acknowledge(second, Index{5}, Term{2}), Index{4});
  EXPECT_EQ(persists.acknowledge(third, Index{5}, Term{1}), Index{5});
}

TEST(Persists, RefusesAcksForWhatWasNeverHandedOut) {
  Persists persists;
  EXPECT_EQ(persists.acknowledge(PersistSeq{1}, Index{1}, Term{1}), std::nullopt);
  EXPECT_EQ(persists.acknowledge(PersistSeq{0}, Index{0}, Term{0}), std::nullopt);
  const PersistSeq seq = persists.begin(Index{5}, Term{2});
  EXPECT_EQ(persists.acknowledge(seq, Index{5}, Term{1}), std::nullopt);
  EXPECT_EQ(persists.acknowledge(seq, Index{6}, Term{2}), std::nullopt);
  EXPECT_EQ(persists.acknowledge(seq, Index{5}, Term{2}), Index{5});
}

TEST(Persists, IsBounded) {
  Persists persists;
  for (std::size_t i = 0; i < Persists::kInFlightMax; ++i) {
    EXPECT_FALSE(persists.full());
    persists.begin(Index{i}, Term{1});
  }
  EXPECT_TRUE(persists.full());
  EXPECT_EQ(persists.acknowledge(PersistSeq{1}, Index{0}, Term{1}), Index{0});
  EXPECT_FALSE(persists.full());
}

}  // namespace
}  // namespace store::raft
