#include "store/session_keeper.h"

#include <algorithm>
#include <chrono>

namespace store {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRestorePatience{60'000};  // without a new chunk; then whoever sent it is gone

}  // namespace

raft::Duration SessionKeeper::margin(Duration ttl) {
  const Duration usual = std::min<Duration>(ttl / 10, milliseconds(1'000));
  return std::max<Duration>({usual, ttl / 1'000, milliseconds(50)});
}

void SessionKeeper::take_office(const kv::SessionTable& sessions, const kv::Uuid& restore, TimePoint now) {
  leave_office();
  in_office_ = true;
  for (const auto& [id, session] : sessions.all()) on_session(id, &session, now);
  for (const auto& [key, delay] : sessions.delays()) on_delay(key, &delay, now);
  on_restore(restore, now);
}

void SessionKeeper::leave_office() {
  in_office_ = false;
  sessions_.clear();
  delays_.clear();
  delay_since_.clear();
  restores_.clear();
}

void SessionKeeper::on_session(const kv::SessionId& id, const kv::Session* session, TimePoint now) {
  if (!in_office_) return;
  sessions_.drop(id);
  if (session == nullptr || session->ttl_ms == 0) return;
  const Duration ttl = milliseconds(session->ttl_ms);
  sessions_.set(id, ttl + margin(ttl), now);
}

void SessionKeeper::on_delay(const std::string& key, const kv::LockDelay* delay, TimePoint now) {
  if (!in_office_) return;
  if (const auto known = delay_since_.find(key); known != delay_since_.end()) {
    delays_.drop({key, known->second});
    delay_since_.erase(known);
  }
  if (delay == nullptr) return;
  delay_since_.emplace(key, delay->since);
  delays_.set({key, delay->since}, milliseconds(delay->delay_ms), now);
}

void SessionKeeper::on_restore(const kv::Uuid& restore, TimePoint now) {
  if (!in_office_) return;
  restores_.clear();
  if (!restore.is_none()) restores_.set(restore, kRestorePatience, now);
}

void SessionKeeper::on_renewal(const kv::SessionId& id, TimePoint now) { sessions_.put_off(id, now); }

bool SessionKeeper::renewable(const kv::SessionId& id) const { return sessions_.waits(id); }

std::vector<kv::CommandBody> SessionKeeper::due(TimePoint now) {
  std::vector<kv::CommandBody> commands;
  for (const kv::SessionId& id : sessions_.take_due(now)) commands.emplace_back(kv::SessionExpire{id});
  for (const Delay& delay : delays_.take_due(now)) commands.emplace_back(kv::LockDelayEnd{delay.first, delay.second});
  for (const kv::Uuid& id : restores_.take_due(now)) commands.emplace_back(kv::RestoreAbort{id});
  return commands;
}

void SessionKeeper::not_proposed(const kv::CommandBody& command, TimePoint retry) {
  if (const auto* expire = std::get_if<kv::SessionExpire>(&command)) sessions_.again(expire->id, retry);
  if (const auto* end = std::get_if<kv::LockDelayEnd>(&command)) delays_.again({end->key, end->since}, retry);
  if (const auto* abort = std::get_if<kv::RestoreAbort>(&command)) restores_.again(abort->id, retry);
}

raft::TimePoint SessionKeeper::next_deadline() const {
  return std::min({sessions_.next(), delays_.next(), restores_.next()});
}

}  // namespace store
