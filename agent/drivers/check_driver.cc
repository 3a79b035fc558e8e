#include "agent/drivers/check_driver.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace agent::drivers {
namespace {

/// Best first; what is not known is worse than what is only not at its best, and better than what is known to be bad.
int badness(InstanceHealth health) {
  switch (health) {
    case InstanceHealth::kPassing: return 0;
    case InstanceHealth::kDegraded: return 1;
    case InstanceHealth::kUnknown: return 2;
    case InstanceHealth::kCritical: return 3;
    case InstanceHealth::kGone: return 4;
  }
  return 4;
}

}  // namespace

CheckDriver::CheckDriver(io::Loop& loop, std::vector<CheckSettings> checks, OnChange on_change, std::shared_ptr<ProgramSlots> slots)
    : on_change_(std::move(on_change)) {
  assert(!checks.empty());
  if (slots == nullptr) slots = std::make_shared<ProgramSlots>();
  for (CheckSettings& settings : checks) checks_.push_back(std::make_unique<HealthCheck>(loop, std::move(settings), slots, [this] { settle(); }));
}

CheckDriver::CheckDriver(io::Loop& loop, CheckSettings check, OnChange on_change)
    : CheckDriver(loop, std::vector<CheckSettings>{std::move(check)}, std::move(on_change)) {}

void CheckDriver::start() {
  for (const auto& check : checks_) check->start();
}

void CheckDriver::check_now() {
  for (const auto& check : checks_) check->check_now();
}

const HealthCheck& CheckDriver::worst() const {
  return **std::max_element(checks_.begin(), checks_.end(), [](const auto& a, const auto& b) { return badness(a->health()) < badness(b->health()); });
}

const std::string& CheckDriver::reason() const { return worst().reason(); }

io::TimePoint CheckDriver::well_at() const {
  return (*std::min_element(checks_.begin(), checks_.end(), [](const auto& a, const auto& b) { return a->well_at() < b->well_at(); }))->well_at();
}

std::uint64_t CheckDriver::check_count() const {
  std::uint64_t sum = 0;
  for (const auto& check : checks_) sum += check->check_count();
  return sum;
}

std::uint64_t CheckDriver::failure_count() const {
  std::uint64_t sum = 0;
  for (const auto& check : checks_) sum += check->failure_count();
  return sum;
}

void CheckDriver::settle() {
  const HealthCheck& now = worst();
  if (now.health() == health_) return;
  health_ = now.health();
  on_change_(health_, now.reason());
}

}  // namespace agent::drivers
