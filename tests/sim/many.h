#pragma once

#include <cstdint>

#include "tests/sim/scenario.h"

namespace sim {

/// Runs the seeds `from` .. `to` in `jobs` processes that take the next seed from a common counter. Prints each run that
/// breaks a promise, each seed that ended its process (an assertion of the product), progress with the rate every few
/// seconds, and at the end "N passed, M failed". A seed is run once, whatever became of the process that took it.
/// @param jobs  0 = one per processor
/// @return failed runs
std::uint64_t run_many(std::uint64_t from, std::uint64_t to, unsigned jobs, Focus focus = Focus::kNone);

}  // namespace sim
