#include <algorithm>

#include "gossip/swim_core.h"

namespace gossip {

void Swim::Core::take_update(TimePoint now, const Source& source, const Message& update) {
  if (const auto* alive = std::get_if<Alive>(&update))
    take_alive(now, source, *alive);
  else if (const auto* suspect = std::get_if<Suspect>(&update))
    take_suspect(now, source, *suspect);
  else if (const auto* dead = std::get_if<Dead>(&update))
    take_dead(now, source, *dead);
  else if (const auto* left = std::get_if<Left>(&update))
    take_left(now, source, *left);
  else if (const auto* tags = std::get_if<Tags>(&update))
    take_tags(now, source, *tags);
  else if (const auto* stone = std::get_if<Tombstone>(&update))
    take_tombstone(now, source, *stone);
}

// --- Alive records ---

bool Swim::Core::is_future(Generation generation, TimePoint now) const {
  const auto running = std::chrono::duration_cast<Milliseconds>(now - start_);
  constexpr std::uint64_t kDayMs = 24ull * 3600 * 1000;
  // Our own generation counts as time too: it stays right when the wall clock was set back.
  const std::uint64_t start = std::max(wall_start_ms_, static_cast<std::uint64_t>(self().generation));
  return static_cast<std::uint64_t>(generation) > start + static_cast<std::uint64_t>(running.count()) + kDayMs;
}

bool Swim::Core::may_insert(TimePoint now, const Source& source) {
  // What we asked for on a stream of our own is bounded by the stream.
  const auto stream = streams_.find(source.stream);
  if (stream != streams_.end() && stream->second.role == Stream::Role::kSyncOut) return true;
  if (now - new_members_since_ >= std::chrono::seconds(1)) {
    new_members_since_ = now;
    new_members_ = 0;
  }
  return ++new_members_ <= config_.new_members_per_second;
}

void Swim::Core::take_alive(TimePoint now, const Source& source, const Alive& alive) {
  if (is_future(alive.rank.generation, now)) return count_drop(Drop::kFutureGeneration);
  if (alive.id == config_.id) return take_alive_of_self(now, alive);
  const Member* known = table_.find(alive.id);
  if (known == nullptr && !may_insert(now, source)) return count_drop(Drop::kMemberRate);
  const auto outcome = table_.apply(alive, now);
  switch (outcome.merge) {
    case Merge::kFull:
      return count_drop(Drop::kMemberLimit);
    case Merge::kInvalid:
      return count_drop(Drop::kInvalidRecord);
    case Merge::kBuried: {
      // Whoever repeats an old life hears of its end; the member itself then refutes by a higher rank.
      if (alive.id == source.sender || !take_token(now, alive.id)) return;
      const auto records = make_records(now, *table_.find(alive.id));
      return reply(source, records);
    }
    case Merge::kTagged:
      if (outcome.tags_changed) report(EventKind::kTagsChanged, alive.id, {}, outcome.tag_key);
      return spread_alive(now, *table_.find(alive.id), Priority::kAlive, false);
    case Merge::kJoined:
    case Merge::kRestarted:
    case Merge::kRevived:
    case Merge::kRaised:
      return adopt_alive(now, source, alive, outcome);
    case Merge::kStale:
    case Merge::kAhead:
    case Merge::kDied:
    case Merge::kLeft:
      return;
  }
}

void Swim::Core::adopt_alive(TimePoint now, const Source& source, const Alive& alive,
                             const MemberTable::Outcome& outcome) {
  const MemberId id = alive.id;
  const Merge merge = outcome.merge;
  if (merge == Merge::kRestarted || outcome.address_changed) links_.erase(id);
  clear_case(now, id);
  if (merge == Merge::kJoined || merge == Merge::kRevived) {
    schedule_.remove(id);  // a suspect is still there, a dead or left one is not
    schedule_.add(id, rng_);
  }
  if (merge == Merge::kJoined) report(EventKind::kJoined, id);
  if (merge == Merge::kRestarted) report(EventKind::kRestarted, id);
  if (merge == Merge::kRevived) {
    report(EventKind::kAlive, id);
    heal_.hurry(now, config_.heal_interval);
  }
  if (outcome.tags_changed && merge != Merge::kJoined) report(EventKind::kTagsChanged, id, {}, outcome.tag_key);
  heal_.remove(id);
  if (merge != Merge::kRaised || outcome.address_changed) {
    settle_name(alive.name, id);
    persist_wanted_ = true;
  }
  queue_.drop_claims(id);
  // Records of a whole view that we asked for are no news to the cluster, only to us.
  const auto stream = streams_.find(source.stream);
  const bool bulk = stream != streams_.end() && stream->second.role == Stream::Role::kSyncOut;
  const bool refuted = merge == Merge::kRevived || merge == Merge::kRaised;
  if (!bulk || first_sync_done_)
    spread_alive(now, *table_.find(id), refuted ? Priority::kRefute : Priority::kAlive, !bulk);
  unpark(now, id);
}

void Swim::Core::take_alive_of_self(TimePoint now, const Alive& alive) {
  const Member& me = self();
  if (alive.rank < me.rank()) return;
  if (alive.rank == me.rank()) {
    if (alive.address != me.address) report(EventKind::kIdConflict, me.id, {}, alive.address.to_string());
    return;
  }
  // A former life of ours with a clock that ran ahead, a copy of our disk elsewhere, or a forgery: our record must
  // stand above it. Once a second, so that two agents with one id do not race each other.
  if (raised_at_ && now - *raised_at_ < std::chrono::seconds(1)) return;
  raised_at_ = now;
  if (alive.address != me.address) report(EventKind::kIdConflict, me.id, {}, alive.address.to_string());
  raise_own_rank(alive.rank);
  spread_alive(now, self(), Priority::kRefute, true);
}

void Swim::Core::raise_own_rank(const Rank& above) {
  Member& me = *table_.find(config_.id);
  const auto incarnation = static_cast<std::uint32_t>(above.incarnation);
  if (above.generation > me.generation || incarnation >= kIncarnationMax - 1) {
    const auto generation =
        std::max(static_cast<std::uint64_t>(above.generation), static_cast<std::uint64_t>(me.generation));
    me.generation = Generation{generation + 1};
    me.incarnation = Incarnation{0};
    persist_wanted_ = true;
  } else {
    me.incarnation = Incarnation{incarnation + 1};
  }
  table_.refresh(me);
}

void Swim::Core::settle_name(const std::string& name, const MemberId& newcomer) {
  const Member* owner = nullptr;
  const Member* second = nullptr;
  for (const auto& member : table_.members()) {
    if (!member.is_live() || member.name != name) continue;
    const auto older = [](const Member& a, const Member& b) {
      return a.generation != b.generation ? a.generation < b.generation : a.id < b.id;
    };
    if (owner == nullptr || older(member, *owner))
      second = owner, owner = &member;
    else if (second == nullptr || member.id == newcomer)
      second = &member;
  }
  if (owner == nullptr) return;
  for (const auto& member : table_.members()) {
    if (member.name == name) table_.find(member.id)->owns_name = &member == owner || !member.is_live();
  }
  if (second == nullptr || newcomer.is_none()) return;
  report(EventKind::kNameConflict, owner->id, owner->id == newcomer ? second->id : newcomer);
}

// --- Claims of failure ---

/// A claim that we are suspect, dead or gone. At our rank: contradict by a higher incarnation (SWIM 4.2). Below it:
/// the sender missed our contradiction. Above it: someone holds a record of us that we have never seen; ask for it.
void Swim::Core::refute(TimePoint now, const Source& source, const Rank& claimed) {
  if (left_) return;
  const Rank mine = self().rank();
  if (claimed > mine) return pull(now, source, config_.id);
  if (claimed == mine) {
    raise_own_rank(mine);
    health_.worsen();
    ++counters_.refutations;
    report(EventKind::kRefuted, config_.id, source.sender);
    spread_alive(now, self(), Priority::kRefute, true);
  }
  // The accuser learns of it by the shortest way, whatever the queue does.
  const Message alive = make_alive(self(), false);
  reply(source, {&alive, 1});
}

void Swim::Core::take_suspect(TimePoint now, const Source& source, const Suspect& claim) {
  if (claim.id == config_.id) return refute(now, source, claim.rank);
  const Member* member = table_.find(claim.id);
  if (member == nullptr || claim.rank > member->rank()) return park(now, source, claim.id, claim.rank, claim);
  if (claim.rank < member->rank() || !member->is_live() || claim.accuser == claim.id) return;
  const Member* accuser = table_.find(claim.accuser);
  if (claim.accuser == config_.id || accuser == nullptr || !accuser->is_live()) return;
  add_accusation(now, claim.id, {claim.accuser, claim.evidence});
}

std::size_t Swim::Core::accusers_needed(const MemberId& subject) const {
  if (!config_.verify) return 1;
  const Member* member = table_.find(subject);
  const bool counted = member != nullptr && member->state == MemberState::kAlive;
  const std::size_t others = table_.count(MemberState::kAlive) - (counted ? 1 : 0);  // ourselves included
  return std::min<std::size_t>(3, std::max<std::size_t>(2, others) - 1);
}

void Swim::Core::take_dead(TimePoint now, const Source& source, const Dead& claim) {
  if (claim.id == config_.id) return refute(now, source, claim.rank);
  const Member* member = table_.find(claim.id);
  if (member == nullptr || claim.rank > member->rank()) return park(now, source, claim.id, claim.rank, claim);
  if (claim.rank < member->rank() || !member->is_live()) return;
  std::vector<MemberId> accusers;
  for (const auto& accuser : claim.accusers) {
    if (accuser == claim.id || table_.find(accuser) == nullptr) continue;
    if (std::find(accusers.begin(), accusers.end(), accuser) == accusers.end()) accusers.push_back(accuser);
  }
  if (!config_.verify || accusers.size() >= accusers_needed(claim.id)) {
    return declare_dead(now, claim.id, std::move(accusers), claim.evidence);
  }
  // Too few accusers to be believed: no more than so many suspicions (gossip.md 5.4).
  if (accusers.empty() && source.sender != claim.id) accusers.push_back(source.sender);
  for (const auto& accuser : accusers) take_suspect(now, source, {claim.id, claim.rank, accuser, claim.evidence});
}

void Swim::Core::declare_dead(TimePoint now, const MemberId& id, std::vector<MemberId> accusers, Evidence evidence) {
  const Member& member = *table_.find(id);
  if (table_.apply_dead(id, member.rank(), now) != Merge::kDied) return;
  ++counters_.deaths;
  report(EventKind::kDead, id, accusers.empty() ? MemberId{} : accusers.front(), {}, evidence);
  forget_links(id);
  heal_.add({member.address, id, HealSchedule::Origin::kDead}, now, config_.heal_interval);
  settle_name(member.name, {});
  if (accusers.size() > kAccusersMax) accusers.resize(kAccusersMax);
  const Message dead = Dead{id, member.rank(), evidence, std::move(accusers)};
  queue_.drop_all(id);
  spread(now, {id, Kind::kDead, 0}, Priority::kDead, dead, true);
  persist_wanted_ = true;
}

void Swim::Core::forget_links(const MemberId& id) {
  cases_.erase(id);
  links_.erase(id);
  schedule_.remove(id);
  std::erase_if(probes_, [&](const Probe& probe) {
    if (probe.target != id || probe.purpose == Probe::Purpose::kKnock) return false;
    if (probe.stream != StreamId{}) close_stream(probe.stream);
    return true;
  });
}

void Swim::Core::take_left(TimePoint now, const Source& source, const Left& claim) {
  if (claim.id == config_.id) return refute(now, source, claim.rank);
  const Merge merge = table_.apply_left(claim.id, claim.rank, now);
  if (merge == Merge::kAhead) return park(now, source, claim.id, claim.rank, claim);
  const Member& member = *table_.find(claim.id);
  if (claim.id == source.sender && member.state == MemberState::kLeft) {
    const Message ack = LeaveAck{};
    reply(source, {&ack, 1});
  }
  if (merge != Merge::kLeft) return;
  report(EventKind::kLeft, claim.id);
  forget_links(claim.id);
  heal_.remove(claim.id);
  settle_name(member.name, {});
  queue_.drop_all(claim.id);
  spread(now, {claim.id, Kind::kLeft, 0}, Priority::kLeave, claim, true);
  persist_wanted_ = true;
}

void Swim::Core::take_tags(TimePoint now, const Source& source, const Tags& tags) {
  if (tags.id == config_.id) return;
  const auto outcome = table_.apply(tags);
  if (outcome.merge == Merge::kAhead) return pull(now, source, tags.id);
  if (outcome.merge == Merge::kInvalid) return count_drop(Drop::kInvalidRecord);
  if (outcome.merge != Merge::kTagged) return;
  if (outcome.tags_changed) report(EventKind::kTagsChanged, tags.id, {}, outcome.tag_key);
  for (const auto& tag : tags.tags) {
    const Message news = Tags{tags.id, tags.generation, tags.urgent, {tag}};
    const std::uint64_t detail = BroadcastQueue::detail_of(tag.key);
    spread(now, {tags.id, Kind::kTags, detail}, tags.urgent ? Priority::kUrgentTags : Priority::kTags, news,
           tags.urgent);
  }
}

void Swim::Core::take_tombstone(TimePoint now, const Source& source, const Tombstone& stone) {
  if (stone.id == config_.id) return refute(now, source, stone.rank);
  if (is_future(stone.rank.generation, now)) return count_drop(Drop::kFutureGeneration);
  if (table_.find(stone.id) == nullptr) {
    if (std::chrono::seconds(stone.age_s) >= config_.tombstone_keep) return;
    if (!may_insert(now, source)) return count_drop(Drop::kMemberRate);
    if (!table_.bury_unknown(stone, now)) return count_drop(Drop::kMemberLimit);
    if (stone.state == MemberState::kDead) {
      heal_.add({stone.address, stone.id, HealSchedule::Origin::kDead}, now, config_.heal_interval);
    }
    return;
  }
  if (stone.state == MemberState::kLeft)
    take_left(now, source, {stone.id, stone.rank});
  else
    take_dead(now, source, {stone.id, stone.rank, Evidence::kSilent, {source.sender}});
}

// --- Records we lack ---

void Swim::Core::park(TimePoint now, const Source& source, const MemberId& id, const Rank& rank, const Message& claim) {
  if (is_future(rank.generation, now)) return count_drop(Drop::kFutureGeneration);
  std::erase_if(parked_, [&](const Parked& p) { return p.id == id && p.source.sender == source.sender; });
  if (parked_.size() >= config_.parked_claims_max) {
    parked_.erase(parked_.begin());
    count_drop(Drop::kParkedOverflow);
  }
  parked_.push_back({id, rank, claim, source});
  pull(now, source, id);
}

void Swim::Core::unpark(TimePoint now, const MemberId& id) {
  std::vector<Parked> ready;
  std::erase_if(parked_, [&](Parked& p) {
    const Member* member = table_.find(p.id);
    if (p.id != id || member == nullptr || p.rank > member->rank()) return false;
    ready.push_back(std::move(p));
    return true;
  });
  for (auto& parked : ready) {
    parked.source.stream = StreamId{};
    parked.source.from = table_.find(id)->address;
    take_update(now, parked.source, parked.claim);
  }
}

void Swim::Core::pull(TimePoint now, const Source& source, const MemberId& id) {
  if (left_) return;
  TimePoint& asked = pulls_.at(id);
  if (asked != TimePoint{} && now - asked < config_.gossip_interval) return;
  asked = now;
  const Message wanted = Pull{id, table_.find(id) != nullptr};
  reply(source, {&wanted, 1});
}

void Swim::Core::take_pull(const Source& source, const Pull& wanted) {
  const Member* member = table_.find(wanted.target);
  if (member == nullptr) return;
  const TimePoint now = member->state_since;  // age 0: the asker keeps its own time for a claim it holds already
  std::vector<Message> records;
  if (member->is_live()) {
    records = make_records(now, *member);
  } else if (wanted.has_record) {
    records.push_back(make_alive(*member, false));
    if (member->state == MemberState::kLeft)
      records.push_back(Left{member->id, member->rank()});
    else
      records.push_back(Dead{member->id, member->rank(), member->evidence, {config_.id}});
  } else {
    records = make_records(now, *member);
  }
  reply(source, records);
}

}  // namespace gossip
