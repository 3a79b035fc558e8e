#pragma once

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
#include "store/kv/txn.h"
#include "store/kv/types.h"

/// Commands: what a log entry asks of the state machine.
/// Format: one msgpack array [version, kind, origin, seq, field...]; integers unsigned, strings bin. A kind or
///   version that a build does not know stops it (fail-stop): skipping would let replicas drift apart.
/// Time enters as a value only (lease and margin lengths); chance never.
namespace store::kv {

inline constexpr std::uint64_t kCommandVersion = 1;

/// Writes `value` and `flags`. A set that changes nothing keeps the modify index and wakes nobody. A lock on the key
/// stays as it is: locks are advisory.
struct Set {
  std::string key, value;
  std::uint64_t flags = 0;
};
/// As Set, if the key's modify index is `expected`; 0 = the key must not exist.
struct Cas {
  std::string key, value;
  std::uint64_t flags = 0;
  Index expected{};
};
/// Removes the key; also Outcome::kDone if it was missing.
struct Delete {
  std::string key;
};
/// Removes the key if its modify index is `expected` (> 0); a missing key is Outcome::kDone.
struct DeleteCas {
  std::string key;
  Index expected{};
};
/// Removes every key that begins with `prefix` (empty = all).
struct DeleteTree {
  std::string prefix;
};

/// Takes the lease of `service` for `holder` under a new epoch: if it is vacant and not reserved for somebody else,
/// or if `holder` has it already (its process began anew, so the old epoch must end).
struct LeaseAcquire {
  std::string service;
  NodeId holder{};
  std::string holder_name;
  std::uint32_t lease_ms = 1500;  ///< kLeaseMsMin..kLeaseMsMax; how long one renewal carries the holder
  std::uint32_t margin_ms = 500;  ///< <= kLeaseMsMax; what the leader waits beyond the lease before it expires it
};
/// Gives the lease up, if `epoch` is current. `preferred` (0 = anyone) is the only one who may take it until the
/// leader proposes LeaseOpen, one lease period later.
struct LeaseRelease {
  std::string service;
  Epoch epoch{};
  NodeId preferred{};
};
/// Takes the lease away, if `epoch` is current. Proposed by the leader alone.
struct LeaseExpire {
  std::string service;
  Epoch epoch{};
};
/// Ends the reservation that a release of `epoch` made, if the lease is still vacant. Proposed by the leader alone.
struct LeaseOpen {
  std::string service;
  Epoch epoch{};
};
/// Forgets a vacant lease; its epoch counter stays for ever.
struct LeaseForget {
  std::string service;
};

/// Writes down a member's name. Proposed by the leader alone.
struct MemberSet {
  NodeId id{};
  std::string name;
};
struct MemberRemove {
  NodeId id{};
};
/// Sets the cluster id if there is none yet.
struct ClusterSet {
  ClusterId id;
};

// --- locks and sessions -------------------------------------------------------------------------------------------
/// What a lock command does to the key's value.
enum class KeepValue : std::uint8_t { kOverwrite = 0, kKeep = 1 };

/// Locks the key for `session`, creating it if needed, and writes value and flags. Also kDone (kUnchanged if nothing
/// differs) if the session holds it already. Outcomes else: kInvalidSession, kHeld (by another session), kHeldBack
/// (lock-delay), kFull.
struct Acquire {
  std::string key, value;
  std::uint64_t flags = 0;
  SessionId session;
  KeepValue keep = KeepValue::kOverwrite;  ///< kKeep: an existing key keeps its value and flags
};
/// Unlocks the key if `session` holds it, and writes value and flags. Outcomes else: kHeld (by another one),
/// kNotFound (missing key), kConditionFailed (not locked), kFull. No lock-delay follows.
struct Release {
  std::string key, value;
  std::uint64_t flags = 0;
  SessionId session;
  KeepValue keep = KeepValue::kOverwrite;
};
/// Creates `session`, whose id was drawn at random by the proposer. Outcomes else: kNotFound (no such node or check),
/// kConditionFailed (a check is critical), kExists (id in use), kFull; Applied::detail names what.
struct SessionCreate {
  Session session;
};
/// Ends a session; its keys are freed or deleted and held back. kDone also if there is none.
struct SessionDestroy {
  SessionId id;
};
/// The same, since its TTL passed. Proposed by the leader alone. kNotFound if there is none.
struct SessionExpire {
  SessionId id;
};
/// Ends the lock-delay that began at `since`. Proposed by the leader alone. kNotFound if there is none.
struct LockDelayEnd {
  std::string key;
  Index since{};
};
/// Outcomes: kDone; kConditionFailed or kFull: nothing happened, TxnAnswer::failures says why.
struct Txn {
  std::vector<TxnOp> ops;  ///< 1..kTxnOpsMax
};

// --- catalog ------------------------------------------------------------------------------------------------------
/// All of them: kUnchanged if the row is there already, with all its fields; then no index moves.
struct NodeSet {
  Node node;
};
/// With its instances, checks and sessions. kNotFound if there is none.
struct NodeRemove {
  std::string name;
};
/// What becomes of the status and output of a check that exists already.
enum class KeepStatus : std::uint8_t { kReplace = 0, kKeep = 1 };
/// What becomes of an instance's checks that are not in the command.
enum class OldChecks : std::uint8_t { kKeep = 0, kRemove = 1 };
/// Registers an instance with its checks, at once. kNotFound: no such node. kFull.
struct ServiceSet {
  ServiceInstance instance;
  std::vector<Check> checks;  ///< <= kServiceChecksMax; their node and service are set from the instance
  OldChecks old_checks = OldChecks::kKeep;
  KeepStatus keep_status = KeepStatus::kKeep;
};
/// With its checks. kNotFound if there is none.
struct ServiceRemove {
  std::string node, id;
};
/// kNotFound: no such node or instance. kFull.
struct CheckSet {
  Check check;
  KeepStatus keep_status = KeepStatus::kReplace;
};
/// kNotFound: no such check.
struct CheckStatusSet {
  std::string node, id;
  CheckStatus status = CheckStatus::kCritical;
  std::string output;
};
struct CheckRemove {
  std::string node, id;
};

// --- events, quotas, restore --------------------------------------------------------------------------------------
struct EventFire {
  UserEvent event;
};
/// Limits what may be stored below `prefix` (1..kKeyBytesMax bytes). What is there already stays. kFull: kQuotasMax.
struct QuotaSet {
  std::string prefix;
  Quota quota;
};
struct QuotaRemove {
  std::string prefix;
};
/// A restore replaces KV, sessions, catalog and quotas by saved rows (StateMachine::saved_rows): begin, chunks in
/// order, commit. Nobody sees anything of it before the commit; one restore at a time, a new one drops the old one.
struct RestoreBegin {
  Uuid id;  ///< drawn at random by the proposer
};
/// Rows as encode_rows() writes them. kConditionFailed: another restore, or not the next number. kFull.
struct RestoreChunk {
  Uuid id;
  std::uint64_t number = 0;  ///< 0, 1, ...
  std::string rows;          ///< <= kRestoreChunkBytesMax; other kinds of rows than saved ones are refused
};
/// Every index jumps to this entry's: above all that were ever given out. kConditionFailed: not that restore, or not
/// all of its `chunks` are here.
struct RestoreCommit {
  Uuid id;
  std::uint64_t chunks = 0;
};
/// kNotFound: no such restore.
struct RestoreAbort {
  Uuid id;
};

// --- orders (order.h) -------------------------------------------------------------------------------------------------
// Applied::order is the row as it is afterwards, whatever the outcome; null only if there is none.

/// Asks for the right to send an order once. Outcomes:
///   kDone             reserved by this entry: send it, as soon as the lease check passes (may_send())
///   kExists           it is there, with this fingerprint: RESERVED (in flight), DONE (replay its answer) or UNKNOWN
///   kConditionFailed  it is there, with another fingerprint
///   kStaleEpoch       the lease of the service is not `node`'s under `epoch`: whoever holds it has to be asked
///   kFull             a bound of the ledger, named in the detail
/// A NOT_SENT order is reserved anew, by the same fingerprint alone: its attempt counter grows.
struct OrderReserve {
  OrderName name;
  Fingerprint fingerprint{};
  Epoch epoch{};   ///< > 0
  NodeId node{};   ///< the lease's holder: it alone may send
  std::uint64_t time_ms = 0;
  std::uint64_t retention_ms = kOrderRetentionMsDefault;  ///< kOrderRetentionMsMin..Max
};
/// The sender's word on what came of one reservation. To be repeated until it is decided. A reservation whose answer never
/// came (the write ended in a time-out) is the sender's, too: nobody sent it, so it is NOT_SENT by its word. Outcomes: kDone; kUnchanged
/// (said before); kConditionFailed (that reservation is over, or ended in another way); kNotFound.
/// Where the lease made it UNKNOWN meanwhile, the sender's word is still taken: it alone knows what it did.
struct OrderOutcome {
  OrderName name;
  Index reserved{};                          ///< Order::reserved of the reservation
  OrderState state = OrderState::kUnknown;   ///< kDone (with an answer), kNotSent (no byte left), kUnknown
  OrderAnswer answer;                        ///< kDone: kWhole or kStatus; else kNone
  std::uint64_t time_ms = 0;
};
/// What a hook or a person found out about an UNKNOWN order. Outcomes: kDone; kUnchanged (it is so already);
/// kConditionFailed (it is not UNKNOWN, or changed since `seen`); kNotFound.
struct OrderResolve {
  OrderName name;
  Index seen{};                             ///< Order::changed, read before the exchange was asked
  OrderState state = OrderState::kDone;     ///< kDone or kNotSent
  OrderSource source = OrderSource::kHook;  ///< kHook or kOperator
  OrderAnswer answer;                       ///< kDone: any; kNotSent: kNone
  std::uint64_t time_ms = 0;
};
/// Forgets DONE and NOT_SENT orders whose retention ended at `before_ms` or earlier. Proposed by the leader alone.
/// kDone, or kUnchanged if there is none.
struct OrderSweep {
  std::uint64_t before_ms = 0;
  std::uint32_t count_max = kOrderSweepMax;  ///< 1..kOrderSweepMax; the oldest go first
};

// --- halts and the audit (halt_set.h, audit_log.h) ---------------------------------------------------------------------
/// Writes down the halts that an agent knows. It lifts nothing, whatever the set says. Outcomes: kDone, kUnchanged, kFull.
struct HaltMerge {
  HaltSet set;
};
/// Lifts halts: what nobody can do without a majority. Outcomes: kDone; kUnchanged (they were lifted before); kReserved: they
/// take two people, and `by` has proposed it; kConditionFailed: nobody has, or the same person; kNotFound; kFull.
struct HaltLift {
  HaltSet set;                 ///< what the proposer knows: in it the halts, and all that came before them
  std::vector<HaltTag> tags;   ///< 1..kHaltsMax
  std::string by;              ///< 1..kHaltWhoBytesMax
  bool second_person = false;  ///< two people, whatever the halts themselves say
  bool confirm = false;        ///< `by` is the second one
  std::uint64_t time_ms = 0;
};
/// Something for the audit that is in no other command; the first one begins it (audit_log.h). kDone.
struct AuditNote {
  AuditKind kind = AuditKind::kConfig;
  std::uint64_t time_ms = 0;
  std::string actor, subject, text;  ///< <= kAuditTextBytesMax each
};

using CommandBody =
    std::variant<Set, Cas, Delete, DeleteCas, DeleteTree, LeaseAcquire, LeaseRelease, LeaseExpire, LeaseOpen,
                 LeaseForget, MemberSet, MemberRemove, ClusterSet, Acquire, Release, SessionCreate, SessionDestroy,
                 SessionExpire, LockDelayEnd, Txn, NodeSet, NodeRemove, ServiceSet, ServiceRemove, CheckSet,
                 CheckStatusSet, CheckRemove, EventFire, QuotaSet, QuotaRemove, RestoreBegin, RestoreChunk,
                 RestoreCommit, RestoreAbort, OrderReserve, OrderOutcome, OrderResolve, OrderSweep, HaltMerge, HaltLift, AuditNote>;
struct Command {
  RequestId request;
  CommandBody body;
};

[[nodiscard]] std::string encode(const Command& command);
/// Takes any bytes from anyone. Errors: kTruncated, kMalformed, kUnknownVersion, kUnknownKind, and those of check().
[[nodiscard]] Result<Command> decode_command(std::string_view bytes);
/// The rules that every command obeys before it may be proposed. Errors: kTooLarge, kBadKey, kMalformed.
[[nodiscard]] Result<void> check(const CommandBody& body);
/// Only the request id, without looking at the rest. Errors: as decode_command.
[[nodiscard]] Result<RequestId> decode_request_id(std::string_view bytes);

}  // namespace store::kv
