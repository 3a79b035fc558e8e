#pragma once
/// The program: builds every part from the settings, wires them, runs the control loop, and stops in good order.

#include "agent/config.h"

namespace agent {

/// Runs one agent until SIGTERM, SIGINT, `leave` over the API, or a fault of the store. Blocks.
/// Start: identity, sockets, store, then everything that talks. Stop: no new requests, the lease released, leadership
/// handed over, the rest closed; bounded by kStopSecondsMax, a second signal ends it at once.
/// @return exit code: 0 stopped as asked, 1 could not start or met a fault (said on stderr and in the log)
int run_agent(const Config& config);

inline constexpr int kStopSecondsMax = 8;

}  // namespace agent
