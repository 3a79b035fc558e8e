#include "proxy/health.h"

#include <cassert>

namespace proxy {

std::string_view name_of(Health health) {
  switch (health) {
    case Health::kPassing: return "passing";
    case Health::kDegraded: return "degraded";
    case Health::kCritical: return "critical";
  }
  return "unknown";
}

HealthTracker::HealthTracker(std::uint32_t rise, std::uint32_t fall, Health initial)
    : rise_(rise), fall_(fall), state_(initial) {
  assert(rise >= 1 && fall >= 1);
}

bool HealthTracker::feed(CheckResult result) {
  switch (result) {
    case CheckResult::kOk: return feed_good(Health::kPassing);
    case CheckResult::kDegraded: return feed_good(Health::kDegraded);
    case CheckResult::kFailed: return feed_bad(fall_);
    case CheckResult::kGone: return feed_bad(1);
  }
  return false;
}

bool HealthTracker::feed_good(Health wanted) {
  if (state_ == Health::kCritical && ++contrary_count_ < rise_) return false;
  contrary_count_ = 0;
  const bool changed = state_ != wanted;
  state_ = wanted;
  return changed;
}

bool HealthTracker::feed_bad(std::uint32_t count_needed) {
  if (state_ == Health::kCritical) {
    contrary_count_ = 0;
    return false;
  }
  if (++contrary_count_ < count_needed) return false;
  contrary_count_ = 0;
  state_ = Health::kCritical;
  return true;
}

}  // namespace proxy
