#include "store/kv/session_table.h"

#include <algorithm>

#include "store/kv/record.h"

namespace store::kv {
const Session* SessionTable::find(const SessionId& id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

std::vector<const Session*> SessionTable::of_node(std::string_view node) const {
  std::vector<const Session*> found;
  const auto ids = by_node_.find(node);
  if (ids == by_node_.end()) return found;
  for (const SessionId& id : ids->second) found.push_back(&sessions_.at(id));
  return found;
}

const LockDelay* SessionTable::delay(std::string_view key) const {
  const auto found = delays_.find(key);
  return found == delays_.end() ? nullptr : &found->second;
}

Index SessionTable::index() const { return std::max(index_, Index{1}); }

Index SessionTable::index_of(const SessionId& id) const {
  const Session* session = find(id);
  return session != nullptr ? session->modify : index();
}

void SessionTable::tie(const Session& session) {
  if (session.node.empty()) return;
  by_node_[session.node].insert(session.id);
  for (const auto* checks : {&session.node_checks, &session.service_checks}) {
    for (const std::string& check : *checks) by_check_[{session.node, check}].insert(session.id);
  }
}

void SessionTable::untie(const Session& session) {
  if (session.node.empty()) return;
  const auto drop = [&session](auto& table, const auto& key) {
    const auto found = table.find(key);
    if (found == table.end()) return;
    found->second.erase(session.id);
    if (found->second.empty()) table.erase(found);
  };
  drop(by_node_, session.node);
  for (const auto* checks : {&session.node_checks, &session.service_checks}) {
    for (const std::string& check : *checks) drop(by_check_, NodeItem{session.node, check});
  }
}

void SessionTable::add(Index index, Session session, Journal& journal) {
  session.create = session.modify = index_ = index;
  tie(session);
  journal.mark(session_key(session.id), encode_session(session));
  journal.mark(counter_key(kCounter), encode_index(index));
  journal.watches.touch(Topic::Kind::kSession, session.id.text());
  journal.watches.touch(Topic::Kind::kSessions);
  const SessionId id = session.id;
  sessions_.insert_or_assign(id, std::move(session));
}

void SessionTable::remove(Index index, const SessionId& id, Journal& journal) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  untie(found->second);
  index_ = index;
  journal.mark_gone(session_key(id));
  journal.mark(counter_key(kCounter), encode_index(index));
  journal.watches.touch(Topic::Kind::kSession, id.text());
  journal.watches.touch(Topic::Kind::kSessions);
  sessions_.erase(found);
}

std::set<SessionId> SessionTable::tied_to(const Catalog::Lost& lost) const {
  std::set<SessionId> tied;
  for (const std::string& node : lost.nodes) {
    if (const auto found = by_node_.find(node); found != by_node_.end())
      tied.insert(found->second.begin(), found->second.end());
  }
  for (const NodeItem& check : lost.checks) {
    if (const auto found = by_check_.find(check); found != by_check_.end())
      tied.insert(found->second.begin(), found->second.end());
  }
  return tied;
}

std::vector<std::string> SessionTable::hold_back(const std::string& key, const LockDelay& delay, Journal& journal) {
  std::vector<std::string> opened;
  if (const auto before = delays_.find(key); before != delays_.end())
    delays_by_age_.erase({before->second.since, key});
  load_delay(key, delay);
  journal.mark(delay_key(key), encode_delay(delay));
  while (delays_.size() > kLockDelaysMax) {
    const auto oldest = *delays_by_age_.begin();
    opened.push_back(oldest.second);
    open(oldest.second, oldest.first, journal);
  }
  return opened;
}

bool SessionTable::open(const std::string& key, Index since, Journal& journal) {
  const auto found = delays_.find(key);
  if (found == delays_.end() || found->second.since != since) return false;
  delays_by_age_.erase({since, key});
  delays_.erase(found);
  journal.mark_gone(delay_key(key));
  return true;
}

void SessionTable::load(Session session) {
  tie(session);
  index_ = std::max(index_, session.modify);
  const SessionId id = session.id;
  sessions_.insert_or_assign(id, std::move(session));
}

void SessionTable::load_delay(std::string key, const LockDelay& delay) {
  delays_by_age_.emplace(delay.since, key);
  delays_.insert_or_assign(std::move(key), delay);
}

bool SessionTable::consistent(const Catalog& catalog, Index applied) const {
  if (index_ > applied) return false;
  const bool homes = std::all_of(by_node_.begin(), by_node_.end(),
                                 [&](const auto& item) { return catalog.node(item.first) != nullptr; });
  return homes && std::all_of(by_check_.begin(), by_check_.end(), [&](const auto& item) {
    const Check* check = catalog.check(item.first.node, item.first.id);
    return check != nullptr && check->status != CheckStatus::kCritical;
  });
}

void SessionTable::renumber(Index index) {
  index_ = index;
  for (auto& [id, session] : sessions_) session.create = session.modify = index;
}

}  // namespace store::kv
