#include <algorithm>
#include <cmath>

#include "gossip/swim_core.h"

namespace gossip {
namespace {

constexpr std::size_t kVerifyProbesMax = 16;
constexpr std::size_t kRelaysMax = 256;
constexpr std::uint32_t kMissesToReport = 3;   // probes in a row that only a detour saved
constexpr std::uint32_t kRefutedToReport = 2;  // accusations in a row that were contradicted
constexpr std::uint32_t kOwnClaimRounds = 4;   // an accuser alone probes again after so many rounds of verifiers
constexpr std::uint32_t kRelayBudgetMaxMs = 10000;

std::uint64_t rendezvous(const MemberId& candidate, const MemberId& subject, const Rank& rank) {
  std::uint64_t hash = MemberIdHash{}(subject) ^ (static_cast<std::uint64_t>(rank.generation) * 0x9e3779b97f4a7c15u) ^
                       static_cast<std::uint32_t>(rank.incarnation);
  hash ^= MemberIdHash{}(candidate) + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 33);
}

}  // namespace

// --- Asking ---

/// SWIM 4.3: one target per period, round robin. Lifeguard: the period stretches while we are the slow one.
void Swim::Core::run_slot(TimePoint now) {
  next_slot_ = now + config_.probe_interval * (config_.lha_probe ? health_.multiplier() : 1);
  const auto waiting =
      std::count_if(probes_.begin(), probes_.end(), [](const Probe& p) { return p.purpose == Probe::Purpose::kSlot; });
  if (static_cast<std::size_t>(waiting) >= config_.probes_outstanding_max) return;
  const auto target = schedule_.next(rng_, [this](const MemberId& id) {
    const Member* member = table_.find(id);
    return member != nullptr && member->is_live() && !is_probing(id);
  });
  if (target) start_probe(now, *table_.find(*target), Probe::Purpose::kSlot);
}

bool Swim::Core::is_probing(const MemberId& id) const {
  return std::any_of(probes_.begin(), probes_.end(),
                     [&](const Probe& probe) { return probe.target == id && probe.purpose != Probe::Purpose::kKnock; });
}

/// srtt + 4 * rttvar as in RFC 6298. A member not measured yet gets twice the worst of those that are: in a large
/// cluster most are unmeasured for minutes, and a guess of 500 ms would make their verifiers slow.
Duration Swim::Core::direct_timeout(const Member& member) const {
  Duration guess = member.rtt + 4 * member.rtt_variance;
  if (member.rtt.count() == 0) {
    for (const auto& other : table_.members()) {
      if (other.is_live()) guess = std::max<Duration>(guess, 2 * (other.rtt + 4 * other.rtt_variance));
    }
  }
  if (guess == Duration{0}) guess = config_.probe_timeout_max;
  const Duration timeout = std::clamp<Duration>(guess, config_.probe_timeout_min, config_.probe_timeout_max);
  return timeout * (config_.lha_probe ? health_.multiplier() : 1);
}

/// Lifeguard "Buddy System": a member that is accused hears it with the very next ping, so that it can refute.
std::vector<Message> Swim::Core::make_ping(std::uint32_t sequence, const Member* target) const {
  std::vector<Message> messages{Ping{sequence, table_.digest()}};
  if (target == nullptr) return messages;
  if (target->state == MemberState::kDead) {
    messages.push_back(Dead{target->id, target->rank(), target->evidence, {config_.id}});
  } else if (const auto suspect = cases_.find(target->id); config_.buddy && suspect != cases_.end()) {
    const auto& first = suspect->second.suspicion.accusations().front();
    messages.push_back(Suspect{target->id, target->rank(), first.accuser, first.evidence});
  }
  return messages;
}

