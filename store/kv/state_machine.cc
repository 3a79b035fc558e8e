#include "store/kv/state_machine.h"

#include <algorithm>

namespace store::kv {

Result<Applied> StateMachine::apply(Index index, std::string_view command) {
  if (index <= applied_) {
    return fail(Errc::kOutOfOrder,
                "entry " + std::to_string(value(index)) + " after " + std::to_string(value(applied_)));
  }
  auto decoded = decode_command(command);
  if (!decoded) return tl::unexpected<Error>(decoded.error());
  applied_ = index;
  Applied applied;
  applied.request = decoded->request;
  if (const Remembered* before = find_request(decoded->request)) {
    applied.repeated = true;
    const bool known = before->seq == decoded->request.seq;
    applied.outcome = known ? before->outcome : Outcome::kForgotten;
    applied.index = known ? before->index : index;
    applied.epoch = known ? before->epoch : Epoch{};
    return applied;
  }
  Decision decision = std::visit([&](const auto& body) { return decide(index, body); }, decoded->body);
  applied.outcome = decision.outcome;
  applied.index = index;
  applied.epoch = decision.epoch;
  applied.lease_changed = std::move(decision.lease_changed);
  remember(decoded->request, Remembered{decoded->request.seq, index, applied.outcome, applied.epoch});
  return applied;
}

void StateMachine::skip(Index index) { applied_ = std::max(applied_, index); }

// --- requests decided before --------------------------------------------------------------------------------------

const Remembered* StateMachine::find_request(const RequestId& request) const {
  if (request.seq == 0) return nullptr;
  const auto origin = origins_.find(request.origin);
  if (origin == origins_.end()) return nullptr;
  const std::size_t slot = request.seq % kDedupeWindow;
  if (slot >= origin->second.slots.size()) return nullptr;
  const Remembered& remembered = origin->second.slots[slot];
  return remembered.seq >= request.seq ? &remembered : nullptr;
}

void StateMachine::remember(const RequestId& request, const Remembered& remembered) {
  if (request.seq == 0) return;
  Origin& origin = origins_[request.origin];
  const std::size_t slot = request.seq % kDedupeWindow;
  if (slot >= origin.slots.size()) origin.slots.resize(slot + 1);
  origin.slots[slot] = remembered;
  origin.last = remembered.index;
  mark(request_key(request.origin, slot), encode_remembered(remembered));
  bound_origins();
}

// The proposer that has been silent for longest is forgotten first: equal on every replica, since `last` is an index.
void StateMachine::bound_origins() {
  if (origins_.size() <= kOriginsMax) return;
  const auto oldest = std::min_element(origins_.begin(), origins_.end(),
                                       [](const auto& a, const auto& b) { return a.second.last < b.second.last; });
  for (std::size_t slot = 0; slot < oldest->second.slots.size(); ++slot) {
    if (oldest->second.slots[slot].seq != 0) mark(request_key(oldest->first, slot), std::nullopt);
  }
  origins_.erase(oldest);
}

void StateMachine::mark(std::string key, std::optional<std::string> value) {
  dirty_.insert_or_assign(std::move(key), std::move(value));
}

// --- KV -----------------------------------------------------------------------------------------------------------

Outcome StateMachine::put(Index index, const std::string& key, const std::string& value, std::uint64_t flags) {
  const auto found = entries_.find(key);
  const bool fresh = found == entries_.end();
  if (!fresh && found->second.value == value && found->second.flags == flags) return Outcome::kUnchanged;
  const std::size_t before = fresh ? 0 : key.size() + found->second.value.size();
  const std::size_t after = entry_bytes_ - before + key.size() + value.size();
  // A value that shrinks is always welcome: it is the way out of a full store.
  if ((after > kStateBytesMax && after > entry_bytes_) || (fresh && entries_.size() >= kEntriesMax))
    return Outcome::kFull;
  entry_bytes_ = after;
  Entry& entry = fresh ? entries_[key] : found->second;
  if (fresh) {
    entry.create = index;
    if (const auto grave = tombstones_.find(key); grave != tombstones_.end()) {
      tombstones_by_age_.erase({grave->second, key});
      tombstones_.erase(grave);
      mark(tombstone_key(key), std::nullopt);
    }
  }
  entry.value = value;
  entry.flags = flags;
  entry.modify = index;
  kv_index_ = index;
  mark(entry_key(key), encode_entry(entry));
  watches_.touch_key(key);
  return Outcome::kDone;
}

void StateMachine::erase(Index index, const std::string& key) {
  const auto found = entries_.find(key);
  entry_bytes_ -= key.size() + found->second.value.size();
  entries_.erase(found);
  mark(entry_key(key), std::nullopt);
  tombstones_[key] = index;
  tombstones_by_age_.emplace(index, key);
  mark(tombstone_key(key), encode_index(index));
  kv_index_ = index;
  watches_.touch_key(key);
}

// Forgotten graves raise the floor under the index of every missing key, so that none goes back.
void StateMachine::trim_tombstones() {
  while (tombstones_.size() > kTombstonesMax) {
    const auto oldest = tombstones_by_age_.begin();
    tombstone_floor_ = std::max(tombstone_floor_, oldest->first);
    mark(tombstone_key(oldest->second), std::nullopt);
    mark(floor_key(), encode_index(tombstone_floor_));
    tombstones_.erase(oldest->second);
    tombstones_by_age_.erase(oldest);
  }
}

StateMachine::Decision StateMachine::decide(Index index, const Set& command) {
  return {put(index, command.key, command.value, command.flags), {}, {}};
}

StateMachine::Decision StateMachine::decide(Index index, const Cas& command) {
  const Entry* entry = get(command.key);
  const Index current = entry != nullptr ? entry->modify : Index{};
  if (current != command.expected) return {Outcome::kConditionFailed, {}, {}};
  return {put(index, command.key, command.value, command.flags), {}, {}};
}

StateMachine::Decision StateMachine::decide(Index index, const Delete& command) {
  if (get(command.key) != nullptr) erase(index, command.key);
  trim_tombstones();
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const DeleteCas& command) {
  const Entry* entry = get(command.key);
  if (entry == nullptr) return {};
  if (entry->modify != command.expected) return {Outcome::kConditionFailed, {}, {}};
  erase(index, command.key);
  trim_tombstones();
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const DeleteTree& command) {
  std::vector<std::string> doomed;
  for (const Found& found : list(command.prefix)) doomed.push_back(*found.key);
  for (const std::string& key : doomed) erase(index, key);
  trim_tombstones();
  return {};
}

const Entry* StateMachine::get(std::string_view key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

std::vector<Found> StateMachine::list(std::string_view prefix) const {
  std::vector<Found> found;
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it)
    found.push_back({&it->first, &it->second});
  return found;
}

std::vector<std::string> StateMachine::keys(std::string_view prefix, std::string_view separator) const {
  std::vector<std::string> names;
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it) {
    std::string_view name = it->first;
    const std::size_t cut = separator.empty() ? std::string_view::npos : name.find(separator, prefix.size());
    if (cut != std::string_view::npos) name = name.substr(0, cut + separator.size());
    if (names.empty() || names.back() != name) names.emplace_back(name);
  }
  return names;
}

