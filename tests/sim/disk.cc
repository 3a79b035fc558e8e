#include "tests/sim/disk.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

namespace sim {

using store::disk::LoadedState;
using store::disk::PersistBatch;
using store::raft::Entry;

std::string DiskImage::apply(const PersistBatch& batch, const std::map<std::string, std::string>& stage) {
  std::string wrong;
  if (batch.hard) {
    const auto& before = state.hard;
    if (batch.hard->term < before.term ||
        (batch.hard->term == before.term && before.vote && batch.hard->vote != before.vote)) {
      wrong = "hard state goes back: term " + std::to_string(before.term.value) + " vote " +
              std::to_string(before.vote.value) + " to term " + std::to_string(batch.hard->term.value) + " vote " +
              std::to_string(batch.hard->vote.value);
    }
    state.hard = *batch.hard;
  }
  if (batch.replace_all) {
    assert(batch.applied);
    records.clear();
    if (batch.use_stage) records = stage;
    state.entries.clear();
    state.start = {batch.applied->index, batch.applied->term};
  }
  if (!batch.entries.empty()) {
    const std::uint64_t first = batch.entries.front().index.value;
    const std::uint64_t base = state.start.index.value;
    if (first <= base || first > base + state.entries.size() + 1) {
      return "entries begin at " + std::to_string(first) + ", log holds " + std::to_string(base + 1) + ".." +
             std::to_string(base + state.entries.size());
    }
    if (first <= state.applied.index.value) {
      wrong = "entries replace the applied index " + std::to_string(state.applied.index.value);
    }
    state.entries.resize(first - base - 1);
    state.entries.insert(state.entries.end(), batch.entries.begin(), batch.entries.end());
  }
  for (const store::kv::Record& record : batch.records) {
    if (record.value) {
      records[record.key] = *record.value;
    } else {
      records.erase(record.key);
    }
  }
  if (batch.applied) {
    state.applied = *batch.applied;
  }
  if (batch.trim && batch.trim->index > state.start.index) {
    if (batch.trim->index > state.applied.index) {
      wrong = "trims to " + std::to_string(batch.trim->index.value) + ", applied is " +
              std::to_string(state.applied.index.value);
    }
    const std::uint64_t count =
        std::min<std::uint64_t>(batch.trim->index.value - state.start.index.value, state.entries.size());
    state.entries.erase(state.entries.begin(), state.entries.begin() + static_cast<std::ptrdiff_t>(count));
    state.start = *batch.trim;
  }
  if (batch.cluster_id) {
    if (!state.cluster_id.is_none() && state.cluster_id != *batch.cluster_id) {
      wrong = "cluster id changes";
    }
    state.cluster_id = *batch.cluster_id;
  }
  if (batch.grant) {
    state.grant = *batch.grant;
  }
  return wrong;
}

LoadedState DiskImage::loaded() const {
  LoadedState out = state;
  for (const auto& [key, value] : records) {
    out.records.push_back({key, value});
  }
  return out;
}

bool DiskImage::holds(store::raft::Index index, store::raft::Term term) const {
  if (index <= state.start.index) {
    return true;
  }
  const std::uint64_t offset = index.value - state.start.index.value - 1;
  return offset < state.entries.size() && state.entries[offset].term == term;
}

Disk::Disk(Scheduler* scheduler, std::uint64_t seed, std::uint64_t machine)
    : scheduler_(scheduler), random_(seed, 0x6469736b00U + machine) {
  durable_.state.start_count = 0;
}

void Disk::absorb(const Cached& cached) {
  const std::string wrong = durable_.apply(cached.batch, cached.stage);
  if (complaint_.empty()) {
    complaint_ = wrong;
  }
}

LoadedState Disk::open() {
  // Recovery reads the page cache and rewrites what it read, synced.
  for (const Cached& batch : cached_) {
    absorb(batch);
  }
  cached_.clear();
  tasks_ = support::DiskTasks();
  broken_ = false;
  ++durable_.state.start_count;
  return durable_.loaded();
}

void Disk::write(PersistBatch batch, Done done) {
  queue_.push_back({std::move(batch), std::move(done), std::nullopt, {}});
  const auto batches = std::count_if(queue_.begin(), queue_.end(), [](const Job& job) { return !job.task; });
  waiting_max_ = std::max(waiting_max_, static_cast<std::size_t>(batches));
  if (!busy_) {
    begin();
  }
}

void Disk::run(store::disk::Task task, TaskDone done) {
  queue_.push_back({{}, {}, std::move(task), std::move(done)});
  if (!busy_) {
    begin();
  }
}

// No fsync is waited for: a task reads, or writes beside the log.
void Disk::begin_task() {
  scheduler_->after(temper_.sync / 10, [this, life = life_] { finish_task(life); });
}

// Letting go of a view or a stage touches no file.
bool Disk::task_fails(const store::disk::Task& task) {
  const bool touches_files = !std::holds_alternative<store::disk::CloseView>(task.work) &&
                             !std::holds_alternative<store::disk::DropStage>(task.work);
  return touches_files && temper_.failure_ppm > 0 && random_.chance_ppm(temper_.failure_ppm);
}

void Disk::finish_task(std::uint64_t life) {
  if (life != life_) {
    return;
  }
  // A view sees what was written, synced or not: everything before it in the queue has been synced by now.
  const Job job = std::move(queue_.front());
  queue_.pop_front();
  busy_ = false;
  auto answer = broken_                ? store::disk::fail(store::disk::Errc::kStopped, "simulated")
                : task_fails(*job.task) ? store::disk::fail(store::disk::Errc::kIo, "simulated")
                                        : tasks_.run(*job.task, durable_.records, durable_.state.applied);
  if (!queue_.empty()) {
    begin();
  }
  job.task_done(std::move(answer));
}

void Disk::begin() {
  busy_ = true;
  if (queue_.front().task) {
    return begin_task();
  }
  Nanos duration = temper_.sync + random_.exponential(temper_.jitter);
  if (random_.chance_ppm(temper_.hiccup_ppm)) {
    duration += random_.between(0, temper_.hiccup);
  }
  const bool ok = !broken_ && !random_.chance_ppm(temper_.failure_ppm);
  Cached cached{queue_.front().batch, {}};
  if (cached.batch.use_stage) {
    auto stage = tasks_.take_stage();
    if (!stage && complaint_.empty()) complaint_ = "a switch to a stage that was not sealed";
    cached.stage = std::move(stage).value_or(support::DiskTasks::Rows());
  }
  cached_.push_back(std::move(cached));
  scheduler_->after(duration, [this, life = life_, ok] { finish(life, ok); });
}

void Disk::finish(std::uint64_t life, bool ok) {
  if (life != life_) {
    return;
  }
  ++syncs_;
  if (!ok) {
    broken_ = true;  // what of it is on the disk is anybody's guess: it stays in the cache until a crash decides
  } else if (!temper_.lies) {
    for (const Cached& batch : cached_) {
      absorb(batch);
    }
    cached_.clear();
  }
  const Done done = std::move(queue_.front().done);
  queue_.pop_front();
  busy_ = false;
  if (!queue_.empty()) {
    begin();
  }
  done(ok);
}

void Disk::process_killed() {
  // What a failed sync left in the page cache may be gone with it, and nobody was told that it is there.
  if (broken_) cached_.resize(random_.below(cached_.size() + 1));
  // The batch being written may not have left the process yet.
  if (busy_ && !queue_.front().task && !cached_.empty() && random_.chance_ppm(500'000)) {
    cached_.pop_back();
  }
  queue_.clear();
  busy_ = false;
  ++life_;
}

void Disk::power_lost() {
  queue_.clear();
  busy_ = false;
  ++life_;
  // The cache reaches the disk in order up to some byte; the batch with that byte in it is torn and worth nothing.
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> ends;
  for (const auto& [batch, stage] : cached_) {
    bytes += 64;
    for (const auto& [key, value] : stage) bytes += key.size() + value.size();
    for (const Entry& entry : batch.entries) bytes += 32 + entry.data.size();
    for (const store::kv::Record& record : batch.records) bytes += record.key.size() + (record.value ? record.value->size() : 0);
    ends.push_back(bytes);
  }
  const std::uint64_t reached = random_.below(bytes + 1);
  for (std::size_t i = 0; i < cached_.size() && ends[i] <= reached; ++i) {
    absorb(cached_[i]);
  }
  cached_.clear();
}

}  // namespace sim
