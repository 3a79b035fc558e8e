#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "store/disk/rocks_store.h"
#include "store/kv/record.h"

/// Views, the stage, room and a bounded directory, on the real database.
namespace store::disk {
namespace {

kv::Record row(const std::string& key, const std::string& value) { return {kv::entry_key(key), value}; }

class RocksTasks : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-disk-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    options_.directory = root_ / "store";
    options_.node = raft::NodeId{7};
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(root_);
  }
  LoadedState reopen() {
    store_.reset();
    auto opened = RocksStore::open(options_);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
    store_ = std::move(*opened);
    auto loaded = store_->load();
    EXPECT_TRUE(loaded && read_all(*loaded));
    return std::move(*loaded);
  }
  Result<TaskAnswer> run(TaskWork work) { return store_->run({TaskSeq{++tasks_}, std::move(work)}); }
  static AppliedMark mark(std::uint64_t index) {
    AppliedMark applied{raft::Index{index}, raft::Term{1}, {}};
    applied.conf.voters = {raft::NodeId{7}};
    return applied;
  }
  /// Entry `index` and the row it makes, in one batch.
  void write(std::uint64_t index, std::vector<kv::Record> records) {
    PersistBatch batch;
    batch.entries = {{raft::Term{1}, raft::Index{index}, raft::EntryKind::kNormal, raft::Payload("e")}};
    batch.records = std::move(records);
    batch.applied = mark(index);
    const auto done = store_->write(batch);
    ASSERT_TRUE(done) << done.error().detail;
  }
  std::vector<kv::Record> read_whole(ViewId view, std::size_t piece) {
    std::vector<kv::Record> all;
    for (;;) {
      auto part = run(ReadView{view, piece});
      EXPECT_TRUE(part);
      if (!part || part->records.empty()) return all;
      all.insert(all.end(), part->records.begin(), part->records.end());
    }
  }
  static PersistBatch use_stage(std::uint64_t index) {
    PersistBatch batch;
    batch.replace_all = batch.use_stage = true;
    batch.applied = mark(index);
    batch.hard = raft::HardState{raft::Term{1}, {}, raft::Index{index}};
    return batch;
  }

  std::filesystem::path root_;
  RocksOptions options_;
  std::unique_ptr<RocksStore> store_;
  std::uint64_t tasks_ = 0;
};

TEST_F(RocksTasks, AViewStaysAsItWasWhileTheStateGoesOn) {
  reopen();
  write(1, {row("a", "1"), row("b", "2")});
  const auto opened = run(OpenView{ViewId{1}});
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->mark, mark(1));
  write(2, {row("a", "changed"), {kv::entry_key("b"), std::nullopt}, row("c", "3")});
  EXPECT_EQ(read_whole(ViewId{1}, 1), (std::vector<kv::Record>{row("a", "1"), row("b", "2")}));
  ASSERT_TRUE(run(OpenView{ViewId{2}}));
  EXPECT_EQ(read_whole(ViewId{2}, 1 << 20), (std::vector<kv::Record>{row("a", "changed"), row("c", "3")}));
  EXPECT_TRUE(run(CloseView{ViewId{1}}));
  EXPECT_TRUE(run(CloseView{ViewId{1}})) << "twice is fine";
  EXPECT_EQ(run(ReadView{ViewId{1}, 10}).error().code, Errc::kIo);
}

TEST_F(RocksTasks, AViewMayBeginAtARow) {
  reopen();
  write(1, {row("a", "1"), row("b", "2"), row("d", "4")});
  ASSERT_TRUE(run(OpenView{ViewId{1}, kv::entry_key("b")}));
  EXPECT_EQ(read_whole(ViewId{1}, 1), (std::vector<kv::Record>{row("b", "2"), row("d", "4")}));
  ASSERT_TRUE(run(OpenView{ViewId{2}, kv::entry_key("c")}));
  EXPECT_EQ(read_whole(ViewId{2}, 1), (std::vector<kv::Record>{row("d", "4")}));
  ASSERT_TRUE(run(OpenView{ViewId{3}, kv::entry_key("e")}));
  EXPECT_TRUE(read_whole(ViewId{3}, 1).empty());
}

TEST_F(RocksTasks, ViewsAreBounded) {
  reopen();
  for (std::uint64_t i = 1; i <= kViewsMax; ++i) ASSERT_TRUE(run(OpenView{ViewId{i}}));
  EXPECT_EQ(run(OpenView{ViewId{99}}).error().code, Errc::kIo);
  EXPECT_TRUE(run(CloseView{ViewId{1}}));
  EXPECT_TRUE(run(OpenView{ViewId{99}}));
}

