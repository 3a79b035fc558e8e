#pragma once
/// Health checks of the local instance: asks it over HTTP, judges the answer, and notices at once when its process
/// is gone.
///
/// Between checks one connection to the instance stays open. The kernel closes it when the process dies, so a crash
/// is seen within a millisecond and not at the next check; a refused connect after that is conclusive. The close alone says
/// nothing: servers close idle connections too. Each time that a check finds such a server well, the next close is
/// looked into later, up to `every`; a connection that lasts from one check to the next ends that. A process that
/// hangs keeps the connection open and is found by time-outs, `fall` of them in a row, asked for in quick succession
/// after the first.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/http_client.h"
#include "agent/drivers/json_assert.h"
#include "agent/io/address.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/tls_stream.h"
#include "agent/io/timer.h"
#include "proxy/health.h"

namespace agent::drivers {

struct CheckSettings {
  io::Address address;
  std::string host;                          ///< Host field
  std::string path = "/health";
  io::Milliseconds every{1000};
  io::Milliseconds timeout{500};             ///< connect and whole answer
  std::string preface{};                     ///< bytes that begin each connection, before TLS
  std::shared_ptr<const io::TlsContext> tls{};  ///< null = plain
  std::string server_name{};                 ///< that the instance's certificate must carry where `tls` verifies
  std::uint32_t fall = 3, rise = 2;          ///< see proxy::HealthTracker
  std::vector<JsonAssert> asserts;           ///< one that does not hold makes the instance degraded
  std::vector<JsonAssert> critical_asserts;  ///< one that does not hold makes the check fail
};

/// What the checks have come to.
enum class InstanceHealth : std::uint8_t { kUnknown, kPassing, kDegraded, kCritical, kGone };
[[nodiscard]] std::string_view name_of(InstanceHealth health);

/// What one answer means. Pure, so that it can be tested without a socket.
struct Verdict {
  proxy::CheckResult result = proxy::CheckResult::kFailed;
  std::string reason;  ///< for people; empty when all is well
};
[[nodiscard]] Verdict judge(const io::Result<HttpAnswer>& answer, const CheckSettings& settings);

/// Ownership: a member of the agent; destruction stops it. Thread: its loop's.
class CheckDriver {
 public:
  static constexpr io::Milliseconds kQuickInterval{200};  ///< between checks while the last ones contradict the state
  static constexpr io::Milliseconds kAlarmPause{10};      ///< after the first false alarm; doubles with each further one

  /// @param on_change  after every change of `health()`; must not destroy the driver
  CheckDriver(io::Loop& loop, CheckSettings settings, std::function<void(InstanceHealth, const std::string& reason)> on_change);
  void start();
  /// Live traffic had trouble: check at once instead of at the next turn.
  void check_now();
  [[nodiscard]] InstanceHealth health() const { return health_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] std::uint64_t check_count() const { return check_count_; }
  [[nodiscard]] std::uint64_t failure_count() const { return failure_count_; }

 private:
  void on_due();
  void on_kept_closed();
  void on_answer(const io::Result<HttpAnswer>& answer);

  io::Loop& loop_;
  CheckSettings settings_;
  std::function<void(InstanceHealth, const std::string&)> on_change_;
  io::TlsOffload handshakes_;
  HttpClient client_;
  io::Timer timer_;
  proxy::HealthTracker tracker_;
  InstanceHealth health_ = InstanceHealth::kUnknown;
  std::string reason_;
  std::uint64_t check_count_ = 0, failure_count_ = 0;
  bool kept_closed_ = false;        // the kept connection was closed since the last answer
  std::uint32_t false_alarms_ = 0;  // in a row: it was closed, and the instance was well
  bool again_ = false;  // trouble was reported while a check ran
};

}  // namespace agent::drivers
