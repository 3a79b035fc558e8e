#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/disk/log_store.h"
#include "tests/sim/scheduler.h"
#include "tests/support/disk_tasks.h"
#include "tests/support/random.h"

namespace sim {

/// What stands on a disk: the same values that LogStore::load() answers, with the records by key.
/// Ownership: a value.
struct DiskImage {
  store::disk::LoadedState state;             ///< its `records` stay empty until loaded()
  std::map<std::string, std::string> records;

  /// Applies one batch as store/disk/log_store.h orders it. @return what is wrong with the batch, empty if nothing
  /// @param stage  rows of the sealed stage, for a batch with use_stage
  std::string apply(const store::disk::PersistBatch& batch, const std::map<std::string, std::string>& stage = {});
  [[nodiscard]] store::disk::LoadedState loaded() const;
  /// Is the entry (index, term) here, in the log or covered by what lies before the log?
  [[nodiscard]] bool holds(store::raft::Index index, store::raft::Term term) const;
};

/// The disk of one machine under its storage thread: batches and tasks are carried out in the order in which they were
/// handed over, one at a time, each batch followed by its fsync. Views see what the process has written; a stage lives as
/// long as its process, and its rows reach the disk with the batch that switches to them.
/// Crash rules: a killed process loses the batches it had not begun to write; what reached the page cache survives.
///   Lost power leaves what was synced plus some of the bytes that were not: whole batches up to a point, then a torn
///   one, which its checksum gives away and recovery drops (kTolerateCorruptedTailRecords). After a failed sync the next
///   process finds any number of whole batches of those that were not synced, from none to all.
/// Ownership: outlives the processes of its machine. Bound: as many batches as the Store keeps in flight.
class Disk {
 public:
  using Done = std::function<void(bool ok)>;  ///< false: the write or fsync failed; nothing more is taken
  using TaskDone = std::function<void(store::disk::Result<store::disk::TaskAnswer>)>;

  Disk(Scheduler* scheduler, std::uint64_t seed, std::uint64_t machine);

  /// A new process opens the directory: counts the start, makes what it reads durable.
  store::disk::LoadedState open();
  /// Hands one batch to the storage thread. `done` runs when it is durable.
  void write(store::disk::PersistBatch batch, Done done);

  /// Hands one task to the storage thread, behind the batches and tasks before it.
  void run(store::disk::Task task, TaskDone done);

  void process_killed();
  void power_lost();

  struct Temper {
    Nanos sync = 150 * kMicrosecond;   ///< write + fdatasync of one batch
    Nanos jitter = 60 * kMicrosecond;  ///< mean of an exponential on top
    std::uint32_t hiccup_ppm = 5'000;  ///< chance of an extra wait of up to `hiccup`
    Nanos hiccup = 8 * kMillisecond;
    std::uint32_t failure_ppm = 0;     ///< chance that a sync or a task fails
    store::disk::Space space = store::disk::Space::kPlenty;  ///< what the file system says of its room
    bool lies = false;                 ///< says "synced" without syncing: for the test that the simulator notices
  };
  Temper& temper() { return temper_; }

  /// What would survive the loss of power right now, at least.
  [[nodiscard]] const DiskImage& durable() const { return durable_; }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }  ///< a batch that broke the rules
  [[nodiscard]] std::uint64_t syncs() const { return syncs_; }
  [[nodiscard]] std::size_t waiting_max() const { return waiting_max_; }  ///< most batches ever in flight

 private:
  struct Job {
    store::disk::PersistBatch batch;
    Done done;
    std::optional<store::disk::Task> task;  ///< instead of a batch
    TaskDone task_done;
  };
  struct Cached {
    store::disk::PersistBatch batch;
    std::map<std::string, std::string> stage;
  };
  void begin();
  void begin_task();
  bool task_fails(const store::disk::Task& task);
  void finish_task(std::uint64_t life);
  void finish(std::uint64_t life, bool ok);
  void absorb(const Cached& cached);

  Scheduler* scheduler_;
  support::Random random_;
  Temper temper_;
  DiskImage durable_;
  std::vector<Cached> cached_;                     ///< written, not synced, oldest first
  support::DiskTasks tasks_;                       ///< of the process that has the disk open
  std::deque<Job> queue_;                          ///< front: being written
  bool busy_ = false;
  bool broken_ = false;
  std::uint64_t life_ = 0;
  std::uint64_t syncs_ = 0;
  std::size_t waiting_max_ = 0;
  std::string complaint_;
};

}  // namespace sim
