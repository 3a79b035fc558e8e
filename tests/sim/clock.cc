#include "tests/sim/clock.h"

#include <algorithm>
#include <cassert>

namespace sim {
namespace {

constexpr std::int64_t kBillion = 1'000'000'000;

/// elapsed * ppb / 10^9 without overflow for elapsed up to 10^14 ns (a day).
std::int64_t drift_of(Nanos elapsed, std::int64_t rate_ppb) {
  return elapsed / kBillion * rate_ppb + elapsed % kBillion * rate_ppb / kBillion;
}

}  // namespace

DriftingClock::DriftingClock(Nanos started, std::int64_t rate_ppb, Nanos reading)
    : started_(started), rate_ppb_(rate_ppb), reading_(reading) {
  assert(rate_ppb >= -1'000'000 && rate_ppb <= 1'000'000);
}

DriftingClock::TimePoint DriftingClock::at(Nanos real) const {
  const Nanos elapsed = std::max<Nanos>(0, real - started_);
  return TimePoint(std::chrono::nanoseconds(reading_ + elapsed + drift_of(elapsed, rate_ppb_)));
}

Nanos DriftingClock::due(TimePoint local) const {
  const Nanos wanted = std::chrono::duration_cast<std::chrono::nanoseconds>(local.time_since_epoch()).count();
  if (wanted <= reading_) {
    return started_;
  }
  // "Never" stays never: a year is beyond every run and keeps the arithmetic in range.
  const Nanos ahead = std::min<Nanos>(wanted - reading_, 365LL * 86'400 * kSecond);
  Nanos real = started_ + ahead - drift_of(ahead, rate_ppb_);  // first guess, off by rate^2
  while (at(real).time_since_epoch().count() < reading_ + ahead) {
    real += 1 + (reading_ + ahead - at(real).time_since_epoch().count()) / 2;
  }
  while (real > started_ && at(real - 1).time_since_epoch().count() >= reading_ + ahead) {
    real -= 1 + (at(real - 1).time_since_epoch().count() - reading_ - ahead) / 2;
  }
  return std::max(real, started_);
}

}  // namespace sim
