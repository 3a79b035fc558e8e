#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "store/disk/log_store.h"

namespace rocksdb {
class Env;
}

/// LogStore on one RocksDB: log, state and meta in three column families, one WriteBatch with one fsync per write().
/// A snapshot that arrives is written as a table file beside it, ingested into a state family of its own, and switched to
/// by one row of meta: neither a second copy in memory nor a pause.
/// Source: store.md, section 2 (measured choices); RocksDB 7.8.
namespace store::disk {

struct RocksOptions {
  std::filesystem::path directory;       ///< made if missing, mode 0700
  raft::NodeId node;                     ///< owner; written into a new directory, compared with an old one
  std::optional<kv::ClusterId> cluster;  ///< if set: an old directory must belong to it
  /// Start although the write-ahead log ends in the middle of a batch that may have been acknowledged (site-wide
  /// power cut on a disk that reorders). For the operator alone; never by default.
  bool accept_torn_tail = false;
  /// Memtable of the log family, filled page by page; the state family has a quarter, meta a sixteenth. Much larger
  /// than the log window, so that entries are trimmed before they are ever flushed.
  std::size_t write_buffer_bytes = std::size_t{12} << 20;
  std::size_t block_cache_bytes = std::size_t{1} << 20;
  /// Room set aside, see reserve.h; 0 = none: then a full disk stops the node.
  std::uint64_t reserve_bytes = 0;
  std::function<std::optional<std::uint64_t>()> free_bytes;  ///< for tests: see Reserve::Free
  rocksdb::Env* env = nullptr;  ///< for tests that make the disk fail; must outlive the store; null = the real one
};

/// Thread: construction and load() anywhere, then one thread (the storage thread); destruction after it has ended.
class RocksStore final : public LogStore {
 public:
  /// Opens or creates. Errors: kLocked, kOtherCluster, kOtherNode, kNewerFormat, kCorrupt, kDiskFull, kPermission, kIo.
  [[nodiscard]] static Result<std::unique_ptr<RocksStore>> open(const RocksOptions& options);
  ~RocksStore() override;

  Result<LoadedState> load() override;
  Result<void> write(const PersistBatch& batch) override;
  Result<TaskAnswer> run(const Task& task) override;
  Space space() override;

  /// Files of the database in bytes, for metrics; 0 if it cannot be told.
  [[nodiscard]] std::uint64_t disk_bytes() const;

 private:
  struct Impl;
  explicit RocksStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace store::disk
