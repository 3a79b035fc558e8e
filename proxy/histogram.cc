#include "proxy/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace proxy {
namespace {

constexpr int kLinearBits = 10;  // below 2^10 ns all steps are 16 ns
constexpr int kStepBits = 6;     // log2 of kSteps
static_assert(Histogram::kSteps == 1U << kStepBits);

struct Place {
  std::size_t octave, step;
};

Place place_of(std::uint64_t value) {
  const int width = std::bit_width(value);
  if (width <= kLinearBits) return {0, static_cast<std::size_t>(value >> (kLinearBits - kStepBits))};
  const auto octave = static_cast<std::size_t>(width - kLinearBits);
  if (octave >= Histogram::kOctaves) return {Histogram::kOctaves - 1, Histogram::kSteps - 1};
  return {octave, static_cast<std::size_t>(value >> (width - 1 - kStepBits)) & (Histogram::kSteps - 1)};
}

// The values of a step begin here; the next step begins at its own lowest.
std::int64_t width_of(std::size_t octave) {
  const int bits = octave == 0 ? kLinearBits - kStepBits : static_cast<int>(octave) + kLinearBits - 1 - kStepBits;
  return std::int64_t{1} << bits;
}
std::int64_t lowest_of(std::size_t octave, std::size_t step) {
  const std::int64_t base = octave == 0 ? 0 : std::int64_t{1} << (static_cast<int>(octave) + kLinearBits - 1);
  return base + static_cast<std::int64_t>(step) * width_of(octave);
}

}  // namespace

Histogram& Histogram::operator=(const Histogram& other) {
  if (this != &other) *this = Histogram(other);
  return *this;
}

void Histogram::add(std::chrono::nanoseconds value) {
  const std::int64_t ns = std::max<std::int64_t>(value.count(), 0);
  const Place place = place_of(static_cast<std::uint64_t>(ns));
  auto& block = blocks_[place.octave];
  if (block == nullptr) block = std::make_unique<Block>();
  ++(*block)[place.step];
  ++count_;
  sum_ns_ += ns;
  max_ns_ = std::max(max_ns_, ns);
}

void Histogram::add(const Histogram& other) {
  for (std::size_t octave = 0; octave < kOctaves; ++octave) {
    if (other.blocks_[octave] == nullptr) continue;
    auto& block = blocks_[octave];
    if (block == nullptr) block = std::make_unique<Block>();
    for (std::size_t step = 0; step < kSteps; ++step) (*block)[step] += (*other.blocks_[octave])[step];
  }
  count_ += other.count_;
  sum_ns_ += other.sum_ns_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

std::chrono::nanoseconds Histogram::quantile(double part) const {
  if (count_ == 0) return std::chrono::nanoseconds{0};
  const double wanted = std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
  if (rank == count_) return max();
  std::uint64_t seen = 0;
  for (std::size_t octave = 0; octave < kOctaves; ++octave) {
    if (blocks_[octave] == nullptr) continue;
    for (std::size_t step = 0; step < kSteps; ++step) {
      seen += (*blocks_[octave])[step];
      // The middle of the step is within half a step of every value in it.
      if (seen >= rank) return std::chrono::nanoseconds(std::min(lowest_of(octave, step) + width_of(octave) / 2, max_ns_));
    }
  }
  return max();
}

std::uint64_t Histogram::count_up_to(std::chrono::nanoseconds bound) const {
  if (bound.count() >= max_ns_) return count_;
  std::uint64_t seen = 0;
  for (std::size_t octave = 0; octave < kOctaves; ++octave) {
    if (blocks_[octave] == nullptr) continue;
    for (std::size_t step = 0; step < kSteps; ++step) {
      if (lowest_of(octave, step) + width_of(octave) / 2 > bound.count()) return seen;
      seen += (*blocks_[octave])[step];
    }
  }
  return seen;
}

}  // namespace proxy
