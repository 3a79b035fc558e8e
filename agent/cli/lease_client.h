#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "agent/cli/session.h"
#include "agent/io/clock.h"

/// Standing for an election as a client without an agent of its own, and keeping what was won. Private to cli.
/// Source:    leases with fencing epochs (docs: design, section 5): what is held is held from the moment at which the
///            request that won or renewed it was *sent*, for the length of the lease and not a moment longer.
namespace agent::cli {

class LeaseClient {
 public:
  LeaseClient(Session& session, std::string name, std::string holder, std::chrono::milliseconds lease);

  enum class Outcome {
    kWon,
    kHeld,     ///< by another one; `holder_name`
    kRefused,  ///< the agent says no for good; `fault`
    kUnknown,  ///< no answer, or none that decides; try again
  };
  Outcome campaign();
  /// Waits until the election's state changes, at most `for_at_most`.
  void await_change(std::chrono::milliseconds for_at_most);
  /// kWon: prolonged. kHeld: it is lost. kUnknown: it still runs until valid_until().
  Outcome renew();
  void resign();

  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] io::TimePoint valid_until() const { return valid_until_; }
  [[nodiscard]] const std::string& holder_name() const { return other_; }  ///< after kHeld
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  Outcome order(const std::string& what, std::chrono::milliseconds timeout);

  Session& session_;
  std::string name_, holder_;
  std::chrono::milliseconds lease_;
  std::uint64_t epoch_ = 0;
  io::TimePoint valid_until_{};
  std::string other_, fault_;
};

/// "box-4711-8c1f...", at most 64 bytes: who stands for an election from this call on. Another one with every call, since
/// containers may well share host name and process id, and one name means one holder: it is granted anew without waiting.
[[nodiscard]] std::string default_holder(const Session& session);

/// Milliseconds until one who holds a lease has to begin to stop, renew, and so on.
struct LeaseTimes {
  std::chrono::milliseconds renew_every, stop_before;
};
[[nodiscard]] LeaseTimes lease_times(std::chrono::milliseconds lease);

}  // namespace agent::cli
