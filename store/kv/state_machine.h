#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/kv/catalog.h"
#include "store/kv/change_feed.h"
#include "store/kv/command.h"
#include "store/kv/kv_space.h"
#include "store/kv/record.h"
#include "store/kv/session_table.h"
#include "store/kv/watch.h"

/// The replicated state: KV with flags, indexes and tombstones; leases with epochs; member directory; cluster id;
/// requests already decided. Kept in memory; every change is also handed out as records for the disk.
/// Source:    replicated state machine after Schneider (1990); client sessions of Ongaro's thesis, 6.3; lease rules
///            of the design, section 5; KV rules as Consul's clients know them.
/// Invariant: two replicas that applied the same commands at the same indexes hold equal records (content_hash()).
///            An epoch never goes back. The index of a key or prefix never goes back.
/// Ownership: a value inside Store; answers point into it and are valid until the next apply() or load().
namespace store::kv {

/// What apply() decided.
struct Applied {
  RequestId request;  ///< of the command; the proposer knows its own by it
  Outcome outcome = Outcome::kDone;
  Index index{};          ///< entry that decided it: for a repeated command the first one
  Epoch epoch{};          ///< LeaseAcquire: the granted epoch; other lease commands: the current one
  bool repeated = false;  ///< the command was decided before and had no effect this time
  std::string detail;     ///< kFull, kNotFound, kConditionFailed of sessions and catalog: what; empty when repeated
  std::shared_ptr<const TxnAnswer> txn;      ///< Txn of the origin given to answer_txns_of(), not repeated
  std::optional<std::string> lease_changed;  ///< service whose lease row changed
  std::vector<SessionId> sessions_changed;   ///< created or gone
  std::vector<std::string> delays_changed;   ///< keys that are held back from now on, or not any more
  bool replaced = false;                     ///< a restore was committed: every row is another one
};

class StateMachine {
 public:
  /// Applies the command of entry `index`; `index` grows from call to call (gaps are entries of Raft itself).
  /// Errors, all of them fail-stop, state untouched: kUnknownVersion, kUnknownKind, kTruncated, kMalformed, kTooLarge,
  /// kBadKey, kOutOfOrder.
  Result<Applied> apply(Index index, std::string_view command);
  /// An entry without a command (no-op, configuration change) moves only the applied index.
  void skip(Index index);

  /// Replaces everything; wakes all waits; nothing is dirty afterwards.
  /// Errors: kBadState and those of decode_row(); the state is then unusable: stop.
  Result<void> load(Index applied, std::span<const Record> records);
  /// Changes since the last call, one record per row, sorted by key.
  [[nodiscard]] std::vector<Record> take_dirty();
  [[nodiscard]] std::size_t dirty_count() const { return dirty_.size(); }
  /// Every row, sorted by key: what load() takes. Copies the whole state.
  [[nodiscard]] std::vector<Record> records() const;
  [[nodiscard]] std::uint64_t content_hash() const;  ///< over records(), without the applied index

  [[nodiscard]] Index applied() const { return applied_; }

  // --- KV -------------------------------------------------------------------------------------------------------
  [[nodiscard]] const Entry* get(std::string_view key) const;            ///< nullptr = missing
  [[nodiscard]] std::vector<Found> list(std::string_view prefix) const;  ///< in byte order
  /// Keys below `prefix`, cut after the first `separator` beyond it (empty = not cut), without repeats.
  [[nodiscard]] std::vector<std::string> keys(std::string_view prefix, std::string_view separator) const;
  /// Present: its modify index. Missing: last change known of it, at least 1.
  [[nodiscard]] Index key_index(std::string_view key) const;
  /// Last change below the prefix, deletions counted, at least 1.
  [[nodiscard]] Index prefix_index(std::string_view prefix) const;
  [[nodiscard]] std::size_t entry_count() const { return entries_.size(); }
  [[nodiscard]] std::size_t entry_bytes() const { return entry_bytes_; }  ///< keys + values
  [[nodiscard]] std::size_t tombstone_count() const { return tombstones_.size(); }

  /// Transactions of this proposer are answered in full; of others, nobody here reads the answer.
  void answer_txns_of(NodeId origin);
  [[nodiscard]] const Lock* lock(std::string_view key) const;  ///< nullptr = never locked since it was created
  /// What happened below a prefix after an index: for watchers that want every changed key.
  [[nodiscard]] ChangeFeed::Slice changes_since(std::string_view prefix, Index after, std::size_t limit) const;
  [[nodiscard]] const Quotas& quotas() const;

