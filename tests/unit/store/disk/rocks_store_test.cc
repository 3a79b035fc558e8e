#include "store/disk/rocks_store.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "store/disk/rows.h"
#include "store/kv/record.h"

namespace store::disk {
namespace {

raft::Entry entry(std::uint64_t index, std::uint64_t term, const std::string& data = "data") {
  return {raft::Term{term}, raft::Index{index}, raft::EntryKind::kNormal, raft::Payload(data)};
}

kv::Record row(const std::string& key, const std::string& value) { return {kv::entry_key(key), value}; }

/// A fault-injecting Env: the n-th append or sync from now on fails with a status of the test's choice.
class FailingEnv : public rocksdb::EnvWrapper {
 public:
  FailingEnv() : EnvWrapper(rocksdb::Env::Default()) {}
  rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>* file,
                                  const rocksdb::EnvOptions& options) override {
    rocksdb::Status status = target()->NewWritableFile(name, file, options);
    const bool log = name.size() > 4 && name.compare(name.size() - 4, 4, ".log") == 0;
    if (status.ok() && log) *file = std::make_unique<File>(std::move(*file), *this);
    return status;
  }
  /// Fails the n-th call (1 = the next one) and all later ones.
  void fail_append(int n, rocksdb::Status status) { appends_left_ = n, append_status_ = std::move(status); }
  void fail_sync(int n, rocksdb::Status status) { syncs_left_ = n, sync_status_ = std::move(status); }
  int appends = 0, syncs = 0;

 private:
  class File : public rocksdb::WritableFileWrapper {
   public:
    File(std::unique_ptr<rocksdb::WritableFile> real, FailingEnv& env)
        : WritableFileWrapper(real.get()), real_(std::move(real)), env_(env) {}
    rocksdb::Status Append(const rocksdb::Slice& data) override {
      ++env_.appends;
      if (env_.appends_left_ > 0 && --env_.appends_left_ == 0) {
        env_.appends_left_ = 1;
        return env_.append_status_;
      }
      return WritableFileWrapper::Append(data);
    }
    rocksdb::Status Sync() override {
      ++env_.syncs;
      if (env_.syncs_left_ > 0 && --env_.syncs_left_ == 0) {
        env_.syncs_left_ = 1;
        return env_.sync_status_;
      }
      return WritableFileWrapper::Sync();
    }

