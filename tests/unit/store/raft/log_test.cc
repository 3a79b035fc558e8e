#include "store/raft/log.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

Entry entry(std::uint64_t index, std::uint64_t term, std::size_t bytes = 0) {
  return {Term{term}, Index{index}, EntryKind::kNormal, Payload(std::string(bytes, 'x'))};
}

/// Indexes 4 .. 8 with terms 1 1 2 2 5 after a snapshot at 3 in term 1.
Log sample() { return Log(Index{3}, Term{1}, {entry(4, 1), entry(5, 1), entry(6, 2), entry(7, 2), entry(8, 5)}); }

TEST(Log, KnowsItsEdges) {
  const Log log = sample();
  EXPECT_EQ(log.first_index(), Index{4});
  EXPECT_EQ(log.last_index(), Index{8});
  EXPECT_EQ(log.last_term(), Term{5});
  EXPECT_EQ(log.durable(), Index{8});
  EXPECT_EQ(log.commit(), Index{3});
  EXPECT_EQ(*log.term(Index{3}), Term{1});
  EXPECT_EQ(*log.term(Index{6}), Term{2});
  EXPECT_EQ(log.term(Index{2}).error().code, Errc::kCompacted);
  EXPECT_EQ(log.term(Index{9}).error().code, Errc::kUnavailable);
  EXPECT_TRUE(log.matches(Index{8}, Term{5}));
  EXPECT_FALSE(log.matches(Index{8}, Term{4}));
  EXPECT_FALSE(log.matches(Index{9}, Term{5}));
}

TEST(Log, EmptyLogBeginsAtOne) {
  const Log log;
  EXPECT_EQ(log.first_index(), Index{1});
  EXPECT_EQ(log.last_index(), Index{0});
  EXPECT_TRUE(log.matches(Index{0}, Term{0}));
}

// Thesis 3.6.1: higher last term wins, then the longer log.
TEST(Log, UpToDate) {
  const Log log = sample();
  EXPECT_TRUE(log.up_to_date(Index{1}, Term{6}));
  EXPECT_TRUE(log.up_to_date(Index{8}, Term{5}));
  EXPECT_TRUE(log.up_to_date(Index{9}, Term{5}));
  EXPECT_FALSE(log.up_to_date(Index{7}, Term{5}));
  EXPECT_FALSE(log.up_to_date(Index{99}, Term{4}));
}

TEST(Log, SliceIsBoundedByBytesButGivesOne) {
  const Log log(Index{0}, Term{0}, {entry(1, 1, 10), entry(2, 1, 10), entry(3, 1, 10)});
  EXPECT_EQ(log.bytes(), 30u);
  EXPECT_EQ(log.slice(Index{1}, Index{3}, 20)->size(), 2u);
  EXPECT_EQ(log.slice(Index{1}, Index{3}, 19)->size(), 1u);
  EXPECT_EQ(log.slice(Index{1}, Index{3}, 1)->size(), 1u);
  EXPECT_EQ(log.slice(Index{2}, Index{3}, SIZE_MAX)->size(), 2u);
  EXPECT_TRUE(log.slice(Index{3}, Index{2}, 1)->empty());
  EXPECT_EQ(log.slice(Index{0}, Index{3}, 1).error().code, Errc::kCompacted);
  EXPECT_EQ(log.slice(Index{1}, Index{4}, 1).error().code, Errc::kUnavailable);
}

// Thesis 3.5: skip whole terms when looking for the place where two logs agree.
TEST(Log, ConflictByTerm) {
  const Log log = sample();
  EXPECT_EQ(log.conflict_by_term(Index{8}, Term{4}).index, Index{7});
  EXPECT_EQ(log.conflict_by_term(Index{8}, Term{4}).term, Term{2});
  EXPECT_EQ(log.conflict_by_term(Index{7}, Term{1}).index, Index{5});
  EXPECT_EQ(log.conflict_by_term(Index{8}, Term{9}).index, Index{8});
  EXPECT_EQ(log.conflict_by_term(Index{20}, Term{9}).index, Index{20});  // not there: may agree
  EXPECT_EQ(log.conflict_by_term(Index{20}, Term{9}).term, Term{0});
  EXPECT_EQ(log.conflict_by_term(Index{5}, Term{0}).index, Index{2});  // compacted: may agree
}

