#include "proxy/wheel.h"

#include <algorithm>
#include <bit>

namespace proxy {

void Timer::unlink() {
  if (back_ == nullptr) return;
  *back_ = next_;
  if (next_ != nullptr) next_->back_ = back_;
  next_ = nullptr;
  back_ = nullptr;
}

// Rounds up: a timer fires at the first grain at or after its deadline.
std::uint64_t Wheel::tick_of(TimePoint time) const {
  if (time <= start_) return 0;
  const auto grain = std::chrono::duration_cast<TimePoint::duration>(kGrain);
  return static_cast<std::uint64_t>((time - start_ + grain - TimePoint::duration(1)) / grain);
}

void Wheel::link(Timer& timer, std::uint64_t tick) {
  timer.slot_tick_ = tick;
  Timer*& head = slots_[tick % kSlots];
  timer.next_ = head;
  timer.back_ = &head;
  if (head != nullptr) head->back_ = &timer.next_;
  head = &timer;
  filled_[tick % kSlots / 64] |= std::uint64_t{1} << (tick % 64);
}

void Wheel::arm(Timer& timer, TimePoint deadline) {
  timer.deadline_ = deadline;
  if (deadline == TimePoint::max()) return;
  const std::uint64_t tick = std::max(tick_of(deadline), done_tick_ + 1);
  // Linked earlier than needed is good enough: the slot finds out and links it anew.
  if (timer.back_ != nullptr && timer.slot_tick_ <= tick && timer.slot_tick_ > done_tick_) return;
  timer.unlink();
  link(timer, tick);
}

void Wheel::tick(TimePoint now) {
  if (now <= start_) return;
  const auto grain = std::chrono::duration_cast<TimePoint::duration>(kGrain);
  const auto now_tick = static_cast<std::uint64_t>((now - start_) / grain);
  if (now_tick <= done_tick_) return;
  // After a long pause one turn over all slots sees everything.
  std::uint64_t at = now_tick - done_tick_ > kSlots ? now_tick - kSlots : done_tick_;
  done_tick_ = now_tick;
  while (at < now_tick) {
    ++at;
    // Timers that their owners arm meanwhile land in later slots; those of this slot are taken off first.
    Timer* due = slots_[at % kSlots];
    slots_[at % kSlots] = nullptr;
    if (due != nullptr) due->back_ = &due;
    while (due != nullptr) {
      Timer& timer = *due;
      timer.unlink();
      if (timer.deadline_ == TimePoint::max()) continue;
      if (timer.deadline_ > now) {
        link(timer, std::max(tick_of(timer.deadline_), done_tick_ + 1));
        continue;
      }
      timer.deadline_ = TimePoint::max();
      timer.owner_.on_deadline(timer, now);
    }
  }
}

TimePoint Wheel::next_deadline() const {
  std::uint64_t tick = done_tick_ + 1;
  const std::uint64_t end = tick + kSlots;
  while (tick < end) {
    const std::uint64_t ahead = filled_[tick % kSlots / 64] >> (tick % 64);
    if (ahead == 0) {
      tick += 64 - tick % 64;  // the rest of this word is empty
      continue;
    }
    tick += static_cast<std::uint64_t>(std::countr_zero(ahead));
    if (tick >= end) break;
    if (slots_[tick % kSlots] != nullptr) return start_ + kGrain * static_cast<std::int64_t>(tick);
    filled_[tick % kSlots / 64] &= ~(std::uint64_t{1} << (tick % 64));
  }
  return TimePoint::max();
}

}  // namespace proxy
