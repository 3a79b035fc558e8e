#pragma once

#include <algorithm>
#include <cstdint>

namespace gossip {

/// Local health multiplier: how much we have reason to believe that *we* are slow. Probe interval and time-out
/// are multiplied by value() + 1.
/// Source: Lifeguard "LHA Probe": a failed probe that helpers could not explain +1, a missing nack +1, having to
/// refute +1, a successful probe -1; saturating at 0 and max - 1.
class HealthScore {
 public:
  /// @param max  >= 1; the value stays below it
  explicit HealthScore(std::uint32_t max) : max_(max) {}
  void worsen(std::uint32_t by = 1) { value_ = std::min(max_ - 1, value_ + by); }
  void improve() { value_ -= value_ > 0 ? 1 : 0; }
  [[nodiscard]] std::uint32_t value() const { return value_; }
  [[nodiscard]] std::uint32_t multiplier() const { return value_ + 1; }

 private:
  std::uint32_t max_;
  std::uint32_t value_ = 0;
};

}  // namespace gossip
