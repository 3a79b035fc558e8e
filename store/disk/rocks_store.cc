#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "store/disk/rocks_impl.h"
#include "store/raft/wire.h"

namespace store::disk {
namespace {

// Range that holds every row of the state family: the first bytes of the keys are letters.
constexpr const char* kStateFrom = "A";
constexpr const char* kStateTo = "{";
constexpr const char* kReseedAdvice = "this copy must not vote: \"outrigger raft recover --reseed\" puts it aside and lets "
                                      "the agent be seeded by its peers";

bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

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
    return error(Errc::kCorrupt, kReseedAdvice);
  return error(Errc::kIo, "");
}

namespace {

/// Flushing a memtable and merging files keep a processor of a small machine busy for tens of milliseconds: they yield to the threads that
/// somebody waits for. A refusal costs latency only.
void let_background_yield(rocksdb::Env& env) {
  for (const auto pool : {rocksdb::Env::Priority::HIGH, rocksdb::Env::Priority::LOW})
    env.LowerThreadPoolCPUPriority(pool, rocksdb::CpuPriority::kLow).PermitUncheckedError();
}

}  // namespace

rocksdb::DBOptions db_options(const RocksOptions& options) {
  rocksdb::DBOptions db;
  if (options.env != nullptr) db.env = options.env;
  let_background_yield(*db.env);
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

rocksdb::ColumnFamilyOptions family_options(const RocksOptions& options, std::string_view family,
                                            const std::shared_ptr<rocksdb::TableFactory>& tables) {
  rocksdb::ColumnFamilyOptions cf;
  const std::size_t share = family == kLogFamily ? 1 : family.starts_with(kStateFamily) ? 4 : 16;
  cf.write_buffer_size = options.write_buffer_bytes / share;
  cf.arena_block_size = std::size_t{64} << 10;  // memory comes in small steps: an idle agent stays small
  cf.max_write_buffer_number = 2;
  cf.compression = rocksdb::kNoCompression;
  cf.table_factory = tables;
  return cf;
}

namespace {

std::shared_ptr<rocksdb::TableFactory> table_factory(const RocksOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes, 0);
  return std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(table));
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

// --- opening ------------------------------------------------------------------------------------------------------

Result<std::vector<std::string>> RocksStore::Impl::family_names() const {
  std::set<std::string> names{rocksdb::kDefaultColumnFamilyName, kLogFamily, kMetaFamily};
  std::vector<std::string> found;
  std::error_code code;
  if (!std::filesystem::exists(options.directory / "CURRENT", code)) {  // a new directory
    names.insert(kStateFamily);
    return std::vector<std::string>(names.begin(), names.end());
  }
  const rocksdb::Status status = rocksdb::DB::ListColumnFamilies(db_options(options), where(), &found);
  if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
  for (const std::string& name : found) {
    if (!names.contains(name) && !name.starts_with(kStateFamily)) {
      return fail(Errc::kNewerFormat, where() + ": holds '" + name +
                                          "', which this agent does not know: it was written by a newer one; use that");
    }
    names.insert(name);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Result<void> RocksStore::Impl::open_db() {
  auto names = family_names();
  if (!names) return tl::unexpected<Error>(names.error());
  tables = table_factory(options);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : *names) descriptors.emplace_back(name, family_options(options, name, tables));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(db_options(options), where(), descriptors, &handles, &opened);
  if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
  db.reset(opened);
  for (std::size_t i = 0; i < handles.size(); ++i) families.emplace((*names)[i], handles[i]);
  log_cf = families.at(kLogFamily);
  meta_cf = families.at(kMetaFamily);
  return {};
}

// Finds the live state among what crashes have left, and lets go of the rest.
Result<void> RocksStore::Impl::find_state() {
  auto name = meta("state");
  if (!name) return tl::unexpected<Error>(name.error());
  if (*name) state_name = **name;
  const auto found = families.find(state_name);
  if (found == families.end())
    return fail(Errc::kCorrupt, where() + ": the state '" + state_name + "' is missing; " + kReseedAdvice);
  state_cf = found->second;
  std::vector<std::string> others;
  for (const auto& [other, handle] : families) {
    if (other.starts_with(kStateFamily) && other != state_name) others.push_back(other);
  }
  for (const std::string& other : others) {
    if (auto dropped = drop_family(other); !dropped) return dropped;
  }
  std::error_code code;
  std::filesystem::remove(options.directory / kStageFile, code);
  return {};
}

Result<void> RocksStore::Impl::drop_family(const std::string& name) {
  const auto found = families.find(name);
  const rocksdb::Status status = db->DropColumnFamily(found->second);
  if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
  db->DestroyColumnFamilyHandle(found->second);
  families.erase(found);
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

// A directory without rows is new, or its first opening was cut short: families are made one by one, and which of them a crash
// has left says nothing.
Result<void> RocksStore::Impl::create_identity() {
  for (rocksdb::ColumnFamilyHandle* family : {meta_cf, log_cf}) {
    const std::unique_ptr<rocksdb::Iterator> any(db->NewIterator(rocksdb::ReadOptions(), family));
    any->Seek("");
    if (any->Valid()) return fail(Errc::kCorrupt, where() + ": row 'format' is missing; " + kReseedAdvice);
    if (!any->status().ok()) return tl::unexpected<Error>(translate(any->status(), where()));
  }
  if (!families.contains(kStateFamily)) {
    rocksdb::ColumnFamilyHandle* made = nullptr;
    const auto status = db->CreateColumnFamily(family_options(options, kStateFamily, tables), kStateFamily, &made);
    if (!status.ok()) return tl::unexpected<Error>(translate(status, where()));
    families.emplace(kStateFamily, made);
  }
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
  if (auto found = impl->find_state(); !found) return tl::unexpected<Error>(found.error());
  impl->reserve = std::make_unique<Reserve>(options.directory / kReserveFile, options.reserve_bytes, options.free_bytes);
  return std::unique_ptr<RocksStore>(new RocksStore(std::move(impl)));
}

RocksStore::RocksStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksStore::~RocksStore() = default;

// --- writing ------------------------------------------------------------------------------------------------------

Result<void> RocksStore::write(const PersistBatch& batch) {
  if (impl_->stopped) return fail(Errc::kStopped, impl_->where() + ": an earlier write failed");
  if (auto sound = impl_->check_window(batch); !sound) {
    impl_->stopped = true;
    return sound;
  }
  rocksdb::WriteBatch to;
  const std::string before = impl_->state_name;
  if (batch.replace_all) {
    if (auto put = impl_->put_replacement(to, batch); !put) {
      impl_->stopped = true;
      return put;
    }
  }
  if (!batch.entries.empty()) impl_->put_entries(to, batch);
  if (batch.trim) impl_->put_trim(to, *batch.trim);
  impl_->put_state(to, batch);
  if (batch.hard) impl_->put_meta(to, "hard", raft::encode(*batch.hard));
  if (batch.cluster_id) impl_->put_meta(to, "cluster", encode_cluster(*batch.cluster_id));
  if (batch.grant && *batch.grant) impl_->put_meta(to, "grant", encode_grant(**batch.grant));
  if (batch.grant && !*batch.grant) to.Delete(impl_->meta_cf, "grant");
  if (auto done = impl_->commit(to); !done) return done;
  if (impl_->state_name == before) return {};
  auto dropped = impl_->drop_family(before);  // the switch is durable: what was replaced may go
  impl_->stopped = !dropped;
  return dropped;
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

Result<void> RocksStore::Impl::put_replacement(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  if (batch.use_stage) {
    if (!stage || stage->family.empty())
      return fail(Errc::kCorrupt, where() + ": a switch to a state that was not sealed");
    state_name = std::exchange(stage, std::nullopt)->family;
    state_cf = families.at(state_name);
    put_meta(to, "state", state_name);
  } else {
    to.DeleteRange(state_cf, kStateFrom, kStateTo);
  }
  if (last > start.index) to.DeleteRange(log_cf, log_key(start.index.next()), log_key(last.next()));
  start = LogStart{batch.applied->index, batch.applied->term};
  last = start.index;
  put_meta(to, "start", encode_start(start));
  return {};
}

void RocksStore::Impl::put_entries(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  for (const raft::Entry& entry : batch.entries) to.Put(log_cf, log_key(entry.index), raft::encode(entry));
  const raft::Index end = batch.entries.back().index;
  if (last > end) to.DeleteRange(log_cf, log_key(end.next()), log_key(last.next()));
  last = end;
}

// From the previous start on, never from 0: tombstones that overlap make every later read dearer.
void RocksStore::Impl::put_trim(rocksdb::WriteBatch& to, const LogStart& trim) {
  if (trim.index <= start.index) return;
  to.DeleteRange(log_cf, log_key(start.index.next()), log_key(trim.index.next()));
  start = trim;
  put_meta(to, "start", encode_start(start));
}

void RocksStore::Impl::put_state(rocksdb::WriteBatch& to, const PersistBatch& batch) {
  for (const kv::Record& record : batch.records) {
    if (record.value) {
      to.Put(state_cf, slice(record.key), slice(*record.value));
    } else {
      to.Delete(state_cf, slice(record.key));
    }
  }
  if (batch.applied) put_meta(to, "applied", encode_applied(*batch.applied));
}

Space RocksStore::space() { return impl_->reserve->look(); }

std::uint64_t RocksStore::disk_bytes() const {
  std::uint64_t total = 0;
  std::error_code code;
  for (std::filesystem::directory_iterator it(impl_->options.directory, code), end; !code && it != end;
       it.increment(code)) {
    if (it->path().filename() == kReserveFile) continue;
    std::error_code gone;  // files come and go under compaction
    const auto size = std::filesystem::file_size(it->path(), gone);
    if (!gone) total += size;
  }
  return total;
}

}  // namespace store::disk
