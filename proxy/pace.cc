#include "proxy/pace.h"

namespace proxy {

void Pace::begin(TimePoint now, std::uint64_t bytes) {
  if (running()) return;
  start_ = now;
  bytes_ = bytes;
}

TimePoint Pace::deadline(const PaceSettings& settings) const {
  return running() ? start_ + settings.window : TimePoint::max();
}

bool Pace::too_slow(const PaceSettings& settings, TimePoint now, std::uint64_t bytes) {
  if (!running() || now < deadline(settings)) return false;
  // A tick that comes late lengthens the window; what is due does not grow with it.
  if (bytes - bytes_ < settings.bytes_per_window()) return true;
  start_ = now;
  bytes_ = bytes;
  return false;
}

}  // namespace proxy
