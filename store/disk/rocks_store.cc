#include "store/disk/rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <system_error>
#include <utility>

#include "store/disk/rows.h"
#include "store/raft/wire.h"

namespace store::disk {
namespace {

enum Family : std::size_t { kDefault, kLog, kState, kMeta, kFamilies };
constexpr std::array<const char*, kFamilies> kFamilyNames{"default", "log", "state", "meta"};

// Range that holds every row of the state family: the first bytes of the keys are lower-case letters.
constexpr const char* kStateFrom = "a";
constexpr const char* kStateTo = "{";

rocksdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

Error translate(const rocksdb::Status& status, const std::string& where) {
  const std::string text = status.ToString();
  const auto error = [&](Errc code, const std::string& advice) {
    return Error{code, where + ": " + text + (advice.empty() ? "" : "; " + advice)};
  };
  if (status.IsNoSpace() || mentions(text, "No space left") || mentions(text, "Disk quota exceeded"))
    return error(Errc::kDiskFull, "free some space on this file system and start again");
  if (mentions(text, "lock hold by current process") || mentions(text, "While lock file"))
    return error(mentions(text, "Permission denied") ? Errc::kPermission : Errc::kLocked,
                 "another agent uses this data directory: stop it or give this one its own");
  if (mentions(text, "Permission denied") || mentions(text, "Read-only file system"))
    return error(Errc::kPermission, "let the agent's user own the directory");
  if (status.IsInvalidArgument() && mentions(text, "olumn famil"))
    return error(Errc::kNewerFormat, "the directory was written by a newer agent: use that version");
  if (status.IsCorruption())
    return error(Errc::kCorrupt, "this copy must not vote: move the directory away and let the agent join anew");
  return error(Errc::kIo, "");
}

rocksdb::DBOptions db_options(const RocksOptions& options) {
  rocksdb::DBOptions db;
  if (options.env != nullptr) db.env = options.env;
  db.create_if_missing = true;
  db.create_missing_column_families = true;
  db.paranoid_checks = true;
  // Tail: a record cut short by a crash was never acknowledged and may go. Anything else damaged: refuse to open.
  db.wal_recovery_mode = options.accept_torn_tail ? rocksdb::WALRecoveryMode::kPointInTimeRecovery
                                                  : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.max_open_files = -1;
  db.max_file_opening_threads = 1;
  db.max_background_jobs = 2;
  db.max_subcompactions = 1;
  db.allow_concurrent_memtable_write = false;  // one writer
  db.enable_write_thread_adaptive_yield = false;
  db.max_total_wal_size = 2 * options.write_buffer_bytes;
  db.avoid_flush_during_shutdown = true;  // the write-ahead log has it all
  db.skip_stats_update_on_db_open = true;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.keep_log_file_num = 2;
  db.max_log_file_size = std::size_t{1} << 20;
  return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> families(const RocksOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes, 0);
  const auto factory = std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(table));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (std::size_t family = kDefault; family < kFamilies; ++family) {
    rocksdb::ColumnFamilyOptions cf;
    const std::size_t share = family == kLog ? 1 : family == kState ? 4 : 16;
    cf.write_buffer_size = options.write_buffer_bytes / share;
    cf.arena_block_size = std::size_t{64} << 10;  // memory comes in small steps: an idle agent stays small
    cf.max_write_buffer_number = 2;
    cf.compression = rocksdb::kNoCompression;
    cf.table_factory = factory;
    descriptors.emplace_back(kFamilyNames[family], cf);
  }
  return descriptors;
}

Result<void> make_directory(const std::filesystem::path& directory) {
  std::error_code code;
  const bool made = std::filesystem::create_directories(directory, code);
  if (code) {
    const bool denied = code == std::errc::permission_denied || code == std::errc::read_only_file_system;
    const Errc errc = code == std::errc::no_space_on_device ? Errc::kDiskFull : denied ? Errc::kPermission : Errc::kIo;
    return fail(errc, directory.string() + ": cannot be made: " + code.message());
  }
  if (made) std::filesystem::permissions(directory, std::filesystem::perms::owner_all, code);
  return {};
}

}  // namespace

