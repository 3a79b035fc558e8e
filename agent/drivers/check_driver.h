#pragma once
/// The health of one place (the instance of this agent, an endpoint of a pool) from one or several checks: the worst of them.
///
/// A place where nobody listens is gone whatever else is well; as long as one check has not come to a result yet, and
/// none is bad, the whole is unknown.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/drivers/health_check.h"

namespace agent::drivers {

/// Ownership: a member of the agent, or of its pools; destruction stops it. Thread: its loop's.
class CheckDriver {
 public:
  using OnChange = std::function<void(InstanceHealth, const std::string& reason)>;
  /// @param checks     at least one
  /// @param on_change  after every change of `health()`; must not destroy the driver
  CheckDriver(io::Loop& loop, std::vector<CheckSettings> checks, OnChange on_change, std::shared_ptr<ProgramSlots> slots = nullptr);
  CheckDriver(io::Loop& loop, CheckSettings check, OnChange on_change);
  void start();
  /// Live traffic had trouble: every check is made at once instead of at its next turn.
  void check_now();
  [[nodiscard]] InstanceHealth health() const { return health_; }
  [[nodiscard]] const std::string& reason() const;  ///< of the worst check
  /// When the last of all checks had gone well; long ago = not all have.
  [[nodiscard]] io::TimePoint well_at() const;
  [[nodiscard]] const AppFields& fields() const { return checks_.front()->fields(); }  ///< of the first check
  [[nodiscard]] std::uint64_t check_count() const;    ///< of all checks
  [[nodiscard]] std::uint64_t failure_count() const;

 private:
  [[nodiscard]] const HealthCheck& worst() const;
  void settle();

  OnChange on_change_;
  std::vector<std::unique_ptr<HealthCheck>> checks_;
  InstanceHealth health_ = InstanceHealth::kUnknown;
};

}  // namespace agent::drivers
