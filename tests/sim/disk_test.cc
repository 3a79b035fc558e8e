// The simulated disk: what survives which crash.

#include "tests/sim/disk.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace sim {
namespace {

using store::disk::PersistBatch;
using store::raft::Entry;
using store::raft::EntryKind;
using store::raft::HardState;
using store::raft::Index;
using store::raft::NodeId;
using store::raft::Payload;
using store::raft::Term;

PersistBatch append(std::uint64_t index, std::uint64_t term) {
  PersistBatch batch;
  batch.entries.push_back({Term{term}, Index{index}, EntryKind::kNormal, Payload(std::string(100, 'x'))});
  return batch;
}

class DiskTest : public ::testing::Test {
 protected:
  explicit DiskTest(std::uint64_t seed = 1) : disk(&scheduler, seed, 0) { disk.open(); }
  void run() {
    while (scheduler.run_one()) {
    }
  }
  Scheduler scheduler;
  Disk disk;
  int done = 0;
};

TEST_F(DiskTest, DurableOnlyAfterTheSync) {
  disk.write(append(1, 1), [&](bool ok) { done += ok ? 1 : 0; });
  EXPECT_FALSE(disk.durable().holds(Index{1}, Term{1}));
  EXPECT_EQ(done, 0);
  run();
  EXPECT_TRUE(disk.durable().holds(Index{1}, Term{1}));
  EXPECT_FALSE(disk.durable().holds(Index{1}, Term{2}));
  EXPECT_EQ(done, 1);
  EXPECT_EQ(disk.open().start_count, 2U);
}

TEST_F(DiskTest, BatchesInOrderOneSyncEach) {
  std::string order;
  for (char c = 'a'; c < 'e'; ++c) {
    disk.write(append(static_cast<std::uint64_t>(c - 'a' + 1), 1), [&order, c](bool) { order += c; });
  }
  run();
  EXPECT_EQ(order, "abcd");
  EXPECT_EQ(disk.syncs(), 4U);
  EXPECT_EQ(disk.waiting_max(), 4U);
}

TEST(DiskCrash, LostPowerKeepsAPrefixAndNeverASyncedBatchLess) {
  bool lost = false;
  bool kept = false;
  for (std::uint64_t seed = 1; seed < 60; ++seed) {
    Scheduler scheduler;
    Disk disk(&scheduler, seed, 0);
    disk.open();
    disk.write(append(1, 1), [](bool) {});
    while (scheduler.run_one()) {
    }
    disk.temper().lies = true;
    for (std::uint64_t i = 2; i < 6; ++i) disk.write(append(i, 1), [](bool) {});
    while (scheduler.run_one()) {
    }
    disk.power_lost();
    const auto loaded = disk.open();
    ASSERT_GE(loaded.entries.size(), 1U);
    lost |= loaded.entries.size() < 5;
    kept |= loaded.entries.size() > 1;
    EXPECT_EQ(disk.complaint(), "");
  }
  EXPECT_TRUE(lost && kept);
}

TEST(DiskCrash, KilledProcessKeepsThePageCache) {
  bool lost = false;
  bool kept = false;
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    Scheduler scheduler;
    Disk disk(&scheduler, seed, 0);
    disk.open();
    int done = 0;
    for (std::uint64_t i = 1; i < 4; ++i) disk.write(append(i, 1), [&](bool) { ++done; });
    disk.process_killed();
    while (scheduler.run_one()) {
    }
    EXPECT_EQ(done, 0);
    const std::size_t size = disk.open().entries.size();
    ASSERT_LE(size, 1U);
    (size == 0 ? lost : kept) = true;
  }
  EXPECT_TRUE(lost && kept);
}

TEST_F(DiskTest, FailedSyncIsReportedAndNothingMoreIsTaken) {
  disk.temper().failure_ppm = 1'000'000;
  int failed = 0;
  disk.write(append(1, 1), [&](bool ok) { failed += ok ? 0 : 1; });
  run();
  disk.temper().failure_ppm = 0;
  disk.write(append(2, 1), [&](bool ok) { failed += ok ? 0 : 1; });
  run();
  EXPECT_EQ(failed, 2);
}

