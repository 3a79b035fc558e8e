#include "store/raft/progress.h"

#include <gtest/gtest.h>

namespace store::raft {
namespace {

TEST(Inflights, HoldsUpToItsCapacityAndForgetsFromTheFront) {
  Inflights window(2);
  window.add(Index{3});
  EXPECT_FALSE(window.full());
  window.add(Index{5});
  EXPECT_TRUE(window.full());
  window.free_to(Index{2});
  EXPECT_EQ(window.size(), 2u);
  window.free_to(Index{3});
  EXPECT_EQ(window.size(), 1u);
  window.free_to(Index{9});
  EXPECT_EQ(window.size(), 0u);
  window.add(Index{10});
  window.reset();
  EXPECT_EQ(window.size(), 0u);
  EXPECT_EQ(window.capacity(), 2u);
}

TEST(Progress, ProbeSendsOneAppendAndWaits) {
  Progress progress(Index{5}, 2);
  EXPECT_EQ(progress.state(), ProgressState::kProbe);
  EXPECT_FALSE(progress.paused());
  progress.sent_entries(3);
  EXPECT_TRUE(progress.paused());
  EXPECT_EQ(progress.next(), Index{5});  // not moved on before the answer
  EXPECT_TRUE(progress.maybe_update(Index{4}));
  EXPECT_FALSE(progress.paused());
}

TEST(Progress, EmptyProbeDoesNotPause) {
  Progress progress(Index{5}, 2);
  progress.sent_entries(0);
  EXPECT_FALSE(progress.paused());
}

TEST(Progress, ReplicateMovesOnAndPausesWhenTheWindowIsFull) {
  Progress progress(Index{1}, 2);
  progress.become_replicate();
  progress.sent_entries(2);
  EXPECT_EQ(progress.next(), Index{3});
  EXPECT_FALSE(progress.paused());
  progress.sent_entries(1);
  EXPECT_TRUE(progress.paused());
  EXPECT_TRUE(progress.maybe_update(Index{2}));
  progress.free_inflights(Index{2});
  EXPECT_FALSE(progress.paused());
  EXPECT_EQ(progress.inflights().size(), 1u);
}

TEST(Progress, UpdateGrowsOnly) {
  Progress progress(Index{1}, 2);
  EXPECT_TRUE(progress.maybe_update(Index{4}));
  EXPECT_EQ(progress.next(), Index{5});
  EXPECT_FALSE(progress.maybe_update(Index{4}));
  EXPECT_FALSE(progress.maybe_update(Index{2}));
  EXPECT_EQ(progress.match(), Index{4});
}

TEST(Progress, RefusalOfAProbeGoesBackToTheHint) {
  Progress progress(Index{10}, 2);
  EXPECT_FALSE(progress.maybe_decrease(Index{8}, Index{3}));  // not the probe that is out
  EXPECT_TRUE(progress.maybe_decrease(Index{9}, Index{3}));
  EXPECT_EQ(progress.next(), Index{4});
  EXPECT_TRUE(progress.maybe_decrease(Index{3}, Index{7}));  // a hint never leads forward
  EXPECT_EQ(progress.next(), Index{3});
}

TEST(Progress, StaleRefusalWhileReplicatingIsIgnored) {
  Progress progress(Index{1}, 2);
  ASSERT_TRUE(progress.maybe_update(Index{5}));
  progress.become_replicate();
  progress.sent_entries(2);
  EXPECT_FALSE(progress.maybe_decrease(Index{5}, Index{1}));
  EXPECT_TRUE(progress.maybe_decrease(Index{6}, Index{1}));
  EXPECT_EQ(progress.next(), Index{6});
}

TEST(Progress, NeverGoesBelowWhatMatched) {
  Progress progress(Index{1}, 2);
  ASSERT_TRUE(progress.maybe_update(Index{5}));
  EXPECT_TRUE(progress.maybe_decrease(Index{5}, Index{0}));
  EXPECT_EQ(progress.next(), Index{6});
}

TEST(Progress, SnapshotPausesUntilItIsOverAndProbesBehindIt) {
  Progress progress(Index{1}, 2);
  progress.become_snapshot(Index{20});
  EXPECT_TRUE(progress.paused());
  EXPECT_EQ(progress.next(), Index{21});
  EXPECT_EQ(progress.pending_snapshot(), Index{20});
  progress.become_probe();
  EXPECT_EQ(progress.next(), Index{21});
  progress.become_snapshot(Index{30});
  progress.clear_pending_snapshot();  // failed: begin again where it was
  progress.become_probe();
  EXPECT_EQ(progress.next(), Index{1});
}

TEST(Progress, CommitNewsOnlyWhereItSaysSomethingNew) {
  Progress progress(Index{1}, 4);
  progress.become_replicate();
  progress.sent_entries(5);  // next = 6
  EXPECT_TRUE(progress.can_bump_commit(Index{3}));
  progress.sent_commit(Index{3});
  EXPECT_FALSE(progress.can_bump_commit(Index{3}));
  EXPECT_TRUE(progress.can_bump_commit(Index{4}));
  progress.sent_commit(Index{5});  // covers all it has
  EXPECT_FALSE(progress.can_bump_commit(Index{9}));
}

TEST(Progress, DescribesItself) {
  Progress progress(Index{3}, 1);
  EXPECT_EQ(progress.describe(), "StateProbe match=0 next=3 inactive");
  progress.recent_active = true;
  progress.learner = true;
  progress.become_replicate();
  progress.sent_entries(1);
  EXPECT_EQ(progress.describe(), "StateReplicate match=0 next=2 learner paused inflight=1[full]");
  progress.become_snapshot(Index{8});
  EXPECT_EQ(progress.describe(), "StateSnapshot match=0 next=9 learner paused pendingSnap=8");
  EXPECT_STREQ(to_string(ProgressState::kProbe), "StateProbe");
}

}  // namespace
}  // namespace store::raft
