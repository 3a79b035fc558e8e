#pragma once
/// Whether the loops of other threads still turn: each is given an empty task, and the next one when it has done that.
/// A process that is stopped as a whole is noticed by others. One thread of it that is stuck is noticed by nobody: the loop that renews the
/// lease goes on, and what the stuck one has taken waits.
/// Time is counted in own turns and not by a clock: whoever was stopped himself has given nobody a chance to answer.
/// Ownership: of the agent. Thread: the control loop. Bound: one task per thread.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::drivers {

class Pulse {
 public:
  static constexpr io::Milliseconds kEvery{500};
  static constexpr std::uint32_t kBeatsMax = 6;  ///< without an answer: it hangs, after some 3 s

  /// @param ask  posts the task to thread `number`; false = its queue is full, which is no answer either
  /// @param on_change  a thread hangs, or answers again; must not destroy the pulse
  Pulse(io::Loop& loop, std::size_t threads, std::function<bool(std::size_t number, std::function<void()> task)> ask,
        std::function<void(std::size_t number, bool hangs)> on_change);

  [[nodiscard]] std::size_t hung() const;  ///< threads that do not answer

  /// One look, as the timer takes it.
  void beat();

 private:
  struct Thread {
    std::shared_ptr<std::atomic<bool>> answered;  // null: nothing was asked yet
    bool asked = false;                           // false: there was no room for the task
    std::uint32_t beats = 0;
    bool hangs = false;
  };
  void ask(std::size_t number);

  std::function<bool(std::size_t, std::function<void()>)> ask_;
  std::function<void(std::size_t, bool)> on_change_;
  std::vector<Thread> threads_;
  io::Timer timer_;
};

}  // namespace agent::drivers
