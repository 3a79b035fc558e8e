#include "agent/io/timer.h"

#include <uv.h>

#include <algorithm>

namespace agent::io {

namespace {
constexpr Duration kLookAgain = std::chrono::hours(1);
}

Timer::Timer(Loop& loop, std::function<void()> on_due)
    : on_due_(std::make_shared<std::function<void()>>(std::move(on_due))), handle_(new uv_timer_t) {
  uv_timer_init(loop.raw(), handle_.get());
  handle_->data = this;
}

Timer::~Timer() = default;

void Timer::arm(TimePoint deadline) {
  deadline_ = deadline;
  if (!armed_) {
    armed_ = true;
    uv_ref(reinterpret_cast<uv_handle_t*>(handle_.get()));
  }
  if (uv_active_ && uv_deadline_ <= deadline) return;  // the earlier call will look again
  start_uv(boottime_now());
}

void Timer::arm_after(Milliseconds delay) { arm(boottime_now() + delay); }

void Timer::disarm() {
  if (!armed_) return;
  armed_ = false;
  // Left in the heap (a store now, a wasted call later at most once), but it no longer keeps the loop alive.
  uv_unref(reinterpret_cast<uv_handle_t*>(handle_.get()));
}

void Timer::start_uv(TimePoint now) {
  // The earliest and the latest of all time points are deadlines too ("at once", "never"): a difference from the one
  // and a sum with the other would overflow, so a far deadline is looked at again every hour.
  const auto wait = deadline_ <= now ? Duration::zero() : std::min<Duration>(deadline_ - now, kLookAgain);
  const auto delay = std::chrono::ceil<Milliseconds>(wait);
  uv_deadline_ = now + delay;
  uv_active_ = true;
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* handle) {
        if (handle->data != nullptr) static_cast<Timer*>(handle->data)->on_uv_timer();
      },
      static_cast<std::uint64_t>(delay.count()), 0);
}

void Timer::on_uv_timer() {
  uv_active_ = false;
  if (!armed_) return;
  const TimePoint now = boottime_now();
  if (now < deadline_) {  // re-armed for later, or libuv's coarse clock was ahead
    start_uv(now);
    return;
  }
  armed_ = false;
  const auto on_due = on_due_;
  (*on_due)();
}

}  // namespace agent::io
