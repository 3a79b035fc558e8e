#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
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

/// Rows in the order of their keys, a piece at a time; none = that was all. Errors: kIo, kCorrupt.
using RowReader = std::function<Result<std::vector<kv::Record>>()>;

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
  /// If set, the records that follow those above: a large state is never held twice. Usable until the first write().
  RowReader more_records;
};

/// One atomic, durable step of the disk. Members that are not set leave what is there.
/// Order within the batch, when several touch the same thing: snapshot, entries, trim, records.
struct PersistBatch {
  BatchSeq seq{};
  std::optional<raft::HardState> hard;
  /// Replaces all state records and the whole log: afterwards the window is empty and begins after `applied->index`.
  /// Then `records` is the complete state and `applied` is set.
  bool replace_all = false;
  /// With replace_all: the sealed stage becomes the state, and `records` are changes on top of it.
  bool use_stage = false;
  std::vector<raft::Entry> entries;  ///< contiguous; replace everything from entries.front().index on
  std::optional<LogStart> trim;      ///< drop the entries up to this one; at most the durable applied index
  std::vector<kv::Record> records;   ///< changes of the state up to `applied`
  std::optional<AppliedMark> applied;
  std::optional<kv::ClusterId> cluster_id;    ///< set once in the life of a directory
  std::optional<std::optional<Grant>> grant;  ///< set or (inner nullopt) withdrawn
};

/// Reads all that more_records has into records: for tools and tests; an agent never holds the state twice.
[[nodiscard]] inline Result<void> read_all(LoadedState& loaded) {
  while (loaded.more_records) {
    auto more = loaded.more_records();
    if (!more) return tl::unexpected<Error>(more.error());
    if (more->empty()) loaded.more_records = nullptr;
    loaded.records.insert(loaded.records.end(), more->begin(), more->end());
  }
  return {};
}

// --- work besides batches -----------------------------------------------------------------------------------------
// A view is the state as one batch left it, frozen; later batches do not change it. It is how a snapshot is cut without
// stopping anything. The stage is where the rows of an arriving snapshot gather beside the live state, until a batch
// with use_stage switches to them or they are dropped. A stage does not outlive its process.

/// Name of a view, chosen by the caller, never used twice while the process lives.
enum class ViewId : std::uint64_t {};
inline constexpr std::size_t kViewsMax = 32;  ///< open at the same time: each holds back old versions of rows

struct OpenView {
  ViewId view{};
  std::string from{};  ///< rows with smaller keys are left out; a snapshot begins with the first one, ""
};  ///< answer: its mark. Errors: kIo (too many views)
struct ReadView {
  ViewId view{};
  std::size_t bytes_max = 0;  ///< keys and values; at least one row is read
};  ///< answer: the next rows in order of keys, none = the end. Errors: kIo, kCorrupt
struct CloseView {
  ViewId view{};
};  ///< an unknown view is fine
struct BeginStage {};  ///< empty; an earlier one is dropped
struct AppendStage {
  std::vector<kv::Record> records;  ///< keys grow from call to call
};                                  ///< Errors: kCorrupt (keys out of order), kDiskFull, kIo
struct SealStage {};                ///< durable from then on, ready for use_stage. Errors: kDiskFull, kIo
struct DropStage {};

using TaskWork = std::variant<OpenView, ReadView, CloseView, BeginStage, AppendStage, SealStage, DropStage>;

/// Number of a task; grows by one per task while the process lives.
enum class TaskSeq : std::uint64_t {};
/// One piece of work; carried out in the order handed over, batches included. A task that fails ends what it belongs to
/// (this view, this stage) and nothing else: the log and the live state are not touched by any of them.
struct Task {
  TaskSeq seq{};
  TaskWork work;
};
struct TaskAnswer {
  AppliedMark mark;                 ///< OpenView
  std::vector<kv::Record> records;  ///< ReadView
};

/// Room on the file system, judged against the reserve that the node keeps.
enum class Space : std::uint8_t {
  kPlenty,  ///< all is well
  kLow,     ///< the reserve is touched: no new entries of clients, only what keeps the cluster together
  kFull,    ///< what is left is for the state that is there already: no entries at all
};
[[nodiscard]] inline const char* to_string(Space space) {
  switch (space) {
    case Space::kPlenty:
      return "plenty";
    case Space::kLow:
      return "low";
    case Space::kFull:
      return "full";
  }
  return "?";
}

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
  /// See Task. Never ends the node; after a failed write() it answers kStopped.
  virtual Result<TaskAnswer> run(const Task& task) = 0;
  /// Looks at the file system; keeps the reserve in being while there is room for it. Cheap (one system call).
  virtual Space space() = 0;
};

}  // namespace store::disk