void Swim::Core::start_probe(TimePoint now, const Member& target, Probe::Purpose purpose) {
  Probe probe;
  probe.sequence = next_sequence();
  probe.purpose = purpose;
  probe.target = target.id;
  probe.address = target.address;
  probe.sent = now;
  const Duration direct = direct_timeout(target);
  probe.direct_deadline = now + direct;
  const Duration least = config_.probe_verdict_min;
  probe.verdict_deadline = probe.direct_deadline + std::max(2 * direct, least);
  const auto messages = make_ping(probe.sequence, &target);
  probes_.push_back(probe);
  ++counters_.probes;
  send(target.address, messages, true);
}

void Swim::Core::advance_probes(TimePoint now) {
  for (std::size_t i = 0; i < probes_.size();) {
    Probe& probe = probes_[i];
    if (!probe.second_stage && now >= probe.direct_deadline) enter_second_stage(now, probe);
    // The host answers, the process not yet: on a busy machine it may just be waiting for its turn.
    const TimePoint patience = probe.sent + config_.stalled_patience;
    if (now >= probe.verdict_deadline && probe.stream_opened)
      probe.verdict_deadline = std::max(probe.verdict_deadline, patience);
    const bool over = now >= probe.verdict_deadline || (probe.second_stage && probe.stream_refused);
    if (!over) {
      ++i;
      continue;
    }
    const Probe failed = probe;
    probes_.erase(probes_.begin() + static_cast<std::ptrdiff_t>(i));
    if (failed.stream != StreamId{}) close_stream(failed.stream);
    if (failed.purpose != Probe::Purpose::kKnock) fail_probe(now, failed);
  }
}

/// The direct answer is late: k helpers try, and a stream does (SWIM 4.1, gossip.md 5.3). The direct ping is
/// repeated once, since one lost datagram is by far the most frequent cause.
void Swim::Core::enter_second_stage(TimePoint now, Probe& probe) {
  probe.second_stage = true;
  if (probe.purpose == Probe::Purpose::kKnock) return;
  probe.again_sequence = next_sequence();
  probe.again_sent = now;
  send(probe.address, make_ping(probe.again_sequence, table_.find(probe.target)), true);
  const auto left = std::chrono::duration_cast<Milliseconds>(probe.verdict_deadline - now);
  const PingReq request{probe.sequence, probe.target, probe.address,
                        static_cast<std::uint32_t>(std::max<std::int64_t>(left.count(), 1))};
  const auto helpers = pick_peers(config_.indirect_probes, probe.target, MemberState::kAlive);
  probe.nacks_wanted = static_cast<std::uint32_t>(helpers.size());
  const Message message = request;
  for (const auto& helper : helpers) send(table_.find(helper)->address, {&message, 1}, true);
  Stream stream;
  stream.role = Stream::Role::kProbe;
  stream.peer = probe.address;
  stream.probe_sequence = probe.sequence;
  probe.stream = open_stream(now, std::move(stream), config_.stream_probe_deadline);
}

void Swim::Core::on_datagram_error(TimePoint now, const Address& to, Failure failure) {
  if (failure == Failure::kNoBuffer) health_.worsen();
  if (failure != Failure::kRefused || left_) return;
  // Not authenticated, so no evidence by itself: only a reason to look closer at once.
  const Member* member = table_.find_live_at(to);
  if (member != nullptr && member->state == MemberState::kAlive && !is_probing(member->id) &&
      take_token(now, member->id)) {
    start_probe(now, *member, Probe::Purpose::kVerify);
  }
  for (auto& probe : probes_) {
    if (probe.address == to && !probe.second_stage && probe.purpose != Probe::Purpose::kKnock)
      enter_second_stage(now, probe);
  }
  finish_input(now);
}

// --- Answers ---

