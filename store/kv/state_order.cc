#include <type_traits>

#include "store/kv/state_machine.h"

/// The commands of the state machine that are about orders. What they mean is in OrderLedger; here they meet the leases.
namespace store::kv {

StateMachine::Decision StateMachine::after_order(const std::string& service, OrderLedger::Verdict verdict) {
  applying_->order = std::move(verdict.order);
  return {verdict.outcome, epoch(service), std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::decide(Index index, const OrderReserve& command) {
  const Lease* present = lease(command.name.service);
  std::optional<std::string> fenced;
  if (present == nullptr || present->holder == NodeId{}) {
    fenced = "nobody holds the lease of " + command.name.service;
  } else if (present->epoch != command.epoch || present->holder != command.node) {
    fenced = present->holder_name + " holds the lease of " + command.name.service + " under epoch " +
             std::to_string(value(present->epoch));
  }
  OrderLedger::Verdict verdict = orders_.reserve(index, command, fenced, journal_);
  if (verdict.outcome == Outcome::kDone) audit_order(index, *verdict.order, name_of(command.node), command.time_ms);
  return after_order(command.name.service, std::move(verdict));
}

StateMachine::Decision StateMachine::decide(Index index, const OrderOutcome& command) {
  OrderLedger::Verdict verdict = orders_.settle(index, command, journal_);
  audit_verdict(index, verdict, command.time_ms);
  return after_order(command.name.service, std::move(verdict));
}

StateMachine::Decision StateMachine::decide(Index index, const OrderResolve& command) {
  OrderLedger::Verdict verdict = orders_.resolve(index, command, journal_);
  audit_verdict(index, verdict, command.time_ms);
  return after_order(command.name.service, std::move(verdict));
}

StateMachine::Decision StateMachine::decide(Index index, const OrderSweep& command) {
  OrderLedger::Verdict verdict = orders_.sweep(command, journal_);
  audit_sweep(index, command, verdict);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

OrderRow StateMachine::order_of(const CommandBody& body) const {
  return std::visit(
      [this](const auto& command) -> OrderRow {
        using T = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<T, OrderReserve> || std::is_same_v<T, OrderOutcome> ||
                      std::is_same_v<T, OrderResolve>) {
          return orders_.find(command.name);
        } else {
          return nullptr;
        }
      },
      body);
}

}  // namespace store::kv
