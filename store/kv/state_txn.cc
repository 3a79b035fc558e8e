#include "store/kv/state_machine.h"

/// Transactions: every step runs on the state itself; if one fails, KvSpace takes all of them back.
/// Source: verbs and failure texts as Consul's clients know them.
namespace store::kv {
namespace {

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

bool is_write(TxnVerb verb) {
  return verb == TxnVerb::kSet || verb == TxnVerb::kCas || verb == TxnVerb::kLock || verb == TxnVerb::kUnlock;
}

bool is_delete(TxnVerb verb) {
  return verb == TxnVerb::kDelete || verb == TxnVerb::kDeleteCas || verb == TxnVerb::kDeleteTree;
}

}  // namespace

const char* to_string(TxnVerb verb) {
  switch (verb) {
    case TxnVerb::kSet:
      return "set";
    case TxnVerb::kCas:
      return "cas";
    case TxnVerb::kLock:
      return "lock";
    case TxnVerb::kUnlock:
      return "unlock";
    case TxnVerb::kGet:
      return "get";
    case TxnVerb::kGetTree:
      return "get-tree";
    case TxnVerb::kCheckIndex:
      return "check-index";
    case TxnVerb::kCheckSession:
      return "check-session";
    case TxnVerb::kCheckNotExists:
      return "check-not-exists";
    case TxnVerb::kDelete:
      return "delete";
    case TxnVerb::kDeleteCas:
      return "delete-cas";
    case TxnVerb::kDeleteTree:
      return "delete-tree";
    case TxnVerb::kGetOrEmpty:
      return "get-or-empty";
  }
  return "?";
}

StateMachine::Decision StateMachine::decide(Index index, const Txn& command) {
  TxnAnswer answer;
  Decision decision;
  kv_.begin();
  for (std::size_t number = 0; number < command.ops.size(); ++number) {
    auto failure = step(index, command.ops[number], answer, number);
    if (failure) answer.failures.push_back({number, std::move(*failure)});
  }
  if (answer.failures.empty()) {
    kv_.commit(journal_);
  } else {
    kv_.roll_back();
    answer.results.clear();
    decision.outcome = Outcome::kConditionFailed;
  }
  if (applying_->request.origin == answered_) applying_->txn = std::make_shared<const TxnAnswer>(std::move(answer));
  return decision;
}

std::optional<std::string> StateMachine::step(Index index, const TxnOp& op, TxnAnswer& answer, std::size_t number) {
  auto failure = is_write(op.verb) || is_delete(op.verb) ? step_write(index, op) : step_read(op);
  // Counted on every replica, whoever reads the answer: the bound decides about the transaction.
  if (!failure) answer.bytes += read_bytes(op);
  if (answer.bytes > kTxnResultBytesMax)
    return "the transaction reads more than " + std::to_string(kTxnResultBytesMax >> 20U) + " MiB";
  if (!failure && applying_->request.origin == answered_) step_result(op, number, answer);
  return failure;
}

std::size_t StateMachine::read_bytes(const TxnOp& op) const {
  if (op.verb == TxnVerb::kGet || op.verb == TxnVerb::kGetOrEmpty) {
    const Entry* entry = get(op.key);
    return op.key.size() + (entry != nullptr ? entry->value.size() : 0);
  }
  std::size_t bytes = 0;
  if (op.verb == TxnVerb::kGetTree) {
    for (const Found& found : list(op.key)) bytes += found.key->size() + found.entry->value.size();
  }
  return bytes;
}

std::optional<std::string> StateMachine::step_read(const TxnOp& op) const {
  const Entry* entry = get(op.key);
  const Lock* lock = kv_.lock(op.key);
  if (op.verb == TxnVerb::kGetTree || op.verb == TxnVerb::kGetOrEmpty) return std::nullopt;
  if (op.verb == TxnVerb::kCheckNotExists)
    return entry == nullptr ? std::nullopt : std::optional("key " + quoted(op.key) + " exists");
  if (entry == nullptr) {
    const char* what = op.verb == TxnVerb::kCheckIndex     ? "failed to check index, "
                       : op.verb == TxnVerb::kCheckSession ? "failed to check session, "
                                                           : "";
    return what + ("key " + quoted(op.key)) + " doesn't exist";
  }
  if (op.verb == TxnVerb::kCheckIndex && entry->modify != op.index)
    return "failed index check for key " + quoted(op.key) + ", current modify index " +
           std::to_string(value(entry->modify)) + " != " + std::to_string(value(op.index));
  const SessionId holder = lock != nullptr ? lock->session : SessionId{};
  if (op.verb == TxnVerb::kCheckSession && holder != op.session)
    return "failed session check for key " + quoted(op.key) + ", current session " +
           quoted(holder.is_none() ? "" : holder.text()) + " != " + quoted(op.session.text());
  return std::nullopt;
}

std::optional<std::string> StateMachine::step_write(Index index, const TxnOp& op) {
  const Entry* entry = get(op.key);
  const Index current = entry != nullptr ? entry->modify : Index{};
  Decision decision;
  switch (op.verb) {
    case TxnVerb::kCas:
      if (current != op.index) return "failed to set key " + quoted(op.key) + ", index is stale";
      [[fallthrough]];
    case TxnVerb::kSet:
      decision = put(index, op.key, op.value, op.flags);
      break;
    case TxnVerb::kLock:
      decision = acquire(index, {op.key, op.value, op.flags}, op.session);
      break;
    case TxnVerb::kUnlock:
      decision = release(index, {op.key, op.value, op.flags}, op.session);
      break;
    case TxnVerb::kDeleteCas:
      if (entry != nullptr && current != op.index)
        return "failed to delete key " + quoted(op.key) + ", index is stale";
      [[fallthrough]];
    case TxnVerb::kDelete:
      kv_.erase(index, op.key, journal_);
      break;
    case TxnVerb::kDeleteTree:
      kv_.erase_tree(index, op.key, journal_);
      break;
    default:
      break;  // a read: not asked here
  }
  if (decision.outcome == Outcome::kDone || decision.outcome == Outcome::kUnchanged) return std::nullopt;
  if (decision.outcome == Outcome::kFull) return "no room for key " + quoted(op.key) + ": " + decision.detail;
  if (decision.outcome == Outcome::kInvalidSession) return decision.detail;
  if (decision.outcome == Outcome::kHeldBack) return "failed to lock key " + quoted(op.key) + ", lock-delay in force";
  if (op.verb == TxnVerb::kLock) return "failed to lock key " + quoted(op.key) + ", lock is already held";
  return "failed to unlock key " + quoted(op.key) + ", lock isn't held, or is held by another session";
}

void StateMachine::step_result(const TxnOp& op, std::size_t number, TxnAnswer& answer) const {
  if (is_delete(op.verb) || op.verb == TxnVerb::kCheckNotExists) return;
  const auto result = [&](const std::string& key, const Entry* entry, const Lock* lock, bool with_value) {
    TxnResult found{number, key, {}, lock != nullptr ? *lock : Lock{}};
    if (entry != nullptr)
      found.entry = Entry{with_value ? entry->value : std::string(), entry->flags, entry->create, entry->modify};
    answer.results.push_back(std::move(found));
  };
  if (op.verb == TxnVerb::kGetTree) {
    for (const Found& found : list(op.key)) result(*found.key, found.entry, found.lock, true);
  } else {
    const bool reads = op.verb == TxnVerb::kGet || op.verb == TxnVerb::kGetOrEmpty;
    result(op.key, get(op.key), kv_.lock(op.key), reads);
  }
}

}  // namespace store::kv
