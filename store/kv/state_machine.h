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

#include "store/kv/audit_log.h"
#include "store/kv/catalog.h"
#include "store/kv/change_feed.h"
#include "store/kv/command.h"
#include "store/kv/halt_book.h"
#include "store/kv/journal.h"
#include "store/kv/kv_space.h"
#include "store/kv/order_ledger.h"
#include "store/kv/record.h"
#include "store/kv/session_table.h"

/// The replicated state: KV with flags, locks, indexes and tombstones; sessions; leases with epochs; orders; halts; audit; catalog;
/// events; quotas; a restore being staged; member directory; cluster id; requests already decided. Kept in memory; every
/// change is also handed out as records for the disk.
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
  OrderRow order;                            ///< order commands but OrderSweep, repeated ones too: the row as it is now
  std::optional<std::string> lease_changed;  ///< service whose lease row changed
  std::vector<SessionId> sessions_changed;   ///< created or gone
  std::vector<std::string> delays_changed;   ///< keys that are held back from now on, or not any more
  bool restore_changed = false;              ///< staged() changed
  bool replaced = false;                     ///< a restore was committed: nearly every row is another one
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
  /// load() in pieces, for a state too large for one turn: on a fresh object add_rows() as often as needed, then
  /// finish_load(), then exchange(). Same errors as load().
  Result<void> add_rows(std::span<const Record> records);
  Result<void> finish_load(Index applied);
  /// Swaps everything replicated with `other`; the waits stay here, all woken. Nothing is dirty here afterwards.
  /// The caller destroys `other` where its time does not matter.
  void exchange(StateMachine& other);
  /// Changes since the last call, one record per row, sorted by key.
  [[nodiscard]] std::vector<Record> take_dirty() { return journal_.take(); }
  [[nodiscard]] std::size_t dirty_count() const { return journal_.size(); }
  /// Every row, sorted by key: what load() takes. Copies the whole state.
  [[nodiscard]] std::vector<Record> records() const;
  [[nodiscard]] std::uint64_t content_hash() const;  ///< over records(), without the applied index

  [[nodiscard]] Index applied() const { return applied_; }

  /// Transactions of this proposer are answered in full; of others, nobody here reads the answer.
  void answer_txns_of(NodeId origin) { answered_ = origin; }

  // --- KV -------------------------------------------------------------------------------------------------------
  [[nodiscard]] const Entry* get(std::string_view key) const { return kv_.get(key); }  ///< nullptr = missing
  [[nodiscard]] const Lock* lock(std::string_view key) const { return kv_.lock(key); }  ///< nullptr = never locked
  [[nodiscard]] std::vector<Found> list(std::string_view prefix) const { return kv_.list(prefix); }  ///< in byte order
  /// Keys below `prefix`, cut after the first `separator` beyond it (empty = not cut), without repeats.
  [[nodiscard]] std::vector<std::string> keys(std::string_view prefix, std::string_view separator) const {
    return kv_.keys(prefix, separator);
  }
  /// Present: its modify index. Missing: last change known of it, at least 1.
  [[nodiscard]] Index key_index(std::string_view key) const { return kv_.key_index(key); }
  /// Last change below the prefix, deletions counted, at least 1.
  [[nodiscard]] Index prefix_index(std::string_view prefix) const { return kv_.prefix_index(prefix); }
  [[nodiscard]] std::size_t entry_count() const { return kv_.entries().size(); }
  [[nodiscard]] std::size_t entry_bytes() const { return kv_.entry_bytes(); }  ///< keys + values
  [[nodiscard]] std::size_t tombstone_count() const { return kv_.tombstone_count(); }
  /// What happened below a prefix after an index: for watchers that want every changed key.
  [[nodiscard]] ChangeFeed::Slice changes_since(std::string_view prefix, Index after, std::size_t limit) const {
    return kv_.feed().since(prefix, after, limit, applied_);
  }
  [[nodiscard]] const Quotas& quotas() const { return kv_.quotas(); }

  // --- sessions, catalog, events ----------------------------------------------------------------------------------
  [[nodiscard]] const SessionTable& sessions() const { return sessions_; }
  /// Keys that a session holds; nullptr = none.
  [[nodiscard]] const std::set<std::string>* held_by(const SessionId& id) const { return kv_.held_by(id); }
  [[nodiscard]] const Catalog& catalog() const { return catalog_; }
  [[nodiscard]] const std::deque<UserEvent>& events() const { return events_; }  ///< oldest first, <= kEventsMax
  [[nodiscard]] Index events_index() const;                                      ///< of the newest, at least 1

  // --- orders -----------------------------------------------------------------------------------------------------
  [[nodiscard]] const OrderLedger& orders() const { return orders_; }

  // --- halts, audit -----------------------------------------------------------------------------------------------
  [[nodiscard]] const HaltBook& halts() const { return halts_; }
  [[nodiscard]] const AuditLog& audit() const { return audit_; }

  // --- restore --------------------------------------------------------------------------------------------------
  struct Staged {
    Uuid id;  ///< none = no restore under way
    std::vector<std::string> chunks;
    std::size_t bytes = 0;
    Digest digest{};  ///< SHA-256(that of the chunks before || chunk); zero before the first
  };
  [[nodiscard]] const Staged& staged() const { return staged_; }
  /// The rows that a snapshot file holds and a restore takes, sorted by key: KV, sessions, catalog, quotas, epoch
  /// counters. Copies them all.
  [[nodiscard]] std::vector<Record> saved_rows() const;

  // --- leases, members ------------------------------------------------------------------------------------------
  [[nodiscard]] const Lease* lease(std::string_view service) const;  ///< nullptr = never acquired, or forgotten
  [[nodiscard]] const std::map<std::string, Lease, std::less<>>& leases() const { return leases_; }
  [[nodiscard]] Epoch epoch(std::string_view service) const;        ///< last one granted, 0 = none ever
  /// For waits; at least 1. The empty name: the last change of any lease.
  [[nodiscard]] Index lease_index(std::string_view service) const;
  [[nodiscard]] Index lease_names_index() const;  ///< the last time a service got its lease or was forgotten; at least 1
  [[nodiscard]] const std::map<NodeId, std::string>& members() const { return members_; }
  [[nodiscard]] const ClusterId& cluster_id() const { return cluster_id_; }

  // --- waits ----------------------------------------------------------------------------------------------------
  /// Current index of the topic, as a read would answer it.
  [[nodiscard]] Index topic_index(const Topic& topic) const;
  /// Wakes once the topic's index is above `after` (at once if it is). Errors: kWatchesFull.
  Result<WatchId> watch(const Topic& topic, Index after);
  void unwatch(WatchId id) { journal_.watches.cancel(id); }
  [[nodiscard]] std::vector<WatchId> take_woken() { return journal_.watches.take_woken(); }
  [[nodiscard]] bool has_woken() const { return journal_.watches.has_woken(); }
  [[nodiscard]] std::size_t watch_count() const { return journal_.watches.size(); }

 private:
  struct Decision {
    Outcome outcome = Outcome::kDone;
    Epoch epoch{};
    std::string detail;
  };
  // state_machine.cc: KV
  Decision decide(Index index, const Set& command);
  Decision decide(Index index, const Cas& command);
  Decision decide(Index index, const Delete& command);
  Decision decide(Index index, const DeleteCas& command);
  Decision decide(Index index, const DeleteTree& command);
  Decision decide(Index index, const QuotaSet& command);
  Decision decide(Index index, const QuotaRemove& command);
  Decision decide(Index index, const EventFire& command);
  // state_lease.cc
  Decision decide(Index index, const LeaseAcquire& command);
  Decision decide(Index index, const LeaseRelease& command);
  Decision decide(Index index, const LeaseExpire& command);
  Decision decide(Index index, const LeaseOpen& command);
  Decision decide(Index index, const LeaseForget& command);
  Decision decide(Index index, const MemberSet& command);
  Decision decide(Index index, const MemberRemove& command);
  Decision decide(Index index, const ClusterSet& command);
  // state_session.cc
  Decision decide(Index index, const Acquire& command);
  Decision decide(Index index, const Release& command);
  Decision decide(Index index, const SessionCreate& command);
  Decision decide(Index index, const SessionDestroy& command);
  Decision decide(Index index, const SessionExpire& command);
  Decision decide(Index index, const LockDelayEnd& command);
  // state_txn.cc
  Decision decide(Index index, const Txn& command);
  // state_catalog.cc
  Decision decide(Index index, const NodeSet& command);
  Decision decide(Index index, const NodeRemove& command);
  Decision decide(Index index, const ServiceSet& command);
  Decision decide(Index index, const ServiceRemove& command);
  Decision decide(Index index, const CheckSet& command);
  Decision decide(Index index, const CheckStatusSet& command);
  Decision decide(Index index, const CheckRemove& command);
  // state_restore.cc
  Decision decide(Index index, const RestoreBegin& command);
  Decision decide(Index index, const RestoreChunk& command);
  Decision decide(Index index, const RestoreCommit& command);
  Decision decide(Index index, const RestoreAbort& command);
  // state_order.cc
  Decision decide(Index index, const OrderReserve& command);
  Decision decide(Index index, const OrderOutcome& command);
  Decision decide(Index index, const OrderResolve& command);
  Decision decide(Index index, const OrderSweep& command);
  // state_halt.cc
  Decision decide(Index index, const HaltMerge& command);
  Decision decide(Index index, const HaltLift& command);
  Decision decide(Index index, const AuditNote& command);

  /// What the audit says of each kind of command.
  void audit(Index index, std::uint64_t time_ms, AuditKind kind, std::string actor, std::string subject, std::string text);
  void audit_halts(Index index, const HaltBook::Verdict& verdict, const std::string& by, std::uint64_t time_ms);
  void audit_begin(Index index);
  void audit_order(Index index, const Order& order, std::string actor, std::uint64_t time_ms);
  void audit_verdict(Index index, const OrderLedger::Verdict& verdict, std::uint64_t time_ms);
  void audit_sweep(Index index, const OrderSweep& command, const OrderLedger::Verdict& verdict);
  [[nodiscard]] std::string name_of(NodeId id) const;  ///< a member's name; its number if it has none

  Decision after_order(const std::string& service, OrderLedger::Verdict verdict);
  [[nodiscard]] OrderRow order_of(const CommandBody& body) const;  ///< null: the command names none
  Decision put(Index index, const std::string& key, std::string_view value, std::uint64_t flags);
  void write_lease(Index index, const std::string& service, Lease lease);
  Decision vacate(Index index, const std::string& service, Epoch epoch, NodeId preferred, const char* why);

  /// A lock command's key, value and flags, as they will be.
  struct LockWrite {
    const std::string& key;
    std::string_view value;
    std::uint64_t flags = 0;
  };
  template <class LockCommand>
  [[nodiscard]] LockWrite lock_write(const LockCommand& command) const;
  Decision acquire(Index index, const LockWrite& write, const SessionId& session);
  Decision release(Index index, const LockWrite& write, const SessionId& session);
  void end_session(Index index, const SessionId& id);
  void end_sessions(Index index, const Catalog::Lost& lost);

  /// One step of a transaction; its failure text, or nullopt. Appends what it read to `results`.
  std::optional<std::string> step(Index index, const TxnOp& op, TxnAnswer& answer, std::size_t number);
  std::optional<std::string> step_read(const TxnOp& op) const;
  [[nodiscard]] std::size_t read_bytes(const TxnOp& op) const;
  std::optional<std::string> step_write(Index index, const TxnOp& op);
  void step_result(const TxnOp& op, std::size_t number, TxnAnswer& answer) const;
  Decision after_catalog(Index index, Catalog::Verdict verdict, const Catalog::Lost& lost);

  void drop_staged();
  /// What the staged rows make; an error names the row that cannot be taken.
  struct Restored {
    KvSpace kv;
    SessionTable sessions;
    Catalog catalog;
    std::map<std::string, EpochCounter, std::less<>> epochs;
    Digest rows{};  // Staged::digest of all of them
  };
  [[nodiscard]] Result<Restored> build_staged() const;
  [[nodiscard]] std::optional<std::string> exceeded_bound() const;
  void adopt(Index index, Restored restored);

  const Remembered* find_request(const RequestId& request) const;
  void remember(const RequestId& request, const Remembered& remembered);
  void bound_origins();
  void load_row(Row row);
  void load_request(const RequestRow& row);
  void load_counter(CounterRow row);
  void load_staged(StagedRow row);
  void stage(std::string rows);
  [[nodiscard]] bool load_consistent() const;
  void append_rows_before_orders(std::vector<Record>& rows) const;
  void append_rows_after_orders(std::vector<Record>& rows) const;
  void append_kv_rows(std::vector<Record>& rows) const;
  void append_counter_rows(std::vector<Record>& rows) const;
  void append_staged_rows(std::vector<Record>& rows) const;

  struct Origin {
    std::vector<Remembered> slots;  // slot = seq % kDedupeWindow; grows up to that
    Index last{};                   // of its newest request: the origin with the oldest goes first
  };

  Index applied_{};
  Applied* applying_ = nullptr;  // what the command being decided tells beyond its outcome
  NodeId answered_{};
  KvSpace kv_;
  SessionTable sessions_;
  Catalog catalog_;
  std::deque<UserEvent> events_;
  OrderLedger orders_;
  HaltBook halts_;
  AuditLog audit_;
  Staged staged_;
  std::map<std::string, Lease, std::less<>> leases_;
  std::map<std::string, EpochCounter, std::less<>> epochs_;
  std::map<NodeId, std::string> members_;
  ClusterId cluster_id_;
  std::map<NodeId, Origin> origins_;
  Journal journal_;
};

}  // namespace store::kv
