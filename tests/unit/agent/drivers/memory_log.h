#pragma once
/// A disk in memory for tests of drivers: answers writes at once, or fails from a given one on.

#include <atomic>
#include <memory>

#include "store/disk/log_store.h"
#include "tests/support/disk_tasks.h"

namespace agent::drivers {

class MemoryLog final : public store::disk::LogStore {
 public:
  /// Outlives the log, which moves to the storage thread.
  struct Watch {
    std::atomic<int> writes{0};
    std::atomic<store::disk::Space> space{store::disk::Space::kPlenty};
    std::atomic<int> fail_from{-1};  ///< number of the first write that fails; -1 = none
    std::atomic<bool> held{false};   ///< writes wait until release()
    void release() {
      held = false;
      held.notify_all();
    }
  };
  explicit MemoryLog(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}
  store::disk::Result<store::disk::LoadedState> load() override { return store::disk::LoadedState{}; }
  store::disk::Result<void> write(const store::disk::PersistBatch&) override {
    watch_->held.wait(true);
    const int number = watch_->writes++;
    const int fail_from = watch_->fail_from;
    if (fail_from >= 0 && number >= fail_from) {
      return tl::make_unexpected(store::disk::Error{store::disk::Errc::kDiskFull, "no space left"});
    }
    return {};
  }
  store::disk::Result<store::disk::TaskAnswer> run(const store::disk::Task& task) override {
    return tasks_.run(task, rows_, {});
  }
  store::disk::Space space() override { return watch_->space; }

 private:
  support::DiskTasks tasks_;
  support::DiskTasks::Rows rows_;
  std::shared_ptr<Watch> watch_;
};

}  // namespace agent::drivers
