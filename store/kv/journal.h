#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/kv/types.h"
#include "store/kv/watch.h"

namespace store::kv {

/// What a change of the state has to tell beyond itself: rows for the disk, and the waits it wakes.
class Journal {
 public:
  void mark(std::string key, std::string value) { rows_.insert_or_assign(std::move(key), std::move(value)); }
  void mark_gone(std::string key) { rows_.insert_or_assign(std::move(key), std::nullopt); }
  [[nodiscard]] std::vector<Record> take();  ///< one record per row changed since the last call, sorted by key
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  void clear() { rows_.clear(); }

  WatchTable watches;

 private:
  std::map<std::string, std::optional<std::string>> rows_;
};

}  // namespace store::kv