   private:
    std::unique_ptr<rocksdb::WritableFile> real_;
    FailingEnv& env_;
  };
  int appends_left_ = 0, syncs_left_ = 0;
  rocksdb::Status append_status_, sync_status_;
};

class RocksStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-disk-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    options_.directory = root_ / "store";
    options_.node = raft::NodeId{7};
    cluster_.bytes[0] = 0xaa;
  }
  void TearDown() override {
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  Errc open_error() {
    auto opened = RocksStore::open(options_);
    EXPECT_FALSE(opened);
    return opened ? Errc::kStopped : opened.error().code;
  }
  LoadedState reopen() {
    store_.reset();
    auto opened = RocksStore::open(options_);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
    if (!opened) return {};
    store_ = std::move(*opened);
    auto loaded = store_->load();
    EXPECT_TRUE(loaded) << (loaded ? "" : loaded.error().detail);
    EXPECT_TRUE(loaded && read_all(*loaded));
    return loaded ? std::move(*loaded) : LoadedState{};
  }
  void write(const PersistBatch& batch) {
    const auto done = store_->write(batch);
    ASSERT_TRUE(done) << done.error().detail;
  }
  void append(std::uint64_t from, std::uint64_t to, std::uint64_t term) {
    PersistBatch batch;
    for (std::uint64_t i = from; i <= to; ++i) batch.entries.push_back(entry(i, term, "e" + std::to_string(i)));
    write(batch);
  }
  static AppliedMark mark(std::uint64_t index, std::uint64_t term = 1) {
    AppliedMark applied{raft::Index{index}, raft::Term{term}, {}};
    applied.conf.voters = {raft::NodeId{7}};
    return applied;
  }
  std::vector<std::filesystem::path> files(const std::string& extension) {
    std::vector<std::filesystem::path> found;
    for (const auto& file : std::filesystem::directory_iterator(options_.directory)) {
      if (file.path().extension() == extension) found.push_back(file.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::filesystem::path root_;
  RocksOptions options_;
  kv::ClusterId cluster_;
  std::unique_ptr<RocksStore> store_;
};

TEST_F(RocksStoreTest, ANewDirectoryIsEmptyAndPrivate) {
  const LoadedState loaded = reopen();
  EXPECT_EQ(loaded.start_count, 1U);
  EXPECT_TRUE(loaded.cluster_id.is_none());
  EXPECT_TRUE(loaded.entries.empty());
  EXPECT_FALSE(loaded.grant);
  EXPECT_EQ(loaded.hard, raft::HardState{});
  struct stat info {};
  ASSERT_EQ(stat(options_.directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  EXPECT_GT(store_->disk_bytes(), 0U);
}

TEST_F(RocksStoreTest, EverythingWrittenIsThereAfterAReopen) {
  reopen();
  PersistBatch batch;
  batch.hard = raft::HardState{raft::Term{3}, raft::NodeId{2}, raft::Index{1}};
  batch.entries = {entry(1, 1),
                   entry(2, 3, std::string("\0x", 2)),
                   {raft::Term{3}, raft::Index{3}, raft::EntryKind::kConfChange, raft::Payload("c")}};
  batch.records = {row("a", "1"), row("b", "2")};
  batch.applied = mark(1);
  batch.cluster_id = cluster_;
  const Grant grant{cluster_, raft::NodeId{2}, {raft::NodeId{2}, raft::NodeId{7}}};
  batch.grant.emplace(grant);
  write(batch);
  LoadedState loaded = reopen();
  EXPECT_EQ(loaded.start_count, 2U);
  EXPECT_EQ(loaded.hard, *batch.hard);
  EXPECT_EQ(loaded.entries, batch.entries);
  EXPECT_EQ(loaded.applied, *batch.applied);
  EXPECT_EQ(loaded.records, batch.records);
  EXPECT_EQ(loaded.cluster_id, cluster_);
  EXPECT_EQ(loaded.grant, grant);
  PersistBatch later;
  later.grant.emplace(std::nullopt);
  later.records = {{kv::entry_key("a"), std::nullopt}, row("b", "3")};
  later.applied = mark(2, 3);
  write(later);
  loaded = reopen();
  EXPECT_EQ(loaded.start_count, 3U);
  EXPECT_FALSE(loaded.grant);
  EXPECT_EQ(loaded.records, std::vector<kv::Record>{row("b", "3")});
}

TEST_F(RocksStoreTest, NewEntriesReplaceTheOldTail) {
  reopen();
  append(1, 10, 1);
  PersistBatch batch;
  batch.entries = {entry(4, 2, "new4"), entry(5, 2, "new5")};
  write(batch);
  const LoadedState loaded = reopen();
  ASSERT_EQ(loaded.entries.size(), 5U);
  EXPECT_EQ(loaded.entries[3].data.view(), "new4");
  EXPECT_EQ(loaded.entries.back().index, raft::Index{5});
  append(6, 7, 2);
  EXPECT_EQ(reopen().entries.size(), 7U);
}

TEST_F(RocksStoreTest, TrimDropsTheFrontAndRemembersWhereItBegins) {
  reopen();
  append(1, 100, 1);
  PersistBatch batch;
  batch.applied = mark(90);
  batch.trim = LogStart{raft::Index{60}, raft::Term{1}};
  write(batch);
  PersistBatch again;
  again.trim = LogStart{raft::Index{80}, raft::Term{1}};
  write(again);
  again.trim = LogStart{raft::Index{10}, raft::Term{1}};  // older than what is there: nothing happens
  write(again);
  const LoadedState loaded = reopen();
  EXPECT_EQ(loaded.start, (LogStart{raft::Index{80}, raft::Term{1}}));
  ASSERT_EQ(loaded.entries.size(), 20U);
  EXPECT_EQ(loaded.entries.front().index, raft::Index{81});
  append(101, 101, 1);
  EXPECT_EQ(reopen().entries.size(), 21U);
}

TEST_F(RocksStoreTest, AReplacementPutsASnapshotInPlaceOfEverything) {
  reopen();
  append(1, 10, 1);
  PersistBatch old;
  old.records = {row("old", "1")};
  old.applied = mark(5);
  write(old);
  PersistBatch batch;
  batch.replace_all = true;
  batch.records = {row("new", "2")};
  batch.applied = mark(50, 4);
  batch.hard = raft::HardState{raft::Term{4}, raft::kNobody, raft::Index{50}};
  batch.entries = {entry(51, 4)};
  write(batch);
  const LoadedState loaded = reopen();
  EXPECT_EQ(loaded.start, (LogStart{raft::Index{50}, raft::Term{4}}));
  EXPECT_EQ(loaded.records, batch.records);
  EXPECT_EQ(loaded.entries, batch.entries);
  append(52, 53, 4);
  EXPECT_EQ(reopen().entries.size(), 3U);
}

TEST_F(RocksStoreTest, AnUncleanEndKeepsEveryAcknowledgedBatch) {
  reopen();
  for (std::uint64_t i = 1; i <= 50; ++i) append(i, i, 1);
  // What is in the files now is what kill -9 would leave: open a copy of them.
  const auto copy = root_ / "copy";
  std::filesystem::copy(options_.directory, copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy / "LOCK");
  store_.reset();
  options_.directory = copy;
  EXPECT_EQ(reopen().entries.size(), 50U);
}

TEST_F(RocksStoreTest, ATailCutShortByACrashLosesOnlyTheBatchThatWasNotAcknowledged) {
  reopen();
  append(1, 20, 1);
  append(21, 21, 1);
  store_.reset();
  const auto logs = files(".log");
  ASSERT_FALSE(logs.empty());
  const auto& log = logs.back();
  // The preallocated tail is gone after a clean close; cut into the last record.
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 5);
  EXPECT_EQ(reopen().entries.size(), 20U);
}

TEST_F(RocksStoreTest, AFlippedByteInTheLogIsRefused) {
  reopen();
  for (std::uint64_t i = 1; i <= 100; ++i) append(i, i, 1);
  store_.reset();
  const auto log = files(".log").back();
  std::fstream file(log, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(log) / 2);
  file.seekg(middle);
  const char byte = static_cast<char>(file.get() ^ 0x55);
  file.seekp(middle);
  file.put(byte);
  file.close();
  EXPECT_EQ(open_error(), Errc::kCorrupt);
  options_.accept_torn_tail = true;  // the operator's last resort: what is before the damage
  const LoadedState loaded = reopen();
  EXPECT_GT(loaded.entries.size(), 10U);
  EXPECT_LT(loaded.entries.size(), 100U);
}

TEST_F(RocksStoreTest, TwoAgentsCannotShareADirectory) {
  reopen();
  EXPECT_EQ(open_error(), Errc::kLocked);
  store_.reset();
  EXPECT_TRUE(RocksStore::open(options_));
}

TEST_F(RocksStoreTest, AnotherNodesOrClustersDirectoryIsRefused) {
  reopen();
  PersistBatch batch;
  batch.cluster_id = cluster_;
  write(batch);
  store_.reset();
  options_.node = raft::NodeId{8};
  EXPECT_EQ(open_error(), Errc::kOtherNode);
  options_.node = raft::NodeId{7};
  kv::ClusterId other;
  other.bytes[0] = 0xbb;
  options_.cluster = other;
  EXPECT_EQ(open_error(), Errc::kOtherCluster);
  options_.cluster = cluster_;
  EXPECT_TRUE(RocksStore::open(options_));
}

/// Writes rows past RocksStore, as a defect or a newer agent might.
class Tampering : public RocksStoreTest {
 protected:
  void tamper(const std::function<void(rocksdb::DB&, const std::vector<rocksdb::ColumnFamilyHandle*>&)>& change,
              const std::string& extra_family = "") {
    store_.reset();
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const char* name : {"default", "log", "state", "meta"})
      families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::DBOptions(), options_.directory.string(), families, &handles, &db).ok());
    if (!extra_family.empty()) {
      rocksdb::ColumnFamilyHandle* extra = nullptr;
      ASSERT_TRUE(db->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), extra_family, &extra).ok());
      db->DestroyColumnFamilyHandle(extra);
    }
    change(*db, handles);
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
    delete db;
  }
  Errc load_error() {
    auto opened = RocksStore::open(options_);
    if (!opened) return opened.error().code;
    auto loaded = (*opened)->load();
    EXPECT_FALSE(loaded);
    return loaded ? Errc::kStopped : loaded.error().code;
  }
};