void Swim::Core::take_ack(TimePoint now, const Source& source, const Ack& ack) {
  if (Member* sender = table_.find(source.sender)) sender->health_score = ack.health_score;
  note_digest(now, source, ack.digest);
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    const Probe& probe = probes_[i];
    const bool again = probe.second_stage && probe.again_sequence == ack.sequence && probe.again_sent != TimePoint{};
    if (probe.sequence != ack.sequence && !again) continue;
    if (!probe.target.is_none() && probe.target != source.sender) break;
    const bool by_stream = source.stream != StreamId{};
    Member* member = table_.find(source.sender);
    if (member != nullptr && !by_stream) measure(*member, now - (again ? probe.again_sent : probe.sent));
    return succeed_probe(now, i, by_stream ? Saved::kStream : Saved::kDirect);
  }
  for (std::size_t i = 0; i < relays_.size(); ++i) {
    const Relay& relay = relays_[i];
    if (relay.sequence != ack.sequence || relay.target != source.sender) continue;
    const Message answer = RelayAck{relay.asker_sequence, relay.target};
    send(relay.asker, {&answer, 1}, true);
    relays_.erase(relays_.begin() + static_cast<std::ptrdiff_t>(i));
    return;
  }
  count_drop(Drop::kStrayAnswer);
}

void Swim::Core::take_nack(const Nack& nack) {
  for (auto& probe : probes_) {
    if (probe.sequence != nack.sequence || probe.nacks >= probe.nacks_wanted) continue;
    ++probe.nacks;
    return;
  }
  count_drop(Drop::kStrayAnswer);
}

void Swim::Core::take_relay_ack(TimePoint now, const RelayAck& ack) {
  for (std::size_t i = 0; i < probes_.size(); ++i) {
    if (probes_[i].sequence == ack.sequence && probes_[i].target == ack.target)
      return succeed_probe(now, i, Saved::kHelper);
  }
  count_drop(Drop::kStrayAnswer);
}

/// RFC 6298 smoothing: srtt by 1/8, variance by 1/4 of the error.
void Swim::Core::measure(Member& member, Duration round_trip) {
  const auto sample =
      std::max(std::chrono::duration_cast<std::chrono::microseconds>(round_trip), std::chrono::microseconds(1));
  if (member.rtt.count() == 0) {
    member.rtt = sample;
    member.rtt_variance = sample / 2;
    return;
  }
  const auto error = sample > member.rtt ? sample - member.rtt : member.rtt - sample;
  member.rtt_variance += (error - member.rtt_variance) / 4;
  member.rtt += (sample - member.rtt) / 8;
  member.rtt = std::max(member.rtt, std::chrono::microseconds(1));
}

void Swim::Core::succeed_probe(TimePoint now, std::size_t place, Saved saved) {
  (void)now;
  const Probe probe = probes_[place];
  probes_.erase(probes_.begin() + static_cast<std::ptrdiff_t>(place));
  if (probe.stream != StreamId{}) close_stream(probe.stream);
  if (probe.purpose == Probe::Purpose::kKnock) return;
  health_.improve();
  Member* member = table_.find(probe.target);
  if (member == nullptr || !member->is_live()) return;
  LinkState& link = links_[probe.target];
  if (saved == Saved::kDirect) {
    if (member->udp_blocked) report(EventKind::kUdpUnblocked, probe.target);
    member->udp_blocked = false;
    mark_unreachable(*member, false);
    link = LinkState{0, 0, 0, link.claim_open};
    return;
  }
  ++(saved == Saved::kHelper ? counters_.indirect_saves : counters_.stream_saves);
  ++link.direct_misses;
  link.stream_saves = saved == Saved::kStream ? link.stream_saves + 1 : 0;
  if (link.stream_saves >= kMissesToReport && !member->udp_blocked) {
    member->udp_blocked = true;
    report(EventKind::kUdpBlocked, probe.target);
  } else if (saved == Saved::kHelper && link.direct_misses >= kMissesToReport) {
    mark_unreachable(*member, true);
  }
}

void Swim::Core::mark_unreachable(Member& member, bool unreachable) {
  if (member.unreachable == unreachable) return;
  member.unreachable = unreachable;
  report(unreachable ? EventKind::kUnreachable : EventKind::kReachable, member.id);
}

