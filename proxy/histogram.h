#pragma once
/// How long things took: every value is remembered to better than 1 %, in bounded memory, at the cost of one increment.
/// Source:    the log-linear buckets of HdrHistogram (Tene 2012): each doubling of the value is cut into kSteps equal parts.
/// Invariant: a value is told within 1/128 of itself between 1.024 us and 36 minutes; within 8 ns below; above, as the most.
/// Bound:     kOctaves blocks of kSteps counts (16 KiB), each made when the first value falls into it.
/// Ownership: a value; copies are deep. One writer: its worker; others get copies (ProxyDriver::totals).

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace proxy {

class Histogram {
 public:
  static constexpr std::size_t kSteps = 64;
  static constexpr std::size_t kOctaves = 32;  ///< the first is linear, 0..1023 ns; the last ends at 2^41 ns

  Histogram() = default;
  Histogram(const Histogram& other) { add(other); }
  Histogram& operator=(const Histogram& other);
  Histogram(Histogram&&) noexcept = default;
  Histogram& operator=(Histogram&&) noexcept = default;

  void add(std::chrono::nanoseconds value);  ///< negative ones count as 0
  void add(const Histogram& other);          ///< as if every value of `other` had been added
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::chrono::nanoseconds sum() const { return std::chrono::nanoseconds(sum_ns_); }   ///< exact
  [[nodiscard]] std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_ns_); }   ///< exact
  /// The value below or at which `part` of all values lie, 0 < part <= 1; 0 when there are none.
  [[nodiscard]] std::chrono::nanoseconds quantile(double part) const;
  /// How many values were at most `bound`; those within 1/64 of it may fall on either side.
  [[nodiscard]] std::uint64_t count_up_to(std::chrono::nanoseconds bound) const;

 private:
  using Block = std::array<std::uint64_t, kSteps>;
  std::array<std::unique_ptr<Block>, kOctaves> blocks_;
  std::uint64_t count_ = 0;
  std::int64_t sum_ns_ = 0, max_ns_ = 0;
};

}  // namespace proxy