TEST_F(Tampering, NewerFormatsAreRefused) {
  reopen();
  tamper([](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handles[3], "format", encode_number(kFormatVersion + 1)).ok());
  });
  EXPECT_EQ(open_error(), Errc::kNewerFormat);
}

TEST_F(Tampering, AFamilyWeDoNotKnowMeansANewerAgent) {
  reopen();
  tamper([](rocksdb::DB&, const auto&) {}, "future");
  EXPECT_EQ(open_error(), Errc::kNewerFormat);
}

TEST_F(Tampering, AFirstOpeningCutShortAnywhereIsAnOpeningOfANewDirectory) {
  for (const auto& made : std::vector<std::set<int>>{{}, {1}, {1, 2}, {1, 3}, {2, 3}, {3}}) {
    store_.reset();
    std::filesystem::remove_all(options_.directory);
    reopen();
    tamper([&made](rocksdb::DB& db, const auto& handles) {
      ASSERT_TRUE(db.DeleteRange(rocksdb::WriteOptions(), handles[3], "", "~").ok());
      for (const int i : {1, 2, 3}) {
        if (made.contains(i)) continue;
        ASSERT_TRUE(db.DropColumnFamily(handles[i]).ok());
      }
    });
    reopen();
    append(1, 3, 1);
    EXPECT_EQ(reopen().entries.size(), 3U);
  }
}

