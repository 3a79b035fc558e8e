#pragma once
/// Health of one endpoint from the results of its checks. Pure: the checks themselves are made elsewhere.

#include <cstdint>
#include <string_view>

namespace proxy {

enum class Health : std::uint8_t {
  kPassing,   ///< gets its share
  kDegraded,  ///< gets requests only when no passing endpoint of its tier can
  kCritical,  ///< gets none; idempotent requests waiting there are tried elsewhere
};
[[nodiscard]] std::string_view name_of(Health health);  ///< "passing", "degraded", "critical"

/// Result of one check.
enum class CheckResult : std::uint8_t {
  kOk,
  kDegraded,  ///< answered, but says that it is not at its best
  kFailed,    ///< wrong answer or none in time
  kGone,      ///< nobody listens: as sure as it gets, needs no second opinion
};

/// Turns check results into a state that does not flap.
/// Invariant: leaves kCritical only after `rise` good results in a row; enters it after `fall` failures in a row or
///            at once on kGone. kDegraded and kPassing follow the newest good result without delay.
/// Ownership: a value; holds no pointer.
class HealthTracker {
 public:
  /// @param rise     good results in a row that end kCritical, >= 1
  /// @param fall     failures in a row that begin it, >= 1
  /// @param initial  state before the first result: kCritical = must prove itself
  HealthTracker(std::uint32_t rise, std::uint32_t fall, Health initial);

  /// Takes in one result. @return true if state() changed.
  bool feed(CheckResult result);
  [[nodiscard]] Health state() const { return state_; }
  /// Results in a row that speak against the present state; the next check may come sooner while it is not 0.
  [[nodiscard]] std::uint32_t contrary_count() const { return contrary_count_; }

 private:
  bool feed_good(Health wanted);
  bool feed_bad(std::uint32_t count_needed);

  std::uint32_t rise_;
  std::uint32_t fall_;
  Health state_;
  std::uint32_t contrary_count_ = 0;
};

}  // namespace proxy
