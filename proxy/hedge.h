#pragma once
/// When a second attempt at a slow safe request is worth it: later than nearly all answers come, and not too often.
/// Pure: time is an argument. What two attempts do to an exchange is in exchange_hedge.cc.
/// Source: Dean and Barroso 2013, "The Tail at Scale" (hedged requests after the 95th percentile). Decision 0059.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proxy/retry.h"
#include "proxy/stream.h"

namespace proxy {

/// Latencies to the first byte of the last kHalf to 2 * kHalf, in buckets an eighth of an octave wide: a percentile is told as the
/// end of its bucket, so up to 13 % too high and never too low.
/// Not the histograms of observe.h: those remember the whole life of the worker, and a tail is one of now.
/// Invariant: an attempt that was given up counts as what it had lasted, so that hedging does not hide the tail that it cuts off.
/// Bound: two times kBuckets counters.
class LatencyWindow {
 public:
  static constexpr std::size_t kSteps = 8;                      ///< per octave
  static constexpr std::size_t kBuckets = 1 + 24 * kSteps;      ///< 64 us .. 18 min
  static constexpr Milliseconds kHalf{10'000};
  static constexpr std::uint32_t kSamplesMin = 50;              ///< fewer say nothing about a tail
  void observe(TimePoint now, std::chrono::nanoseconds latency);
  /// The latency at or below which `percent` of the samples lie; nullopt = fewer than kSamplesMin. Counted anew every 100 ms at most.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> percentile(TimePoint now, std::uint32_t percent);

 private:
  void turn(TimePoint now);
  using Half = std::array<std::uint32_t, kBuckets>;
  std::array<Half, 2> halves_{};
  std::size_t newest_ = 0;
  TimePoint began_{};        ///< of the newest half
  TimePoint counted_at_{};   ///< when known_ was found
  std::optional<std::chrono::nanoseconds> known_;
};

/// What a worker remembers of a route that hedges.
struct HedgeState {
  explicit HedgeState(const HedgeRule& given) : rule(given), budget(given.budget_percent, 0) {}
  HedgeRule rule;
  LatencyWindow window;
  RetryBudget budget;   ///< of second attempts, by the requests that could have one
};

}  // namespace proxy
