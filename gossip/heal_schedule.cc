#include "gossip/heal_schedule.h"

#include <algorithm>

namespace gossip {

void HealSchedule::add(const Target& target, TimePoint now, Duration first) {
  const auto same = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& entry) { return entry.target.address == target.address; });
  if (same != entries_.end()) {
    const bool stays_seed = same->target.origin == Origin::kSeed;
    same->target = target;
    if (stays_seed) same->target.origin = Origin::kSeed;
    same->due = now + first;
    same->backoff = {};
    return;
  }
  if (entries_.size() >= kMax) {
    const auto weaker = [](const Entry& a, const Entry& b) {
      if ((a.target.origin == Origin::kSeed) != (b.target.origin == Origin::kSeed))
        return a.target.origin == Origin::kSeed;
      return a.backoff < b.backoff;
    };
    const auto victim = std::max_element(entries_.begin(), entries_.end(), weaker);
    if (victim->target.origin == Origin::kSeed) return;
    entries_.erase(victim);
  }
  entries_.push_back({target, now + first, {}});
}

void HealSchedule::remove(const MemberId& id) {
  if (id.is_none()) return;
  std::erase_if(entries_, [&](const Entry& e) { return e.target.id == id && e.target.origin != Origin::kSeed; });
}

void HealSchedule::remove(const Address& address) {
  std::erase_if(entries_, [&](const Entry& e) { return e.target.address == address; });
}

std::optional<HealSchedule::Target> HealSchedule::take(TimePoint now, Duration first, Duration max, const Rng& rng) {
  Entry* best = nullptr;
  for (auto& entry : entries_) {
    if (entry.due > now) continue;
    if (best == nullptr || entry.backoff < best->backoff || (entry.backoff == best->backoff && entry.due < best->due))
      best = &entry;
  }
  if (best == nullptr) return std::nullopt;
  best->backoff = std::clamp(best->backoff * 2, first, max);
  const auto half_us = std::chrono::duration_cast<std::chrono::microseconds>(best->backoff / 2).count();
  best->due = now + best->backoff - std::chrono::microseconds(rng(static_cast<std::uint64_t>(half_us) + 1));
  return best->target;
}

void HealSchedule::hurry(TimePoint now, Duration first) {
  for (auto& entry : entries_) {
    entry.due = std::min(entry.due, now + first);
    entry.backoff = std::min(entry.backoff, first);
  }
}

std::optional<TimePoint> HealSchedule::next() const {
  const auto soonest =
      std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.due < b.due; });
  return soonest == entries_.end() ? std::nullopt : std::optional(soonest->due);
}

bool HealSchedule::has_seeds() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.target.origin == Origin::kSeed; });
}

bool HealSchedule::is_seed(const Address& address) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& e) { return e.target.origin == Origin::kSeed && e.target.address == address; });
}

}  // namespace gossip
