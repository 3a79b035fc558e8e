#pragma once
/// Picks the endpoint of a `kAll` pool: best class first, then by the rule of the route. Pure and without allocation.
/// Sources: least request with two random choices (Mitzenmacher 2001); peak-sensitive moving average (Finagle's peak EWMA);
///          smooth weighted round robin (nginx); rendezvous hashing with weights (Thaler and Ravishankar 1998, Schindelhauer
///          and Schomaker 2005) with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2017).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "proxy/upstream.h"

namespace proxy {

enum class Balance : std::uint8_t {
  kLeastRequest,  ///< least in flight per weight: all compared up to kExactMax endpoints, two random ones above
  kRoundRobin,    ///< in turn, by weight
  kPeakEwma,      ///< the cheaper of two random ones: latency (slower at once, faster slowly) times requests in flight
  kRingHash,      ///< the same key goes to the same endpoint as long as that has room
};

/// How a route chooses.
struct BalanceRule {
  Balance kind = Balance::kLeastRequest;
  std::uint32_t load_percent = 125;  ///< kRingHash: an endpoint takes at most this share of its fair part; 0 = no bound
  Milliseconds slow_start{0};        ///< an endpoint that has just become fit gets its weight step by step; 0 = at once
  bool prefer_zone = false;          ///< endpoints of this agent's zone before others of their class
};

/// Smooth weighted round robin: what an endpoint has saved up. Lives as long as the endpoint.
using Turn = std::int64_t;

/// One endpoint as the balancer sees it at this moment.
struct Candidate {
  std::uint64_t id = 0;          ///< for kRingHash; the same at every agent
  std::uint32_t weight = 1;      ///< share, in any unit; 0 = never
  std::uint32_t in_flight = 0;   ///< requests of this worker that are there now
  Tier tier = Tier::kActive;
  Health health = Health::kPassing;
  bool available = true;         ///< false: draining, tried already, full, breaker open, or no connection to be had
  bool ejected = false;          ///< left out because of live traffic; used again when nothing else is left
  bool same_zone = true;
  double latency_ns = 0;         ///< 0 = not known
  Turn* turn = nullptr;          ///< null: ties are broken by chance
};
inline constexpr std::size_t kExactMax = 8;

/// Classes, best first: active passing, active degraded, backup passing, backup degraded, then the ejected in that order
/// (the panic rule: with nobody better, those ejected get requests again). Critical endpoints are never picked. A class is
/// used only when nobody in the classes above is available.
/// @param hash    of the client's key, for kRingHash
/// @param chance  uniform number below its argument (> 0)
/// @return index into `candidates`, or nullopt if nobody can take the request
[[nodiscard]] std::optional<std::size_t> pick_endpoint(const BalanceRule& rule, std::span<const Candidate> candidates,
                                                       std::uint64_t hash,
                                                       const std::function<std::uint64_t(std::uint64_t)>& chance);
/// Whether anybody can be picked.
[[nodiscard]] bool any_endpoint(std::span<const Candidate> candidates);

/// Requests that an endpoint may have under kRingHash, the new one included: its part of all of them, times load_percent,
/// rounded up.
[[nodiscard]] std::uint64_t bounded_load(const BalanceRule& rule, std::uint64_t in_flight_total, std::uint64_t weight,
                                         std::uint64_t weight_total);

/// The weight of an endpoint that has been fit for `age`, in thousandths: a tenth at first, all of it after slow_start.
[[nodiscard]] std::uint32_t ramped_weight(std::uint32_t weight, std::chrono::nanoseconds age, Milliseconds slow_start);

/// Latency of one endpoint: goes up with the worst sample at once, down by half in kDecay * ln 2; forgets when nothing comes,
/// so that one that was slow is asked again.
class LatencyTrack {
 public:
  static constexpr std::chrono::seconds kDecay{10};
  void observe(TimePoint now, std::chrono::nanoseconds sample);
  [[nodiscard]] double at(TimePoint now) const;  ///< nanoseconds; 0 = not known

 private:
  double value_ = 0;
  TimePoint at_{};
};

}  // namespace proxy
