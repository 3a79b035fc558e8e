#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "store/kv/types.h"

namespace store::kv {

enum class ChangeKind : std::uint8_t { kSet = 0, kDelete = 1, kLock = 2, kUnlock = 3 };
[[nodiscard]] const char* to_string(ChangeKind kind);  ///< "set", "delete", "lock", "unlock"

/// One changed key. Its value is not kept: a reader takes the present one, which may be newer already.
struct Change {
  Index index{};
  ChangeKind kind = ChangeKind::kSet;
  std::string key;
  friend bool operator==(const Change&, const Change&) = default;
};

/// The last changes of the KV space, so that a watcher that was away can go on where it was.
/// Local: every replica fills its own from what it applies; after a restart, an installed snapshot or a restore it
/// begins at that index.
/// Bound: kFeedEntriesMax changes and kFeedBytesMax bytes of keys; changes of one index go together.
class ChangeFeed {
 public:
  struct Slice {
    bool too_old = false;         ///< changes after `after` are forgotten: list the prefix anew, go on from `next`
    std::vector<Change> changes;  ///< oldest first; those of one index are never torn apart
    Index next{};                 ///< resume from here: everything up to it was looked at
  };
  void add(Index index, ChangeKind kind, std::string_view key);
  /// Changes below `prefix` of entries above `after`, at least one whole entry, then no more than about `limit`.
  /// @param applied  where the state is now
  [[nodiscard]] Slice since(std::string_view prefix, Index after, std::size_t limit, Index applied) const;
  void restart(Index at);  ///< forgets everything up to `at`
  [[nodiscard]] Index floor() const { return floor_; }  ///< a resume from below is too old
  [[nodiscard]] std::size_t size() const { return changes_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void trim();
  std::deque<Change> changes_;
  std::size_t bytes_ = 0;
  Index floor_{};
};

}  // namespace store::kv