/// Lifeguard: the failure counts against ourselves as far as helpers did not answer either. If every helper
/// sent its nack, we are well and the target is not.
void Swim::Core::fail_probe(TimePoint now, const Probe& probe) {
  ++counters_.probes_failed;
  const bool refused = probe.stream_refused;
  if (config_.lha_probe && !refused) {
    if (probe.nacks_wanted == 0)
      health_.worsen();
    else if (probe.nacks < probe.nacks_wanted)
      health_.worsen(probe.nacks_wanted - probe.nacks);
  }
  accuse(now, probe.target,
         refused               ? Evidence::kRefused
         : probe.stream_opened ? Evidence::kStalled
                               : Evidence::kSilent);
}

// --- Helping ---

void Swim::Core::take_ping_req(TimePoint now, const Source& source, const PingReq& request) {
  if (relays_.size() >= kRelaysMax || request.target == config_.id) return;
  const Milliseconds budget(std::min(request.budget_ms, kRelayBudgetMaxMs));
  Relay relay;
  relay.sequence = next_sequence();
  relay.asker_sequence = request.sequence;
  relay.asker = source.from;
  relay.target = request.target;
  relay.nack_at = now + budget * 8 / 10;
  relay.expires = now + budget * 2;
  relays_.push_back(relay);
  const auto messages = make_ping(relay.sequence, table_.find(request.target));
  send(request.address, messages, true);
}

void Swim::Core::advance_relays(TimePoint now) {
  for (auto& relay : relays_) {
    if (relay.nacked || now < relay.nack_at) continue;
    relay.nacked = true;
    const Message nack = Nack{relay.asker_sequence};
    send(relay.asker, {&nack, 1}, true);
  }
  std::erase_if(relays_, [now](const Relay& relay) { return now >= relay.expires; });
}

// --- Suspecting ---

void Swim::Core::accuse(TimePoint now, const MemberId& id, Evidence evidence) {
  const Member* member = table_.find(id);
  if (member == nullptr || !member->is_live()) return;
  LinkState& link = links_[id];
  const bool standing = cases_.contains(id);
  // Contradicted twice in a row: the link between us is broken, not the member. Others decide.
  if (config_.verify && !standing && link.refuted_claims >= kRefutedToReport)
    return mark_unreachable(*table_.find(id), true);
  link.claim_open = true;
  add_accusation(now, id, {config_.id, evidence});
}

/// One accusation more, ours or another's, about a live member at its present rank.
void Swim::Core::add_accusation(TimePoint now, const MemberId& id, const Suspicion::Accusation& accusation) {
  Member& member = *table_.find(id);
  auto known = cases_.find(id);
  const bool fresh = known == cases_.end();
  if (fresh) {
    const std::size_t alive = table_.count(MemberState::kAlive) - (member.state == MemberState::kAlive ? 1 : 0);
    const auto wanted =
        static_cast<std::uint32_t>(std::min<std::size_t>(config_.confirmations, alive > 0 ? alive - 1 : 0));
    const Suspicion suspicion(now, suspicion_floors(config_, table_.live_count()), config_.lha_suspicion ? wanted : 0,
                              config_.suspicion_stretch, accusation);
    known = cases_.emplace(id, Case{suspicion, 0, now + config_.probe_interval}).first;
    table_.set_state(member, MemberState::kSuspect, now);
    ++counters_.suspicions;
  } else if (!known->second.suspicion.confirm(accusation)) {
    return;
  }
  const Suspicion& suspicion = known->second.suspicion;
  member.evidence = suspicion.evidence();
  if (fresh) report(EventKind::kSuspect, id, accusation.accuser, {}, accusation.evidence);
  if (accusation.evidence == Evidence::kStalled && !member.stalled) {
    member.stalled = true;
    report(EventKind::kStalled, id, accusation.accuser, {}, Evidence::kStalled);
  }
  // Lifeguard: the first K independent accusations travel on, each under its true accuser.
  if (suspicion.accusations().size() <= config_.confirmations + 1) {
    const Message claim = Suspect{id, member.rank(), accusation.accuser, accusation.evidence};
    const BroadcastQueue::Key key{id, Kind::kSuspect, MemberIdHash{}(accusation.accuser)};
    spread(now, key, Priority::kSuspect, claim, true);
  }
  if (fresh && accusation.accuser != config_.id) verify(now, id, 0);
}