struct RocksStore::Impl {
  RocksOptions options;
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  LogStart start;    // entry before the window
  raft::Index last;  // end of the window; start.index = empty
  bool stopped = false;

  ~Impl() {
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  }

  [[nodiscard]] std::string where() const { return options.directory.string(); }

  // nullopt = no such row.
  Result<std::optional<std::string>> meta(const char* row) {
    std::string value;
    const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), handles[kMeta], row, &value);
    if (status.IsNotFound()) return std::nullopt;
    if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
    return value;
  }

  // Decodes a row if it is there. @param decode  string_view -> Result<T>
  template <class T, class Decode>
  Result<std::optional<T>> meta_as(const char* row, Decode decode) {
    auto bytes = meta(row);
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    if (!*bytes) return std::optional<T>();
    Result<T> decoded = decode(**bytes);
    if (!decoded) return located<std::optional<T>>(decoded.error());
    return std::optional<T>(std::move(*decoded));
  }

  template <class T>
  Result<T> located(Error error) {
    error.detail = where() + ": " + error.detail;
    return tl::unexpected<Error>(std::move(error));
  }

  Result<void> commit(rocksdb::WriteBatch& batch) {
    rocksdb::WriteOptions write;
    write.sync = true;
    const rocksdb::Status status = db->Write(write, &batch);
    if (status.ok()) return {};
    stopped = true;  // what reached the disk is unknown: only a new start can find out
    return tl::unexpected<Error>(translate(status, where()));
  }

  Result<void> open_db();
  Result<void> check_identity();
  Result<void> create_identity();
  Result<void> load_meta(LoadedState& loaded);
  Result<void> load_log(LoadedState& loaded);
  Result<void> load_records(LoadedState& loaded);
  Result<void> check_window(const PersistBatch& batch) const;
  void put_replacement(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_entries(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_trim(rocksdb::WriteBatch& to, const LogStart& trim);
  void put_state(rocksdb::WriteBatch& to, const PersistBatch& batch);
  void put_meta(rocksdb::WriteBatch& to, const char* row, const std::string& value) {
    to.Put(handles[kMeta], row, value);
  }
};

// --- opening ------------------------------------------------------------------------------------------------------

Result<void> RocksStore::Impl::open_db() {
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(db_options(options), where(), families(options), &handles, &opened);
  if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
  db.reset(opened);
  return {};
}

Result<void> RocksStore::Impl::check_identity() {
  const auto number = [](const char* row) {
    return [row](std::string_view bytes) { return decode_number(bytes, row); };
  };
  const auto format = meta_as<std::uint64_t>("format", number("format"));
  if (!format) return tl::unexpected<Error>(format.error());
  if (!*format) return create_identity();
  if (**format > kFormatVersion) {
    return fail(Errc::kNewerFormat, where() + ": format " + std::to_string(**format) + ", this agent knows up to " +
                                        std::to_string(kFormatVersion) + "; use the newer version");
  }
  const auto node = meta_as<std::uint64_t>("node", number("node"));
  if (!node) return tl::unexpected<Error>(node.error());
  if (!*node) return fail(Errc::kCorrupt, where() + ": row 'node' is missing");
  if (**node != options.node.value) {
    return fail(Errc::kOtherNode, where() + ": belongs to node " + std::to_string(**node) + ", this agent is " +
                                      std::to_string(options.node.value) +
                                      "; restore its node id or use an empty directory");
  }
  const auto cluster = meta_as<kv::ClusterId>("cluster", decode_cluster);
  if (!cluster) return tl::unexpected<Error>(cluster.error());
  if (*cluster && options.cluster && **cluster != *options.cluster) {
    return fail(Errc::kOtherCluster, where() + ": belongs to cluster " + (*cluster)->hex() + ", not to " +
                                         options.cluster->hex() + "; use another data directory");
  }
  return {};
}

Result<void> RocksStore::Impl::create_identity() {
  const std::unique_ptr<rocksdb::Iterator> any(db->NewIterator(rocksdb::ReadOptions(), handles[kMeta]));
  any->Seek("");
  if (any->Valid()) return fail(Errc::kCorrupt, where() + ": row 'format' is missing");
  rocksdb::WriteBatch batch;
  put_meta(batch, "format", encode_number(kFormatVersion));
  put_meta(batch, "node", encode_number(options.node.value));
  return commit(batch);
}

Result<std::unique_ptr<RocksStore>> RocksStore::open(const RocksOptions& options) {
  if (auto made = make_directory(options.directory); !made) return tl::unexpected<Error>(made.error());
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  if (auto opened = impl->open_db(); !opened) return tl::unexpected<Error>(opened.error());
  if (auto ours = impl->check_identity(); !ours) return tl::unexpected<Error>(ours.error());
  return std::unique_ptr<RocksStore>(new RocksStore(std::move(impl)));
}

RocksStore::RocksStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksStore::~RocksStore() = default;

// --- loading ------------------------------------------------------------------------------------------------------

Result<LoadedState> RocksStore::load() {
  LoadedState loaded;
  if (auto done = impl_->load_meta(loaded); !done) return tl::unexpected<Error>(done.error());
  if (auto done = impl_->load_log(loaded); !done) return tl::unexpected<Error>(done.error());
  if (auto done = impl_->load_records(loaded); !done) return tl::unexpected<Error>(done.error());
  rocksdb::WriteBatch batch;
  impl_->put_meta(batch, "starts", encode_number(loaded.start_count));
  if (auto counted = impl_->commit(batch); !counted) return tl::unexpected<Error>(counted.error());
  return loaded;
}

Result<void> RocksStore::Impl::load_meta(LoadedState& loaded) {
  const auto starts = meta_as<std::uint64_t>("starts", [](std::string_view b) { return decode_number(b, "starts"); });
  if (!starts) return tl::unexpected<Error>(starts.error());
  auto cluster = meta_as<kv::ClusterId>("cluster", decode_cluster);
  if (!cluster) return tl::unexpected<Error>(cluster.error());
  auto grant = meta_as<Grant>("grant", decode_grant);
  if (!grant) return tl::unexpected<Error>(grant.error());
  auto hard = meta_as<raft::HardState>("hard", decode_hard);
  if (!hard) return tl::unexpected<Error>(hard.error());
  auto found_start = meta_as<LogStart>("start", decode_start);
  if (!found_start) return tl::unexpected<Error>(found_start.error());
  auto applied = meta_as<AppliedMark>("applied", decode_applied);
  if (!applied) return tl::unexpected<Error>(applied.error());
  loaded.start_count = starts->value_or(0) + 1;
  loaded.cluster_id = cluster->value_or(kv::ClusterId{});
  loaded.grant = std::move(*grant);
  loaded.hard = hard->value_or(raft::HardState{});
  loaded.start = found_start->value_or(LogStart{});
  loaded.applied = std::move(*applied).value_or(AppliedMark{});
  if (loaded.applied.index < loaded.start.index)
    return fail(Errc::kCorrupt, where() + ": the log begins after the applied index");
  start = loaded.start;
  return {};
}

Result<void> RocksStore::Impl::load_log(LoadedState& loaded) {
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), handles[kLog]));
  last = start.index;
  for (it->Seek(log_key(start.index.next())); it->Valid(); it->Next()) {
    auto entry = decode_log_row(view(it->key()), view(it->value()));
    if (!entry) return located<void>(entry.error());
    if (entry->index != last.next()) {
      return fail(Errc::kCorrupt, where() + ": log entry " + std::to_string(last.value + 1) + " is missing before " +
                                      std::to_string(entry->index.value));
    }
    last = entry->index;
    loaded.entries.push_back(std::move(*entry));
  }
  if (!it->status().ok()) return tl::unexpected<Error>(translate(it->status(), where()));
  if (last < loaded.applied.index || last < loaded.hard.commit)
    return fail(Errc::kCorrupt, where() + ": the log ends before entries that were committed");
  return {};
}

