#pragma once
/// One deadline on one loop.
#include <functional>
#include <memory>

#include "agent/io/clock.h"
#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace agent::io {

/// One-shot timer on boottime_now(). Fires never early; late by at most the turn in progress plus 1 ms.
/// Cheap to re-arm: a later deadline costs a store, only an earlier one touches the loop's heap. (A sleeping machine
/// fires it after waking: libuv sleeps on the monotonic clock, so holders of leases check the clock themselves.)
/// Ownership: destruction disarms; the callback may destroy the timer. Thread: the loop's.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> on_due);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Replaces any earlier deadline. One in the past fires in the next turn, never inside this call.
  void arm(TimePoint deadline);
  void arm_after(Milliseconds delay);  ///< arm(boottime_now() + delay)
  void disarm();                       ///< idempotent
  [[nodiscard]] bool armed() const { return armed_; }
  [[nodiscard]] TimePoint deadline() const { return deadline_; }  ///< meaningful while armed

 private:
  void on_uv_timer();
  void start_uv(TimePoint now);

  std::shared_ptr<std::function<void()>> on_due_;  // shared with the call in progress
  Handle<uv_timer_s> handle_;
  TimePoint deadline_{};
  TimePoint uv_deadline_{};  // when the loop's heap will call; <= deadline_ while armed
  bool armed_ = false;
  bool uv_active_ = false;
};

}  // namespace agent::io
