#pragma once
/// Running a real loop in a test without sleeping: turn by turn until something is true. Machines may be slow: what the
/// test does not judge gets kPatience, and only a failing test waits that long.
#include <functional>
#include <memory>

#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::io {

inline constexpr Milliseconds kPatience{60'000};

inline std::unique_ptr<Loop> new_loop() { return std::move(*Loop::create()); }

/// Turns the loop until `reached()` or until `limit` is over.
/// @return whether it was reached.
inline bool run_until(Loop& loop, const std::function<bool()>& reached, Milliseconds limit = kPatience) {
  bool over = false;
  Timer watchdog(loop, [&over] { over = true; });
  watchdog.arm_after(limit);
  while (!reached() && !over) loop.run_once();
  return reached();
}

/// The same for what another thread or process does: no event here, so it is looked at every few milliseconds.
inline bool look_until(Loop& loop, const std::function<bool()>& reached) {
  Timer look(loop, [&look] { look.arm_after(Milliseconds(2)); });
  look.arm_after(Milliseconds(2));
  return run_until(loop, reached);
}

inline TimePoint in_ms(int delay) { return boottime_now() + Milliseconds(delay); }
/// The deadline of what has to succeed.
inline TimePoint in_good_time() { return boottime_now() + kPatience; }

}  // namespace agent::io