TEST(FailedSync, LeavesAnyPartOfWhatWasNotSynced) {
  std::set<std::size_t> found;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    Scheduler scheduler;
    Disk disk(&scheduler, seed, 0);
    disk.open();
    disk.write(append(1, 1), [](bool) {});
    while (scheduler.run_one()) {
    }
    disk.temper().failure_ppm = 1'000'000;
    disk.write(append(2, 1), [](bool ok) { EXPECT_FALSE(ok); });
    disk.write(append(3, 1), [](bool ok) { EXPECT_FALSE(ok); });
    while (scheduler.run_one()) {
    }
    disk.process_killed();
    found.insert(disk.open().entries.size());
  }
  EXPECT_EQ(found, (std::set<std::size_t>{1, 2, 3}));  // what was synced is always there
}

TEST_F(DiskTest, TasksFailWithTheDisk) {
  std::vector<std::string> answers;
  const auto run_task = [&] {
    disk.run({store::disk::TaskSeq{1}, store::disk::OpenView{}}, [&](auto answer) {
      answers.emplace_back(answer ? "done" : store::disk::to_string(answer.error().code));
    });
    run();
  };
  run_task();
  disk.temper().failure_ppm = 1'000'000;
  run_task();
  disk.write(append(1, 1), [](bool) {});
  run();
  disk.temper().failure_ppm = 0;
  run_task();
  EXPECT_EQ(answers, (std::vector<std::string>{"done", store::disk::to_string(store::disk::Errc::kIo),
                                               store::disk::to_string(store::disk::Errc::kStopped)}));
}

TEST_F(DiskTest, ReplaceTrimRecordsAndApplied) {
  PersistBatch batch = append(1, 1);
  batch.entries.push_back({Term{1}, Index{2}, EntryKind::kNormal, Payload()});
  batch.records = {{"a", "1"}, {"b", "2"}};
  batch.applied = store::disk::AppliedMark{Index{1}, Term{1}, {}};
  disk.write(batch, [](bool) {});
  PersistBatch trim;
  trim.trim = store::disk::LogStart{Index{1}, Term{1}};
  trim.records = {{"a", std::nullopt}};
  disk.write(trim, [](bool) {});
  run();
  auto loaded = disk.open();
  EXPECT_EQ(loaded.start.index, Index{1});
  EXPECT_EQ(loaded.entries.size(), 1U);
  EXPECT_EQ(loaded.records.size(), 1U);
  EXPECT_TRUE(disk.durable().holds(Index{1}, Term{9}));  // behind the start everything counts as held
  PersistBatch snapshot;
  snapshot.replace_all = true;
  snapshot.applied = store::disk::AppliedMark{Index{9}, Term{3}, {}};
  snapshot.records = {{"z", "9"}};
  disk.write(snapshot, [](bool) {});
  run();
  loaded = disk.open();
  EXPECT_EQ(loaded.start.index, Index{9});
  EXPECT_TRUE(loaded.entries.empty());
  EXPECT_EQ(loaded.records.front().key, "z");
  EXPECT_EQ(disk.complaint(), "");
}

TEST(DiskImage, ComplainsAboutBatchesThatBreakTheRules) {
  DiskImage gap;
  EXPECT_NE(gap.apply(append(3, 1)), "");
  DiskImage vote;
  PersistBatch first;
  first.hard = HardState{Term{2}, NodeId{1}, Index{}};
  EXPECT_EQ(vote.apply(first), "");
  PersistBatch second;
  second.hard = HardState{Term{2}, NodeId{3}, Index{}};
  EXPECT_NE(vote.apply(second), "");
  DiskImage trims;
  PersistBatch trim;
  trim.trim = store::disk::LogStart{Index{5}, Term{1}};
  EXPECT_NE(trims.apply(trim), "");
  DiskImage applied;
  PersistBatch both = append(1, 1);
  both.applied = store::disk::AppliedMark{Index{1}, Term{1}, {}};
  EXPECT_EQ(applied.apply(both), "");
  EXPECT_NE(applied.apply(append(1, 2)), "");
  DiskImage cluster;
  PersistBatch id;
  id.cluster_id = store::kv::ClusterId{};
  id.cluster_id->bytes[0] = 1;
  EXPECT_EQ(cluster.apply(id), "");
  id.cluster_id->bytes[0] = 2;
  EXPECT_NE(cluster.apply(id), "");
}

}  // namespace
}  // namespace sim
