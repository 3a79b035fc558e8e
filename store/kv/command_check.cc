#include "store/kv/command.h"

/// What every command must obey before it may be proposed: bounds and shapes, no state.
namespace store::kv {
namespace {

Result<void> check_key(std::string_view key) {
  if (key.empty()) return fail(Errc::kBadKey, "the key is empty");
  if (key.size() > kKeyBytesMax) return fail(Errc::kTooLarge, "the key is longer than 1024 bytes");
  if (key.find('\0') != std::string_view::npos) return fail(Errc::kBadKey, "the key holds a NUL byte");
  return {};
}

Result<void> check_value(std::string_view value) {
  if (value.size() > kValueBytesMax) return fail(Errc::kTooLarge, "the value is larger than 512 KiB");
  return {};
}

Result<void> check_name(std::string_view name, const char* what) {
  if (name.empty()) return fail(Errc::kBadKey, std::string(what) + " is empty");
  if (name.size() > kNameBytesMax) return fail(Errc::kTooLarge, std::string(what) + " is longer than 256 bytes");
  if (name.find('\0') != std::string_view::npos) return fail(Errc::kBadKey, std::string(what) + " holds a NUL byte");
  return {};
}

Result<void> check_id(const Uuid& id, const char* what) {
  return id.is_none() ? fail(Errc::kMalformed, std::string(what) + " has no id") : Result<void>{};
}

Result<void> check_text(std::string_view text, std::size_t bytes_max, const char* what) {
  if (text.size() > bytes_max)
    return fail(Errc::kTooLarge, std::string(what) + " is longer than " + std::to_string(bytes_max) + " bytes");
  return {};
}

Result<void> check_meta(const Meta& meta, const char* what) {
  if (meta.size() > kMetaMax) return fail(Errc::kTooLarge, std::string(what) + " has more than 64 pairs");
  for (const auto& [key, value] : meta) {
    if (key.empty()) return fail(Errc::kMalformed, std::string(what) + " has an empty key");
    if (key.size() > kMetaKeyBytesMax || value.size() > kMetaValueBytesMax)
      return fail(Errc::kTooLarge, std::string(what) + ": a key above 128 bytes or a value above 512");
  }
  return {};
}

Result<void> check_session(const Session& session) {
  if (session.id.is_none()) return fail(Errc::kMalformed, "the session has no id");
  if (session.ttl_ms != 0 && (session.ttl_ms < kSessionTtlMsMin || session.ttl_ms > kSessionTtlMsMax))
    return fail(Errc::kMalformed, "session TTL out of bounds (100 ms to 24 h)");
  if (session.lock_delay_ms > kLockDelayMsMax) return fail(Errc::kMalformed, "lock-delay above 60 s");
  if (session.node_checks.size() > kSessionChecksMax || session.service_checks.size() > kSessionChecksMax)
    return fail(Errc::kTooLarge, "more than 64 checks");
  if (session.node.empty() && !(session.node_checks.empty() && session.service_checks.empty()))
    return fail(Errc::kMalformed, "checks need a node");
  for (const auto* checks : {&session.node_checks, &session.service_checks}) {
    for (const std::string& id : *checks) {
      if (auto sound = check_name(id, "a check id"); !sound) return sound;
    }
  }
  if (auto sound = check_text(session.name, kNameBytesMax, "the session's name"); !sound) return sound;
  return session.node.empty() ? Result<void>{} : check_name(session.node, "the node");
}

Result<void> check_node(const Node& node) {
  if (auto sound = check_name(node.name, "the node"); !sound) return sound;
  if (auto sound = check_text(node.address, kNameBytesMax, "the address"); !sound) return sound;
  return check_meta(node.tagged_addresses, "the tagged addresses").and_then([&] {
    return check_meta(node.meta, "the meta");
  });
}

Result<void> check_instance(const ServiceInstance& instance) {
  if (auto sound = check_name(instance.node, "the node"); !sound) return sound;
  if (auto sound = check_name(instance.id, "the service id"); !sound) return sound;
  if (auto sound = check_name(instance.name, "the service"); !sound) return sound;
  if (instance.tags.size() > kTagsMax) return fail(Errc::kTooLarge, "more than 128 tags");
  for (const std::string& tag : instance.tags) {
    if (auto sound = check_text(tag, kNameBytesMax, "a tag"); !sound) return sound;
  }
  if (instance.port > 65'535) return fail(Errc::kMalformed, "the port is above 65535");
  if (instance.tagged_addresses.size() > kMetaMax) return fail(Errc::kTooLarge, "more than 64 tagged addresses");
  for (const auto& [name, tagged] : instance.tagged_addresses) {
    if (name.empty() || tagged.port > 65'535) return fail(Errc::kMalformed, "a tagged address without name, or port");
    if (name.size() > kMetaKeyBytesMax || tagged.address.size() > kNameBytesMax)
      return fail(Errc::kTooLarge, "a tagged address is too long");
  }
  if (auto sound = check_text(instance.address, kNameBytesMax, "the address"); !sound) return sound;
  if (auto sound = check_text(instance.definition, kDefinitionBytesMax, "the definition"); !sound) return sound;
  return check_meta(instance.meta, "the meta");
}

Result<void> check_check(const Check& check) {
  if (auto sound = check_name(check.node, "the node"); !sound) return sound;
  if (auto sound = check_name(check.id, "the check id"); !sound) return sound;
  if (auto sound = check_text(check.service_id, kNameBytesMax, "the service id"); !sound) return sound;
  if (auto sound = check_text(check.service_name, kNameBytesMax, "the service"); !sound) return sound;
  if (auto sound = check_text(check.name, kNameBytesMax, "the check's name"); !sound) return sound;
  if (auto sound = check_text(check.type, kNameBytesMax, "the check's type"); !sound) return sound;
  if (auto sound = check_text(check.notes, kNotesBytesMax, "the notes"); !sound) return sound;
  if (auto sound = check_text(check.output, kOutputBytesMax, "the output"); !sound) return sound;
  if (check.service_id.find('\0') != std::string::npos) return fail(Errc::kBadKey, "the service id holds a NUL byte");
  return check_text(check.definition, kDefinitionBytesMax, "the definition");
}

Result<void> check_order(const OrderName& name, std::uint64_t time_ms) {
  if (name.key.empty()) return fail(Errc::kBadKey, "the order's key is empty");
  if (name.key.size() > kOrderKeyBytesMax) return fail(Errc::kTooLarge, "the order's key is longer than 255 bytes");
  if (time_ms > kOrderTimeMsMax) return fail(Errc::kMalformed, "a time of the order is out of bounds");
  return check_name(name.service, "the service").and_then([&] { return check_name(name.zone, "the zone"); });
}

Result<void> check_answer(const OrderAnswer& answer) {
  if (answer.headers.size() + answer.body.size() > kOrderAnswerBytesMax)
    return fail(Errc::kTooLarge, "the answer is larger than 256 KiB");
  if (answer.kept != AnswerKept::kWhole && !(answer.headers.empty() && answer.body.empty()))
    return fail(Errc::kMalformed, "an answer that is not kept has bytes");
  const bool has_status = answer.status >= 100 && answer.status <= 999;
  if (answer.kept == AnswerKept::kNone ? answer.status != 0 : !has_status)
    return fail(Errc::kMalformed, "the answer's status is out of bounds");
  return {};
}

struct Checker {
  Result<void> operator()(const Set& c) const {
    return check_key(c.key).and_then([&] { return check_value(c.value); });
  }
  Result<void> operator()(const Cas& c) const {
    return check_key(c.key).and_then([&] { return check_value(c.value); });
  }
  Result<void> operator()(const Delete& c) const { return check_key(c.key); }
  Result<void> operator()(const DeleteCas& c) const {
    if (c.expected == Index{}) return fail(Errc::kMalformed, "a conditional delete needs an index above 0");
    return check_key(c.key);
  }
  Result<void> operator()(const DeleteTree& c) const { return c.prefix.empty() ? Result<void>{} : check_key(c.prefix); }
  Result<void> operator()(const LeaseAcquire& c) const {
    if (c.holder == NodeId{}) return fail(Errc::kMalformed, "the holder is nobody");
    if (c.lease_ms < kLeaseMsMin || c.lease_ms > kLeaseMsMax || c.margin_ms > kLeaseMsMax)
      return fail(Errc::kMalformed, "lease or margin out of bounds");
    return check_name(c.service, "the service").and_then([&] {
      return check_name(c.holder_name, "the holder's name");
    });
  }
  Result<void> operator()(const LeaseRelease& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseExpire& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseOpen& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseForget& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const MemberSet& c) const {
    if (c.id == NodeId{}) return fail(Errc::kMalformed, "the member is nobody");
    return check_name(c.name, "the member's name");
  }
  Result<void> operator()(const MemberRemove& c) const {
    return c.id == NodeId{} ? fail(Errc::kMalformed, "the member is nobody") : Result<void>{};
  }
  Result<void> operator()(const ClusterSet& c) const {
    return c.id.is_none() ? fail(Errc::kMalformed, "the cluster id is none") : Result<void>{};
  }
  Result<void> operator()(const Acquire& c) const { return lock(c.key, c.value, c.session); }
  Result<void> operator()(const Release& c) const { return lock(c.key, c.value, c.session); }
  Result<void> operator()(const SessionCreate& c) const { return check_session(c.session); }
  Result<void> operator()(const SessionDestroy& c) const { return check_id(c.id.uuid, "the session"); }
  Result<void> operator()(const SessionExpire& c) const { return check_id(c.id.uuid, "the session"); }
  Result<void> operator()(const LockDelayEnd& c) const { return check_key(c.key); }
  Result<void> operator()(const Txn& c) const;
  Result<void> operator()(const NodeSet& c) const { return check_node(c.node); }
  Result<void> operator()(const NodeRemove& c) const { return check_name(c.name, "the node"); }
  Result<void> operator()(const ServiceSet& c) const;
  Result<void> operator()(const ServiceRemove& c) const { return item(c.node, c.id, "the service id"); }
  Result<void> operator()(const CheckSet& c) const { return check_check(c.check); }
  Result<void> operator()(const CheckStatusSet& c) const {
    if (c.output.size() > kOutputBytesMax) return fail(Errc::kTooLarge, "the output is longer than 4 KiB");
    return item(c.node, c.id, "the check id");
  }
  Result<void> operator()(const CheckRemove& c) const { return item(c.node, c.id, "the check id"); }
  Result<void> operator()(const EventFire& c) const;
  Result<void> operator()(const QuotaSet& c) const { return check_key(c.prefix); }
  Result<void> operator()(const QuotaRemove& c) const { return check_key(c.prefix); }
  Result<void> operator()(const RestoreBegin& c) const { return check_id(c.id, "the restore"); }
  Result<void> operator()(const RestoreChunk& c) const;
  Result<void> operator()(const RestoreCommit& c) const { return check_id(c.id, "the restore"); }
  Result<void> operator()(const RestoreAbort& c) const { return check_id(c.id, "the restore"); }
  Result<void> operator()(const OrderReserve& c) const;
  Result<void> operator()(const OrderOutcome& c) const;
  Result<void> operator()(const OrderResolve& c) const;
  Result<void> operator()(const OrderSweep& c) const {
    if (c.count_max == 0 || c.count_max > kOrderSweepMax || c.before_ms > kOrderTimeMsMax)
      return fail(Errc::kMalformed, "a sweep of no order, of too many, or of no time");
    return {};
  }

  Result<void> operator()(const HaltMerge& c) const {
    return c.set.sound() ? Result<void>{} : fail(Errc::kMalformed, "a set of halts that cannot be");
  }
  Result<void> operator()(const HaltLift& c) const;
  Result<void> operator()(const AuditNote& c) const {
    for (const std::string* text : {&c.actor, &c.subject, &c.text}) {
      if (auto sound = check_text(*text, kAuditTextBytesMax, "a text of the audit"); !sound) return sound;
    }
    return c.time_ms > kOrderTimeMsMax ? fail(Errc::kMalformed, "the time of the note is out of bounds") : Result<void>{};
  }

  static Result<void> lock(std::string_view key, std::string_view value, const SessionId& session) {
    if (session.is_none()) return fail(Errc::kMalformed, "a lock needs a session");
    return check_key(key).and_then([&] { return check_value(value); });
  }
  static Result<void> item(std::string_view node, std::string_view id, const char* what) {
    return check_name(node, "the node").and_then([&] { return check_name(id, what); });
  }
};

Result<void> check_op(const TxnOp& op) {
  const bool tree = op.verb == TxnVerb::kGetTree || op.verb == TxnVerb::kDeleteTree;
  if (!tree || !op.key.empty()) {
    if (auto sound = check_key(op.key); !sound) return sound;
  }
  const bool locks = op.verb == TxnVerb::kLock || op.verb == TxnVerb::kUnlock;
  if (locks && op.session.is_none()) return fail(Errc::kMalformed, "a lock needs a session");
  return check_value(op.value);
}

Result<void> Checker::operator()(const Txn& c) const {
  if (c.ops.empty()) return fail(Errc::kMalformed, "a transaction without steps");
  if (c.ops.size() > kTxnOpsMax) return fail(Errc::kTooLarge, "a transaction of more than 128 steps");
  for (const TxnOp& op : c.ops) {
    if (auto sound = check_op(op); !sound) return sound;
  }
  return {};
}

Result<void> Checker::operator()(const ServiceSet& c) const {
  if (c.checks.size() > kServiceChecksMax) return fail(Errc::kTooLarge, "more than 64 checks for one instance");
  if (auto sound = check_instance(c.instance); !sound) return sound;
  for (const Check& check : c.checks) {
    if (check.node != c.instance.node || check.service_id != c.instance.id)
      return fail(Errc::kMalformed, "a check of another instance");
    if (auto sound = check_check(check); !sound) return sound;
  }
  return {};
}

Result<void> Checker::operator()(const EventFire& c) const {
  const UserEvent& event = c.event;
  if (event.payload.size() > kEventPayloadBytesMax)
    return fail(Errc::kTooLarge, "the payload is larger than 8 KiB");
  for (const std::string* filter : {&event.node_filter, &event.service_filter, &event.tag_filter}) {
    if (auto sound = check_text(*filter, kNameBytesMax, "a filter"); !sound) return sound;
  }
  return check_id(event.id, "the event").and_then([&] { return check_name(event.name, "the event's name"); });
}

Result<void> Checker::operator()(const RestoreChunk& c) const {
  if (c.rows.size() > kRestoreChunkBytesMax) return fail(Errc::kTooLarge, "the chunk is larger than 768 KiB");
  return check_id(c.id, "the restore");
}

Result<void> Checker::operator()(const HaltLift& c) const {
  if (!c.set.sound()) return fail(Errc::kMalformed, "a set of halts that cannot be");
  if (c.tags.empty() || c.tags.size() > kHaltsMax) return fail(Errc::kMalformed, "no halt to lift, or too many");
  if (c.time_ms > kOrderTimeMsMax) return fail(Errc::kMalformed, "the time is out of bounds");
  if (c.by.empty()) return fail(Errc::kMalformed, "somebody has to lift the halt");
  return check_text(c.by, kHaltWhoBytesMax, "the name of who lifts the halt");
}

Result<void> Checker::operator()(const OrderReserve& c) const {
  if (c.epoch == Epoch{} || c.node == NodeId{}) return fail(Errc::kMalformed, "a reservation needs an epoch and its holder");
  if (c.retention_ms < kOrderRetentionMsMin || c.retention_ms > kOrderRetentionMsMax)
    return fail(Errc::kMalformed, "retention out of bounds (1 s to 366 days)");
  return check_order(c.name, c.time_ms);
}

Result<void> Checker::operator()(const OrderOutcome& c) const {
  if (c.reserved == Index{}) return fail(Errc::kMalformed, "an outcome needs the index of its reservation");
  if (c.state == OrderState::kReserved) return fail(Errc::kMalformed, "RESERVED is no outcome");
  if ((c.state == OrderState::kDone) != (c.answer.kept != AnswerKept::kNone))
    return fail(Errc::kMalformed, "an order that is done has an answer, another one has none");
  return check_order(c.name, c.time_ms).and_then([&] { return check_answer(c.answer); });
}

Result<void> Checker::operator()(const OrderResolve& c) const {
  if (c.seen == Index{}) return fail(Errc::kMalformed, "a verdict needs the index of what was seen");
  if (c.state != OrderState::kDone && c.state != OrderState::kNotSent)
    return fail(Errc::kMalformed, "a verdict is DONE or NOT_SENT");
  if (c.source != OrderSource::kHook && c.source != OrderSource::kOperator)
    return fail(Errc::kMalformed, "a verdict comes from a hook or an operator");
  if (c.state == OrderState::kNotSent && c.answer.kept != AnswerKept::kNone)
    return fail(Errc::kMalformed, "an order that was not sent has no answer");
  return check_order(c.name, c.time_ms).and_then([&] { return check_answer(c.answer); });
}

}  // namespace

Result<void> check(const CommandBody& body) { return std::visit(Checker{}, body); }

}  // namespace store::kv
