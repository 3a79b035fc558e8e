#include "store/kv/command.h"
#include "store/kv/command_kind.h"
#include "store/kv/fields.h"
#include "store/kv/record.h"

/// Commands to bytes.
namespace store::kv {
namespace {

ArrayWriter begin(const RequestId& request, CommandKind kind, std::size_t fields) {
  ArrayWriter writer(4 + fields);
  writer.add(kCommandVersion).add(static_cast<std::uint64_t>(kind)).add(value(request.origin)).add(request.seq);
  return writer;
}

struct Encoder {
  const RequestId& request;
  std::string operator()(const Set& c) const {
    return begin(request, CommandKind::kSet, 3).add(c.key).add(c.value).add(c.flags).take();
  }
  std::string operator()(const Cas& c) const {
    return begin(request, CommandKind::kCas, 4).add(c.key).add(c.value).add(c.flags).add(value(c.expected)).take();
  }
  std::string operator()(const Delete& c) const { return begin(request, CommandKind::kDelete, 1).add(c.key).take(); }
  std::string operator()(const DeleteCas& c) const {
    return begin(request, CommandKind::kDeleteCas, 2).add(c.key).add(value(c.expected)).take();
  }
  std::string operator()(const DeleteTree& c) const {
    return begin(request, CommandKind::kDeleteTree, 1).add(c.prefix).take();
  }
  std::string operator()(const LeaseAcquire& c) const {
    return begin(request, CommandKind::kLeaseAcquire, 5)
        .add(c.service)
        .add(value(c.holder))
        .add(c.holder_name)
        .add(c.lease_ms)
        .add(c.margin_ms)
        .take();
  }
  std::string operator()(const LeaseRelease& c) const {
    return begin(request, CommandKind::kLeaseRelease, 3).add(c.service).add(value(c.epoch)).add(value(c.preferred)).take();
  }
  std::string operator()(const LeaseExpire& c) const {
    return begin(request, CommandKind::kLeaseExpire, 2).add(c.service).add(value(c.epoch)).take();
  }
  std::string operator()(const LeaseOpen& c) const {
    return begin(request, CommandKind::kLeaseOpen, 2).add(c.service).add(value(c.epoch)).take();
  }
  std::string operator()(const LeaseForget& c) const {
    return begin(request, CommandKind::kLeaseForget, 1).add(c.service).take();
  }
  std::string operator()(const MemberSet& c) const {
    return begin(request, CommandKind::kMemberSet, 2).add(value(c.id)).add(c.name).take();
  }
  std::string operator()(const MemberRemove& c) const {
    return begin(request, CommandKind::kMemberRemove, 1).add(value(c.id)).take();
  }
  std::string operator()(const ClusterSet& c) const {
    const std::string raw(c.id.bytes.begin(), c.id.bytes.end());
    return begin(request, CommandKind::kClusterSet, 1).add(raw).take();
  }
  std::string operator()(const Acquire& c) const { return lock(CommandKind::kAcquire, c); }
  std::string operator()(const Release& c) const { return lock(CommandKind::kRelease, c); }
  std::string operator()(const SessionCreate& c) const { return whole(CommandKind::kSessionCreate, c.session); }
  std::string operator()(const SessionDestroy& c) const { return whole(CommandKind::kSessionDestroy, c.id.uuid); }
  std::string operator()(const SessionExpire& c) const { return whole(CommandKind::kSessionExpire, c.id.uuid); }
  std::string operator()(const LockDelayEnd& c) const {
    return begin(request, CommandKind::kLockDelayEnd, 2).add(c.key).add(value(c.since)).take();
  }
  std::string operator()(const Txn& c) const {
    ArrayWriter writer = begin(request, CommandKind::kTxn, 1);
    writer.add_list(c.ops.size());
    for (const TxnOp& op : c.ops) add(writer, op);
    return writer.take();
  }
  std::string operator()(const NodeSet& c) const { return whole(CommandKind::kNodeSet, c.node); }
  std::string operator()(const NodeRemove& c) const {
    return begin(request, CommandKind::kNodeRemove, 1).add(c.name).take();
  }
  std::string operator()(const ServiceSet& c) const {
    ArrayWriter writer = begin(request, CommandKind::kServiceSet, 4);
    add(writer, c.instance);
    writer.add_list(c.checks.size());
    for (const Check& check : c.checks) add(writer, check);
    return writer.add(static_cast<std::uint64_t>(c.old_checks)).add(static_cast<std::uint64_t>(c.keep_status)).take();
  }
  std::string operator()(const ServiceRemove& c) const {
    return begin(request, CommandKind::kServiceRemove, 2).add(c.node).add(c.id).take();
  }
  std::string operator()(const CheckSet& c) const {
    ArrayWriter writer = begin(request, CommandKind::kCheckSet, 2);
    add(writer, c.check);
    return writer.add(static_cast<std::uint64_t>(c.keep_status)).take();
  }
  std::string operator()(const CheckStatusSet& c) const {
    return begin(request, CommandKind::kCheckStatusSet, 4)
        .add(c.node)
        .add(c.id)
        .add(static_cast<std::uint64_t>(c.status))
        .add(c.output)
        .take();
  }
  std::string operator()(const CheckRemove& c) const {
    return begin(request, CommandKind::kCheckRemove, 2).add(c.node).add(c.id).take();
  }
  std::string operator()(const EventFire& c) const { return whole(CommandKind::kEventFire, c.event); }
  std::string operator()(const QuotaSet& c) const {
    return begin(request, CommandKind::kQuotaSet, 3)
        .add(c.prefix)
        .add(c.quota.bytes_max)
        .add(c.quota.entries_max)
        .take();
  }
  std::string operator()(const QuotaRemove& c) const {
    return begin(request, CommandKind::kQuotaRemove, 1).add(c.prefix).take();
  }
  std::string operator()(const RestoreBegin& c) const { return whole(CommandKind::kRestoreBegin, c.id); }
  std::string operator()(const RestoreChunk& c) const {
    ArrayWriter writer = begin(request, CommandKind::kRestoreChunk, 3);
    add(writer, c.id);
    return writer.add(c.number).add(c.rows).take();
  }
  std::string operator()(const RestoreCommit& c) const {
    ArrayWriter writer = begin(request, CommandKind::kRestoreCommit, 2);
    add(writer, c.id);
    return writer.add(c.chunks).take();
  }
  std::string operator()(const RestoreAbort& c) const { return whole(CommandKind::kRestoreAbort, c.id); }
  std::string operator()(const OrderReserve& c) const {
    ArrayWriter writer = begin(request, CommandKind::kOrderReserve, kOrderNameFields + 5);
    add(writer, c.name);
    add(writer, c.fingerprint);
    return writer.add(value(c.epoch)).add(value(c.node)).add(c.time_ms).add(c.retention_ms).take();
  }
  std::string operator()(const OrderOutcome& c) const {
    ArrayWriter writer = begin(request, CommandKind::kOrderOutcome, kOrderNameFields + kOrderAnswerFields + 3);
    add(writer, c.name);
    writer.add(value(c.reserved)).add(static_cast<std::uint64_t>(c.state));
    add(writer, c.answer);
    return writer.add(c.time_ms).take();
  }
  std::string operator()(const OrderResolve& c) const {
    ArrayWriter writer = begin(request, CommandKind::kOrderResolve, kOrderNameFields + kOrderAnswerFields + 4);
    add(writer, c.name);
    writer.add(value(c.seen)).add(static_cast<std::uint64_t>(c.state)).add(static_cast<std::uint64_t>(c.source));
    add(writer, c.answer);
    return writer.add(c.time_ms).take();
  }
  std::string operator()(const OrderSweep& c) const {
    return begin(request, CommandKind::kOrderSweep, 2).add(c.before_ms).add(c.count_max).take();
  }
  std::string operator()(const HaltMerge& c) const {
    return begin(request, CommandKind::kHaltMerge, 1).add(encode(c.set)).take();
  }
  std::string operator()(const HaltLift& c) const {
    return begin(request, CommandKind::kHaltLift, 6)
        .add(encode(c.set))
        .add(pack(c.tags))
        .add(c.by)
        .add(c.second_person ? 1 : 0)
        .add(c.confirm ? 1 : 0)
        .add(c.time_ms)
        .take();
  }
  std::string operator()(const AuditNote& c) const {
    return begin(request, CommandKind::kAuditNote, 5)
        .add(static_cast<std::uint64_t>(c.kind))
        .add(c.time_ms)
        .add(c.actor)
        .add(c.subject)
        .add(c.text)
        .take();
  }

  static std::string pack(const std::vector<HaltTag>& tags) {
    std::string bytes;
    for (const HaltTag& tag : tags) bytes += halt_key(tag).substr(1);
    return bytes;
  }

  // A command that is one structure and nothing else.
  template <class T>
  std::string whole(CommandKind kind, const T& structure) const {
    ArrayWriter writer = begin(request, kind, 1);
    add(writer, structure);
    return writer.take();
  }
  template <class T>
  std::string lock(CommandKind kind, const T& c) const {
    ArrayWriter writer = begin(request, kind, 5);
    writer.add(c.key).add(c.value).add(c.flags);
    add(writer, c.session.uuid);
    return writer.add(static_cast<std::uint64_t>(c.keep)).take();
  }
};

}  // namespace

std::string encode(const Command& command) { return std::visit(Encoder{command.request}, command.body); }

}  // namespace store::kv
