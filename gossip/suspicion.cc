#include "gossip/suspicion.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "gossip/config.h"

namespace gossip {

Suspicion::Suspicion(TimePoint start, const SuspicionFloors& floors, std::uint32_t wanted, std::uint32_t stretch,
                     const Accusation& first)
    : start_(start), floors_(floors), wanted_(wanted), stretch_(stretch), accusations_{first} {}

bool Suspicion::confirm(const Accusation& accusation) {
  if (accused_by(accusation.accuser) || accusations_.size() >= kAccusersKept) return false;
  accusations_.push_back(accusation);
  return true;
}

bool Suspicion::accused_by(const MemberId& id) const {
  return std::any_of(accusations_.begin(), accusations_.end(), [&](const Accusation& a) { return a.accuser == id; });
}

Evidence Suspicion::evidence() const {
  std::array<std::size_t, 4> votes{};
  for (const auto& accusation : accusations_) ++votes[static_cast<std::size_t>(accusation.evidence)];
  Evidence best = Evidence::kRefused;
  for (const Evidence evidence : {Evidence::kSilent, Evidence::kStalled}) {
    if (votes[static_cast<std::size_t>(evidence)] > 0 &&
        votes[static_cast<std::size_t>(evidence)] >= votes[static_cast<std::size_t>(best)]) {
      best = evidence;
    }
  }
  return best;
}

Duration Suspicion::floor(bool braked) const {
  switch (evidence()) {
    case Evidence::kRefused:
      return floors_.refused;
    case Evidence::kSilent:
      return braked ? std::max(floors_.silent, floors_.silent_braked) : floors_.silent;
    case Evidence::kStalled:
      return floors_.stalled;
  }
  return floors_.stalled;
}

TimePoint Suspicion::deadline(bool braked) const {
  const Duration min = floor(braked);
  if (wanted_ == 0) return start_ + min;
  const Duration max = min * stretch_;
  const double confirmed = static_cast<double>(std::min<std::size_t>(accusations_.size() - 1, wanted_));
  const double share = std::log(confirmed + 1.0) / std::log(static_cast<double>(wanted_) + 1.0);
  const auto cut = std::chrono::duration_cast<Duration>((max - min) * share);
  return start_ + std::max(min, max - cut);
}

TimePoint Suspicion::ceiling(bool braked) const { return start_ + floor(braked) * stretch_; }

SuspicionFloors suspicion_floors(const Config& config, std::size_t live) {
  const double decades = std::log10(static_cast<double>(std::max<std::size_t>(live, 1)));
  const auto scaled = [decades](Milliseconds per_decade) {
    return std::chrono::duration_cast<Duration>(per_decade * decades);
  };
  SuspicionFloors floors;
  floors.refused = config.refused_min;
  floors.silent = config.silent_min + scaled(config.silent_per_decade);
  floors.silent_braked = scaled(config.stalled_per_decade);
  floors.stalled = std::max<Duration>(config.stalled_min, scaled(config.stalled_per_decade));
  return floors;
}

}  // namespace gossip
