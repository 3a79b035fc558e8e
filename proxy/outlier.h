#pragma once
/// Passive health: endpoints that fail live traffic are left out for a while.

#include <atomic>
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

/// The memory for one endpoint, shared by all workers of an agent: each part is one word, so that a good result costs two
/// loads and nobody waits for anybody. The balancer reads `ejected_at`.
/// Invariant: ejection never outlives `ejected_until()`; a good result at any worker ends the count of failures at once.
/// Unit:      milliseconds; 48 bits of them last 8,900 years. Thread: any.
class OutlierTrack {
 public:
  /// Takes in one result. @return true if the endpoint has now failed often enough to be ejected; the caller asks
  /// `may_eject` and then calls `eject`.
  bool feed(const OutlierSettings& settings, TimePoint now, AttemptResult result);
  /// @return false: another worker has ejected it meanwhile, nothing is changed
  bool eject(const OutlierSettings& settings, TimePoint now);
  /// An active check has found the endpoint fit, or the pool cannot spare it: the ejection is over.
  void reinstate();
  /// What other agents say of it (agent/health_share.h): left out until then as if it had failed here.
  void advise(TimePoint until);
  /// An operator's word: left out until then, whatever checks and answers say. A moment that is past ends it.
  void hold_out(TimePoint until);
  /// Left out for whatever reason.
  [[nodiscard]] bool ejected_at(TimePoint now) const { return ejected_here_at(now) || advised_at(now); }
  [[nodiscard]] bool ejected_here_at(TimePoint now) const { return now < ejected_until(); }
  [[nodiscard]] bool advised_at(TimePoint now) const { return now < advised_until(); }
  [[nodiscard]] TimePoint ejected_until() const;  ///< by what was seen here, or at an operator's word
  [[nodiscard]] TimePoint held_out_until() const; ///< at an operator's word
  [[nodiscard]] TimePoint advised_until() const;

 private:
  std::atomic<std::uint64_t> failures_{0};  // number (16 bits) and time of the first
  std::atomic<std::uint64_t> ejection_{0};  // number of ejections (16 bits) and end of the last
  std::atomic<std::uint64_t> advised_{0};   // end
  std::atomic<std::uint64_t> held_out_{0};  // end
};

/// Whether one more endpoint of a pool may be ejected. With one endpoint never; with two or three at most one.
/// @param usable   endpoints that could get traffic, the candidate and the ejected ones included
/// @param ejected  of those, ejected now, the candidate not included
[[nodiscard]] bool may_eject(const OutlierSettings& settings, std::size_t usable, std::size_t ejected);

}  // namespace proxy