Result<void> RocksStore::Impl::load_records(LoadedState& loaded) {
  const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), handles[kState]));
  for (it->Seek(kStateFrom); it->Valid(); it->Next())
    loaded.records.push_back({it->key().ToString(), it->value().ToString()});
  if (!it->status().ok()) return tl::unexpected<Error>(translate(it->status(), where()));
  return {};
}

// --- writing ------------------------------------------------------------------------------------------------------

Result<void> RocksStore::write(const PersistBatch& batch) {
  if (impl_->stopped) return fail(Errc::kStopped, impl_->where() + ": an earlier write failed");
  if (auto sound = impl_->check_window(batch); !sound) {
    impl_->stopped = true;
    return sound;
  }
  rocksdb::WriteBatch to;
  if (batch.replace_all) impl_->put_replacement(to, batch);
  if (!batch.entries.empty()) impl_->put_entries(to, batch);
  if (batch.trim) impl_->put_trim(to, *batch.trim);
  impl_->put_state(to, batch);
  if (batch.hard) impl_->put_meta(to, "hard", raft::encode(*batch.hard));
  if (batch.cluster_id) impl_->put_meta(to, "cluster", encode_cluster(*batch.cluster_id));
  if (batch.grant && *batch.grant) impl_->put_meta(to, "grant", encode_grant(**batch.grant));
  if (batch.grant && !*batch.grant) to.Delete(impl_->handles[kMeta], "grant");
  return impl_->commit(to);
}

