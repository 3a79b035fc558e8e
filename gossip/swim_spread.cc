#include <algorithm>
#include <cmath>

#include "gossip/swim_core.h"

namespace gossip {

Alive Swim::Core::make_alive(const Member& member, bool with_tags) const {
  Alive alive{member.id, member.rank(), member.name, member.address, member.protocol_min, member.protocol_max, {}};
  if (with_tags) alive.tags.assign(member.tags.entries().begin(), member.tags.entries().end());
  return alive;
}

/// Queues an update for gossip, and pushes it at once if it is urgent and its subject has tokens left.
void Swim::Core::spread(TimePoint now, const BroadcastQueue::Key& key, Priority priority, const Message& message,
                        bool urgent) {
  auto bytes = encode(message);
  if (urgent && live_others() > 0 && take_token(now, key.subject)) urgent_.push_back(bytes);
  // Spread within the interval, or all who heard the same news would gossip in the same instant; sooner after
  // urgent news, since this round is for those whom the push has missed.
  const auto interval = static_cast<std::uint64_t>(config_.gossip_interval.count());
  if (urgent)
    next_gossip_ = std::min(std::max(next_gossip_, now), now + Milliseconds(1 + rng_(interval / 2 + 1)));
  else if (queue_.empty())
    next_gossip_ = std::max(next_gossip_, now + Milliseconds(rng_(interval)));
  const std::size_t max = std::max(config_.broadcasts_max, 2 * table_.members().size());
  count_drop(Drop::kQueueOverflow, queue_.push(key, priority, std::move(bytes), max));
}

void Swim::Core::spread_alive(TimePoint now, const Member& member, Priority priority, bool urgent) {
  constexpr std::size_t kRoomForProbe = 160;  // sender, link and a ping or ack beside it
  Message alive = make_alive(member, true);
  const bool fits = encode(alive).size() + kRoomForProbe + envelope_.overhead() <= config_.datagram_bytes_max;
  if (!fits) alive = make_alive(member, false);
  spread(now, {member.id, Kind::kAlive, 0}, priority, alive, urgent);
  if (fits) return;
  for (const auto& tag : member.tags.entries()) {
    const std::uint64_t detail = BroadcastQueue::detail_of(tag.key);
    spread(now, {member.id, Kind::kTags, detail}, Priority::kTags, Tags{member.id, member.generation, false, {tag}},
           urgent);
  }
}

bool Swim::Core::take_token(TimePoint now, const MemberId& subject) {
  Tokens& tokens = tokens_.at(subject);
  if (now - tokens.since >= std::chrono::seconds(1)) tokens = {now, 0};
  return ++tokens.used <= config_.urgent_per_second;
}

std::vector<MemberId> Swim::Core::pick_peers(std::size_t count, const MemberId& not_this, MemberState least) {
  std::vector<MemberId> candidates;
  const auto members = table_.members();
  for (const auto& member : members) {
    if (member.state <= least && member.id != config_.id && member.id != not_this) candidates.push_back(member.id);
  }
  const std::size_t take = std::min(count, candidates.size());
  for (std::size_t i = 0; i < take; ++i) {
    std::swap(candidates[i], candidates[i + static_cast<std::size_t>(rng_(candidates.size() - i))]);
  }
  candidates.resize(take);
  return candidates;
}

/// Infect and die (gossip.md 5.7): every member passes urgent news on once, to ln n + 2 others; the few it misses
/// get it by ordinary gossip.
void Swim::Core::flush_urgent(TimePoint now) {
  if (urgent_.empty()) return;
  const auto news = std::exchange(urgent_, {});
  const auto live = static_cast<double>(std::max<std::size_t>(table_.live_count(), 2));
  const auto fanout = static_cast<std::size_t>(std::ceil(std::log(live))) + 2;
  for (const auto& id : pick_peers(fanout, {}, MemberState::kSuspect)) {
    const Address to = table_.find(id)->address;
    std::size_t next = 0;
    while (next < news.size()) {
      std::vector<std::byte> bytes;
      envelope_.begin(bytes);
      BodyWriter body(bytes, config_.datagram_bytes_max - envelope_.overhead(), config_.id, envelope_.link_to(to));
      while (next < news.size() && body.count() < config_.updates_per_datagram_max && body.add(news[next])) ++next;
      body.finish();
      envelope_.seal(bytes, 0);
      ++counters_.datagrams_out;
      ++counters_.urgent_pushes;
      counters_.bytes_out += bytes.size();
      outputs_.emplace_back(SendDatagram{to, std::move(bytes)});
    }
    // UDP may not get through although streams do: say it there as well (gossip.md 5.12).
    if (table_.find(id)->udp_blocked) start_sync(now, to);
  }
}

void Swim::Core::gossip_round(TimePoint now) {
  next_gossip_ = now + config_.gossip_interval;
  for (const auto& id : pick_peers(config_.gossip_peers, {}, MemberState::kSuspect)) {
    if (queue_.empty()) return;
    send(table_.find(id)->address, {}, true);
  }
}

Result<void> Swim::Core::set_tags(TimePoint now, std::span<const TagChange> changes, Urgency urgency) {
  TagSet merged = self().tags;
  std::vector<std::string> changed;
  const std::uint32_t version = tag_version_ + 1;
  for (const auto& change : changes) {
    if (merged.get(change.key) == change.value && !change.key.empty()) continue;
    const auto result = merged.merge({change.key, change.value.value_or(""), version, !change.value.has_value()});
    if (!result) return tl::unexpected(result.error());
    if (std::find(changed.begin(), changed.end(), change.key) == changed.end()) changed.push_back(change.key);
  }
  if (changed.empty()) return {};
  tag_version_ = version;
  Member& me = *table_.find(config_.id);
  me.tags = std::move(merged);
  table_.refresh(me);
  if (left_) return {};
  const bool urgent = urgency == Urgency::kUrgent;
  for (const auto& key : changed) {
    const Message news = Tags{me.id, me.generation, urgent, {*me.tags.find(key)}};
    spread(now, {me.id, Kind::kTags, BroadcastQueue::detail_of(key)}, urgent ? Priority::kUrgentTags : Priority::kTags,
           news, urgent);
  }
  finish_input(now);
  return {};
}

// --- Leaving ---

void Swim::Core::leave(TimePoint now) {
  if (left_) return;
  left_ = leaving_ = true;
  for (const auto& probe : probes_) {
    if (probe.stream != StreamId{}) close_stream(probe.stream);
  }
  while (!streams_.empty()) close_stream(streams_.begin()->first);
  probes_.clear();
  relays_.clear();
  cases_.clear();
  leave_acks_wanted_ = std::min<std::size_t>(3, live_others());
  Member& me = *table_.find(config_.id);
  table_.set_state(me, MemberState::kLeft, now);
  report(EventKind::kLeft, config_.id);
  leave_deadline_ = now + config_.leave_timeout;
  leave_next_ = now;
  persist(now);
  leave_round(now);
}

Result<void> Swim::Core::push_out(TimePoint now, const MemberId& id) {
  const Member* member = table_.find(id);
  if (member == nullptr) return tl::unexpected(Error{Errc::kInvalidArgument, "no such member"});
  if (id == config_.id) return tl::unexpected(Error{Errc::kInvalidArgument, "that is this agent itself"});
  if (member->is_live()) return tl::unexpected(Error{Errc::kInvalidArgument, "it is alive as far as this agent knows"});
  take_left(now, {{}, {}, config_.id}, Left{id, member->rank()});
  finish_input(now);
  return {};
}

/// Says goodbye to ln n + 2 peers every gossip interval until three of them have confirmed it or time is up.
void Swim::Core::leave_round(TimePoint now) {
  if (leave_acks_.size() >= leave_acks_wanted_ || now >= leave_deadline_) {
    leaving_ = false;
    report(EventKind::kLeaveDone, config_.id);
    return;
  }
  if (now < leave_next_) return;
  leave_next_ = now + config_.gossip_interval;
  const Message left = Left{config_.id, self().rank()};
  const auto live = static_cast<double>(std::max<std::size_t>(table_.live_count(), 2));
  const auto fanout = static_cast<std::size_t>(std::ceil(std::log(live))) + 2;
  for (const auto& id : pick_peers(fanout, {}, MemberState::kSuspect))
    send(table_.find(id)->address, {&left, 1}, false);
}

void Swim::Core::take_leave_ack(const Source& source) {
  if (std::find(leave_acks_.begin(), leave_acks_.end(), source.sender) != leave_acks_.end()) return;
  leave_acks_.push_back(source.sender);
  if (!leaving_ || leave_acks_.size() < leave_acks_wanted_) return;
  leaving_ = false;
  report(EventKind::kLeaveDone, config_.id);
}

}  // namespace gossip
