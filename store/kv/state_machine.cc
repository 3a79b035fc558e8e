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
    applied.order = order_of(decoded->body);
    return applied;
  }
  applying_ = &applied;
  Decision decision = std::visit([&](const auto& body) { return decide(index, body); }, decoded->body);
  applying_ = nullptr;
  applied.outcome = decision.outcome;
  applied.index = index;
  applied.epoch = decision.epoch;
  applied.detail = std::move(decision.detail);
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
  journal_.mark(request_key(request.origin, slot), encode_remembered(remembered));
  bound_origins();
}

// The proposer that has been silent for longest is forgotten first: equal on every replica, since `last` is an index.
void StateMachine::bound_origins() {
  if (origins_.size() <= kOriginsMax) return;
  const auto oldest = std::min_element(origins_.begin(), origins_.end(),
                                       [](const auto& a, const auto& b) { return a.second.last < b.second.last; });
  for (std::size_t slot = 0; slot < oldest->second.slots.size(); ++slot) {
    if (oldest->second.slots[slot].seq != 0) journal_.mark_gone(request_key(oldest->first, slot));
  }
  origins_.erase(oldest);
}

// --- KV -----------------------------------------------------------------------------------------------------------

StateMachine::Decision StateMachine::put(Index index, const std::string& key, std::string_view value,
                                         std::uint64_t flags) {
  auto verdict = kv_.put(index, {key, value, flags, nullptr}, journal_);
  return {verdict.outcome, {}, std::move(verdict.detail)};
}

StateMachine::Decision StateMachine::decide(Index index, const Set& command) {
  return put(index, command.key, command.value, command.flags);
}

StateMachine::Decision StateMachine::decide(Index index, const Cas& command) {
  const Entry* entry = get(command.key);
  const Index current = entry != nullptr ? entry->modify : Index{};
  if (current != command.expected) return {Outcome::kConditionFailed, {}, {}};
  return put(index, command.key, command.value, command.flags);
}

StateMachine::Decision StateMachine::decide(Index index, const Delete& command) {
  kv_.erase(index, command.key, journal_);
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const DeleteCas& command) {
  const Entry* entry = get(command.key);
  if (entry == nullptr) return {};
  if (entry->modify != command.expected) return {Outcome::kConditionFailed, {}, {}};
  kv_.erase(index, command.key, journal_);
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const DeleteTree& command) {
  kv_.erase_tree(index, command.prefix, journal_);
  return {};
}

// --- quotas, events -----------------------------------------------------------------------------------------------

StateMachine::Decision StateMachine::decide(Index, const QuotaSet& command) {
  const Quotas::Row* present = kv_.quotas().find(command.prefix);
  if (present != nullptr && present->quota == command.quota) return {Outcome::kUnchanged, {}, {}};
  if (present == nullptr && kv_.quotas().rows().size() >= kQuotasMax)
    return {Outcome::kFull, {}, "the store's " + std::to_string(kQuotasMax) + " quotas"};
  kv_.set_quota(command.prefix, command.quota, journal_);
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const QuotaRemove& command) {
  return {kv_.remove_quota(command.prefix, journal_) ? Outcome::kDone : Outcome::kNotFound, {}, {}};
}

StateMachine::Decision StateMachine::decide(Index index, const EventFire& command) {
  UserEvent event = command.event;
  event.index = index;
  journal_.mark(event_key(index), encode_event(event));
  events_.push_back(std::move(event));
  if (events_.size() > kEventsMax) {
    journal_.mark_gone(event_key(events_.front().index));
    events_.pop_front();
  }
  journal_.watches.touch(Topic::Kind::kEvents);
  return {};
}

Index StateMachine::events_index() const {
  return events_.empty() ? Index{1} : std::max(events_.back().index, Index{1});
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
    case Topic::Kind::kLeaseNames:
      return lease_names_index();
    case Topic::Kind::kService:
      return catalog_.service_index(topic.name);
    case Topic::Kind::kServices:
      return catalog_.services_index();
    case Topic::Kind::kNodes:
      return catalog_.nodes_index();
    case Topic::Kind::kNode:
      return catalog_.node_index(topic.name);
    case Topic::Kind::kChecks:
      return catalog_.checks_index();
    case Topic::Kind::kSession: {
      const auto id = parse_session_id(topic.name);
      return id ? sessions_.index_of(*id) : Index{1};
    }
    case Topic::Kind::kSessions:
      return sessions_.index();
    case Topic::Kind::kEvents:
      return events_index();
    case Topic::Kind::kHalts:
      return halts_.index();
  }
  return Index{1};
}

Result<WatchId> StateMachine::watch(const Topic& topic, Index after) {
  return journal_.watches.add(topic, topic_index(topic) > after);
}

}  // namespace store::kv
