#pragma once
/// Passive health: endpoints that fail live traffic are left out for a while.

#include <cstddef>
#include <cstdint>

#include "proxy/stream.h"

namespace proxy {

struct OutlierSettings {
  std::uint32_t consecutive = 5;   ///< failures in a row that eject; 0 = never
  Milliseconds window{10000};      ///< the first and the last of them lie within this time
  Milliseconds eject{5000};        ///< first ejection; grows by itself with each that follows soon, up to eject_max
  Milliseconds eject_max{60000};
  std::uint32_t max_ejected_percent = 50;  ///< of the pool's usable endpoints, rounded down but at least 1 of >= 2
};

/// How one attempt at an endpoint went, as far as the endpoint is to blame.
enum class AttemptResult : std::uint8_t {
  kGood,    ///< a response came
  kFailed,  ///< refused, reset, timed out, broken response, or 502/503/504 of its own
};

/// The memory for one endpoint. A value; the balancer reads `ejected_at`.
/// Invariant: ejection never outlives `ejected_until()`; a good result ends the count of failures at once.
class OutlierTrack {
 public:
  /// Takes in one result. @return true if the endpoint has now failed often enough to be ejected; the caller asks
  /// `may_eject` and then calls `eject`.
  bool feed(const OutlierSettings& settings, TimePoint now, AttemptResult result);
  void eject(const OutlierSettings& settings, TimePoint now);
  /// An active check has found the endpoint fit: the ejection is over.
  void reinstate();
  [[nodiscard]] bool ejected_at(TimePoint now) const { return now < ejected_until_; }
  [[nodiscard]] TimePoint ejected_until() const { return ejected_until_; }

 private:
  std::uint32_t failure_count_ = 0;
  TimePoint first_failure_{};
  TimePoint ejected_until_{};
  std::uint32_t ejection_count_ = 0;
};

/// Whether one more endpoint of a pool may be ejected. With one endpoint never; with two or three at most one.
/// @param usable   endpoints that could get traffic, the candidate and the ejected ones included
/// @param ejected  of those, ejected now, the candidate not included
[[nodiscard]] bool may_eject(const OutlierSettings& settings, std::size_t usable, std::size_t ejected);

}  // namespace proxy
