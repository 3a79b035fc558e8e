#include "gossip/broadcast_queue.h"

#include <algorithm>
#include <cmath>

namespace gossip {

BroadcastQueue::Order BroadcastQueue::order_of(const Key& key, const Entry& entry) {
  return {entry.priority, entry.sends, ~entry.sequence, key};
}

std::uint64_t BroadcastQueue::detail_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

std::size_t BroadcastQueue::push(const Key& key, Priority priority, std::vector<std::byte> message, std::size_t max) {
  if (const auto known = entries_.find(key); known != entries_.end()) {
    order_.erase(order_of(key, known->second));
    entries_.erase(known);
  }
  Entry entry{priority, 0, ++sequence_, std::move(message)};
  order_.insert(order_of(key, entry));
  entries_.emplace(key, std::move(entry));
  if (entries_.size() <= max) return 0;
  const auto last = std::prev(order_.end());
  entries_.erase(last->key);
  order_.erase(last);
  return 1;
}

void BroadcastQueue::drop_if_claims(const MemberId& subject, bool everything) {
  for (auto it = entries_.lower_bound(Key{subject, Kind{0}, 0});
       it != entries_.end() && it->first.subject == subject;) {
    const bool is_claim = it->first.kind != Kind::kTags;
    if (!everything && !is_claim) {
      ++it;
      continue;
    }
    order_.erase(order_of(it->first, it->second));
    it = entries_.erase(it);
  }
}

void BroadcastQueue::drop_claims(const MemberId& subject) { drop_if_claims(subject, false); }
void BroadcastQueue::drop_all(const MemberId& subject) { drop_if_claims(subject, true); }

std::size_t BroadcastQueue::fill(BodyWriter& packet, std::uint32_t sends_max, std::size_t count_max) {
  constexpr std::size_t kMessageBytesLeast = 20;  // no update is smaller: stop looking when less room is left
  std::size_t added = 0;
  std::vector<Order> sent;
  for (auto it = order_.begin(); it != order_.end() && added < count_max && packet.room() >= kMessageBytesLeast; ++it) {
    if (!packet.add(entries_.at(it->key).message)) continue;
    sent.push_back(*it);
    ++added;
  }
  for (const auto& order : sent) {
    order_.erase(order);
    const auto entry = entries_.find(order.key);
    if (++entry->second.sends >= sends_max)
      entries_.erase(entry);
    else
      order_.insert(order_of(order.key, entry->second));
  }
  return added;
}

std::uint32_t retransmit_limit(std::uint32_t factor, std::size_t live) {
  const double decades = std::ceil(std::log10(static_cast<double>(live) + 1.0));
  return factor * std::max<std::uint32_t>(1, static_cast<std::uint32_t>(decades));
}

}  // namespace gossip
