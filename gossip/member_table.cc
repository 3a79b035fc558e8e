#include "gossip/member_table.h"

#include <cassert>

namespace gossip {
namespace {

std::uint64_t mix(std::uint64_t value) {  // finaliser of splitmix64
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::size_t MemberTable::bucket_of(const MemberId& id) { return MemberIdHash{}(id) % kBuckets; }

std::uint64_t MemberTable::hash_of(const Member& member) {
  if (!member.is_live()) return 0;
  std::uint64_t hash = mix(MemberIdHash{}(member.id));
  hash = mix(hash ^ static_cast<std::uint64_t>(member.generation));
  hash = mix(hash ^ static_cast<std::uint32_t>(member.incarnation));
  // The sum of the tags is mixed with the member: added as it is, a tag that one view lacks of one member would weigh the
  // same as the tag that another view lacks of another member, and the two different views would have equal digests.
  std::uint64_t tags = 0;
  for (const auto& tag : member.tags.entries()) tags += mix(hash_text(tag.key) ^ mix(tag.version));
  hash = mix(hash ^ mix(tags));
  return hash == 0 ? 1 : hash;
}

Member* MemberTable::find(const MemberId& id) {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &members_[found->second];
}

const Member* MemberTable::find(const MemberId& id) const {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &members_[found->second];
}

const Member* MemberTable::find_live_at(const Address& address) const {
  for (const auto& member : members_) {
    if (member.is_live() && member.address == address) return &member;
  }
  return nullptr;
}

Member& MemberTable::insert(const MemberId& id) {
  index_.emplace(id, members_.size());
  hashes_.push_back(0);
  Member& member = members_.emplace_back();
  member.id = id;
  ++counts_[static_cast<std::size_t>(MemberState::kAlive)];
  ++live_;
  return member;
}

void MemberTable::refresh(const Member& member) {
  const auto slot = static_cast<std::size_t>(&member - members_.data());
  assert(slot < members_.size());
  const std::uint64_t hash = hash_of(member);
  digest_ += hash - hashes_[slot];
  buckets_[bucket_of(member.id)] += hash - hashes_[slot];
  hashes_[slot] = hash;
}

bool MemberTable::set_state(Member& member, MemberState state, TimePoint now) {
  if (member.state == state) return false;
  const bool was_live = member.is_live();
  --counts_[static_cast<std::size_t>(member.state)];
  ++counts_[static_cast<std::size_t>(state)];
  member.state = state;
  member.state_since = now;
  if (state != MemberState::kSuspect) member.stalled = false;
  if (!member.is_live()) member.unreachable = member.udp_blocked = false;
  live_ += member.is_live() ? 1 : 0;
  live_ -= was_live ? 1 : 0;
  refresh(member);
  return true;
}

void MemberTable::remove(const MemberId& id) {
  Member* member = find(id);
  if (member == nullptr) return;
  set_state(*member, MemberState::kLeft, member->state_since);
  --counts_[static_cast<std::size_t>(MemberState::kLeft)];
  const std::size_t slot = index_.at(id);
  index_.erase(id);
  if (slot + 1 != members_.size()) {
    members_[slot] = std::move(members_.back());
    hashes_[slot] = hashes_.back();
    index_[members_[slot].id] = slot;
  }
  members_.pop_back();
  hashes_.pop_back();
}

MemberTable::Outcome MemberTable::merge_tags(Member& member, const std::vector<Tag>& tags) {
  Outcome outcome;
  bool newer = false;
  std::size_t visible = 0;
  for (const auto& tag : tags) {
    const Tag* held = member.tags.find(tag.key);
    if (held != nullptr && held->version >= tag.version) continue;
    const auto merged = member.tags.merge(tag);
    if (!merged) {
      outcome.merge = Merge::kInvalid;
      continue;
    }
    newer = true;
    if (!*merged) continue;
    ++visible;
    outcome.tag_key = tag.key;
  }
  if (newer) {
    outcome.merge = Merge::kTagged;
    refresh(member);
  }
  outcome.tags_changed = visible > 0;
  if (visible > 1) outcome.tag_key.clear();
  return outcome;
}

MemberTable::Outcome MemberTable::apply(const Alive& alive, TimePoint now) {
  Member* known = find(alive.id);
  if (known == nullptr && members_.size() >= members_max_) return {Merge::kFull, false, false, {}};
  if (known != nullptr && alive.rank <= known->rank()) {
    if (!known->is_live()) return {Merge::kBuried, false, false, {}};
    return alive.rank.generation == known->generation ? merge_tags(*known, alive.tags) : Outcome{};
  }
  Merge merge = Merge::kRaised;
  if (known == nullptr) {
    known = &insert(alive.id);
    known->state_since = now;
    merge = Merge::kJoined;
  } else if (known->state != MemberState::kAlive) {
    merge = Merge::kRevived;
  }
  if (merge != Merge::kJoined && alive.rank.generation > known->generation) {
    if (known->is_live()) merge = Merge::kRestarted;
    known->tags.clear();
  }
  const bool address_changed = merge != Merge::kJoined && known->address != alive.address;
  if (merge == Merge::kRestarted || address_changed) {
    known->rtt = known->rtt_variance = {};
    known->unreachable = known->udp_blocked = false;
  }
  known->name = alive.name;
  known->address = alive.address;
  known->generation = alive.rank.generation;
  known->incarnation = alive.rank.incarnation;
  known->protocol_min = alive.protocol_min;
  known->protocol_max = alive.protocol_max;
  set_state(*known, MemberState::kAlive, now);
  Outcome outcome = merge_tags(*known, alive.tags);
  outcome.merge = merge;
  outcome.address_changed = address_changed;
  refresh(*known);
  return outcome;
}

MemberTable::Outcome MemberTable::apply(const Tags& tags) {
  Member* known = find(tags.id);
  if (known == nullptr || tags.generation > known->generation) return {Merge::kAhead, false, false, {}};
  if (tags.generation < known->generation || !known->is_live()) return {};
  return merge_tags(*known, tags.tags);
}

Merge MemberTable::apply_dead(const MemberId& id, const Rank& rank, TimePoint now) {
  Member* known = find(id);
  if (known == nullptr || rank > known->rank()) return Merge::kAhead;
  if (rank < known->rank() || !known->is_live()) return Merge::kStale;
  set_state(*known, MemberState::kDead, now);
  return Merge::kDied;
}

Merge MemberTable::apply_left(const MemberId& id, const Rank& rank, TimePoint now) {
  Member* known = find(id);
  if (known == nullptr || rank > known->rank()) return Merge::kAhead;
  if (rank < known->rank() || known->state == MemberState::kLeft) return Merge::kStale;
  set_state(*known, MemberState::kLeft, now);
  return Merge::kLeft;
}

bool MemberTable::bury_unknown(const Tombstone& stone, TimePoint now) {
  if (find(stone.id) != nullptr || members_.size() >= members_max_) return false;
  Member& member = insert(stone.id);
  member.name = stone.name;
  member.address = stone.address;
  member.generation = stone.rank.generation;
  member.incarnation = stone.rank.incarnation;
  set_state(member, stone.state, now - std::chrono::seconds(stone.age_s));
  return true;
}

std::optional<MemberId> MemberTable::reapable(TimePoint now, Duration keep, std::size_t max) const {
  const Member* oldest = nullptr;
  for (const auto& member : members_) {
    if (!member.is_live() && (oldest == nullptr || member.state_since < oldest->state_since)) oldest = &member;
  }
  if (oldest == nullptr) return std::nullopt;
  const std::size_t stones = count(MemberState::kDead) + count(MemberState::kLeft);
  if (stones > max || now - oldest->state_since >= keep) return oldest->id;
  return std::nullopt;
}

}  // namespace gossip
