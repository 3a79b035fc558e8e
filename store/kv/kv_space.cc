#include "store/kv/kv_space.h"

#include <algorithm>
#include <cassert>

namespace store::kv {
namespace {

std::int64_t signed_size(std::size_t size) { return static_cast<std::int64_t>(size); }

}  // namespace

// --- reads --------------------------------------------------------------------------------------------------------

const Entry* KvSpace::get(std::string_view key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

const Lock* KvSpace::lock(std::string_view key) const {
  const auto found = locks_.find(key);
  return found == locks_.end() ? nullptr : &found->second;
}

const std::set<std::string>* KvSpace::held_by(const SessionId& session) const {
  const auto found = held_.find(session);
  return found == held_.end() ? nullptr : &found->second;
}

std::vector<Found> KvSpace::list(std::string_view prefix) const {
  std::vector<Found> found;
  auto lock = locks_.lower_bound(prefix);  // both tables are in the same order
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it) {
    while (lock != locks_.end() && lock->first < it->first) ++lock;
    const bool locked = lock != locks_.end() && lock->first == it->first;
    found.push_back({&it->first, &it->second, locked ? &lock->second : nullptr});
  }
  return found;
}

std::vector<std::string> KvSpace::keys(std::string_view prefix, std::string_view separator) const {
  std::vector<std::string> names;
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it) {
    std::string_view name = it->first;
    const std::size_t cut = separator.empty() ? std::string_view::npos : name.find(separator, prefix.size());
    if (cut != std::string_view::npos) name = name.substr(0, cut + separator.size());
    if (names.empty() || names.back() != name) names.emplace_back(name);
  }
  return names;
}

Index KvSpace::key_index(std::string_view key) const {
  if (const Entry* entry = get(key)) return entry->modify;
  const auto grave = tombstones_.find(key);
  return std::max(grave != tombstones_.end() ? grave->second : tombstone_floor_, Index{1});
}

Index KvSpace::prefix_index(std::string_view prefix) const {
  Index newest = std::max(tombstone_floor_, Index{1});
  if (prefix.empty()) return std::max(newest, kv_index_);
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it)
    newest = std::max(newest, it->second.modify);
  for (auto it = tombstones_.lower_bound(prefix); it != tombstones_.end() && it->first.starts_with(prefix); ++it)
    newest = std::max(newest, it->second);
  return newest;
}

// --- changes ------------------------------------------------------------------------------------------------------

// A value that shrinks is always welcome: it is the way out of a full store.
std::optional<std::string> KvSpace::full(const Put& put, const Entry* present) const {
  const std::size_t before = present == nullptr ? 0 : put.key.size() + present->value.size();
  const std::size_t after = put.key.size() + put.value.size();
  if (after > before && entry_bytes_ - before + after > kStateBytesMax)
    return "the store's " + std::to_string(kStateBytesMax >> 20U) + " MiB of keys and values";
  if (present == nullptr && entries_.size() >= kEntriesMax) return "the store's " + std::to_string(kEntriesMax) + " keys";
  if (const auto prefix = quotas_.refusing(put.key, signed_size(after) - signed_size(before), present == nullptr ? 1 : 0))
    return "the quota of prefix '" + *prefix + "'";
  if (put.lock != nullptr && !put.lock->session.is_none()) {
    const auto* held = held_by(put.lock->session);
    if (held != nullptr && held->size() >= kSessionKeysMax && !held->contains(put.key))
      return "the session's " + std::to_string(kSessionKeysMax) + " keys";
  }
  return std::nullopt;
}