  // --- sessions, catalog, events ----------------------------------------------------------------------------------
  [[nodiscard]] const SessionTable& sessions() const;
  /// Keys that a session holds; nullptr = none.
  [[nodiscard]] const std::set<std::string>* held_by(const SessionId& id) const;
  [[nodiscard]] const Catalog& catalog() const;
  [[nodiscard]] const std::deque<UserEvent>& events() const;  ///< oldest first, <= kEventsMax
  [[nodiscard]] Index events_index() const;                   ///< of the newest, at least 1

  // --- restore --------------------------------------------------------------------------------------------------
  struct Staged {
    Uuid id;  ///< none = no restore under way
    std::vector<std::string> chunks;
    std::size_t bytes = 0;
  };
  [[nodiscard]] const Staged& staged() const;
  /// The rows that a snapshot file holds and a restore takes, sorted by key: KV, sessions, catalog, quotas, epoch
  /// counters. Copies them all.
  [[nodiscard]] std::vector<Record> saved_rows() const;

  // --- leases, members ------------------------------------------------------------------------------------------
  [[nodiscard]] const Lease* lease(std::string_view service) const;  ///< nullptr = never acquired, or forgotten
  [[nodiscard]] const std::map<std::string, Lease, std::less<>>& leases() const { return leases_; }
  [[nodiscard]] Epoch epoch(std::string_view service) const;        ///< last one granted, 0 = none ever
  [[nodiscard]] Index lease_index(std::string_view service) const;  ///< for waits; at least 1
  [[nodiscard]] const std::map<NodeId, std::string>& members() const { return members_; }
  [[nodiscard]] const ClusterId& cluster_id() const { return cluster_id_; }

  // --- waits ----------------------------------------------------------------------------------------------------
  /// Current index of the topic, as a read would answer it.
  [[nodiscard]] Index topic_index(const Topic& topic) const;
  /// Wakes once the topic's index is above `after` (at once if it is). Errors: kWatchesFull.
  Result<WatchId> watch(const Topic& topic, Index after);
  void unwatch(WatchId id) { watches_.cancel(id); }
  [[nodiscard]] std::vector<WatchId> take_woken() { return watches_.take_woken(); }
  [[nodiscard]] bool has_woken() const { return watches_.has_woken(); }
  [[nodiscard]] std::size_t watch_count() const { return watches_.size(); }

 private:
  struct Decision {
    Outcome outcome = Outcome::kDone;
    Epoch epoch{};
    std::optional<std::string> lease_changed;
  };
  Decision decide(Index index, const Set& command);
  Decision decide(Index index, const Cas& command);
  Decision decide(Index index, const Delete& command);
  Decision decide(Index index, const DeleteCas& command);
  Decision decide(Index index, const DeleteTree& command);
  Decision decide(Index index, const LeaseAcquire& command);
  Decision decide(Index index, const LeaseRelease& command);
  Decision decide(Index index, const LeaseExpire& command);
  Decision decide(Index index, const LeaseOpen& command);
  Decision decide(Index index, const LeaseForget& command);
  Decision decide(Index index, const MemberSet& command);
  Decision decide(Index index, const MemberRemove& command);
  Decision decide(Index index, const ClusterSet& command);

  Outcome put(Index index, const std::string& key, const std::string& value, std::uint64_t flags);
  void erase(Index index, const std::string& key);
  void trim_tombstones();
  void write_lease(Index index, const std::string& service, Lease lease);
  const Remembered* find_request(const RequestId& request) const;
  void remember(const RequestId& request, const Remembered& remembered);
  void bound_origins();
  void mark(std::string key, std::optional<std::string> value);
  Decision vacate(Index index, const std::string& service, Epoch epoch, NodeId preferred);
  void load_row(Row row);
  [[nodiscard]] bool load_consistent() const;

  struct Origin {
    std::vector<Remembered> slots;  // slot = seq % kDedupeWindow; grows up to that
    Index last{};                   // of its newest request: the origin with the oldest goes first
  };

  Index applied_{};
  std::map<std::string, Entry, std::less<>> entries_;
  std::size_t entry_bytes_ = 0;
  std::map<std::string, Index, std::less<>> tombstones_;
  std::set<std::pair<Index, std::string>> tombstones_by_age_;
  Index tombstone_floor_{};
  Index kv_index_{};  // last change of any key
  std::map<std::string, Lease, std::less<>> leases_;
  std::map<std::string, EpochCounter, std::less<>> epochs_;
  std::map<NodeId, std::string> members_;
  ClusterId cluster_id_;
  std::map<NodeId, Origin> origins_;
  std::map<std::string, std::optional<std::string>> dirty_;
  WatchTable watches_;
};

}  // namespace store::kv