TEST_F(Tampering, ALostStateIsNoNewDirectory) {
  reopen();
  append(1, 3, 1);
  const auto drop_state = [](rocksdb::DB& db, const auto& handles) { ASSERT_TRUE(db.DropColumnFamily(handles[2]).ok()); };
  tamper(drop_state);
  EXPECT_EQ(open_error(), Errc::kCorrupt);
  store_.reset();
  std::filesystem::remove_all(options_.directory);
  reopen();
  append(1, 3, 1);
  tamper([&](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[3], "format").ok());
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[3], "node").ok());
    drop_state(db, handles);
  });
  EXPECT_EQ(open_error(), Errc::kCorrupt) << "a log without an owner";
}

TEST_F(Tampering, AMissingEntryOrRowIsCorruption) {
  reopen();
  append(1, 10, 1);
  tamper([](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[1], log_key(raft::Index{5})).ok());
  });
  EXPECT_EQ(load_error(), Errc::kCorrupt);
  tamper([](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[3], "format").ok());
  });
  EXPECT_EQ(load_error(), Errc::kCorrupt) << "rows, but no format";
  tamper([](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handles[3], "format", encode_number(1)).ok());
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[3], "node").ok());
  });
  EXPECT_EQ(load_error(), Errc::kCorrupt) << "no owner";
}

TEST_F(Tampering, ALogThatEndsBeforeWhatWasCommittedIsCorruption) {
  reopen();
  append(1, 10, 1);
  PersistBatch batch;
  batch.hard = raft::HardState{raft::Term{1}, raft::kNobody, raft::Index{10}};
  batch.applied = mark(8);
  write(batch);
  tamper([](rocksdb::DB& db, const auto& handles) {
    ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[1], log_key(raft::Index{10})).ok());
  });
  EXPECT_EQ(load_error(), Errc::kCorrupt);
}

