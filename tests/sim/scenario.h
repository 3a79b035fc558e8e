#pragma once

#include <cstdint>

#include "tests/sim/cluster.h"

namespace sim {

/// Draws a whole run from its seed: size, network, time-outs, lease, load and the mix of faults.
/// The seed is all there is: nothing else may differ between two runs of one seed.
Scenario draw_scenario(std::uint64_t seed);

/// What a run looks for, where ordinary runs would need too many seeds: its own sizes, rates and faults.
enum class Focus : std::uint8_t {
  kNone,
  kMembers,   ///< five agents, three voters, slow disks; the dead are replaced within a second
  kPromises,  ///< three agents, pairs cut, quick restarts and transfers in 16 rounds; clients aim at deposed leaders
  kOrders,    ///< three agents, the role changes hands often; many orders, traders that hang, lost replies; halts in every other run
  kStops,     ///< three agents, SIGSTOP mostly of leaders and holders: answers are read long after they came
};
Scenario draw_scenario(std::uint64_t seed, Focus focus);
/// As the command line names it, with a blank before it; empty for kNone.
const char* option(Focus focus);

/// Runs one seed. @param print  writes the trace to standard output
Report run_seed(std::uint64_t seed, bool print = false, Focus focus = Focus::kNone);

/// "seed 7 (3 agents, lan, ...): 812 entries ..." in one line.
std::string describe(std::uint64_t seed, const Report& report);

}  // namespace sim
