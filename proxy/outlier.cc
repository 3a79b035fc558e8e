#include "proxy/outlier.h"

#include <algorithm>

namespace proxy {
namespace {

constexpr unsigned kTimeBits = 48;
constexpr std::uint64_t kTimeMask = (1ULL << kTimeBits) - 1, kCountMax = (1ULL << 16U) - 1;

std::uint64_t ms_of(TimePoint time) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(std::chrono::duration_cast<Milliseconds>(time.time_since_epoch()).count(), 0)) & kTimeMask;
}
TimePoint time_of(std::uint64_t word) { return TimePoint(Milliseconds(static_cast<std::int64_t>(word & kTimeMask))); }
std::uint64_t count_of(std::uint64_t word) { return word >> kTimeBits; }
std::uint64_t packed(std::uint64_t count, TimePoint time) { return std::min(count, kCountMax) << kTimeBits | ms_of(time); }

}  // namespace

bool OutlierTrack::feed(const OutlierSettings& settings, TimePoint now, AttemptResult result) {
  if (result == AttemptResult::kGood) {
    if (failures_.load(std::memory_order_relaxed) != 0) failures_.store(0, std::memory_order_relaxed);
    // Fit for a whole longest ejection: earlier ones no longer lengthen the next.
    std::uint64_t last = ejection_.load(std::memory_order_relaxed);
    if (last != 0 && now - time_of(last) > settings.eject_max) ejection_.compare_exchange_strong(last, 0);
    return false;
  }
  if (settings.consecutive == 0 || ejected_here_at(now)) return false;
  std::uint64_t seen = failures_.load(std::memory_order_relaxed), next = 0;
  do {
    const bool fresh = count_of(seen) == 0 || now - time_of(seen) > settings.window;
    next = fresh ? packed(1, now) : packed(count_of(seen) + 1, time_of(seen));
  } while (!failures_.compare_exchange_weak(seen, next, std::memory_order_relaxed));
  return count_of(next) >= settings.consecutive;
}

// In one order with the looks at other endpoints' ejections: of two workers that eject the last two at once, at least one
// sees both (Core::eject).
bool OutlierTrack::eject(const OutlierSettings& settings, TimePoint now) {
  std::uint64_t seen = ejection_.load();
  for (;;) {
    if (now < time_of(seen)) return false;
    const std::uint64_t count = std::min(count_of(seen) + 1, kCountMax);
    const auto length = std::min(settings.eject * static_cast<std::int64_t>(count), settings.eject_max);
    if (ejection_.compare_exchange_weak(seen, packed(count, now + length))) break;
  }
  failures_.store(0, std::memory_order_relaxed);
  return true;
}

void OutlierTrack::reinstate() {
  std::uint64_t seen = ejection_.load();
  while (!ejection_.compare_exchange_weak(seen, seen & ~kTimeMask)) {}
  failures_.store(0, std::memory_order_relaxed);
}

void OutlierTrack::advise(TimePoint until) { advised_.store(ms_of(until), std::memory_order_relaxed); }
void OutlierTrack::hold_out(TimePoint until) { held_out_.store(ms_of(until)); }
TimePoint OutlierTrack::ejected_until() const { return std::max(time_of(ejection_.load()), held_out_until()); }
TimePoint OutlierTrack::held_out_until() const { return time_of(held_out_.load()); }
TimePoint OutlierTrack::advised_until() const { return time_of(advised_.load(std::memory_order_relaxed)); }

bool may_eject(const OutlierSettings& settings, std::size_t usable, std::size_t ejected) {
  if (usable < 2 || ejected + 1 >= usable) return false;
  const std::size_t share = usable * settings.max_ejected_percent / 100;
  return ejected + 1 <= std::max<std::size_t>(share, settings.max_ejected_percent > 0 ? 1 : 0);
}

}  // namespace proxy
