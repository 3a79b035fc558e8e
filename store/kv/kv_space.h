#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/change_feed.h"
#include "store/kv/journal.h"
#include "store/kv/quotas.h"
#include "store/kv/record.h"
#include "store/kv/session.h"

namespace store::kv {

/// One key of a listing.
struct Found {
  const std::string* key = nullptr;  ///< never null
  const Entry* entry = nullptr;      ///< never null
  const Lock* lock = nullptr;        ///< nullptr = never locked since it was created
};

/// The keys: values, locks, tombstones, bounds.
/// Invariant: the index of a key or prefix never goes back. A key is held by at most one session. A locked key is
///            there. After roll_back() everything is as it was at begin(), and nobody heard of anything in between.
/// Bound:     kEntriesMax, kStateBytesMax, kTombstonesMax, kSessionKeysMax per session, and the quotas.
class KvSpace {
 public:
  using Entries = std::map<std::string, Entry, std::less<>>;
  using Locks = std::map<std::string, Lock, std::less<>>;

  [[nodiscard]] const Entry* get(std::string_view key) const;
  [[nodiscard]] const Lock* lock(std::string_view key) const;
  [[nodiscard]] std::vector<Found> list(std::string_view prefix) const;
  [[nodiscard]] std::vector<std::string> keys(std::string_view prefix, std::string_view separator) const;
  [[nodiscard]] Index key_index(std::string_view key) const;
  [[nodiscard]] Index prefix_index(std::string_view prefix) const;
  [[nodiscard]] const std::set<std::string>* held_by(const SessionId& session) const;  ///< nullptr = none
  [[nodiscard]] const Entries& entries() const { return entries_; }
  [[nodiscard]] const Locks& locks() const { return locks_; }
  [[nodiscard]] std::size_t entry_bytes() const { return entry_bytes_; }
  [[nodiscard]] std::size_t tombstone_count() const { return tombstones_.size(); }
  [[nodiscard]] const Quotas& quotas() const { return quotas_; }
  [[nodiscard]] const ChangeFeed& feed() const { return feed_; }

  // --- changes: for StateMachine alone --------------------------------------------------------------------------------
  struct Put {
    const std::string& key;
    std::string_view value;
    std::uint64_t flags = 0;
    const Lock* lock = nullptr;  ///< nullptr: stays as it is
  };
  struct Verdict {
    Outcome outcome = Outcome::kDone;
    std::string detail;  ///< kFull: which bound
  };
  Verdict put(Index index, const Put& put, Journal& journal);
  void erase(Index index, const std::string& key, Journal& journal);  ///< a missing key is fine
  void erase_tree(Index index, std::string_view prefix, Journal& journal);
  void set_quota(const std::string& prefix, const Quota& quota, Journal& journal);
  bool remove_quota(const std::string& prefix, Journal& journal);

  // --- transactions ---------------------------------------------------------------------------------------------------
  void begin();                    ///< changes are kept to themselves from now on
  void commit(Journal& journal);   ///< ... and told now
  void roll_back();

  // --- rows -----------------------------------------------------------------------------------------------------------
  void load(std::string key, Entry entry, const Lock& lock);
  void load_tombstone(std::string key, Index index);
  void load_floor(Index index) { tombstone_floor_ = index; }
  void load_quota(std::string prefix, const Quota& quota);
  /// All rows are here: counts what quotas use, and starts the feed at `applied`. False: rows contradict each other.
  [[nodiscard]] bool finish_load(Index applied);
  /// After a restore: every entry was made by `index`, and every missing key was removed by it.
  void renumber(Index index);
  [[nodiscard]] const std::map<std::string, Index, std::less<>>& tombstones() const { return tombstones_; }
  [[nodiscard]] Index tombstone_floor() const { return tombstone_floor_; }

 private:
  struct Undo {
    std::string key;
    std::optional<Entry> entry;
    std::optional<Lock> lock;
    std::optional<Index> grave;
  };
  struct Touched {
    std::string key;
    ChangeKind kind;
  };
  [[nodiscard]] std::optional<std::string> full(const Put& put, const Entry* present) const;
  void remember(const std::string& key);
  void set_lock(const std::string& key, const Lock& lock);
  void drop_lock(const std::string& key);
  void bury(Index index, const std::string& key);
  bool unbury(const std::string& key);
  /// @param entry  as it is now; nullptr: deleted
  void changed(Index index, const std::string& key, ChangeKind kind, const Entry* entry, Journal& journal);
  void publish(Index index, const std::string& key, ChangeKind kind, const Entry* entry, Journal& journal);
  void trim_tombstones(Journal& journal);

  Entries entries_;
  std::size_t entry_bytes_ = 0;
  Locks locks_;  // a side table: an entry without a lock costs nothing for it
  std::map<SessionId, std::set<std::string>> held_;
  std::map<std::string, Index, std::less<>> tombstones_;
  std::set<std::pair<Index, std::string>> tombstones_by_age_;
  Index tombstone_floor_{};
  Index kv_index_{};  // last change of any key
  Quotas quotas_;
  ChangeFeed feed_;

  bool in_txn_ = false;
  std::vector<Undo> undo_;
  std::vector<Touched> touched_;
  Index index_before_{};
};

}  // namespace store::kv