Index StateMachine::key_index(std::string_view key) const {
  if (const Entry* entry = get(key)) return entry->modify;
  const auto grave = tombstones_.find(key);
  return std::max(grave != tombstones_.end() ? grave->second : tombstone_floor_, Index{1});
}

Index StateMachine::prefix_index(std::string_view prefix) const {
  Index newest = std::max(tombstone_floor_, Index{1});
  if (prefix.empty()) return std::max(newest, kv_index_);
  for (auto it = entries_.lower_bound(prefix); it != entries_.end() && it->first.starts_with(prefix); ++it)
    newest = std::max(newest, it->second.modify);
  for (auto it = tombstones_.lower_bound(prefix); it != tombstones_.end() && it->first.starts_with(prefix); ++it)
    newest = std::max(newest, it->second);
  return newest;
}

// --- waits --------------------------------------------------------------------------------------------------------

Index StateMachine::topic_index(const Topic& topic) const {
  switch (topic.kind) {
    case Topic::Kind::kKey:
      return key_index(topic.name);
    case Topic::Kind::kPrefix:
      return prefix_index(topic.name);
    case Topic::Kind::kLease:
      return lease_index(topic.name);
    case Topic::Kind::kService:
    case Topic::Kind::kServices:
    case Topic::Kind::kNodes:
    case Topic::Kind::kNode:
    case Topic::Kind::kChecks:
    case Topic::Kind::kSession:
    case Topic::Kind::kSessions:
    case Topic::Kind::kEvents:
      break;
  }
  return Index{1};
}

Result<WatchId> StateMachine::watch(const Topic& topic, Index after) {
  return watches_.add(topic, topic_index(topic) > after);
}

}  // namespace store::kv
