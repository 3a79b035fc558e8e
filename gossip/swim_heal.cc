#include <algorithm>

#include "gossip/snapshot.h"
#include "gossip/swim_core.h"

namespace gossip {
namespace {

constexpr std::size_t kSeedsMax = 64;
constexpr std::size_t kKnocksMax = 64;
constexpr Milliseconds kJoinFirst{250};   // back-off of seeds until somebody has answered
constexpr Milliseconds kJoinSpacing{20};  // between two knocks then
constexpr Milliseconds kJoinBackoffMax{5000};
constexpr Milliseconds kKnockPatience{2000};
constexpr Milliseconds kKnockShare{3000};  // back-off per live member: all of us together

}  // namespace

Result<void> Swim::Core::join(TimePoint now, std::span<const Address> seeds) {
  if (seeds.size() > kSeedsMax) return tl::unexpected(Error{Errc::kTooBig, "at most 64 seeds"});
  for (const auto& seed : seeds) {
    if (seed.is_none()) return tl::unexpected(Error{Errc::kInvalidArgument, "a seed needs a port above 0"});
  }
  for (const auto& seed : seeds) {
    if (seed == config_.advertise || heal_.is_seed(seed)) continue;
    heal_.add({seed, {}, HealSchedule::Origin::kSeed}, now, Duration{0});
  }
  if (!joined_) seeds_silent_at_ = now + config_.seeds_silent_after;
  return {};
}

Result<void> Swim::Core::restore(TimePoint now, std::span<const std::byte> bytes) {
  const auto snapshot = decode_snapshot(bytes);
  if (!snapshot) return tl::unexpected(snapshot.error());
  if (snapshot->id != config_.id) {
    return tl::unexpected(Error{Errc::kInvalidArgument, "the snapshot belongs to another member id"});
  }
  Member& me = *table_.find(config_.id);
  if (snapshot->generation >= me.generation) {
    me.generation = Generation{static_cast<std::uint64_t>(snapshot->generation) + 1};
    table_.refresh(me);
  }
  for (const auto& peer : snapshot->peers) {
    if (peer.address == config_.advertise || heal_.is_seed(peer.address)) continue;
    heal_.add({peer.address, {}, HealSchedule::Origin::kSnapshot}, now, Duration{0});
  }
  return {};
}

/// An authentic, fresh packet from a live member.
void Swim::Core::on_contact(TimePoint now, const Source& source) {
  if (joined_) return;
  joined_ = true;
  report(EventKind::kClusterJoined, config_.id, source.sender);
  // What we said before reached nobody; and one full exchange tells us of everyone.
  spread_alive(now, self(), Priority::kAlive, true);
  start_sync(now, table_.find(source.sender)->address);
}

Duration Swim::Core::knock_first() const { return joined_ ? Duration(config_.heal_interval) : Duration(kJoinFirst); }

std::optional<TimePoint> Swim::Core::next_knock() const {
  const auto due = heal_.next();
  if (!due) return std::nullopt;
  return std::max(*due, next_knock_);
}

/// gossip.md 5.9: at most one ping per interval to somebody who is held dead or to a seed nobody answers at. The
/// ping to a dead member says that it is held dead, so that its answer is the refutation.
void Swim::Core::knock(TimePoint now) {
  if (now < next_knock_) return;
  // Whatever the size of the cluster, somebody knocks at a dead member about every three seconds.
  const Duration shared = std::max<Duration>(kJoinBackoffMax, kKnockShare * table_.live_count());
  const Duration max = std::min<Duration>(config_.heal_backoff_max, joined_ ? shared : Duration(kJoinBackoffMax));
  const auto target = heal_.take(now, std::min(knock_first(), max), max, rng_);
  if (!target) return;
  next_knock_ = now + (joined_ ? Duration(config_.heal_interval) : Duration(kJoinSpacing));
  if (joined_ && target->origin == HealSchedule::Origin::kSnapshot) heal_.remove(target->address);
  if (table_.find_live_at(target->address) != nullptr) return;
  const auto waiting =
      std::count_if(probes_.begin(), probes_.end(), [](const Probe& p) { return p.purpose == Probe::Purpose::kKnock; });
  if (static_cast<std::size_t>(waiting) >= kKnocksMax) return;
  Probe probe;
  probe.sequence = next_sequence();
  probe.purpose = Probe::Purpose::kKnock;
  probe.target = target->id;
  probe.address = target->address;
  probe.sent = now;
  probe.direct_deadline = probe.verdict_deadline = now + kKnockPatience;
  probes_.push_back(probe);
  std::vector<Message> messages = make_ping(probe.sequence, table_.find(target->id));
  messages.push_back(make_alive(self(), false));
  send(target->address, messages, true);
}

void Swim::Core::advance_housekeeping(TimePoint now) {
  if (!joined_ && !seeds_silent_reported_ && heal_.has_seeds() && now >= seeds_silent_at_) {
    seeds_silent_reported_ = true;
    report(EventKind::kSeedsSilent, config_.id);
  }
  if (persist_wanted_ && now >= next_persist_) persist(now);
  if (now >= next_reap_) reap(now);
}

void Swim::Core::persist(TimePoint now) {
  persist_wanted_ = false;
  next_persist_ = now + config_.persist_interval;
  Snapshot snapshot;
  snapshot.id = config_.id;
  snapshot.generation = self().generation;
  for (const auto& member : table_.members()) {
    if (member.id == config_.id || !member.is_live() || snapshot.peers.size() >= kSnapshotMembersMax) continue;
    snapshot.peers.push_back({member.name, member.id, member.address, member.rank()});
  }
  outputs_.emplace_back(Persist{encode_snapshot(snapshot)});
}

/// Forgets tombstones past their time, and the oldest while there are more than twice the live members (or 64).
void Swim::Core::reap(TimePoint now) {
  next_reap_ = now + std::chrono::minutes(1);
  const std::size_t max = std::max<std::size_t>(64, 2 * table_.live_count());
  while (const auto id = table_.reapable(now, config_.tombstone_keep, max)) {
    if (*id == config_.id) return;
    report(EventKind::kReaped, *id);
    heal_.remove(*id);
    table_.remove(*id);
  }
}

}  // namespace gossip
