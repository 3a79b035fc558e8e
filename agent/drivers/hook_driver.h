#pragma once
/// Tells the application about a change of role: runs a program or posts to an HTTP URL, with JSON in.
///
/// One hook runs at a time, in order. While one runs only the newest waiting change is kept: an application that was
/// promoted and demoted during a slow hook hears the demotion, not both. Hooks must be safe to repeat: after a
/// restart of the agent the same role is announced again. A hook that fails or overruns its deadline is reported and
/// not tried again; it never delays the lease. A stop of the agent waits for it while busy() (agent_stop.cc); what is cut off is reported.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/http_client.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/process.h"

namespace agent::drivers {

/// Where one kind of change goes: exactly one of the two is set.
struct HookTarget {
  std::vector<std::string> exec;  ///< argv
  io::Address address;            ///< of the HTTP server
  std::string host, path;         ///< Host field and request target
};

/// One change to be told. `json` is the document for stdin or the request's body; `environment` is added for programs.
struct HookCall {
  HookTarget target;
  std::string name;  ///< "promote" or "demote", for reports
  std::string json;
  std::vector<std::pair<std::string, std::string>> environment;
};

/// How a hook ended.
struct HookReport {
  std::string name;
  bool ok = false;
  std::string detail;  ///< exit code, status or error, with the head of stderr
  io::Milliseconds took{0};
};

/// Ownership: of the agent; destruction kills a running program, without a report. Thread: its loop's.
class HookDriver {
 public:
  HookDriver(io::Loop& loop, io::Milliseconds timeout, std::function<void(const HookReport&)> on_report);
  void call(HookCall call);
  /// One runs, or waits to be begun. For at most the time-out of each: two of them.
  [[nodiscard]] bool busy() const { return running_.has_value() || waiting_.has_value(); }
  /// Ends what runs and forgets what waits; each is reported as failed: "cut off" and `why`. Never call it inside of a report.
  void cut_off(std::string_view why);

 private:
  void begin();
  void finish(bool ok, std::string detail);

  io::Loop& loop_;
  io::Milliseconds timeout_;
  std::function<void(const HookReport&)> on_report_;
  std::optional<HookCall> running_, waiting_;
  io::TimePoint started_{};
  std::unique_ptr<io::Process> process_;
  std::unique_ptr<HttpClient> client_;
  io::Deferral next_;
};

/// Splits "http://host:port/path". Errors: kInvalidArgument (another scheme, a name instead of a number, no port).
[[nodiscard]] io::Result<HookTarget> parse_hook_url(std::string_view url);

}  // namespace agent::drivers
