#include "proxy/balancer.h"

namespace proxy {
namespace {

constexpr int kClassNone = 8;

// 0 is best. Ejected endpoints come behind all others, degraded ones behind passing ones of their tier.
int class_of(const Candidate& candidate) {
  if (!candidate.available || candidate.weight == 0 || candidate.health == Health::kCritical) return kClassNone;
  return (candidate.ejected ? 4 : 0) + (candidate.tier == Tier::kBackup ? 2 : 0) +
         (candidate.health == Health::kDegraded ? 1 : 0);
}

// (a.in_flight + 1) / a.weight against the same of b, without division: negative = a has less to do.
int compare_load(const Candidate& a, const Candidate& b) {
  const std::uint64_t left = (std::uint64_t{a.in_flight} + 1) * b.weight;
  const std::uint64_t right = (std::uint64_t{b.in_flight} + 1) * a.weight;
  return left < right ? -1 : left > right ? 1 : 0;
}

}  // namespace

std::optional<std::size_t> pick_endpoint(std::span<const Candidate> candidates,
                                         const std::function<std::uint64_t(std::uint64_t)>& chance) {
  std::optional<std::size_t> best;
  int best_class = kClassNone;
  std::uint64_t ties = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const int rank = class_of(candidates[i]);
    if (rank == kClassNone || rank > best_class) continue;
    const int load = best && rank == best_class ? compare_load(candidates[i], candidates[*best]) : -1;
    if (load > 0) continue;
    if (load < 0) {
      best = i;
      best_class = rank;
      ties = 1;
    } else if (chance(++ties) == 0) {  // each of n equals is kept with probability 1/n
      best = i;
    }
  }
  return best;
}

}  // namespace proxy
