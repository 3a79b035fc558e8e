#pragma once

#include <cassert>
#include <chrono>

namespace support {

/// A steady clock that moves only when a test says so.
/// Invariant: never goes back.
/// Ownership: a value; nothing points at it.
class VirtualClock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  /// Starts well away from the epoch, so that a core which takes "zero" for "never" is found out.
  VirtualClock() : now_(std::chrono::hours(1)) {}
  explicit VirtualClock(TimePoint start) : now_(start) {}

  [[nodiscard]] TimePoint now() const { return now_; }

  /// @param by  >= 0. @return the new time
  TimePoint advance(Duration by) {
    assert(by >= Duration::zero());
    now_ += by;
    return now_;
  }

  /// Jumps forward to `to`; does nothing when that is already past.
  TimePoint advance_to(TimePoint to) {
    now_ = to > now_ ? to : now_;
    return now_;
  }

 private:
  TimePoint now_;
};

}  // namespace support
