#pragma once
/// Running a real loop in a test without sleeping: turn by turn until something is true.
#include <functional>
#include <memory>

#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::io {

inline std::unique_ptr<Loop> new_loop() { return std::move(*Loop::create()); }

/// Turns the loop until `reached()` or until `limit` is over (only a failing test waits that long).
/// @return whether it was reached.
inline bool run_until(Loop& loop, const std::function<bool()>& reached, Milliseconds limit = Milliseconds(10'000)) {
  bool over = false;
  Timer watchdog(loop, [&over] { over = true; });
  watchdog.arm_after(limit);
  while (!reached() && !over) loop.run_once();
  return reached();
}

inline TimePoint in_ms(int delay) { return boottime_now() + Milliseconds(delay); }

}  // namespace agent::io
