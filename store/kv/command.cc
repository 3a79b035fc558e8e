#include "store/kv/command.h"

#include "store/kv/command_kind.h"
#include "store/kv/fields.h"

/// Bytes to commands.
namespace store::kv {
namespace {

Index take_index(ArrayReader& reader) { return Index{reader.number()}; }
Epoch take_epoch(ArrayReader& reader) { return Epoch{reader.number()}; }
NodeId take_node(ArrayReader& reader) { return NodeId{reader.number()}; }
SessionId take_session_id(ArrayReader& reader) { return SessionId{take_uuid(reader)}; }

ClusterSet decode_cluster_set(ArrayReader& reader) {
  ClusterSet command;
  const std::string_view raw = reader.bytes(command.id.bytes.size());
  if (raw.size() != command.id.bytes.size()) {
    reader.reject(Errc::kMalformed, "cluster id is not 16 bytes");
    return command;
  }
  for (std::size_t i = 0; i < raw.size(); ++i) command.id.bytes[i] = static_cast<std::uint8_t>(raw[i]);
  return command;
}

// Braced initialisers are evaluated from left to right: the order on the wire is the order of the members.
CommandBody decode_lease_body(ArrayReader& r, CommandKind kind) {
  if (kind == CommandKind::kLeaseAcquire)
    return LeaseAcquire{take_text(r, kNameBytesMax), take_node(r), take_text(r, kNameBytesMax), r.number32(),
                        r.number32()};
  if (kind == CommandKind::kLeaseRelease) return LeaseRelease{take_text(r, kNameBytesMax), take_epoch(r), take_node(r)};
  if (kind == CommandKind::kLeaseExpire) return LeaseExpire{take_text(r, kNameBytesMax), take_epoch(r)};
  if (kind == CommandKind::kLeaseOpen) return LeaseOpen{take_text(r, kNameBytesMax), take_epoch(r)};
  return LeaseForget{take_text(r, kNameBytesMax)};
}

// Key, value, flags, session, keep: the fields of both lock commands.
template <class T>
T decode_lock_body(ArrayReader& r) {
  return T{take_text(r, kKeyBytesMax), take_text(r, kValueBytesMax), r.number(), take_session_id(r),
           take_enum(r, KeepValue::kKeep, "what a lock does to the value")};
}

CommandBody decode_session_body(ArrayReader& r, CommandKind kind) {
  if (kind == CommandKind::kAcquire) return decode_lock_body<Acquire>(r);
  if (kind == CommandKind::kRelease) return decode_lock_body<Release>(r);
  if (kind == CommandKind::kSessionCreate) return SessionCreate{take_session(r)};
  if (kind == CommandKind::kSessionDestroy) return SessionDestroy{take_session_id(r)};
  if (kind == CommandKind::kSessionExpire) return SessionExpire{take_session_id(r)};
  return LockDelayEnd{take_text(r, kKeyBytesMax), take_index(r)};
}

Txn decode_txn(ArrayReader& r) {
  Txn txn;
  const std::size_t count = r.begin_list(kTxnOpsMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) txn.ops.push_back(take_txn_op(r));
  r.end_list();
  return txn;
}

ServiceSet decode_service_set(ArrayReader& r) {
  ServiceSet command;
  command.instance = take_instance(r);
  const std::size_t count = r.begin_list(kServiceChecksMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) command.checks.push_back(take_check(r));
  r.end_list();
  command.old_checks = take_enum(r, OldChecks::kRemove, "what becomes of old checks");
  command.keep_status = take_enum(r, KeepStatus::kKeep, "what becomes of a status");
  return command;
}

CommandBody decode_catalog_body(ArrayReader& r, CommandKind kind) {
  if (kind == CommandKind::kNodeSet) return NodeSet{take_node_row(r)};
  if (kind == CommandKind::kNodeRemove) return NodeRemove{take_text(r, kNameBytesMax)};
  if (kind == CommandKind::kServiceSet) return decode_service_set(r);
  if (kind == CommandKind::kServiceRemove)
    return ServiceRemove{take_text(r, kNameBytesMax), take_text(r, kNameBytesMax)};
  if (kind == CommandKind::kCheckSet)
    return CheckSet{take_check(r), take_enum(r, KeepStatus::kKeep, "what becomes of a status")};
  if (kind == CommandKind::kCheckStatusSet)
    return CheckStatusSet{take_text(r, kNameBytesMax), take_text(r, kNameBytesMax),
                          take_enum(r, CheckStatus::kCritical, "check status"), take_text(r, kOutputBytesMax)};
  return CheckRemove{take_text(r, kNameBytesMax), take_text(r, kNameBytesMax)};
}

CommandBody decode_order_body(ArrayReader& r, CommandKind kind) {
  if (kind == CommandKind::kOrderReserve)
    return OrderReserve{take_order_name(r), take_fingerprint(r), take_epoch(r), take_node(r), r.number(), r.number()};
  if (kind == CommandKind::kOrderOutcome)
    return OrderOutcome{take_order_name(r), take_index(r), take_enum(r, kOrderStateLast, "state of an order"),
                        take_answer(r), r.number()};
  if (kind == CommandKind::kOrderResolve)
    return OrderResolve{take_order_name(r), take_index(r), take_enum(r, kOrderStateLast, "state of an order"),
                        take_enum(r, kOrderSourceLast, "source of a verdict"), take_answer(r), r.number()};
  return OrderSweep{r.number(), r.number32()};
}

HaltSet take_halt_set(ArrayReader& r) {
  const std::string_view bytes = r.bytes(kHaltSetBytesMax);
  if (!r.ok()) return {};
  auto set = decode_halt_set(bytes);
  if (set) return std::move(*set);
  r.reject(set.error().code, set.error().detail);
  return {};
}

bool take_flag(ArrayReader& r) {
  const std::uint64_t flag = r.number();
  if (r.ok() && flag > 1) r.reject(Errc::kMalformed, "neither yes nor no");
  return flag == 1;
}

std::vector<HaltTag> take_tags(ArrayReader& r) {
  constexpr std::size_t kTagBytes = 16;
  std::string_view bytes = r.bytes(kHaltsMax * kTagBytes);
  std::vector<HaltTag> tags;
  if (bytes.size() % kTagBytes != 0) r.reject(Errc::kMalformed, "half a tag");
  for (; r.ok() && !bytes.empty(); bytes.remove_prefix(kTagBytes)) {
    HaltTag tag;
    for (std::size_t i = 0; i < kTagBytes; ++i) {
      std::uint64_t& part = i < kTagBytes / 2 ? tag.replica : tag.number;
      part = part << 8U | static_cast<std::uint8_t>(bytes[i]);
    }
    tags.push_back(tag);
  }
  return tags;
}

CommandBody decode_halt_body(ArrayReader& r, CommandKind kind) {
  if (kind == CommandKind::kHaltMerge) return HaltMerge{take_halt_set(r)};
  if (kind == CommandKind::kHaltLift)
    return HaltLift{take_halt_set(r), take_tags(r), take_text(r, kHaltWhoBytesMax), take_flag(r), take_flag(r), r.number()};
  return AuditNote{take_enum(r, kAuditKindLast, "kind of an audit entry"), r.number(), take_text(r, kAuditTextBytesMax),
                   take_text(r, kAuditTextBytesMax), take_text(r, kAuditTextBytesMax)};
}

CommandBody decode_rest(ArrayReader& r, CommandKind kind) {
  switch (kind) {
    case CommandKind::kTxn:
      return decode_txn(r);
    case CommandKind::kEventFire:
      return EventFire{take_event(r)};
    case CommandKind::kQuotaSet:
      return QuotaSet{take_text(r, kKeyBytesMax), Quota{r.number(), r.number()}};
    case CommandKind::kQuotaRemove:
      return QuotaRemove{take_text(r, kKeyBytesMax)};
    case CommandKind::kRestoreBegin:
      return RestoreBegin{take_uuid(r)};
    case CommandKind::kRestoreChunk:
      return RestoreChunk{take_uuid(r), r.number(), take_text(r, kRestoreChunkBytesMax)};
    case CommandKind::kRestoreCommit:
      return RestoreCommit{take_uuid(r), r.number()};
    case CommandKind::kRestoreAbort:
      return RestoreAbort{take_uuid(r)};
    default:
      break;  // a number from outside: any value may come
  }
  r.reject(Errc::kUnknownKind, "command kind " + std::to_string(static_cast<std::uint64_t>(kind)));
  return Delete{};
}

CommandBody decode_body(ArrayReader& r, CommandKind kind) {
  switch (kind) {
    case CommandKind::kSet:
      return Set{take_text(r, kKeyBytesMax), take_text(r, kValueBytesMax), r.number()};
    case CommandKind::kCas:
      return Cas{take_text(r, kKeyBytesMax), take_text(r, kValueBytesMax), r.number(), take_index(r)};
    case CommandKind::kDelete:
      return Delete{take_text(r, kKeyBytesMax)};
    case CommandKind::kDeleteCas:
      return DeleteCas{take_text(r, kKeyBytesMax), take_index(r)};
    case CommandKind::kDeleteTree:
      return DeleteTree{take_text(r, kKeyBytesMax)};
    case CommandKind::kMemberSet:
      return MemberSet{take_node(r), take_text(r, kNameBytesMax)};
    case CommandKind::kMemberRemove:
      return MemberRemove{take_node(r)};
    case CommandKind::kClusterSet:
      return decode_cluster_set(r);
    default:
      break;
  }
  if (kind >= CommandKind::kLeaseAcquire && kind <= CommandKind::kLeaseForget) return decode_lease_body(r, kind);
  if (kind >= CommandKind::kAcquire && kind <= CommandKind::kLockDelayEnd) return decode_session_body(r, kind);
  if (kind >= CommandKind::kNodeSet && kind <= CommandKind::kCheckRemove) return decode_catalog_body(r, kind);
  if (kind >= CommandKind::kOrderReserve && kind <= CommandKind::kOrderSweep) return decode_order_body(r, kind);
  if (kind >= CommandKind::kHaltMerge && kind <= CommandKind::kAuditNote) return decode_halt_body(r, kind);
  return decode_rest(r, kind);
}

// The part before the fields. Leaves an error in the reader.
RequestId decode_head(ArrayReader& reader, CommandKind& kind) {
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kCommandVersion)
    reader.reject(Errc::kUnknownVersion, "command version " + std::to_string(version));
  kind = CommandKind{reader.number()};
  const NodeId origin = take_node(reader);
  return RequestId{origin, reader.number()};
}

}  // namespace

Result<Command> decode_command(std::string_view bytes) {
  if (bytes.size() > kCommandBytesMax) return fail(Errc::kTooLarge, "the command is too large");
  ArrayReader reader(bytes, kCommandFieldsMax);
  CommandKind kind{};
  const RequestId request = decode_head(reader, kind);
  if (!reader.ok()) return tl::unexpected<Error>(reader.finish().error());
  Command command{request, decode_body(reader, kind)};
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  if (auto sound = check(command.body); !sound) return tl::unexpected<Error>(sound.error());
  return command;
}

Result<RequestId> decode_request_id(std::string_view bytes) {
  if (bytes.size() > kCommandBytesMax) return fail(Errc::kTooLarge, "the command is too large");
  ArrayReader reader(bytes, kCommandFieldsMax);
  CommandKind kind{};
  const RequestId request = decode_head(reader, kind);
  if (!reader.ok()) return tl::unexpected<Error>(reader.finish().error());
  return request;
}

}  // namespace store::kv
