#include "proxy/hedge.h"

#include <algorithm>
#include <bit>

namespace proxy {
namespace {

constexpr std::uint64_t kLeastMicros = 64;
constexpr Milliseconds kCountEvery{100};

// Bucket 0: below kLeastMicros. Bucket 1 + kSteps * octave + step: [64 us * 2^octave * (1 + step / kSteps), ...).
std::size_t bucket_of(std::chrono::nanoseconds latency) {
  const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(0, latency.count() / 1000));
  if (micros < kLeastMicros) return 0;
  const auto octave = static_cast<std::size_t>(std::bit_width(micros / kLeastMicros) - 1);
  const std::uint64_t base = kLeastMicros << octave;
  const auto step = static_cast<std::size_t>((micros - base) * LatencyWindow::kSteps / base);
  return std::min(1 + octave * LatencyWindow::kSteps + step, LatencyWindow::kBuckets - 1);
}

std::chrono::nanoseconds end_of(std::size_t bucket) {
  if (bucket == 0) return std::chrono::microseconds(kLeastMicros);
  const std::uint64_t base = kLeastMicros << ((bucket - 1) / LatencyWindow::kSteps);
  return std::chrono::microseconds(base + base * ((bucket - 1) % LatencyWindow::kSteps + 1) / LatencyWindow::kSteps);
}

}  // namespace

void LatencyWindow::turn(TimePoint now) {
  if (now - began_ < kHalf) return;
  // After a long silence both are old.
  if (now - began_ >= 2 * kHalf) halves_[newest_].fill(0);
  newest_ = 1 - newest_;
  halves_[newest_].fill(0);
  began_ = now;
}

void LatencyWindow::observe(TimePoint now, std::chrono::nanoseconds latency) {
  turn(now);
  ++halves_[newest_][bucket_of(latency)];
}

std::optional<std::chrono::nanoseconds> LatencyWindow::percentile(TimePoint now, std::uint32_t percent) {
  turn(now);
  if (counted_at_ != TimePoint{} && now - counted_at_ < kCountEvery) return known_;
  counted_at_ = now;
  known_.reset();
  std::uint64_t total = 0;
  for (const Half& half : halves_) {
    for (const std::uint32_t count : half) total += count;
  }
  if (total < kSamplesMin) return known_;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    below += halves_[0][i] + halves_[1][i];
    if (below * 100 < total * percent) continue;
    known_ = end_of(i);
    break;
  }
  return known_;
}

}  // namespace proxy
