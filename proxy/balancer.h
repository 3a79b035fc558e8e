#pragma once
/// Picks the endpoint of a `kAll` pool: least requests per weight, healthy before degraded, active before backup.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "proxy/upstream.h"

namespace proxy {

/// One endpoint as the balancer sees it at this moment.
struct Candidate {
  std::uint32_t weight = 1;      ///< 0 = never
  std::uint32_t in_flight = 0;   ///< requests of this worker that are there now
  Tier tier = Tier::kActive;
  Health health = Health::kPassing;
  bool available = true;         ///< false: draining, tried already, or no connection to be had
  bool ejected = false;          ///< left out because of live traffic; used again when nothing else is left
};

/// Least (in_flight + 1) / weight within the best class that has anybody; ties are broken by `chance`.
/// Classes, best first: active passing, active degraded, backup passing, backup degraded, then the ejected in that order.
/// Critical endpoints are never picked.
/// Source: weighted least request; with full knowledge (<= 1024 endpoints, one worker) a scan beats two random choices.
/// @param chance  uniform number below its argument (> 0)
/// @return index into `candidates`, or nullopt if nobody can take the request
[[nodiscard]] std::optional<std::size_t> pick_endpoint(std::span<const Candidate> candidates,
                                                       const std::function<std::uint64_t(std::uint64_t)>& chance);

}  // namespace proxy