KvSpace::Verdict KvSpace::put(Index index, const Put& put, Journal& journal) {
  const auto found = entries_.lower_bound(put.key);  // where it is, or where it belongs: the tree is searched once
  const bool fresh = found == entries_.end() || found->first != put.key;
  const Lock* present = fresh || locks_.empty() ? nullptr : lock(put.key);
  const bool same_lock = put.lock == nullptr || (present != nullptr ? *put.lock == *present : *put.lock == Lock{});
  if (!fresh && same_lock && found->second.value == put.value && found->second.flags == put.flags)
    return {Outcome::kUnchanged, {}};
  if (auto bound = full(put, fresh ? nullptr : &found->second)) return {Outcome::kFull, std::move(*bound)};
  if (in_txn_) remember(put.key);
  Entry& entry = fresh ? entries_.emplace_hint(found, put.key, Entry{})->second : found->second;
  const std::size_t before = fresh ? 0 : put.key.size() + entry.value.size();
  const std::size_t after = put.key.size() + put.value.size();
  entry_bytes_ = entry_bytes_ - before + after;
  quotas_.add(put.key, signed_size(after) - signed_size(before), fresh ? 1 : 0);
  if (fresh) entry.create = index;
  if (entry.value != put.value) entry.value = put.value;  // it may be a view of the entry itself
  entry.flags = put.flags;
  entry.modify = index;
  ChangeKind kind = ChangeKind::kSet;
  if (!same_lock) {
    if (put.lock->session.is_none()) kind = ChangeKind::kUnlock;
    if (present == nullptr || put.lock->lock_index != present->lock_index) kind = ChangeKind::kLock;
    set_lock(put.key, *put.lock);
  }
  if (fresh && unbury(put.key) && !in_txn_) journal.mark_gone(tombstone_key(put.key));
  changed(index, put.key, kind, &entry, journal);
  return {};
}

void KvSpace::erase(Index index, const std::string& key, Journal& journal) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  if (in_txn_) remember(key);
  const std::size_t bytes = key.size() + found->second.value.size();
  entry_bytes_ -= bytes;
  quotas_.add(key, -signed_size(bytes), -1);
  drop_lock(key);
  entries_.erase(found);
  bury(index, key);
  changed(index, key, ChangeKind::kDelete, nullptr, journal);
  if (!in_txn_) trim_tombstones(journal);
}

void KvSpace::erase_tree(Index index, std::string_view prefix, Journal& journal) {
  std::vector<std::string> doomed;
  for (const Found& found : list(prefix)) doomed.push_back(*found.key);
  for (const std::string& key : doomed) erase(index, key, journal);
}

void KvSpace::set_lock(const std::string& key, const Lock& lock) {
  drop_lock(key);
  if (lock == Lock{}) return;
  locks_.emplace(key, lock);
  if (!lock.session.is_none()) held_[lock.session].insert(key);
}

void KvSpace::drop_lock(const std::string& key) {
  if (locks_.empty()) return;
  const auto found = locks_.find(key);
  if (found == locks_.end()) return;
  if (const auto held = held_.find(found->second.session); held != held_.end()) {
    held->second.erase(key);
    if (held->second.empty()) held_.erase(held);
  }
  locks_.erase(found);
}

void KvSpace::bury(Index index, const std::string& key) {
  tombstones_[key] = index;
  tombstones_by_age_.emplace(index, key);
}

bool KvSpace::unbury(const std::string& key) {
  if (tombstones_.empty()) return false;
  const auto grave = tombstones_.find(key);
  if (grave == tombstones_.end()) return false;
  tombstones_by_age_.erase({grave->second, key});
  tombstones_.erase(grave);
  return true;
}

void KvSpace::changed(Index index, const std::string& key, ChangeKind kind, const Entry* entry, Journal& journal) {
  kv_index_ = index;
  if (in_txn_) {
    touched_.push_back({key, kind});
  } else {
    publish(index, key, kind, entry, journal);
  }
}

void KvSpace::publish(Index index, const std::string& key, ChangeKind kind, const Entry* entry, Journal& journal) {
  if (entry == nullptr) {
    journal.mark_gone(entry_key(key));
    journal.mark(tombstone_key(key), encode_index(index));
  } else {
    journal.mark(entry_key(key), encode_entry(*entry, locks_.empty() ? nullptr : lock(key)));
  }
  feed_.add(index, kind, key);
  journal.watches.touch_key(key);
}

// Forgotten graves raise the floor under the index of every missing key, so that none goes back.
void KvSpace::trim_tombstones(Journal& journal) {
  while (tombstones_.size() > kTombstonesMax) {
    const auto oldest = tombstones_by_age_.begin();
    tombstone_floor_ = std::max(tombstone_floor_, oldest->first);
    journal.mark_gone(tombstone_key(oldest->second));
    journal.mark(floor_key(), encode_index(tombstone_floor_));
    tombstones_.erase(oldest->second);
    tombstones_by_age_.erase(oldest);
  }
}