TEST_F(Tampering, DamagedMetaIsCorruption) {
  for (const char* name : {"hard", "start", "applied", "grant", "cluster", "starts"}) {
    reopen();
    std::string before;
    tamper([&](rocksdb::DB& db, const auto& handles) {
      static_cast<void>(db.Get(rocksdb::ReadOptions(), handles[3], name, &before));
      ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handles[3], name, "garbage").ok());
    });
    EXPECT_EQ(load_error(), Errc::kCorrupt) << name;
    tamper([&](rocksdb::DB& db, const auto& handles) {
      if (before.empty()) {
        ASSERT_TRUE(db.Delete(rocksdb::WriteOptions(), handles[3], name).ok());
      } else {
        ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handles[3], name, before).ok());
      }
    });
  }
}

TEST_F(RocksStoreTest, AGapInTheLogIsRefusedBeforeItIsWritten) {
  reopen();
  append(1, 3, 1);
  PersistBatch gap;
  gap.entries = {entry(5, 1)};
  EXPECT_EQ(store_->write(gap).error().code, Errc::kCorrupt);
  EXPECT_EQ(store_->write(PersistBatch{}).error().code, Errc::kStopped) << "such a defect stops the node";
  EXPECT_EQ(reopen().entries.size(), 3U);
  PersistBatch loose;
  loose.entries = {entry(4, 1), entry(6, 1)};
  EXPECT_EQ(store_->write(loose).error().code, Errc::kCorrupt);
  reopen();
  PersistBatch beyond;
  beyond.trim = LogStart{raft::Index{9}, raft::Term{1}};
  EXPECT_EQ(store_->write(beyond).error().code, Errc::kCorrupt);
  reopen();
  PersistBatch nameless;
  nameless.replace_all = true;
  EXPECT_EQ(store_->write(nameless).error().code, Errc::kCorrupt);
}

TEST_F(RocksStoreTest, OneBatchIsOneSync) {
  FailingEnv env;
  options_.env = &env;
  reopen();
  const int before = env.syncs;
  append(1, 200, 1);
  PersistBatch batch;
  batch.hard = raft::HardState{raft::Term{1}, raft::NodeId{7}, raft::Index{100}};
  batch.entries = {entry(201, 1)};
  batch.records = {row("a", "1")};
  batch.applied = mark(100);
  batch.trim = LogStart{raft::Index{50}, raft::Term{1}};
  write(batch);
  EXPECT_EQ(env.syncs, before + 2);
  store_.reset();
}

TEST_F(RocksStoreTest, AFullDiskStopsTheStoreAndSaysSo) {
  FailingEnv env;
  options_.env = &env;
  reopen();
  append(1, 1, 1);
  env.fail_append(1, rocksdb::Status::NoSpace("No space left on device"));
  PersistBatch batch;
  batch.entries = {entry(2, 1)};
  const auto full = store_->write(batch);
  EXPECT_EQ(full.error().code, Errc::kDiskFull);
  EXPECT_NE(full.error().detail.find(options_.directory.string()), std::string::npos);
  EXPECT_EQ(store_->write(batch).error().code, Errc::kStopped);
  env.fail_append(0, {});
  EXPECT_EQ(reopen().entries.size(), 1U) << "with space again, nothing acknowledged is missing";
  store_.reset();
}

