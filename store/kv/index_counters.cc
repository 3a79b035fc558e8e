#include "store/kv/index_counters.h"

#include <algorithm>

#include "store/kv/record.h"

namespace store::kv {

void IndexCounters::touch(std::string_view name, Index index, Journal& journal) {
  const auto known = counters_.find(name);
  if (known != counters_.end()) {
    if (known->second == index) return;  // one command touches many rows of one name
    by_age_.erase({known->second, known->first});
    known->second = index;
    by_age_.emplace(index, known->first);
  } else {
    counters_.emplace(name, index);
    by_age_.emplace(index, name);
  }
  journal.mark(counter_key(name), encode_index(index));
  while (counters_.size() > kIndexCountersMax) {
    const auto oldest = by_age_.begin();
    floor_ = std::max(floor_, oldest->first);
    journal.mark(counter_key({}), encode_index(floor_));
    journal.mark_gone(counter_key(oldest->second));
    counters_.erase(oldest->second);
    by_age_.erase(oldest);
  }
}

Index IndexCounters::of(std::string_view name) const {
  const auto known = counters_.find(name);
  return std::max(known != counters_.end() ? known->second : floor_, Index{1});
}

void IndexCounters::raise_floor(Index index) {
  counters_.clear();
  by_age_.clear();
  floor_ = std::max(floor_, index);
}

void IndexCounters::load(std::string name, Index index) {
  by_age_.emplace(index, name);
  counters_.insert_or_assign(std::move(name), index);
}

}  // namespace store::kv
