#include "proxy/balancer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace proxy {
namespace {

using ChanceFunction = std::function<std::uint64_t(std::uint64_t)>;
constexpr int kClassNone = 16;

// 0 is best. Ejected endpoints come behind all others, degraded ones behind passing ones of their tier, other zones last.
int class_of(const BalanceRule& rule, const Candidate& c) {
  if (!c.available || c.weight == 0 || c.health == Health::kCritical) return kClassNone;
  return (c.ejected ? 8 : 0) + (c.tier == Tier::kBackup ? 4 : 0) + (c.health == Health::kDegraded ? 2 : 0) +
         (rule.prefer_zone && !c.same_zone ? 1 : 0);
}

// in_flight / weight against the same of b, without division: negative = a has less to do.
int compare_load(const Candidate& a, const Candidate& b) {
  const std::uint64_t left = std::uint64_t{a.in_flight} * b.weight, right = std::uint64_t{b.in_flight} * a.weight;
  return left < right ? -1 : left > right ? 1 : 0;
}

// The members of the best class, as a view: no list is made.
struct Members {
  const BalanceRule& rule;
  std::span<const Candidate> all;
  int best = kClassNone;
  std::size_t count = 0;
  std::uint64_t weight = 0, in_flight = 0;

  Members(const BalanceRule& given, std::span<const Candidate> candidates) : rule(given), all(candidates) {
    for (const Candidate& c : all) {
      const int rank = class_of(rule, c);
      if (rank >= kClassNone || rank > best) continue;
      if (rank < best) {
        best = rank;
        count = 0;
        weight = in_flight = 0;
      }
      ++count;
      weight += c.weight;
      in_flight += c.in_flight;
    }
  }
  [[nodiscard]] bool has(std::size_t i) const { return class_of(rule, all[i]) == best; }
};

// In turn among those of `members` that `take` accepts.
template <class Take>
std::size_t pick_in_turn(const Members& members, const ChanceFunction& chance, Take take) {
  std::size_t best = members.all.size();
  std::int64_t total = 0;
  std::uint64_t ties = 0;
  for (std::size_t i = 0; i < members.all.size(); ++i) {
    if (!members.has(i) || !take(i)) continue;
    const Candidate& c = members.all[i];
    if (c.turn == nullptr) {
      if (best == members.all.size() || chance(++ties) == 0) best = i;
      ties = std::max<std::uint64_t>(ties, 1);
      continue;
    }
    total += c.weight;
    *c.turn += c.weight;
    if (best == members.all.size() || members.all[best].turn == nullptr || *c.turn > *members.all[best].turn) best = i;
  }
  // What one can save up is bounded, also when others come and go.
  if (members.all[best].turn != nullptr) *members.all[best].turn = std::max(*members.all[best].turn - total, -2 * total);
  return best;
}

// One of the members but `except`, by weight.
std::size_t pick_random(const Members& members, const ChanceFunction& chance, std::size_t except) {
  const std::uint64_t weight = members.weight - (except < members.all.size() ? members.all[except].weight : 0);
  std::uint64_t at = chance(weight);
  for (std::size_t i = 0; i < members.all.size(); ++i) {
    if (i == except || !members.has(i)) continue;
    if (at < members.all[i].weight) return i;
    at -= members.all[i].weight;
  }
  return except;
}

double cost_of(const Candidate& c) {
  // One that has not answered yet is asked once, not by everybody at the same time.
  if (c.latency_ns <= 0) return c.in_flight == 0 ? 0 : 1e15 * c.in_flight;
  return c.latency_ns * (static_cast<double>(c.in_flight) + 1) / c.weight;
}

template <class Better>
std::size_t pick_of_two(const Members& members, const ChanceFunction& chance, Better better) {
  const std::size_t a = pick_random(members, chance, members.all.size());
  if (members.count < 2) return a;
  const std::size_t b = pick_random(members, chance, a);
  return better(members.all[b], members.all[a]) ? b : a;
}

std::size_t pick_least(const Members& members, const ChanceFunction& chance) {
  if (members.count > kExactMax) {
    return pick_of_two(members, chance, [](const Candidate& b, const Candidate& a) { return compare_load(b, a) < 0; });
  }
  std::size_t least = members.all.size();
  for (std::size_t i = 0; i < members.all.size(); ++i) {
    if (members.has(i) && (least == members.all.size() || compare_load(members.all[i], members.all[least]) < 0)) least = i;
  }
  return pick_in_turn(members, chance, [&](std::size_t i) { return compare_load(members.all[i], members.all[least]) == 0; });
}

std::uint64_t mixed(std::uint64_t x) {  // splitmix64's finish: every bit of the input moves half of the output
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Each endpoint draws a number from key and id; the highest wins. When one goes, only its keys move.
std::size_t pick_by_hash(const Members& members, std::uint64_t hash) {
  std::size_t best = members.all.size();
  double best_score = 0;
  for (std::size_t i = 0; i < members.all.size(); ++i) {
    const Candidate& c = members.all[i];
    if (!members.has(i)) continue;
    if (members.rule.load_percent != 0 &&
        c.in_flight + 1 > bounded_load(members.rule, members.in_flight, c.weight, members.weight)) {
      continue;
    }
    const std::uint64_t drawn = mixed(hash ^ mixed(c.id + 0x9e3779b97f4a7c15ULL)) >> 11;
    const double unit = (static_cast<double>(drawn) + 0.5) / 9007199254740992.0;  // in (0, 1)
    const double score = -static_cast<double>(c.weight) / std::log(unit);
    if (best == members.all.size() || score > best_score) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

}  // namespace

std::optional<std::size_t> pick_endpoint(const BalanceRule& rule, std::span<const Candidate> candidates, std::uint64_t hash,
                                         const ChanceFunction& chance) {
  const Members members(rule, candidates);
  if (members.count == 0) return std::nullopt;
  switch (rule.kind) {
    case Balance::kLeastRequest: return pick_least(members, chance);
    case Balance::kRoundRobin: return pick_in_turn(members, chance, [](std::size_t) { return true; });
    case Balance::kPeakEwma:
      return pick_of_two(members, chance, [](const Candidate& b, const Candidate& a) { return cost_of(b) < cost_of(a); });
    case Balance::kRingHash: return pick_by_hash(members, hash);
  }
  return std::nullopt;
}

bool any_endpoint(std::span<const Candidate> candidates) {
  return std::any_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return class_of({}, c) < kClassNone; });
}

std::uint64_t bounded_load(const BalanceRule& rule, std::uint64_t in_flight_total, std::uint64_t weight,
                           std::uint64_t weight_total) {
  // Below 100 % not all requests would find a place.
  const std::uint64_t percent = std::max<std::uint64_t>(rule.load_percent, 100);
  return ((in_flight_total + 1) * weight * percent + weight_total * 100 - 1) / (weight_total * 100);
}

std::uint32_t ramped_weight(std::uint32_t weight, std::chrono::nanoseconds age, Milliseconds slow_start) {
  const std::chrono::nanoseconds length(slow_start);
  if (length <= std::chrono::nanoseconds::zero() || age >= length) return weight * 1000;
  const auto part = static_cast<std::uint32_t>(std::max<std::int64_t>(age.count(), 0) / std::max<std::int64_t>(length.count() / 1000, 1));
  return weight * std::clamp<std::uint32_t>(part, 100, 1000);
}

void LatencyTrack::observe(TimePoint now, std::chrono::nanoseconds sample) {
  const auto fresh = static_cast<double>(std::max<std::int64_t>(sample.count(), 1));
  const double known = at(now);
  if (fresh >= known) {
    value_ = fresh;
  } else {
    const double kept = std::exp(-std::chrono::duration<double>(now - at_) / kDecay);
    value_ = value_ * kept + fresh * (1 - kept);
    value_ = std::max(value_, fresh);
  }
  at_ = now;
}

double LatencyTrack::at(TimePoint now) const {
  if (value_ <= 0) return 0;
  return value_ * std::exp(-std::chrono::duration<double>(now - at_) / kDecay);
}

}  // namespace proxy
