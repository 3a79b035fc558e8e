#pragma once
/// Runs the checks of the services registered at this agent: HTTP(S), TCP, programs, and TTLs that services keep
/// themselves. When and with what effect is CheckSchedule's; here are the sockets, processes and name look-ups.
///
/// Every run is made from scratch (look-up, connection, request), so that it meets what a new client would meet, and
/// ends at the check's time-out whatever it waits for. Redirects are followed, kRequestsMax requests in all, each with a
/// connection of its own; the verdict is the last answer's. A program runs in a process group of its own that is killed as
/// a whole; nothing of a run blocks the loop.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/check_schedule.h"
#include "agent/drivers/check_url.h"
#include "agent/drivers/http_client.h"
#include "agent/io/address.h"
#include "agent/io/loop.h"
#include "agent/io/process.h"
#include "agent/io/resolver.h"
#include "agent/io/timer.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {

/// What a run of each kind has found. Pure, so that it can be tested without a socket.
struct CheckVerdict {
  CheckState state = CheckState::kCritical;
  std::string output;
};
/// 2xx passing, 429 warning, everything else critical (a redirect that is not followed, too).
[[nodiscard]] CheckVerdict judge_http(const CheckPlan& plan, const io::Result<HttpAnswer>& answer);
/// Exit code 0 passing, 1 warning, everything else critical, as a deadline or a signal is.
[[nodiscard]] CheckVerdict judge_program(const io::ProcessExit& exit);

/// Trust of https checks.
struct CheckTls {
  std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";  ///< where Debian and Ubuntu keep what the system trusts
};

/// What has happened to the runs of HTTP checks.
struct ServiceCheckCounters {
  std::uint64_t redirects = 0;            ///< followed
  std::uint64_t redirect_loops = 0;       ///< refused: more than kRequestsMax requests of one run
  std::uint64_t redirects_refused = 0;    ///< refused: a Location that is none, or of another scheme
  std::uint64_t certificates_refused = 0; ///< the other side's certificate: untrusted, ended, of another name
  std::uint64_t tls_failed = 0;           ///< any other failure of TLS, and no list of trusted authorities here
};

/// All are called on the loop, never inside a call of ours; none may destroy the driver.
struct ServiceChecksCallbacks {
  std::function<void(const std::string& check)> on_changed;  ///< find(check) has a new state
  /// A check has kept its service critical for longer than it may.
  std::function<void(const std::string& service, const std::string& check)> on_deregister;
};

/// Ownership: of the agent; destruction ends every run (programs are killed). Thread: the control loop.
class ServiceChecks {
 public:
  static constexpr std::size_t kBodyBytesKept = CheckSchedule::kOutputBytesMax;
  static constexpr std::size_t kRequestsMax = 10;  ///< of one run, redirects included; what Go's HTTP client allows

  ServiceChecks(io::Loop& loop, CheckTls tls, CheckSchedule::Chance chance, ServiceChecksCallbacks callbacks);
  ~ServiceChecks();
  ServiceChecks(const ServiceChecks&) = delete;
  ServiceChecks& operator=(const ServiceChecks&) = delete;

  /// See CheckSchedule::set.
  void set(std::vector<CheckSchedule::Entry> entries);
  /// See CheckSchedule::update_ttl.
  bool update_ttl(std::string_view id, CheckState state, std::string output);
  [[nodiscard]] const CheckSchedule::State* find(std::string_view id) const { return schedule_.find(id); }
  [[nodiscard]] std::size_t size() const { return schedule_.size(); }
  [[nodiscard]] std::size_t running() const { return schedule_.running(); }
  [[nodiscard]] const ServiceCheckCounters& counters() const { return counters_; }

 private:
  class Runner;
  using RunId = CheckSchedule::RunId;
  void input() { pump_.schedule(); }
  void pump();
  void begin(const CheckSchedule::Run& run);
  void finish(RunId run, CheckVerdict verdict);
  io::Result<std::shared_ptr<const io::TlsContext>> tls_context(bool verify);

  io::Loop& loop_;
  CheckTls tls_;
  ServiceChecksCallbacks callbacks_;
  CheckSchedule schedule_;
  ServiceCheckCounters counters_;
  io::TlsOffload offload_;
  std::shared_ptr<const io::TlsContext> verifying_, trusting_;  // made when first needed
  std::map<std::uint64_t, std::unique_ptr<Runner>> runners_;    // bounded by CheckSchedule::kRunningMax
  std::vector<std::unique_ptr<Runner>> ended_;                  // not destroyed inside their own callbacks
  io::Timer timer_;
  io::Deferral pump_;
};

}  // namespace agent::drivers
