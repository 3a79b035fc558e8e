#include "store/kv/change_feed.h"

#include <algorithm>

namespace store::kv {

const char* to_string(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kSet:
      return "set";
    case ChangeKind::kDelete:
      return "delete";
    case ChangeKind::kLock:
      return "lock";
    case ChangeKind::kUnlock:
      return "unlock";
  }
  return "?";
}

void ChangeFeed::add(Index index, ChangeKind kind, std::string_view key) {
  changes_.push_back({index, kind, std::string(key)});
  bytes_ += key.size();
  trim();
}

// One entry's changes are forgotten together: half of them would look like all of them.
void ChangeFeed::trim() {
  while (!changes_.empty() && (changes_.size() > kFeedEntriesMax || bytes_ > kFeedBytesMax)) {
    floor_ = changes_.front().index;
    while (!changes_.empty() && changes_.front().index == floor_) {
      bytes_ -= changes_.front().key.size();
      changes_.pop_front();
    }
  }
}

ChangeFeed::Slice ChangeFeed::since(std::string_view prefix, Index after, std::size_t limit, Index applied) const {
  Slice slice;
  slice.next = std::max(after, applied);
  if (after < floor_) {
    slice.too_old = true;
    return slice;
  }
  auto at = std::upper_bound(changes_.begin(), changes_.end(), after,
                             [](Index index, const Change& change) { return index < change.index; });
  for (; at != changes_.end(); ++at) {
    if (!at->key.starts_with(prefix)) continue;
    if (slice.changes.size() >= limit && !slice.changes.empty() && slice.changes.back().index != at->index) {
      slice.next = slice.changes.back().index;
      break;
    }
    slice.changes.push_back(*at);
  }
  return slice;
}

void ChangeFeed::restart(Index at) {
  changes_.clear();
  bytes_ = 0;
  floor_ = std::max(floor_, at);
}

}  // namespace store::kv
