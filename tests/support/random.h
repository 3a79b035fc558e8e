#pragma once

#include <bit>
#include <cstdint>
#include <functional>

namespace support {

/// Seeded stream of 64-bit words for tests: same seed and stream number, same words, on every machine and library
/// (the standard distributions are not portable, so the few shapes that tests need are spelled out here).
/// Source:    xoshiro256** (Blackman, Vigna 2018), state filled by splitmix64 as its authors advise.
/// Ownership: a value; copies run on independently from the same place.
class Random {
 public:
  /// @param seed    any number; the whole run follows from it
  /// @param stream  tells apart the streams of one run (one per node, one for the network, ...)
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) {
    std::uint64_t x = seed ^ (stream * 0xd1342543de82ef95U + 0x632be59bd9b4e019U);
    for (std::uint64_t& word : state_) {
      x += 0x9e3779b97f4a7c15U;
      std::uint64_t z = x;
      z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
      z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
      word = z ^ (z >> 31U);
    }
  }

  /// The next word, uniform over all 64 bits.
  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, bound); 0 for bound 0. The bias of the modulo is < bound / 2^64.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

  /// Uniform in [low, high], low <= high.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }

  /// True with probability ppm / 1,000,000.
  bool chance_ppm(std::uint32_t ppm) { return below(1'000'000) < ppm; }

  /// Exponential with the given mean (>= 0), to within 6 %: -log2(u) by leading zeros and a linear mantissa, so that
  /// no floating-point library takes part. Never more than 45 means.
  std::int64_t exponential(std::int64_t mean) {
    const std::uint64_t word = next() | 1U;
    const auto zeros = static_cast<unsigned>(std::countl_zero(word));
    const std::uint64_t mantissa = ((word << zeros) << 1U) >> 48U;  // 16 bits after the leading one
    const auto log2_16 = static_cast<std::int64_t>((zeros + 1U) * 65536U - mantissa);
    return mean / 65536 * log2_16 / 1000 * 693 + (mean % 65536) * log2_16 / 65536 * 693 / 1000;
  }

  /// This stream in the shape that cores take at construction. The stream must outlive the function.
  std::function<std::uint64_t(std::uint64_t)> chance() {
    return [this](std::uint64_t bound) { return below(bound); };
  }

 private:
  std::uint64_t state_[4] = {};
};

}  // namespace support
