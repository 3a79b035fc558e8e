#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace sim {

/// Real (virtual) time of the simulated world in nanoseconds since its start. No node ever sees it: nodes read their
/// own clock (clock.h), which drifts against it.
using Nanos = std::int64_t;

inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;

/// The only source of events: a heap keyed by (time, sequence), so that two events of one instant run in the order in
/// which they were asked for, always.
/// Ownership: holds the tasks; what a task captures must live until it ran or clear() was called.
/// Bound:     whatever the world schedules; each fault, link, client and timer keeps a bounded number pending.
class Scheduler {
 public:
  using Task = std::function<void()>;

  [[nodiscard]] Nanos now() const { return now_; }

  /// Runs `task` at `when`; a time already past means "next, after what is due now".
  void at(Nanos when, Task task);
  /// Runs `task` after `delay` >= 0.
  void after(Nanos delay, Task task) { at(now_ + delay, std::move(task)); }

  /// Moves time to the earliest task and runs it. @return false when nothing is left
  bool run_one();

  /// Time of the next task; only valid while !empty().
  [[nodiscard]] Nanos next_time() const { return heap_.front().when; }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::uint64_t executed() const { return executed_; }  ///< tasks run so far
  void clear() { heap_.clear(); }  ///< forgets everything pending, running nothing

 private:
  struct Entry {
    Nanos when;
    std::uint64_t sequence;
    Task task;
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
    }
  };

  std::vector<Entry> heap_;
  Nanos now_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t executed_ = 0;
};

}  // namespace sim
