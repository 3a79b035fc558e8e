#include "agent/backend_sessions.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/backend_error.h"
#include "agent/io/crypto.h"

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::size_t kChangesPerSlice = 512;  ///< of the feed at a time; a piece of a stream is bounded in bytes besides

api::Index index_of(kv::Index index) { return api::Index{kv::value(index)}; }
kv::Index index_of(api::Index index) { return kv::Index{static_cast<std::uint64_t>(index)}; }

/// A random UUID (RFC 9562, version 4).
kv::SessionId new_session_id() {
  std::array<std::byte, 16> drawn{};
  io::random_bytes(drawn);
  kv::SessionId id;
  std::transform(drawn.begin(), drawn.end(), id.uuid.bytes.begin(), [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
  id.uuid.bytes[6] = static_cast<std::uint8_t>((id.uuid.bytes[6] & 0x0fU) | 0x40U);
  id.uuid.bytes[8] = static_cast<std::uint8_t>((id.uuid.bytes[8] & 0x3fU) | 0x80U);
  return id;
}

api::SessionInfo info_of(const kv::Session& session) {
  api::SessionInfo info;
  info.id = session.id.text();
  info.spec.name = session.name;
  info.spec.node = session.node;
  info.spec.ttl = api::Milliseconds(session.ttl_ms);
  info.spec.lock_delay = api::Milliseconds(session.lock_delay_ms);
  info.spec.behavior = session.behavior == kv::SessionBehavior::kDelete ? api::SessionBehavior::kDelete : api::SessionBehavior::kRelease;
  info.spec.node_checks = session.node_checks;
  info.spec.service_checks = session.service_checks;
  info.create_index = index_of(session.create);
  info.modify_index = index_of(session.modify);
  return info;
}

/// Consul's sentences for what a session cannot be tied to; `what` is "node 'n'" or "check 'c'".
std::string tie_text(kv::Outcome outcome, const std::string& what) {
  if (what.starts_with("node ")) return "Missing node registration";
  if (outcome == kv::Outcome::kConditionFailed) return (what.empty() ? "A check" : "C" + what.substr(1)) + " is in critical state";
  return what.empty() ? "Missing node or check registration" : "Missing " + what + " registration";
}

api::Result<api::Index> take_index(const store::Written& written) { return index_of(written.index); }

// ---------------------------------------------------------------- transactions

kv::TxnVerb verb_of(api::TxnOp::Verb verb) {
  using From = api::TxnOp::Verb;
  switch (verb) {
    case From::kSet: return kv::TxnVerb::kSet;
    case From::kCas: return kv::TxnVerb::kCas;
    case From::kLock: return kv::TxnVerb::kLock;
    case From::kUnlock: return kv::TxnVerb::kUnlock;
    case From::kGet: return kv::TxnVerb::kGet;
    case From::kGetTree: return kv::TxnVerb::kGetTree;
    case From::kCheckIndex: return kv::TxnVerb::kCheckIndex;
    case From::kCheckSession: return kv::TxnVerb::kCheckSession;
    case From::kCheckNotExists: return kv::TxnVerb::kCheckNotExists;
    case From::kDelete: return kv::TxnVerb::kDelete;
    case From::kDeleteCas: return kv::TxnVerb::kDeleteCas;
    case From::kDeleteTree: return kv::TxnVerb::kDeleteTree;
  }
  return kv::TxnVerb::kGet;
}

api::TxnAnswer answer_of(const kv::TxnAnswer& answer) {
  api::TxnAnswer made;
  for (const kv::TxnResult& result : answer.results) {
    api::TxnResult& one = made.results.emplace_back();
    one.entry.key = result.key;
    if (result.entry) one.entry = entry_of(result.key, *result.entry, &result.lock);
    one.with_value = true;  // the state leaves the values of writes out by itself
  }
  for (const kv::TxnFailure& failure : answer.failures) made.faults.push_back({failure.op, failure.what});
  return made;
}

api::Result<api::TxnAnswer> take_answer(const store::Written& written) {
  const bool applied = written.outcome == kv::Outcome::kDone || written.outcome == kv::Outcome::kUnchanged;
  if (!written.txn) {
    // Its decision came in a snapshot, or a second time: what it read is not remembered, only whether it took place.
    return api_error(api::Errc::kOutcomeUnknown,
                     applied ? "the transaction took place, but its answer was lost" : "the transaction did not take place; why was lost");
  }
  api::TxnAnswer made = answer_of(*written.txn);
  if (!applied && made.faults.empty()) made.faults.push_back({0, written.detail});
  made.index = index_of(written.index);
  return made;
}

/// One step of a transaction of reads. @return what is wrong with it, in Consul's words; empty = nothing.
std::string read_step(const kv::StateMachine& state, const api::TxnOp& op, api::TxnAnswer& answer) {
  using Verb = api::TxnOp::Verb;
  const std::string name = "\"" + op.key + "\"";
  if (op.verb == Verb::kGetTree) {
    for (const kv::Found& found : state.list(op.key)) answer.results.push_back({entry_of(*found.key, *found.entry, found.lock), true});
    return {};
  }
  const kv::Entry* entry = state.get(op.key);
  if (op.verb == Verb::kCheckNotExists) return entry == nullptr ? std::string() : "key " + name + " exists";
  if (entry == nullptr) {
    if (op.verb == Verb::kCheckIndex) return "failed to check index, key " + name + " doesn't exist";
    return (op.verb == Verb::kCheckSession ? "failed to check session, key " : "key ") + name + " doesn't exist";
  }
  const api::KvEntry found = entry_of(op.key, *entry, state.lock(op.key));
  if (op.verb == Verb::kCheckIndex && found.modify_index != op.index)
    return "failed index check for key " + name + ", current modify index " +
           std::to_string(static_cast<std::uint64_t>(found.modify_index)) + " != " + std::to_string(static_cast<std::uint64_t>(op.index));
  if (op.verb == Verb::kCheckSession && found.session != op.session)
    return "failed session check for key " + name + ", current session \"" + found.session + "\" != \"" + op.session + "\"";
  answer.results.push_back({found, op.verb == Verb::kGet});
  return {};
}

// ---------------------------------------------------------------- the feed

api::KvChange::Op op_of(kv::ChangeKind kind) {
  switch (kind) {
    case kv::ChangeKind::kSet: return api::KvChange::Op::kSet;
    case kv::ChangeKind::kDelete: return api::KvChange::Op::kDelete;
    case kv::ChangeKind::kLock: return api::KvChange::Op::kLock;
    case kv::ChangeKind::kUnlock: return api::KvChange::Op::kUnlock;
  }
  return api::KvChange::Op::kSet;
}

}  // namespace

api::KvEntry entry_of(const std::string& key, const kv::Entry& entry, const kv::Lock* lock) {
  api::KvEntry made;
  made.key = key;
  made.value = entry.value;
  made.flags = entry.flags;
  made.create_index = index_of(entry.create);
  made.modify_index = index_of(entry.modify);
  if (lock != nullptr) {
    made.lock_index = lock->lock_index;
    if (!lock->session.is_none()) made.session = lock->session.text();
  }
  return made;
}

// ---------------------------------------------------------------- elections as keys

std::optional<api::KvEntry> derived_entry(const kv::StateMachine& state, const std::string& key) {
  if (!key.starts_with(api::kDerivedPrefix)) return std::nullopt;
  const kv::Lease* lease = state.lease(key.substr(api::kDerivedPrefix.size()));
  if (lease == nullptr) return std::nullopt;
  const bool held = lease->holder != kv::NodeId{};
  const nlohmann::ordered_json shown = {{"holder", held ? nlohmann::ordered_json(lease->holder_name) : nlohmann::ordered_json(nullptr)},
                                        {"epoch", kv::value(lease->epoch)},
                                        {"lease_ms", lease->lease_ms}};
  api::KvEntry made;
  made.key = key;
  made.value = shown.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  made.flags = kv::value(lease->epoch);
  made.create_index = index_of(lease->create);
  made.modify_index = index_of(lease->modify);
  return made;
}

std::vector<api::KvEntry> derived_entries(const kv::StateMachine& state, const std::string& prefix) {
  std::vector<api::KvEntry> out;
  if (!prefix.starts_with(api::kDerivedPrefix)) return out;
  const std::string name = prefix.substr(api::kDerivedPrefix.size());
  const auto& leases = state.leases();
  for (auto it = leases.lower_bound(name); it != leases.end() && it->first.starts_with(name); ++it)
    if (auto entry = derived_entry(state, std::string(api::kDerivedPrefix) + it->first)) out.push_back(std::move(*entry));
  return out;
}

// ---------------------------------------------------------------- sessions

BackendSessions::BackendSessions(const BackendParts& parts) : parts_(parts), alive_(std::make_shared<bool>(true)) {}
BackendSessions::~BackendSessions() { *alive_ = false; }

const kv::StateMachine& BackendSessions::state() const { return parts_.store->core().state(); }
io::TimePoint BackendSessions::write_deadline() const { return io::boottime_now() + parts_.config->raft.write_timeout; }

template <typename T>
void BackendSessions::write(kv::CommandBody command, api::Completion<T> done, api::Result<T> (*take)(const store::Written&)) {
  parts_.store->write(std::move(command), write_deadline(),
                      [alive = alive_, take, done = std::move(done)](store::Result<store::Written> written) {
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        if (auto refusal = refusal_of(*written)) return done(tl::make_unexpected(std::move(*refusal)));
                        done(take(*written));
                      });
}

void BackendSessions::session_create(api::SessionSpec spec, api::Completion<api::SessionCreated> done) {
  kv::Session session;
  session.id = new_session_id();
  session.name = std::move(spec.name);
  session.node = spec.node.empty() ? parts_.config->node.name : std::move(spec.node);
  session.ttl_ms = static_cast<std::uint32_t>(spec.ttl.count());
  session.lock_delay_ms = static_cast<std::uint32_t>(spec.lock_delay.count());
  session.behavior = spec.behavior == api::SessionBehavior::kDelete ? kv::SessionBehavior::kDelete : kv::SessionBehavior::kRelease;
  session.node_checks = std::move(spec.node_checks);
  session.service_checks = std::move(spec.service_checks);
  const std::string id = session.id.text();
  parts_.store->write(kv::SessionCreate{std::move(session)}, write_deadline(),
                      [alive = alive_, id, done = std::move(done)](store::Result<store::Written> written) {
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        if (auto refusal = refusal_of(*written)) return done(tl::make_unexpected(std::move(*refusal)));
                        if (written->outcome != kv::Outcome::kDone)
                          return done(api_error(api::Errc::kRefused, tie_text(written->outcome, written->detail)));
                        done(api::SessionCreated{id, index_of(written->index)});
                      });
}

void BackendSessions::session_renew(std::string id, api::Completion<api::SessionInfo> done) {
  const auto session = kv::parse_session_id(id);
  if (!session) {
    return parts_.loop->post([alive = alive_, done = std::move(done)] {
      if (*alive) done(api_error(api::Errc::kNotFound, "no session can have this id"));
    });
  }
  const auto finish = [this, id, done] {
    const auto found = session_info(id);
    if (found.sessions.empty()) return done(api_error(api::Errc::kNotFound, "no such session"));
    done(found.sessions.front());
  };
  parts_.store->renew_session(*session, write_deadline(), [this, alive = alive_, id, done, finish](store::Result<void> renewed) {
    if (!*alive) return;
    if (!renewed) return done(api_error(renewed.error()));
    if (!session_info(id).sessions.empty()) return finish();
    // Made at another agent a moment ago: the leader knows it, this copy does not yet.
    parts_.store->read(store::Consistency::kDefault, write_deadline(), [alive, done, finish](store::Result<store::Readable> read) {
      if (!*alive) return;
      if (!read) return done(api_error(read.error()));
      finish();
    });
  });
}

void BackendSessions::session_destroy(std::string id, api::Completion<api::Index> done) {
  const auto session = kv::parse_session_id(id);
  if (session) return write<api::Index>(kv::SessionDestroy{*session}, std::move(done), &take_index);
  parts_.loop->post([this, alive = alive_, done = std::move(done)] {
    if (*alive) done(index_of(state().applied()));  // it cannot exist, so it is gone
  });
}

api::SessionsAnswer BackendSessions::session_info(const std::string& id) const {
  api::SessionsAnswer answer;
  const auto parsed = kv::parse_session_id(id);
  const kv::Session* session = parsed ? state().sessions().find(*parsed) : nullptr;
  if (session != nullptr) answer.sessions.push_back(info_of(*session));
  answer.index = session_index({api::Topic::Kind::kSession, id});
  return answer;
}

api::SessionsAnswer BackendSessions::session_list() const {
  api::SessionsAnswer answer;
  for (const auto& [id, session] : state().sessions().all()) answer.sessions.push_back(info_of(session));
  answer.index = index_of(state().sessions().index());
  return answer;
}

api::SessionsAnswer BackendSessions::sessions_of_node(const std::string& node) const {
  api::SessionsAnswer answer;
  for (const kv::Session* session : state().sessions().of_node(node)) answer.sessions.push_back(info_of(*session));
  answer.index = index_of(state().sessions().index());
  return answer;
}

api::Index BackendSessions::session_index(const api::Topic& topic) const {
  const auto id = topic.kind == api::Topic::Kind::kSession ? kv::parse_session_id(topic.name) : std::nullopt;
  return index_of(id ? state().sessions().index_of(*id) : state().sessions().index());
}

// ---------------------------------------------------------------- transactions, feed, quotas

void BackendSessions::txn(std::vector<api::TxnOp> ops, api::Completion<api::TxnAnswer> done) {
  kv::Txn command;
  api::TxnAnswer refused;
  for (api::TxnOp& op : ops) {
    kv::TxnOp& made = command.ops.emplace_back();
    made.verb = verb_of(op.verb);
    made.index = index_of(op.index);
    const auto session = kv::parse_session_id(op.session);
    const bool locks = op.verb == api::TxnOp::Verb::kLock || op.verb == api::TxnOp::Verb::kUnlock;
    if (session && !(locks && session->is_none())) made.session = *session;
    else if (locks)
      refused.faults.push_back({command.ops.size() - 1, "invalid session \"" + op.session + "\""});
    made.key = std::move(op.key);
    made.value = std::move(op.value);
    made.flags = op.flags;
  }
  if (refused.faults.empty()) return write<api::TxnAnswer>(std::move(command), std::move(done), &take_answer);
  refused.index = index_of(state().applied());
  parts_.loop->post([alive = alive_, refused = std::move(refused), done = std::move(done)] {
    if (*alive) done(refused);
  });
}

api::TxnAnswer BackendSessions::txn_read(const std::vector<api::TxnOp>& ops) const {
  api::TxnAnswer answer;
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (std::string what = read_step(state(), ops[i], answer); !what.empty()) answer.faults.push_back({i, std::move(what)});
  if (!answer.faults.empty()) answer.results.clear();
  answer.index = index_of(state().applied());
  return answer;
}

api::KvChanges BackendSessions::kv_changes(const std::string& prefix, api::Index after, std::size_t bytes_max) const {
  const auto slice = state().changes_since(prefix, index_of(after), kChangesPerSlice);
  api::KvChanges out;
  out.too_old = slice.too_old;
  out.upto = index_of(slice.next);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < slice.changes.size(); ++i) {
    const kv::Change& change = slice.changes[i];
    if (bytes >= bytes_max && out.changes.back().index != index_of(change.index)) {
      out.upto = out.changes.back().index;
      break;
    }
    api::KvChange made;
    made.op = op_of(change.kind);
    made.key = change.key;
    made.index = index_of(change.index);
    const kv::Entry* entry = change.kind == kv::ChangeKind::kDelete ? nullptr : state().get(change.key);
    if (entry != nullptr && entry->modify == change.index) made.entry = entry_of(change.key, *entry, state().lock(change.key));
    bytes += made.key.size() + (made.entry ? made.entry->value.size() : 0);
    out.changes.push_back(std::move(made));
  }
  out.more = !out.too_old && index_of(out.upto) < state().applied() && !out.changes.empty();
  return out;
}

api::UsageInfo BackendSessions::usage() const {
  api::UsageInfo info;
  info.whole = {"", state().entry_count(), state().entry_bytes(), kv::kEntriesMax, kv::kStateBytesMax};
  for (const auto& [prefix, row] : state().quotas().rows())
    info.quotas.push_back({prefix, row.use.entries, row.use.bytes, row.quota.entries_max, row.quota.bytes_max});
  return info;
}

void BackendSessions::set_quota(api::QuotaInfo quota, api::Completion<api::Index> done) {
  if (quota.entries_max == 0 && quota.bytes_max == 0)
    return write<api::Index>(kv::QuotaRemove{std::move(quota.prefix)}, std::move(done), &take_index);
  write<api::Index>(kv::QuotaSet{std::move(quota.prefix), {quota.bytes_max, quota.entries_max}}, std::move(done), &take_index);
}

}  // namespace agent