TEST_F(RocksStoreTest, EveryFailingAppendOrSyncStopsAndLosesNothingAcknowledged) {
  for (const bool sync : {false, true}) {
    for (int n = 1; n <= 6; ++n) {
      FailingEnv env;
      options_.env = &env;
      options_.directory = root_ / ("fault" + std::to_string(n) + (sync ? "s" : "a"));
      reopen();
      const auto broken = rocksdb::Status::IOError("injected", "Input/output error");
      sync ? env.fail_sync(n, broken) : env.fail_append(n, broken);
      std::size_t acknowledged = 0;
      Errc last = Errc::kLocked;
      for (std::uint64_t i = 1; i <= 10; ++i) {
        PersistBatch batch;
        batch.entries = {entry(i, 1)};
        if (const auto done = store_->write(batch)) {
          ++acknowledged;
        } else if (last == Errc::kLocked) {
          last = done.error().code;
        } else {
          EXPECT_EQ(done.error().code, Errc::kStopped);
        }
      }
      EXPECT_EQ(last, Errc::kIo) << n;
      EXPECT_EQ(acknowledged, static_cast<std::size_t>(n) - 1);
      env.fail_sync(0, {});
      env.fail_append(0, {});
      EXPECT_GE(reopen().entries.size(), acknowledged);
      store_.reset();
    }
  }
}

TEST_F(RocksStoreTest, ADirectoryThatCannotBeMadeIsTold) {
  std::ofstream(root_ / "file") << "x";
  options_.directory = root_ / "file" / "store";
  EXPECT_EQ(open_error(), Errc::kIo);
  if (geteuid() == 0) return;  // root may write anywhere
  std::filesystem::create_directory(root_ / "closed");
  std::filesystem::permissions(root_ / "closed", std::filesystem::perms::owner_read);
  options_.directory = root_ / "closed" / "store";
  EXPECT_EQ(open_error(), Errc::kPermission);
}

TEST_F(RocksStoreTest, APermissionErrorOfTheDiskIsTold) {
  class Denying : public rocksdb::EnvWrapper {
   public:
    Denying() : EnvWrapper(rocksdb::Env::Default()) {}
    rocksdb::Status NewWritableFile(const std::string& name, std::unique_ptr<rocksdb::WritableFile>*,
                                    const rocksdb::EnvOptions&) override {
      return rocksdb::Status::IOError("While open a file for appending: " + name, "Permission denied");
    }
  } env;
  options_.env = &env;
  EXPECT_EQ(open_error(), Errc::kPermission);
}

TEST_F(RocksStoreTest, FlushesAndMergesYieldToWhoeverWaits) {
  class Noting : public rocksdb::EnvWrapper {
   public:
    Noting() : EnvWrapper(rocksdb::Env::Default()) {}
    rocksdb::Status LowerThreadPoolCPUPriority(Priority pool, rocksdb::CpuPriority priority) override {
      lowered[pool] = priority;
      return target()->LowerThreadPoolCPUPriority(pool, priority);
    }
    std::map<Priority, rocksdb::CpuPriority> lowered;
  } env;
  options_.env = &env;
  reopen();
  EXPECT_EQ(env.lowered, (std::map<rocksdb::Env::Priority, rocksdb::CpuPriority>{
                             {rocksdb::Env::Priority::LOW, rocksdb::CpuPriority::kLow},
                             {rocksdb::Env::Priority::HIGH, rocksdb::CpuPriority::kLow}}));
  store_.reset();  // before the env
}

TEST_F(RocksStoreTest, ManyEntriesAreTrimmedBeforeTheyAreFlushed) {
  reopen();
  const std::string data(256, 'x');
  std::uint64_t index = 0;
  for (int round = 0; round < 40; ++round) {
    PersistBatch batch;
    for (int i = 0; i < 1000; ++i) batch.entries.push_back(entry(++index, 1, data));
    batch.applied = mark(index > 1000 ? index - 1000 : 0);
    if (index > 2000) batch.trim = LogStart{raft::Index{index - 2000}, raft::Term{1}};
    write(batch);
  }
  EXPECT_EQ(reopen().entries.size(), 2000U);
}

TEST(DiskErrors, EveryErrorHasAName) {
  for (int i = 0; i <= static_cast<int>(Errc::kStopped); ++i) EXPECT_STRNE(to_string(static_cast<Errc>(i)), "?") << i;
}

}  // namespace
}  // namespace store::disk
