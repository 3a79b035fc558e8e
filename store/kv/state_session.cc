#include "store/kv/state_machine.h"

/// The commands of the state machine that are about locks and sessions.
/// Source: locks as Consul's clients know them (PUT ?acquire, ?release). Unlike there, a Set keeps the lock index.
namespace store::kv {

template <class LockCommand>
StateMachine::LockWrite StateMachine::lock_write(const LockCommand& command) const {
  const Entry* present = command.keep == KeepValue::kKeep ? get(command.key) : nullptr;
  if (present != nullptr) return {command.key, present->value, present->flags};
  return {command.key, command.value, command.flags};
}

StateMachine::Decision StateMachine::acquire(Index index, const LockWrite& write, const SessionId& session) {
  if (sessions_.find(session) == nullptr)
    return {Outcome::kInvalidSession, {}, "invalid session \"" + session.text() + "\""};
  const Lock* present = kv_.lock(write.key);
  Lock lock = present != nullptr ? *present : Lock{};
  if (lock.session != session) {
    if (!lock.session.is_none()) return {Outcome::kHeld, {}, {}};
    if (sessions_.delay(write.key) != nullptr) return {Outcome::kHeldBack, {}, {}};
    ++lock.lock_index;
    lock.session = session;
  }
  auto verdict = kv_.put(index, {write.key, write.value, write.flags, &lock}, journal_);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::release(Index index, const LockWrite& write, const SessionId& session) {
  if (get(write.key) == nullptr) return {Outcome::kNotFound, {}, {}};
  const Lock* present = kv_.lock(write.key);
  if (present == nullptr || present->session.is_none()) return {Outcome::kConditionFailed, {}, {}};
  if (present->session != session) return {Outcome::kHeld, {}, {}};
  const Lock lock{present->lock_index, {}};
  auto verdict = kv_.put(index, {write.key, write.value, write.flags, &lock}, journal_);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::decide(Index index, const Acquire& command) {
  return acquire(index, lock_write(command), command.session);
}

StateMachine::Decision StateMachine::decide(Index index, const Release& command) {
  return release(index, lock_write(command), command.session);
}

StateMachine::Decision StateMachine::decide(Index index, const SessionCreate& command) {
  const Session& wanted = command.session;
  if (sessions_.find(wanted.id) != nullptr) return {Outcome::kExists, {}, "session '" + wanted.id.text() + "'"};
  if (!wanted.node.empty() && catalog_.node(wanted.node) == nullptr)
    return {Outcome::kNotFound, {}, "node '" + wanted.node + "'"};
  for (const auto* checks : {&wanted.node_checks, &wanted.service_checks}) {
    for (const std::string& id : *checks) {
      const Check* check = catalog_.check(wanted.node, id);
      if (check == nullptr) return {Outcome::kNotFound, {}, "check '" + id + "'"};
      if (check->status == CheckStatus::kCritical) return {Outcome::kConditionFailed, {}, "check '" + id + "'"};
    }
  }
  if (sessions_.all().size() >= kSessionsMax)
    return {Outcome::kFull, {}, "the cluster's " + std::to_string(kSessionsMax) + " sessions"};
  sessions_.add(index, wanted, journal_);
  applying_->sessions_changed.push_back(wanted.id);
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const SessionDestroy& command) {
  end_session(index, command.id);
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const SessionExpire& command) {
  if (sessions_.find(command.id) == nullptr) return {Outcome::kNotFound, {}, {}};
  end_session(index, command.id);
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const LockDelayEnd& command) {
  if (!sessions_.open(command.key, command.since, journal_)) return {Outcome::kNotFound, {}, {}};
  applying_->delays_changed.push_back(command.key);
  return {};
}

// Its keys are let go of, or deleted, and held back: their holder may not know yet that it is none any more.
void StateMachine::end_session(Index index, const SessionId& id) {
  const Session* session = sessions_.find(id);
  if (session == nullptr) return;
  const std::uint32_t delay_ms = session->lock_delay_ms;
  const SessionBehavior behavior = session->behavior;
  std::vector<std::string> keys;
  if (const auto* held = kv_.held_by(id)) keys.assign(held->begin(), held->end());
  for (const std::string& key : keys) {
    if (behavior == SessionBehavior::kDelete) {
      kv_.erase(index, key, journal_);
    } else {
      const std::string value = kv_.get(key)->value;
      const Lock lock{kv_.lock(key)->lock_index, {}};
      kv_.put(index, {key, value, kv_.get(key)->flags, &lock}, journal_);
    }
    if (delay_ms == 0) continue;
    auto opened = sessions_.hold_back(key, {delay_ms, index}, journal_);
    applying_->delays_changed.push_back(key);
    for (std::string& early : opened) applying_->delays_changed.push_back(std::move(early));
  }
  sessions_.remove(index, id, journal_);
  applying_->sessions_changed.push_back(id);
}

void StateMachine::end_sessions(Index index, const Catalog::Lost& lost) {
  for (const SessionId& id : sessions_.tied_to(lost)) end_session(index, id);
}

}  // namespace store::kv
