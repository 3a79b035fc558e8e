#include "proxy/rate_desk.h"

#include <algorithm>
#include <cassert>

namespace proxy {
namespace {

// Keys must mean the same at every agent, so these are fixed. Where a key lies in a table nobody can aim at all the same:
// tables hash it once more under secrets of their own.
constexpr std::uint64_t kZoneHash = 0x72617465207a6f6eULL, kClientHash = 0x72617465206b6579ULL;
constexpr std::uint32_t kIndexBits = 12;
static_assert(RateDesk::kAskedMax == std::size_t{1} << kIndexBits);

// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::string text_of(std::string_view name, const RateRule& rule) {
  std::string text(name);
  for (const std::uint64_t number : {std::uint64_t{rule.count}, static_cast<std::uint64_t>(rule.period.count()),
                                     rule.burst ? std::uint64_t{*rule.burst} + 1 : 0, std::uint64_t{rule.nodelay}}) {
    text += '\n';
    text += std::to_string(number);
  }
  return text;
}

}  // namespace

std::size_t RateMembers::owner_of(std::uint64_t key) const {
  std::size_t best = 0;
  std::uint64_t highest = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint64_t weight = mixed(key ^ mixed(static_cast<std::uint64_t>(members[i].id)));
    const bool wins = i == 0 || weight > highest || (weight == highest && members[i].id > members[best].id);
    if (!wins) continue;
    highest = weight;
    best = i;
  }
  return best;
}

RateZone::RateZone(std::string_view name, ClusterRate given, std::shared_ptr<RateTable> given_counts, std::uint64_t seed0, std::uint64_t seed1)
    : id(keyed_hash(kZoneHash, 0, text_of(name, given_counts->rule()))), how(given), counts(std::move(given_counts)),
      alone(counts->rule(), seed0, seed1) {}

std::uint64_t RateZone::key_of(std::string_view client) const { return keyed_hash(kClientHash, id, client); }

std::string_view name_of(RateSource source) {
  switch (source) {
    case RateSource::kOwn: return "own";
    case RateSource::kOwner: return "owner";
    case RateSource::kRemembered: return "remembered";
    case RateSource::kUnreachable: return "unreachable";
    case RateSource::kSilent: return "silent";
    case RateSource::kLate: return "late";
    case RateSource::kFull: return "full";
    case RateSource::kTurnedAway: return "turned_away";
  }
  return "unknown";
}

std::string_view sentence_of(RateSource source) {
  switch (source) {
    case RateSource::kOwn: return "counted here for the cluster";
    case RateSource::kOwner: return "counted for the cluster by";
    case RateSource::kRemembered: return "refused until later for the cluster by";
    case RateSource::kUnreachable: return "decided here, no connection to";
    case RateSource::kSilent: return "decided here, no answers lately from";
    case RateSource::kLate: return "decided here, no answer in time from";
    case RateSource::kFull: return "decided here, too many questions wait for";
    case RateSource::kTurnedAway: return "decided here, turned away by";
  }
  return "unknown";
}

void RateDeskCounters::add(const RateDeskCounters& other) {
  for (std::size_t i = 0; i < decided.size(); ++i) decided[i] += other.decided[i];
  asked += other.asked;
  answered_in.add(other.answered_in);
}

// ---- questions ----

void RateDesk::set_members(std::shared_ptr<const RateMembers> members) {
  members_ = std::move(members);
  std::erase_if(owners_, [&](const auto& owner) {
    const bool stays = std::any_of(members_->members.begin(), members_->members.end(), [&](const RateMember& member) {
      return static_cast<std::uint64_t>(member.id) == owner.first;
    });
    // Those who wait for an answer of one that has gone wait no longer than for any other.
    if (!stays && owner.second.probe != 0 && find(owner.second.probe) != nullptr) free(owner.second.probe);
    return !stays;
  });
}

std::optional<RateDecision> RateDesk::ask(RateZone& zone, std::uint64_t key, TimePoint now, Waiter& waiter, Ticket& ticket) {
  const RateMember* owner = nullptr;
  if (members_ != nullptr && !members_->members.empty()) owner = &members_->members[members_->owner_of(key)];
  if (owner == nullptr || owner->id == members_->self) {
    return decided(zone.counts->take(key, now, told(zone, key, now)).verdict, RateSource::kOwn, owner == nullptr ? RateMemberId{} : owner->id);
  }
  if (memory_ != nullptr) {
    const Memory& memory = (*memory_)[key % kRemembered];
    if (memory.key == key && now < memory.refused_until) {
      RateVerdict refused;
      refused.admitted = false;
      refused.retry_after = refused.reset = memory.refused_until - now;
      return decided(refused, RateSource::kRemembered, owner->id);
    }
  }
  if (!owner->reachable) return fall_back(zone, key, now, RateSource::kUnreachable, owner->id);
  OwnerState& state = owners_[static_cast<std::uint64_t>(owner->id)];
  if (state.late >= kSilentAfter) {
    if (now >= state.probe_at) probe(state, zone, key, owner->id, now);
    return fall_back(zone, key, now, RateSource::kSilent, owner->id);
  }
  ticket = put_down(zone, key, owner->id, now, &waiter);
  if (ticket == 0) return fall_back(zone, key, now, RateSource::kFull, owner->id);
  return std::nullopt;
}