TEST_F(RocksTasks, ASealedStageBecomesTheStateWithOneBatch) {
  reopen();
  write(1, {row("old", "1"), row("older", "2")});
  ASSERT_TRUE(run(OpenView{ViewId{1}}));
  ASSERT_TRUE(run(BeginStage{}));
  ASSERT_TRUE(run(AppendStage{{row("a", "1"), row("b", std::string(100'000, 'x'))}}));
  ASSERT_TRUE(run(AppendStage{{}}));
  ASSERT_TRUE(run(AppendStage{{row("c", "3")}}));
  ASSERT_TRUE(run(SealStage{}));
  write(2, {row("still", "the old state")});
  PersistBatch batch = use_stage(50);
  batch.records = {row("c", "on top"), row("d", "4")};
  ASSERT_TRUE(store_->write(batch));
  EXPECT_EQ(read_whole(ViewId{1}, 1 << 20).size(), 2U) << "a view of what was replaced is still good";
  ASSERT_TRUE(run(CloseView{ViewId{1}}));
  for (int round = 0; round < 2; ++round) {
    const LoadedState loaded = reopen();
    EXPECT_EQ(loaded.records, (std::vector<kv::Record>{row("a", "1"), row("b", std::string(100'000, 'x')),
                                                       row("c", "on top"), row("d", "4")}));
    EXPECT_EQ(loaded.applied, mark(50));
    EXPECT_EQ(loaded.start.index, raft::Index{50});
    EXPECT_TRUE(loaded.entries.empty());
  }
  // And once more, onto the state that was a stage before.
  ASSERT_TRUE(run(BeginStage{}));
  ASSERT_TRUE(run(SealStage{})) << "an empty state is a state";
  ASSERT_TRUE(store_->write(use_stage(60)));
  EXPECT_TRUE(reopen().records.empty());
}

TEST_F(RocksTasks, WhatWasStagedAndNotSwitchedToIsGoneAfterAnEnd) {
  for (const bool sealed : {false, true}) {
    reopen();
    if (!sealed) write(1, {row("a", "1")});
    ASSERT_TRUE(run(BeginStage{}));
    ASSERT_TRUE(run(AppendStage{{row("z", std::string(200'000, 'z'))}}));
    EXPECT_TRUE(!sealed || run(SealStage{}));
    EXPECT_EQ(reopen().records, std::vector<kv::Record>{row("a", "1")});
    EXPECT_FALSE(std::filesystem::exists(options_.directory / "stage.sst"));
  }
}

TEST_F(RocksTasks, AStageIsHeldToItsRules) {
  reopen();
  EXPECT_EQ(run(AppendStage{{row("a", "1")}}).error().code, Errc::kIo) << "not begun";
  EXPECT_EQ(run(SealStage{}).error().code, Errc::kIo);
  ASSERT_TRUE(run(BeginStage{}));
  ASSERT_TRUE(run(AppendStage{{row("b", "1")}}));
  EXPECT_EQ(run(AppendStage{{row("a", "1")}}).error().code, Errc::kCorrupt) << "out of order";
  ASSERT_TRUE(run(DropStage{}));
  ASSERT_TRUE(run(DropStage{}));
  write(1, {row("a", "1")});
  EXPECT_EQ(store_->write(use_stage(9)).error().code, Errc::kCorrupt) << "nothing was sealed";
  EXPECT_EQ(run(BeginStage{}).error().code, Errc::kStopped) << "a failed write ends it all";
  EXPECT_EQ(reopen().records, std::vector<kv::Record>{row("a", "1")});
}

TEST_F(RocksTasks, TheDirectoryStaysBoundedHoweverMuchIsWritten) {
  // A day of writes in a minute: far more than memtables and write-ahead logs hold, over few keys.
  options_.write_buffer_bytes = std::size_t{2} << 20;
  reopen();
  const std::string value(8'192, 'v');
  std::uint64_t index = 0, written = 0, most = 0;
  while (written < std::uint64_t{300} << 20) {
    PersistBatch batch;
    for (int i = 0; i < 64; ++i) {
      batch.entries.push_back({raft::Term{1}, raft::Index{++index}, raft::EntryKind::kNormal, raft::Payload(value)});
      if (i % 4 == 0) batch.records.push_back(row("key" + std::to_string(1000 + index % 100), value));
    }
    std::sort(batch.records.begin(), batch.records.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    batch.applied = mark(index);
    if (index > 512) batch.trim = LogStart{raft::Index{index - 512}, raft::Term{1}};
    written += batch.entries.size() * value.size();
    ASSERT_TRUE(store_->write(batch));
    if (index % 1024 == 0) most = std::max(most, store_->disk_bytes());
  }
  EXPECT_LT(most, std::uint64_t{128} << 20) << "of 300 MiB: RocksDB lets its writer wait at 36 small tables, however late its threads are";
  EXPECT_EQ(reopen().entries.size(), 512U);
}

TEST_F(RocksTasks, RoomIsToldAndTheReserveIsAFileOfTheDirectory) {
  std::uint64_t free = std::uint64_t{1} << 30;
  options_.reserve_bytes = std::uint64_t{8} << 20;
  options_.free_bytes = [&free] { return free; };
  reopen();
  EXPECT_EQ(store_->space(), Space::kPlenty);
  EXPECT_EQ(std::filesystem::file_size(options_.directory / "reserve"), std::uint64_t{4} << 20);
  EXPECT_LT(store_->disk_bytes(), std::uint64_t{4} << 20) << "the reserve is not counted as ours";
  free = 1 << 20;
  EXPECT_EQ(store_->space(), Space::kFull);
  EXPECT_FALSE(std::filesystem::exists(options_.directory / "reserve"));
}

}  // namespace
}  // namespace store::disk
