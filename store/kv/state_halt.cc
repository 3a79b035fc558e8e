#include <array>
#include <string_view>
#include <utility>

#include "store/kv/state_machine.h"
#include "store/kv/wire.h"

/// The commands of the state machine that are about halts, and what all commands leave in the audit.
namespace store::kv {
namespace {

std::string text_of(const Halt& halt) {
  return halt.tag.text() + " at " + halt.node + ": " + halt.reason + (halt.cancels_pass ? "" : " (cancels are stopped, too)");
}

std::string order_text(const OrderName& name) { return name.service + "/" + name.zone + "/" + name.key; }

std::string_view bytes_of(const std::array<std::uint8_t, 32>& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

// All of an answer that is kept, in one value.
Digest digest_of(const OrderAnswer& answer) {
  ArrayWriter writer(4);
  writer.add(static_cast<std::uint64_t>(answer.kept)).add(answer.status).add(answer.headers).add(answer.body);
  return sha256(writer.take());
}

}  // namespace

void StateMachine::audit(Index index, std::uint64_t time_ms, AuditKind kind, std::string actor, std::string subject, std::string text) {
  if (!audit_.begun()) return;
  audit_.append({0, index, time_ms, kind, std::move(actor), std::move(subject), std::move(text)}, journal_);
}

void StateMachine::audit_halts(Index index, const HaltBook::Verdict& verdict, const std::string& by, std::uint64_t time_ms) {
  for (const Halt& halt : verdict.raised) audit(index, halt.time_ms, AuditKind::kHalt, halt.who, scope_text(halt), text_of(halt));
  for (const Halt& halt : verdict.proposed) audit(index, time_ms, AuditKind::kApproval, by, scope_text(halt), "wants lifted: " + text_of(halt));
  for (const Halt& halt : verdict.lifted) audit(index, time_ms, AuditKind::kResume, by, scope_text(halt), text_of(halt));
}

std::string StateMachine::name_of(NodeId id) const {
  const auto known = members_.find(id);
  return known == members_.end() ? "member " + std::to_string(value(id)) : known->second;
}

void StateMachine::audit_order(Index index, const Order& order, std::string actor, std::uint64_t time_ms) {
  if (!audit_.begun()) return;
  std::string text = to_string(order.state);
  if (order.answer.status != 0) text += " " + std::to_string(order.answer.status);
  text += ", attempt " + std::to_string(order.attempt) + ", epoch " + std::to_string(value(order.epoch)) + ", request " + hex(order.fingerprint);
  if (order.answer.kept == AnswerKept::kWhole) text += ", answer " + hex(digest_of(order.answer));
  audit(index, time_ms, AuditKind::kOrder, std::move(actor), order_text(order.name), std::move(text));
}

void StateMachine::audit_verdict(Index index, const OrderLedger::Verdict& verdict, std::uint64_t time_ms) {
  if (verdict.outcome == Outcome::kDone && verdict.order != nullptr) audit_order(index, *verdict.order, to_string(verdict.order->source), time_ms);
}

// One entry for all: each of them has said before what came of it. Which ones they were is bound by the hash.
void StateMachine::audit_sweep(Index index, const OrderSweep& command, const OrderLedger::Verdict& verdict) {
  if (!audit_.begun() || verdict.forgotten.empty()) return;
  ArrayWriter writer(5 * verdict.forgotten.size());
  for (const OrderRow& order : verdict.forgotten)
    writer.add(order->name.service).add(order->name.zone).add(order->name.key).add(bytes_of(order->fingerprint)).add(value(order->changed));
  std::string text = verdict.detail + ", settled and kept long enough at " + std::to_string(command.before_ms) + " ms, names " + hex(sha256(writer.take()));
  audit(index, 0, AuditKind::kOrder, "retention", {}, std::move(text));
}

StateMachine::Decision StateMachine::decide(Index index, const HaltMerge& command) {
  HaltBook::Verdict verdict = halts_.merge(index, command.set, journal_);
  audit_halts(index, verdict, {}, 0);  // it lifts nothing
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::decide(Index index, const HaltLift& command) {
  HaltBook::Verdict verdict = halts_.lift(index, command, journal_);
  audit_halts(index, verdict, command.by, command.time_ms);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

// The first note begins the chain: a command of the log, so that all copies begin at the same entry, whatever each agent had
// applied before it knew of an audit. What stands by then follows it.
StateMachine::Decision StateMachine::decide(Index index, const AuditNote& command) {
  const bool begins = !audit_.begun();
  audit_.append({0, index, command.time_ms, command.kind, command.actor, command.subject, command.text}, journal_);
  if (begins) audit_begin(index);
  return {};
}

void StateMachine::audit_begin(Index index) {
  for (const auto& [service, lease] : leases_) {
    if (lease.holder != NodeId{})
      audit(index, 0, AuditKind::kPromotion, lease.holder_name, service, "epoch " + std::to_string(value(lease.epoch)) + ", when the audit began");
  }
  for (const auto& [tag, halt] : halts_.set().halts())
    audit(index, halt.time_ms, AuditKind::kHalt, halt.who, scope_text(halt), text_of(halt) + ", when the audit began");
}

}  // namespace store::kv
