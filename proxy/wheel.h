#pragma once
/// Deadlines of thousands of connections on one coarse wheel: arming is a few stores, moving a deadline later is one.
/// Source: Varghese and Lauck (1987), hashed timing wheels; here with lazy re-arming.

#include <array>
#include <cstdint>
#include <vector>

#include "proxy/stream.h"

namespace proxy {

class Wheel;

/// One deadline. Lives inside its owner and leaves the wheel when destroyed.
class Timer {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// The deadline has passed; the timer is disarmed. May arm it again, may destroy any timer.
    virtual void on_deadline(Timer& timer, TimePoint now) = 0;
  };
  explicit Timer(Owner& owner) : owner_(owner) {}
  ~Timer() { unlink(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  [[nodiscard]] bool armed() const { return deadline_ != TimePoint::max(); }
  [[nodiscard]] TimePoint deadline() const { return deadline_; }  ///< TimePoint::max() when not armed

 private:
  friend class Wheel;
  void unlink();
  Owner& owner_;
  TimePoint deadline_ = TimePoint::max();
  std::uint64_t slot_tick_ = 0;  ///< tick under which it is linked; may be earlier than the deadline, never later
  Timer* next_ = nullptr;
  Timer** back_ = nullptr;       ///< the pointer that points here; null = not linked
};

/// Invariant: fires no timer before its deadline and none later than kGrain after it, if ticked when next_deadline says.
class Wheel {
 public:
  static constexpr Milliseconds kGrain{8};
  static constexpr std::size_t kSlots = 1024;  ///< one turn = 8.2 s; later deadlines go round more than once

  explicit Wheel(TimePoint start) : start_(start) {}
  /// Sets or moves the deadline.
  void arm(Timer& timer, TimePoint deadline);
  void disarm(Timer& timer) { timer.deadline_ = TimePoint::max(); }
  /// Fires everything that is due.
  void tick(TimePoint now);
  /// Not after the earliest deadline by more than kGrain, and perhaps before it; max() = nothing is armed.
  [[nodiscard]] TimePoint next_deadline() const;

 private:
  [[nodiscard]] std::uint64_t tick_of(TimePoint time) const;
  void link(Timer& timer, std::uint64_t tick);
  TimePoint start_;
  std::uint64_t done_tick_ = 0;   ///< all slots up to here have been looked at
  std::array<Timer*, kSlots> slots_{};
  /// A bit per slot: 0 = surely empty. Bits of slots that have become empty are cleared when they are met.
  mutable std::array<std::uint64_t, kSlots / 64> filled_{};
};

}  // namespace proxy
