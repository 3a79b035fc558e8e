#include "store/kv/watch.h"

#include <utility>

namespace store::kv {

Result<WatchId> WatchTable::add(Topic topic, bool pending) {
  if (topics_.size() + woken_.size() >= kWatchesMax) return fail(Errc::kWatchesFull, "too many readers wait already");
  const WatchId id{next_id_++};
  if (pending) {
    woken_.push_back(id);
    return id;
  }
  const auto [waits, fresh] = waits_.try_emplace(std::move(topic));
  if (fresh && waits->first.kind == Topic::Kind::kPrefix) ++prefix_lengths_[waits->first.name.size()];
  waits->second.insert(id);
  topics_.emplace(static_cast<std::uint64_t>(id), waits);
  return id;
}

void WatchTable::cancel(WatchId id) {
  std::erase(woken_, id);
  const auto known = topics_.find(static_cast<std::uint64_t>(id));
  if (known == topics_.end()) return;
  const auto waits = known->second;
  waits->second.erase(id);
  if (waits->second.empty()) {
    drop_length(waits->first);
    waits_.erase(waits);
  }
  topics_.erase(known);
}

void WatchTable::drop_length(const Topic& topic) {
  if (topic.kind != Topic::Kind::kPrefix) return;
  const auto length = prefix_lengths_.find(topic.name.size());
  if (--length->second == 0) prefix_lengths_.erase(length);
}

void WatchTable::wake(const Topic& topic) {
  const auto waits = waits_.find(topic);
  if (waits == waits_.end()) return;
  for (const WatchId id : waits->second) {
    woken_.push_back(id);
    topics_.erase(static_cast<std::uint64_t>(id));
  }
  drop_length(waits->first);
  waits_.erase(waits);
}

void WatchTable::touch_key(std::string_view key) {
  if (waits_.empty()) return;
  wake(Topic{Topic::Kind::kKey, std::string(key)});
  std::vector<std::size_t> lengths;
  for (const auto& [length, count] : prefix_lengths_) {
    if (length > key.size()) break;
    lengths.push_back(length);
  }
  for (const std::size_t length : lengths) wake(Topic{Topic::Kind::kPrefix, std::string(key.substr(0, length))});
}

void WatchTable::touch(Topic::Kind kind, std::string_view name) {
  if (waits_.empty()) return;
  wake(Topic{kind, std::string(name)});
  if (kind == Topic::Kind::kLease && !name.empty()) wake(Topic{kind, {}});
}

void WatchTable::touch_all() {
  for (const auto& [topic, ids] : waits_) woken_.insert(woken_.end(), ids.begin(), ids.end());
  waits_.clear();
  prefix_lengths_.clear();
  topics_.clear();
}

std::vector<WatchId> WatchTable::take_woken() { return std::exchange(woken_, {}); }

}  // namespace store::kv
