#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "store/kv/journal.h"
#include "store/kv/types.h"

namespace store::kv {

/// Index of the last change of things that may be gone by now, by name.
/// Invariant: of(name) never goes back: a counter that is forgotten raises the floor under all names.
/// Bound:     kIndexCountersMax; the one that changed longest ago is forgotten first.
class IndexCounters {
 public:
  void touch(std::string_view name, Index index, Journal& journal);
  [[nodiscard]] Index of(std::string_view name) const;  ///< at least the floor, at least 1
  /// Forgets all of them; nothing is below `index` from now on.
  void raise_floor(Index index);

  void load(std::string name, Index index);
  void load_floor(Index floor) { floor_ = floor; }
  [[nodiscard]] const std::map<std::string, Index, std::less<>>& all() const { return counters_; }
  [[nodiscard]] Index floor() const { return floor_; }

 private:
  std::map<std::string, Index, std::less<>> counters_;
  std::set<std::pair<Index, std::string>> by_age_;
  Index floor_{};
};

}  // namespace store::kv