// A gap would only be found at the next start, when it is too late: refuse it now.
Result<void> RocksStore::Impl::check_window(const PersistBatch& batch) const {
  const raft::Index before = batch.replace_all && batch.applied ? batch.applied->index : start.index;
  raft::Index end = batch.replace_all ? before : last;
  if (batch.replace_all && !batch.applied) return fail(Errc::kCorrupt, "a replacement without its applied index");
  if (!batch.entries.empty()) {
    const raft::Index front = batch.entries.front().index;
    if (front <= before || front > end.next())
      return fail(Errc::kCorrupt, "entry " + std::to_string(front.value) + " would leave a gap in the log");
    for (std::size_t i = 0; i < batch.entries.size(); ++i) {
      if (batch.entries[i].index != front.plus(i)) return fail(Errc::kCorrupt, "entries of a batch are not contiguous");
    }
    end = batch.entries.back().index;
  }
  if (batch.trim && batch.trim->index > end) return fail(Errc::kCorrupt, "the log would be trimmed beyond its end");
  return {};
}

void RocksStore::Impl::put_replacement(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  to.DeleteRange(handles[kState], kStateFrom, kStateTo);
  if (last > start.index) to.DeleteRange(handles[kLog], log_key(start.index.next()), log_key(last.next()));
  start = LogStart{batch.applied->index, batch.applied->term};
  last = start.index;
  put_meta(to, "start", encode_start(start));
}

void RocksStore::Impl::put_entries(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  for (const raft::Entry& entry : batch.entries) to.Put(handles[kLog], log_key(entry.index), raft::encode(entry));
  const raft::Index end = batch.entries.back().index;
  if (last > end) to.DeleteRange(handles[kLog], log_key(end.next()), log_key(last.next()));
  last = end;
}

// From the previous start on, never from 0: tombstones that overlap make every later read dearer.
void RocksStore::Impl::put_trim(rocksdb::WriteBatch& to, const LogStart& trim) {
  if (trim.index <= start.index) return;
  to.DeleteRange(handles[kLog], log_key(start.index.next()), log_key(trim.index.next()));
  start = trim;
  put_meta(to, "start", encode_start(start));
}

void RocksStore::Impl::put_state(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  for (const kv::Record& record : batch.records) {
    if (record.value) {
      to.Put(handles[kState], slice(record.key), slice(*record.value));
    } else {
      to.Delete(handles[kState], slice(record.key));
    }
  }
  if (batch.applied) put_meta(to, "applied", encode_applied(*batch.applied));
}

std::uint64_t RocksStore::disk_bytes() const {
  std::uint64_t total = 0;
  std::error_code code;
  for (std::filesystem::directory_iterator it(impl_->options.directory, code), end; !code && it != end;
       it.increment(code)) {
    std::error_code gone;  // files come and go under compaction
    const auto size = std::filesystem::file_size(it->path(), gone);
    if (!gone) total += size;
  }
  return total;
}

}  // namespace store::disk
