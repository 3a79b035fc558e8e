#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/kv/audit_log.h"
#include "store/kv/catalog_rows.h"
#include "store/kv/error.h"
#include "store/kv/halt_set.h"
#include "store/kv/order.h"
#include "store/kv/session.h"
#include "store/kv/types.h"

/// Rows of the state as bytes, for the `state` column family and for snapshots.
/// Format: key = one letter for the kind, then the name (big-endian where it is a number); value = msgpack array
///   [version, field...].
///   'k' KV entry by key      't' tombstone by key     'f' tombstone floor    'l' lease by service
///   'e' epoch counter by service   'm' member by id   'c' cluster id         'd' remembered request by origin, slot
///   's' session by id   'b' lock-delay by key   'n' node by name   'v' instance, 'h' check by node, NUL, id
///   'i' index counter by name ("" = floor)   'E' event by index   'q' quota by prefix   'r' staged restore by number
///   'o' order by service, NUL, zone, NUL, key
///   'w' last number of halts by replica   'x' halt by replica, number   'y' audit entry by number   'z' ends of the audit
///   A KV entry has version 1 while it was never locked, version 2 with its lock. The other rows have version 1.
namespace store::kv {

inline constexpr std::uint64_t kRecordVersion = 1;
inline constexpr std::uint64_t kLockedEntryVersion = 2;  ///< of an entry's row with a lock

/// One entry of the KV space. Index of the entry that created it and of the one that last changed it.
struct Entry {
  std::string value;
  std::uint64_t flags = 0;
  Index create{}, modify{};
  friend bool operator==(const Entry&, const Entry&) = default;
};

/// The lease of one service. Vacant: holder 0, `epoch` is that of the last holder.
struct Lease {
  Epoch epoch{};
  NodeId holder{};
  std::string holder_name;
  NodeId preferred{};          ///< vacant only: who alone may acquire; 0 = anyone
  std::uint32_t lease_ms = 0;  ///< as the present or last holder asked for
  std::uint32_t margin_ms = 0;
  Index create{}, modify{};  ///< `modify` moves with every acquire, release, expire, open
  friend bool operator==(const Lease&, const Lease&) = default;
};

/// What outlives a lease row: its counter, and the index of its last change (so that waits never see it go back).
struct EpochCounter {
  Epoch epoch{};
  Index modify{};
  friend bool operator==(const EpochCounter&, const EpochCounter&) = default;
};

/// How a command was decided.
enum class Outcome : std::uint8_t {
  kDone = 0,             ///< it took effect (or there was nothing left to do: a delete of a missing key)
  kUnchanged = 1,        ///< a Set or Cas whose value and flags were there already
  kConditionFailed = 2,  ///< Cas, DeleteCas: the modify index is another one; others: see the command
  kHeld = 3,             ///< LeaseAcquire, Acquire, Release: somebody else holds it; LeaseForget: it is held
  kReserved = 4,         ///< LeaseAcquire: vacant, but kept for another one
  kStaleEpoch = 5,       ///< LeaseRelease, LeaseExpire, LeaseOpen, OrderReserve: that epoch is over
  kFull = 6,             ///< a bound of types.h or a quota is reached; Applied::detail names it
  kForgotten = 7,        ///< repeated so late that its first outcome is not remembered: this copy had no effect
  kNotFound = 8,         ///< no such service, member, node, instance, check, key or restore
  kInvalidSession = 9,   ///< Acquire, Release: there is no such session
  kHeldBack = 10,        ///< Acquire: the last holder's session ended and its lock-delay runs
  kExists = 11,          ///< SessionCreate: the id is in use; OrderReserve: the order is there already
};
inline constexpr Outcome kOutcomeLast = Outcome::kExists;
[[nodiscard]] const char* to_string(Outcome outcome);  ///< "ConditionFailed", ...

/// A request that was decided: what a repeated proposal is answered with.
struct Remembered {
  std::uint64_t seq = 0;  ///< 0 = empty slot
  Index index{};
  Outcome outcome = Outcome::kDone;
  Epoch epoch{};
  friend bool operator==(const Remembered&, const Remembered&) = default;
};

/// Somebody wants a halt lifted that takes two people. Nobody: an empty `by`.
struct HaltProposal {
  std::string by;
  std::uint64_t time_ms = 0;
  friend bool operator==(const HaltProposal&, const HaltProposal&) = default;
};
struct HaltRow {
  Halt halt;
  HaltProposal proposal;
};
struct HaltSeenRow {
  std::uint64_t replica = 0, number = 0;
  Index changed{};  ///< entry that last changed anything of that replica's
  std::vector<HaltSet::Span> gaps = {};  ///< numbers that were never shown; only where somebody passed some over
};

// Keys of rows.
[[nodiscard]] std::string entry_key(std::string_view key);
[[nodiscard]] std::string tombstone_key(std::string_view key);
[[nodiscard]] std::string floor_key();
[[nodiscard]] std::string lease_key(std::string_view service);
[[nodiscard]] std::string epoch_key(std::string_view service);
[[nodiscard]] std::string member_key(NodeId id);
[[nodiscard]] std::string cluster_key();
[[nodiscard]] std::string request_key(NodeId origin, std::size_t slot);
[[nodiscard]] std::string session_key(const SessionId& id);
[[nodiscard]] std::string delay_key(std::string_view key);
[[nodiscard]] std::string node_key(std::string_view name);
[[nodiscard]] std::string instance_key(std::string_view node, std::string_view id);
[[nodiscard]] std::string check_key(std::string_view node, std::string_view id);
[[nodiscard]] std::string counter_key(std::string_view name);
[[nodiscard]] std::string event_key(Index index);
[[nodiscard]] std::string quota_key(std::string_view prefix);
[[nodiscard]] std::string restore_key(std::uint64_t number);
[[nodiscard]] std::string order_key(const OrderName& name);
[[nodiscard]] std::string halt_seen_key(std::uint64_t replica);
[[nodiscard]] std::string halt_key(const HaltTag& tag);
[[nodiscard]] std::string audit_key(std::uint64_t number);
[[nodiscard]] std::string audit_ends_key();

// Values of rows.
[[nodiscard]] std::string encode_entry(const Entry& entry, const Lock* lock);  ///< nullptr = never locked
[[nodiscard]] std::string encode_index(Index index);  ///< tombstone, floor, index counter
[[nodiscard]] std::string encode_lease(const Lease& lease);
[[nodiscard]] std::string encode_epoch(const EpochCounter& counter);
[[nodiscard]] std::string encode_member(std::string_view name);
[[nodiscard]] std::string encode_cluster(const ClusterId& id);
[[nodiscard]] std::string encode_remembered(const Remembered& remembered);
[[nodiscard]] std::string encode_session(const Session& session);
[[nodiscard]] std::string encode_delay(const LockDelay& delay);
[[nodiscard]] std::string encode_node(const Node& node);
[[nodiscard]] std::string encode_instance(const ServiceInstance& instance);
[[nodiscard]] std::string encode_check(const Check& check);
[[nodiscard]] std::string encode_event(const UserEvent& event);
[[nodiscard]] std::string encode_quota(const Quota& quota);
[[nodiscard]] std::string encode_staged(const Uuid& restore, std::string_view rows);
[[nodiscard]] std::string encode_order(const Order& order);
[[nodiscard]] std::string encode_halt_seen(const HaltSeenRow& row);
[[nodiscard]] std::string encode_halt(const Halt& halt, const HaltProposal& proposal);
[[nodiscard]] std::string encode_audit_ends(const AuditHead& pruned, const AuditHead& head);

/// A decoded row: the kind is the alternative, the name is inside.
struct EntryRow {
  std::string key;
  Entry entry;
  Lock lock;
};
struct TombstoneRow {
  std::string key;
  Index index;
};
struct FloorRow {
  Index index;
};
struct LeaseRow {
  std::string service;
  Lease lease;
};
struct EpochRow {
  std::string service;
  EpochCounter counter;
};
struct MemberRow {
  NodeId id;
  std::string name;
};
struct ClusterRow {
  ClusterId id;
};
struct RequestRow {
  NodeId origin;
  std::size_t slot;
  Remembered remembered;
};
struct DelayRow {
  std::string key;
  LockDelay delay;
};
struct CounterRow {
  std::string name;
  Index index;
};
struct QuotaRow {
  std::string prefix;
  Quota quota;
};
struct StagedRow {
  std::uint64_t number;
  Uuid restore;
  std::string rows;
};
/// Taken as it is: see AuditLog::load.
struct AuditRow {
  std::uint64_t number;
  std::string value;
};
struct AuditEndsRow {
  AuditHead pruned, head;
};
using Row = std::variant<EntryRow, TombstoneRow, FloorRow, LeaseRow, EpochRow, MemberRow, ClusterRow, RequestRow,
                         Session, DelayRow, Node, ServiceInstance, Check, CounterRow, UserEvent, QuotaRow, StagedRow,
                         Order, HaltSeenRow, HaltRow, AuditRow, AuditEndsRow>;

/// Takes any bytes. Errors: kTruncated, kMalformed, kUnknownVersion, kUnknownKind, kTooLarge, kBadKey.
[[nodiscard]] Result<Row> decode_row(std::string_view key, std::string_view value);

/// Rows as one string: for RestoreChunk, and for files that hold saved rows.
[[nodiscard]] std::string encode_rows(std::span<const Record> rows);
/// Errors: kTruncated, kMalformed, kTooLarge; and a row without a value is kMalformed.
[[nodiscard]] Result<std::vector<Record>> decode_rows(std::string_view bytes);
/// Cuts rows into strings of encode_rows() of at most kRestoreChunkBytesMax bytes (every single row fits into one).
[[nodiscard]] std::vector<std::string> chunk_rows(std::span<const Record> rows);
/// Is this a kind of row that saved states hold and a restore takes? KV, sessions, catalog, quotas, epoch counters.
[[nodiscard]] bool is_saved_kind(std::string_view row_key);

}  // namespace store::kv
