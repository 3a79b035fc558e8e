#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "store/disk/error.h"
#include "store/kv/types.h"
#include "store/raft/message.h"

/// What the Store keeps on disk, as plain values, and the interface behind which RocksDB (or the simulator's disk)
/// keeps it. Nothing here includes RocksDB.
namespace store::disk {

/// Number of a batch handed to the disk; grows by one per batch while the process lives. 0 = none.
enum class BatchSeq : std::uint64_t {};

/// Founding of a cluster by bootstrap_expect: the promise of this node to be one of `voters` of cluster `id` and of
/// no other. A node makes one promise only; the founder makes it to itself first.
struct Grant {
  kv::ClusterId id;
  raft::NodeId founder;
  std::vector<raft::NodeId> voters;  ///< sorted, founder and this node among them
  friend bool operator==(const Grant&, const Grant&) = default;
};

/// How far the mirrored state has come. `conf` is the Raft configuration as of `index`.
struct AppliedMark {
  raft::Index index;
  raft::Term term;
  raft::ConfState conf;
  friend bool operator==(const AppliedMark&, const AppliedMark&) = default;
};

/// Place of the entry just before the log window.
struct LogStart {
  raft::Index index;
  raft::Term term;
  friend bool operator==(const LogStart&, const LogStart&) = default;
};

/// Everything found on disk. Default = a new, empty node.
/// Invariant: start.index <= applied.index; entries contiguous from start.index + 1 (may be empty).
struct LoadedState {
  std::uint64_t start_count = 1;  ///< how often the directory was opened, this time included; already durable
  kv::ClusterId cluster_id;       ///< none = belongs to no cluster yet
  std::optional<Grant> grant;
  raft::HardState hard;
  LogStart start;
  std::vector<raft::Entry> entries;
  AppliedMark applied;
  std::vector<kv::Record> records;  ///< state as of `applied`, sorted by key
};

/// One atomic, durable step of the disk. Members that are not set leave what is there.
/// Order within the batch, when several touch the same thing: snapshot, entries, trim, records.
struct PersistBatch {
  BatchSeq seq{};
  std::optional<raft::HardState> hard;
  /// Replaces all state records and the whole log: afterwards the window is empty and begins after `applied->index`.
  /// Then `records` is the complete state and `applied` is set.
  bool replace_all = false;
  std::vector<raft::Entry> entries;  ///< contiguous; replace everything from entries.front().index on
  std::optional<LogStart> trim;      ///< drop the entries up to this one; at most the durable applied index
  std::vector<kv::Record> records;   ///< changes of the state up to `applied`
  std::optional<AppliedMark> applied;
  std::optional<kv::ClusterId> cluster_id;    ///< set once in the life of a directory
  std::optional<std::optional<Grant>> grant;  ///< set or (inner nullopt) withdrawn
};

/// The disk of one node. Thread: the storage thread after load(). All calls block.
class LogStore {
 public:
  LogStore() = default;
  LogStore(const LogStore&) = delete;
  LogStore& operator=(const LogStore&) = delete;
  virtual ~LogStore() = default;

  /// Reads everything; called once, before the first write(). Counts the start durably.
  /// Errors: kCorrupt, kIo, kDiskFull.
  virtual Result<LoadedState> load() = 0;
  /// Durable when it returns. After an error every further call answers kStopped.
  /// Errors: kDiskFull, kIo, kCorrupt, kStopped.
  virtual Result<void> write(const PersistBatch& batch) = 0;
};

}  // namespace store::disk