// What of the key's debt, as its owner has told it to this worker, must still be there.
std::uint32_t RateDesk::told(const RateZone& zone, std::uint64_t key, TimePoint now) const {
  if (memory_ == nullptr) return 0;
  const Memory& memory = (*memory_)[key % kRemembered];
  return memory.key == key ? static_cast<std::uint32_t>(rate_debt_after(zone.rule(), memory.debt, now - memory.told_at)) : 0;
}

RateDesk::Ticket RateDesk::put_down(RateZone& zone, std::uint64_t key, RateMemberId owner, TimePoint now, Waiter* waiter) {
  if (free_.empty()) {
    if (asked_.size() == kAskedMax) return 0;
    free_.push_back(static_cast<std::uint32_t>(asked_.size()));
    asked_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Asked& place = asked_[index];
  const std::uint32_t generation = std::max<std::uint32_t>(1, (place.generation + 1) & ((1U << (32 - kIndexBits)) - 1));
  place = {generation, true, waiter, &zone, key, owner, now, zone.how.timeout};
  ++waiting_;
  ++counters_.asked;
  const Ticket ticket = generation << kIndexBits | index;
  // Told, or counted here while the key was this agent's own.
  questions_.push_back({owner, ticket, zone.id, zone.rule(), key, std::max(told(zone, key, now), zone.counts->debt(key, now))});
  return ticket;
}

// A zone may go while nobody waits: a probe knows nothing of it.
void RateDesk::probe(OwnerState& state, RateZone& zone, std::uint64_t key, RateMemberId owner, TimePoint now) {
  if (state.probe != 0 && find(state.probe) != nullptr) free(state.probe);
  state.probe = put_down(zone, key, owner, now, nullptr);
  state.probe_at = now + kProbeEvery;
  if (Asked* asked = find(state.probe)) asked->zone = nullptr;
}

RateDesk::Asked* RateDesk::find(Ticket ticket) {
  const std::uint32_t index = ticket & ((1U << kIndexBits) - 1);
  if (index >= asked_.size()) return nullptr;
  Asked& asked = asked_[index];
  return asked.taken && asked.generation == ticket >> kIndexBits ? &asked : nullptr;
}

void RateDesk::free(Ticket ticket) {
  Asked* asked = find(ticket);
  assert(asked != nullptr);
  asked->taken = false;
  asked->waiter = nullptr;
  asked->zone = nullptr;
  --waiting_;
  free_.push_back(ticket & ((1U << kIndexBits) - 1));
}

void RateDesk::forget(Ticket ticket) { free(ticket); }

RateDecision RateDesk::give_up(Ticket ticket, TimePoint now) {
  const Asked* found = find(ticket);
  assert(found != nullptr && found->zone != nullptr);
  const Asked asked = *found;
  free(ticket);
  OwnerState& state = owners_[static_cast<std::uint64_t>(asked.owner)];
  if (++state.late == kSilentAfter) state.probe_at = now;
  return fall_back(*asked.zone, asked.key, now, RateSource::kLate, asked.owner);
}

void RateDesk::answer(RateMemberId owner, const RateAnswer& answer, TimePoint now) {
  const Asked* found = find(answer.ticket);
  if (found == nullptr || found->owner != owner) return;
  const Asked asked = *found;
  free(answer.ticket);
  counters_.answered_in.add(now - asked.at);
  // One that always answers late must not be waited for by everybody because it has answered.
  if (now - asked.at <= asked.timeout) owners_[static_cast<std::uint64_t>(owner)].late = 0;
  if (asked.waiter == nullptr) return;
  if (!answer.counted) {
    asked.waiter->rate_decided(fall_back(*asked.zone, asked.key, now, RateSource::kTurnedAway, owner));
    return;
  }
  if (memory_ == nullptr) memory_ = std::make_unique<std::array<Memory, kRemembered>>();
  // Counted from when it was asked, which is before its owner has looked at its clock.
  (*memory_)[asked.key % kRemembered] = {asked.key, answer.verdict.admitted ? TimePoint{} : asked.at + answer.verdict.retry_after, asked.at,
                                         answer.debt};
  asked.waiter->rate_decided(decided(answer.verdict, RateSource::kOwner, owner));
}

// ---- decisions ----

RateDecision RateDesk::decided(const RateVerdict& verdict, RateSource source, RateMemberId owner) {
  ++counters_.decided[static_cast<std::size_t>(source)];
  return {verdict, source, owner};
}

RateDecision RateDesk::fall_back(RateZone& zone, std::uint64_t key, TimePoint now, RateSource source, RateMemberId owner) {
  RateVerdict verdict;
  switch (zone.how.fallback) {
    case RateFallback::kShare: {
      const std::size_t parts = members_ == nullptr ? 1 : std::clamp<std::size_t>(members_->members.size(), 1, RateMembers::kMax);
      verdict = zone.alone.take_share(key, now, rate_share_of(zone.rule(), static_cast<std::uint32_t>(parts)));
      break;
    }
    case RateFallback::kAdmit: break;
    case RateFallback::kRefuse:
      verdict.admitted = false;
      verdict.retry_after = verdict.reset = Milliseconds{1000};
      break;
  }
  RateDecision decision = decided(verdict, source, owner);
  decision.undecided = zone.how.fallback == RateFallback::kRefuse;
  return decision;
}

std::string_view RateDesk::name(RateMemberId id) const {
  if (members_ == nullptr) return {};
  for (const RateMember& member : members_->members) {
    if (member.id == id) return member.name;
  }
  return {};
}

}  // namespace proxy
