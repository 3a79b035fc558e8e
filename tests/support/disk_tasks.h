#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "store/disk/log_store.h"

namespace support {

/// Views and the stage (store/disk/log_store.h) for disks of tests that keep their rows in a map.
/// Ownership: a value; forgotten with the process that opened the disk.
class DiskTasks {
 public:
  using Rows = std::map<std::string, std::string>;

  /// @param rows, mark  the state as the last batch left it
  store::disk::Result<store::disk::TaskAnswer> run(const store::disk::Task& task, const Rows& rows,
                                                   const store::disk::AppliedMark& mark) {
    rows_ = &rows;
    mark_ = &mark;
    return std::visit([this](const auto& work) { return carry_out(work); }, task.work);
  }
  /// For a batch with use_stage. nullopt: there is no sealed stage, which is a defect of whoever asks.
  std::optional<Rows> take_stage() {
    if (!stage_ || !sealed_) return std::nullopt;
    sealed_ = false;
    return std::exchange(stage_, std::nullopt);
  }
  [[nodiscard]] std::size_t views() const { return views_.size(); }
  [[nodiscard]] bool staging() const { return stage_.has_value(); }

 private:
  using Answer = store::disk::Result<store::disk::TaskAnswer>;
  struct View {
    Rows rows;
    std::string last;
    bool begun = false;
  };
  Answer carry_out(const store::disk::OpenView& work) {
    if (views_.size() >= store::disk::kViewsMax) return store::disk::fail(store::disk::Errc::kIo, "too many views");
    View view{*rows_, {}, false};
    view.rows.erase(view.rows.begin(), view.rows.lower_bound(work.from));
    views_.insert_or_assign(work.view, std::move(view));
    return store::disk::TaskAnswer{*mark_, {}};
  }
  Answer carry_out(const store::disk::ReadView& work) {
    const auto found = views_.find(work.view);
    if (found == views_.end()) return store::disk::fail(store::disk::Errc::kIo, "no such view");
    View& view = found->second;
    store::disk::TaskAnswer answer;
    std::size_t bytes = 0;
    auto it = view.begun ? view.rows.upper_bound(view.last) : view.rows.begin();
    for (; it != view.rows.end() && (answer.records.empty() || bytes < work.bytes_max); ++it) {
      bytes += it->first.size() + it->second.size();
      view.last = it->first;
      answer.records.push_back({it->first, it->second});
    }
    view.begun = view.begun || !answer.records.empty();
    return answer;
  }
  Answer carry_out(const store::disk::CloseView& work) {
    views_.erase(work.view);
    return store::disk::TaskAnswer{};
  }
  Answer carry_out(const store::disk::BeginStage&) {
    stage_.emplace();
    sealed_ = false;
    return store::disk::TaskAnswer{};
  }
  Answer carry_out(const store::disk::AppendStage& work) {
    if (!stage_ || sealed_) return store::disk::fail(store::disk::Errc::kIo, "no open stage");
    for (const store::kv::Record& record : work.records) {
      const bool grows = stage_->empty() || stage_->rbegin()->first < record.key;
      if (!record.value || !grows) return store::disk::fail(store::disk::Errc::kCorrupt, "keys out of order");
      stage_->emplace(record.key, *record.value);
    }
    return store::disk::TaskAnswer{};
  }
  Answer carry_out(const store::disk::SealStage&) {
    if (!stage_) return store::disk::fail(store::disk::Errc::kIo, "no open stage");
    sealed_ = true;
    return store::disk::TaskAnswer{};
  }
  Answer carry_out(const store::disk::DropStage&) {
    stage_.reset();
    sealed_ = false;
    return store::disk::TaskAnswer{};
  }

  const Rows* rows_ = nullptr;
  const store::disk::AppliedMark* mark_ = nullptr;
  std::map<store::disk::ViewId, View> views_;
  std::optional<Rows> stage_;
  bool sealed_ = false;
};

}  // namespace support
