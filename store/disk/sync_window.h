#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "store/raft/ids.h"

/// How long the disk took of late: durations over a sliding window, as percentiles.
/// Durations fall into buckets that grow by a fifth each, so that an answer is at most 20 % too high. The window slides
/// in steps of a sixth.
/// Bound: kSteps * kBuckets counters, whatever the load. Thread: one.
namespace store::disk {

class SyncWindow {
 public:
  static constexpr std::chrono::seconds kWindow{60};
  static constexpr std::size_t kSteps = 6, kBuckets = 80;  ///< 10 us * 1.2^80 = 22 s

  void add(std::chrono::nanoseconds took, raft::TimePoint now);
  /// @param percent  1..100. nullopt: nothing was measured in the window
  [[nodiscard]] std::optional<std::chrono::microseconds> percentile(unsigned percent, raft::TimePoint now);
  [[nodiscard]] std::uint64_t count(raft::TimePoint now);

 private:
  struct Step {
    std::int64_t number = -1;  // of the step in time; -1 = never used
    std::array<std::uint32_t, kBuckets> buckets{};
    std::uint64_t count = 0;
  };
  [[nodiscard]] static std::int64_t step_of(raft::TimePoint now);
  [[nodiscard]] bool current(const Step& step, std::int64_t now) const;
  std::array<Step, kSteps> steps_;
};

}  // namespace store::disk
