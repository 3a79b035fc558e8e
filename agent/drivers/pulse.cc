#include "agent/drivers/pulse.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {

Pulse::Pulse(io::Loop& loop, std::size_t threads, std::function<bool(std::size_t, std::function<void()>)> ask,
             std::function<void(std::size_t, bool)> on_change)
    : ask_(std::move(ask)), on_change_(std::move(on_change)), threads_(threads), timer_(loop, [this] {
        timer_.arm_after(kEvery);
        beat();
      }) {
  timer_.arm_after(kEvery);
}

std::size_t Pulse::hung() const {
  return static_cast<std::size_t>(std::count_if(threads_.begin(), threads_.end(), [](const Thread& one) { return one.hangs; }));
}

void Pulse::beat() {
  for (std::size_t number = 0; number < threads_.size(); ++number) {
    Thread& one = threads_[number];
    if (one.answered == nullptr || one.answered->load(std::memory_order_acquire)) {
      one.beats = 0;
      one.answered = std::make_shared<std::atomic<bool>>(false);
      ask(number);
      if (std::exchange(one.hangs, false)) on_change_(number, false);
      continue;
    }
    if (!one.asked) ask(number);
    if (++one.beats != kBeatsMax) continue;
    one.hangs = true;
    on_change_(number, true);
  }
}

void Pulse::ask(std::size_t number) {
  Thread& one = threads_[number];
  one.asked = ask_(number, [answered = one.answered] { answered->store(true, std::memory_order_release); });
}

}  // namespace agent::drivers
