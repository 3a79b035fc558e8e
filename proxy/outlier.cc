#include "proxy/outlier.h"

#include <algorithm>

namespace proxy {

bool OutlierTrack::feed(const OutlierSettings& settings, TimePoint now, AttemptResult result) {
  if (result == AttemptResult::kGood) {
    failure_count_ = 0;
    // Fit for a whole longest ejection: earlier ones no longer lengthen the next.
    if (ejection_count_ > 0 && now - ejected_until_ > settings.eject_max) ejection_count_ = 0;
    return false;
  }
  if (settings.consecutive == 0 || ejected_at(now)) return false;
  if (failure_count_ == 0 || now - first_failure_ > settings.window) {
    first_failure_ = now;
    failure_count_ = 0;
  }
  ++failure_count_;
  return failure_count_ >= settings.consecutive;
}

void OutlierTrack::eject(const OutlierSettings& settings, TimePoint now) {
  ++ejection_count_;
  ejected_until_ = now + std::min(settings.eject * ejection_count_, settings.eject_max);
  failure_count_ = 0;
}

void OutlierTrack::reinstate() {
  ejected_until_ = TimePoint{};
  failure_count_ = 0;
}

bool may_eject(const OutlierSettings& settings, std::size_t usable, std::size_t ejected) {
  if (usable < 2 || ejected + 1 >= usable) return false;
  const std::size_t share = usable * settings.max_ejected_percent / 100;
  return ejected + 1 <= std::max<std::size_t>(share, settings.max_ejected_percent > 0 ? 1 : 0);
}

}  // namespace proxy