/// gossip.md 5.4: a fresh suspicion makes V members, the same ones in everybody's eyes, look at once. Each that
/// fails to reach the suspect accuses it too; one that reaches it tells it, and it refutes.
void Swim::Core::verify(TimePoint now, const MemberId& id, std::uint32_t round) {
  if (!config_.verify || is_probing(id)) return;
  const Member& subject = *table_.find(id);
  // Our own claim that nobody shares: look again now and then, it may be our link that has come back.
  const bool own_claim = cases_.at(id).suspicion.accused_by(config_.id);
  if (own_claim && round % kOwnClaimRounds != 0) return;
  const auto verifying = std::count_if(probes_.begin(), probes_.end(),
                                       [](const Probe& p) { return p.purpose == Probe::Purpose::kVerify; });
  if (static_cast<std::size_t>(verifying) >= kVerifyProbesMax) return;
  if (own_claim) return start_probe(now, subject, Probe::Purpose::kVerify);
  const std::uint64_t mine = rendezvous(config_.id, id, subject.rank());
  std::size_t place = 0;
  for (const auto& member : table_.members()) {
    if (member.state == MemberState::kAlive && rendezvous(member.id, id, subject.rank()) > mine) ++place;
  }
  const std::size_t first = std::size_t{round} * config_.verifiers;
  if (place >= first && place < first + config_.verifiers) start_probe(now, subject, Probe::Purpose::kVerify);
}

bool Swim::Core::is_braked() const { return cases_.size() > std::max<std::size_t>(2, table_.live_count() * 15 / 100); }

TimePoint Swim::Core::case_due(const MemberId& id, const Case& suspect) const {
  const bool braked = is_braked();
  const bool enough = suspect.suspicion.accusations().size() >= accusers_needed(id);
  return enough ? suspect.suspicion.deadline(braked) : suspect.suspicion.ceiling(braked);
}

void Swim::Core::advance_cases(TimePoint now) {
  std::vector<MemberId> due;
  for (auto& [id, suspect] : cases_) {
    if (now >= case_due(id, suspect)) due.push_back(id);
    if (suspect.suspicion.is_confirmed() || now < suspect.next_round || !config_.verify) continue;
    suspect.next_round = now + config_.probe_interval;
    verify(now, id, ++suspect.round);
  }
  for (const auto& id : due) {
    // Settling one changes counts and so the time of others: look again.
    const auto suspect = cases_.find(id);
    if (suspect != cases_.end() && now >= case_due(id, suspect->second)) settle_case(now, id);
  }
}

void Swim::Core::settle_case(TimePoint now, const MemberId& id) {
  const Suspicion suspicion = cases_.at(id).suspicion;
  const std::size_t needed = accusers_needed(id);
  std::vector<MemberId> accusers;
  for (const auto& accusation : suspicion.accusations()) accusers.push_back(accusation.accuser);
  if (accusers.size() >= std::min<std::size_t>(2, needed)) {
    return declare_dead(now, id, std::move(accusers), suspicion.evidence());
  }
  // No second accuser in all that time: our link is broken, or the accuser's is. Told to nobody.
  const bool own_claim = suspicion.accused_by(config_.id);
  Member& member = *table_.find(id);
  clear_case(now, id);
  if (table_.set_state(member, MemberState::kAlive, now)) report(EventKind::kAlive, id);
  if (own_claim) {
    links_[id].refuted_claims = kRefutedToReport;
    mark_unreachable(member, true);
  }
}

/// The suspicion is over without a death.
void Swim::Core::clear_case(TimePoint now, const MemberId& id) {
  (void)now;
  if (cases_.erase(id) == 0) return;
  if (Member* member = table_.find(id)) member->stalled = false;
  const auto link = links_.find(id);
  if (link == links_.end() || !link->second.claim_open) return;
  link->second.claim_open = false;
  ++link->second.refuted_claims;
}

}  // namespace gossip