void KvSpace::set_quota(const std::string& prefix, const Quota& quota, Journal& journal) {
  QuotaUse use;
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it) {
    use.bytes += it->first.size() + it->second.value.size();
    ++use.entries;
  }
  quotas_.set(prefix, quota, use);
  journal.mark(quota_key(prefix), encode_quota(quota));
}

bool KvSpace::remove_quota(const std::string& prefix, Journal& journal) {
  if (!quotas_.remove(prefix)) return false;
  journal.mark_gone(quota_key(prefix));
  return true;
}

// --- transactions -------------------------------------------------------------------------------------------------

void KvSpace::begin() {
  assert(!in_txn_);
  in_txn_ = true;
  index_before_ = kv_index_;
}

// What a key was before the transaction's first step on it, and between steps: undone from the last to the first.
void KvSpace::remember(const std::string& key) {
  Undo undo;
  undo.key = key;
  if (const auto entry = entries_.find(key); entry != entries_.end()) undo.entry = entry->second;
  if (const auto lock = locks_.find(key); lock != locks_.end()) undo.lock = lock->second;
  if (const auto grave = tombstones_.find(key); grave != tombstones_.end()) undo.grave = grave->second;
  undo_.push_back(std::move(undo));
}

void KvSpace::commit(Journal& journal) {
  in_txn_ = false;
  undo_.clear();
  // Only how a key was left is told: of what it was in between, nobody may ever hear.
  std::map<std::string, ChangeKind> last;
  for (Touched& touch : touched_) last.insert_or_assign(std::move(touch.key), touch.kind);
  touched_.clear();
  for (const auto& [key, kind] : last) {
    if (kind != ChangeKind::kDelete) journal.mark_gone(tombstone_key(key));
    publish(kv_index_, key, kind, get(key), journal);
  }
  trim_tombstones(journal);
}

void KvSpace::roll_back() {
  in_txn_ = false;
  touched_.clear();
  while (!undo_.empty()) {
    Undo undo = std::move(undo_.back());
    undo_.pop_back();
    drop_lock(undo.key);
    unbury(undo.key);
    if (const auto entry = entries_.find(undo.key); entry != entries_.end()) {
      const std::size_t bytes = undo.key.size() + entry->second.value.size();
      entry_bytes_ -= bytes;
      quotas_.add(undo.key, -signed_size(bytes), -1);
      entries_.erase(entry);
    }
    if (undo.entry) {
      const std::size_t bytes = undo.key.size() + undo.entry->value.size();
      entry_bytes_ += bytes;
      quotas_.add(undo.key, signed_size(bytes), 1);
      entries_.emplace(undo.key, std::move(*undo.entry));
    }
    if (undo.lock) set_lock(undo.key, *undo.lock);
    if (undo.grave) bury(*undo.grave, undo.key);
  }
  kv_index_ = index_before_;
}

// --- rows ---------------------------------------------------------------------------------------------------------

void KvSpace::load(std::string key, Entry entry, const Lock& lock) {
  entry_bytes_ += key.size() + entry.value.size();
  kv_index_ = std::max(kv_index_, entry.modify);
  set_lock(key, lock);
  entries_.insert_or_assign(std::move(key), std::move(entry));
}

void KvSpace::load_tombstone(std::string key, Index index) {
  kv_index_ = std::max(kv_index_, index);
  tombstones_by_age_.emplace(index, key);
  tombstones_.insert_or_assign(std::move(key), index);
}

void KvSpace::load_quota(std::string prefix, const Quota& quota) { quotas_.set(prefix, quota, {}); }

bool KvSpace::finish_load(Index applied) {
  feed_.restart(applied);
  std::vector<std::pair<std::string, Quota>> limits;
  for (const auto& [prefix, row] : quotas_.rows()) limits.emplace_back(prefix, row.quota);
  Journal unheard;
  for (const auto& [prefix, quota] : limits) set_quota(prefix, quota, unheard);
  if (kv_index_ > applied || tombstone_floor_ > applied) return false;
  return std::none_of(tombstones_.begin(), tombstones_.end(),
                      [this](const auto& grave) { return entries_.contains(grave.first); });
}

void KvSpace::renumber(Index index) {
  for (auto& [key, entry] : entries_) entry.create = entry.modify = index;
  tombstones_.clear();
  tombstones_by_age_.clear();
  tombstone_floor_ = kv_index_ = index;
  feed_.restart(index);
}

}  // namespace store::kv
