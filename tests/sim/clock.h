#pragma once

#include <chrono>
#include <cstdint>

#include "tests/sim/scheduler.h"

namespace sim {

/// CLOCK_BOOTTIME of one machine: goes on while its processes are stopped, starts again near zero when the machine is
/// switched on, and runs at its own rate.
/// Invariant: never goes back while the machine is up; due(t) is the first real nanosecond at which at() >= t.
/// Ownership: a value.
class DriftingClock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  DriftingClock() = default;
  /// @param started   real time at which the machine came up
  /// @param rate_ppb  rate error in parts per 10^9, within +-1,000,000; design.md section 5 speaks of +-200,000
  /// @param reading   what the clock shows at `started`
  DriftingClock(Nanos started, std::int64_t rate_ppb, Nanos reading);

  /// What the machine's clock shows at real time `real` >= started.
  [[nodiscard]] TimePoint at(Nanos real) const;
  /// Earliest real time at which the clock shows `local` or later; never before the start.
  [[nodiscard]] Nanos due(TimePoint local) const;
  [[nodiscard]] std::int64_t rate_ppb() const { return rate_ppb_; }

 private:
  Nanos started_ = 0;
  std::int64_t rate_ppb_ = 0;
  Nanos reading_ = 0;
};

}  // namespace sim
