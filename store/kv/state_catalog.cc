#include "store/kv/state_machine.h"

/// The commands of the state machine that are about the catalog, and what they do to sessions.
namespace store::kv {

// Whatever a command took away from sessions ends them in the same step: nobody sees one without the other.
StateMachine::Decision StateMachine::after_catalog(Index index, Catalog::Verdict verdict, const Catalog::Lost& lost) {
  end_sessions(index, lost);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::decide(Index index, const NodeSet& command) {
  return after_catalog(index, catalog_.set_node(index, command.node, journal_), {});
}

StateMachine::Decision StateMachine::decide(Index index, const NodeRemove& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.remove_node(index, command.name, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

StateMachine::Decision StateMachine::decide(Index index, const ServiceSet& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.set_service(index, command, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

StateMachine::Decision StateMachine::decide(Index index, const ServiceRemove& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.remove_service(index, command.node, command.id, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

StateMachine::Decision StateMachine::decide(Index index, const CheckSet& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.set_check(index, command, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

StateMachine::Decision StateMachine::decide(Index index, const CheckStatusSet& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.set_status(index, command, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

StateMachine::Decision StateMachine::decide(Index index, const CheckRemove& command) {
  Catalog::Lost lost;
  auto verdict = catalog_.remove_check(index, command.node, command.id, journal_, lost);
  return after_catalog(index, std::move(verdict), lost);
}

}  // namespace store::kv
