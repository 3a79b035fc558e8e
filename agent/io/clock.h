#pragma once
/// The only clock of the program. Cores get its value as an argument; nothing else reads time.
#include <chrono>
#include <cstdint>

namespace agent::io {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
using Milliseconds = std::chrono::milliseconds;

/// CLOCK_BOOTTIME, ns resolution, never steps back and runs on through suspend: the time base of leases.
/// Wrapped as steady_clock::time_point for its type only; never mix it with steady_clock::now().
/// Thread: any. About 25 ns (vDSO).
[[nodiscard]] TimePoint boottime_now();

/// Unix time in ms, for log lines, certificates and generation numbers; it can step, so never for deadlines.
[[nodiscard]] std::int64_t wall_ms();

}  // namespace agent::io
