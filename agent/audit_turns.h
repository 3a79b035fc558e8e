#pragma once
/// Who asks for all copies of the audit: one inquiry at a time, so that the signatures which the loop checks in one turn are those
/// of one. Who comes while it runs gets the next one, together with all others who came meanwhile.
/// Thread: the control loop. Bound: kWaitingMax who wait for the next one.

#include <cstddef>
#include <utility>
#include <vector>

#include "agent/api/audit_backend.h"

namespace agent {

class AuditTurns {
 public:
  static constexpr std::size_t kWaitingMax = 16;
  using Done = api::Completion<api::AuditVerdict>;
  enum class Joined : std::uint8_t { kBegins, kWaits, kRefused };

  /// @return kBegins: the inquiry is the caller's to begin; kRefused: `done` was not taken
  Joined join(Done& done) {
    if (asking_.empty()) return asking_.push_back(std::move(done)), Joined::kBegins;
    if (waiting_.size() >= kWaitingMax) return Joined::kRefused;
    return waiting_.push_back(std::move(done)), Joined::kWaits;
  }
  /// The inquiry is over. @return who asked for it; whoever waits has the next one, to be begun now if is_asking()
  [[nodiscard]] std::vector<Done> end() { return std::exchange(asking_, std::exchange(waiting_, {})); }
  [[nodiscard]] bool is_asking() const { return !asking_.empty(); }

 private:
  std::vector<Done> asking_, waiting_;
};

}  // namespace agent