TEST(Log, FindsTheFirstEntryThatDiffersOrIsMissing) {
  const Log log = sample();
  EXPECT_EQ(log.find_conflict({entry(7, 2), entry(8, 5)}), std::nullopt);
  EXPECT_EQ(log.find_conflict({}), std::nullopt);
  EXPECT_EQ(log.find_conflict({entry(7, 2), entry(8, 6)}), Index{8});
  EXPECT_EQ(log.find_conflict({entry(8, 5), entry(9, 5)}), Index{9});
}

TEST(Log, AppendReplacesTheTailAndItsDiskMarks) {
  Log log = sample();
  const std::vector<Entry> tail = {entry(7, 6, 4), entry(8, 6)};
  ASSERT_TRUE(log.append(tail));
  EXPECT_EQ(log.last_index(), Index{8});
  EXPECT_EQ(*log.term(Index{7}), Term{6});
  EXPECT_EQ(log.durable(), Index{6});
  EXPECT_EQ(log.handed(), Index{6});
  EXPECT_EQ(log.bytes(), 4u);
  log.handed_to(Index{8});
  log.durable_to(Index{7});
  EXPECT_EQ(log.durable(), Index{7});
  log.durable_to(Index{5});
  EXPECT_EQ(log.durable(), Index{7});
}

TEST(Log, CommittedEntriesAreNeverReplacedAndNoGapArises) {
  Log log = sample();
  ASSERT_TRUE(log.commit_to(Index{6}));
  const std::vector<Entry> over_committed = {entry(6, 7)};
  const std::vector<Entry> with_gap = {entry(10, 7)};
  EXPECT_FALSE(log.append(over_committed));
  EXPECT_FALSE(log.append(with_gap));
  EXPECT_EQ(log.last_index(), Index{8});
  EXPECT_EQ(*log.term(Index{6}), Term{2});
  EXPECT_TRUE(log.append({}));
}

TEST(Log, CommitStaysInsideTheLogAndNeverGoesBack) {
  Log log = sample();
  EXPECT_FALSE(log.commit_to(Index{9}));
  EXPECT_TRUE(log.commit_to(Index{7}));
  EXPECT_TRUE(log.commit_to(Index{4}));
  EXPECT_EQ(log.commit(), Index{7});
}

TEST(Log, CompactsUpToAppliedAndDurable) {
  Log log = sample();
  ASSERT_TRUE(log.commit_to(Index{7}));
  EXPECT_EQ(log.compact(Index{4}).error().code, Errc::kUnavailable);  // not applied
  log.applied_to(Index{6});
  EXPECT_EQ(log.compact(Index{7}).error().code, Errc::kUnavailable);
  ASSERT_TRUE(log.compact(Index{6}));
  EXPECT_EQ(log.first_index(), Index{7});
  EXPECT_EQ(*log.term(Index{6}), Term{2});
  EXPECT_EQ(log.term(Index{5}).error().code, Errc::kCompacted);
  EXPECT_EQ(log.compact(Index{6}).error().code, Errc::kCompacted);
  EXPECT_EQ(log.at(Index{7}).term, Term{2});
}

TEST(Log, RestoreReplacesEverythingAndIsNotDurable) {
  Log log = sample();
  log.restore(Index{50}, Term{9});
  EXPECT_EQ(log.first_index(), Index{51});
  EXPECT_EQ(log.last_index(), Index{50});
  EXPECT_EQ(log.last_term(), Term{9});
  EXPECT_EQ(log.commit(), Index{50});
  EXPECT_EQ(log.applied(), Index{50});
  EXPECT_EQ(log.durable(), Index{0});
  EXPECT_EQ(log.bytes(), 0u);
}

}  // namespace
}  // namespace store::raft
