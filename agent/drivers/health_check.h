#pragma once
/// One health check of one place: over HTTP, by a TCP connection, or by a program; judged, repeated, and made at once when
/// something looks wrong.
///
/// An HTTP check keeps one connection open between runs. The kernel closes it when the process dies, so a crash
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
#include <utility>
#include <vector>

#include "agent/drivers/app_fields.h"
#include "agent/drivers/http_client.h"
#include "agent/drivers/json_assert.h"
#include "agent/io/address.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/process.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/tls_stream.h"
#include "agent/io/timer.h"
#include "proxy/health.h"

namespace agent::drivers {

enum class CheckKind : std::uint8_t {
  kHttp,
  kTcp,      ///< a connection can be opened
  kProgram,  ///< exit code 0: well, 1: degraded, anything else, a signal or no end in time: failed
};

struct CheckSettings {
  CheckKind kind = CheckKind::kHttp;
  io::Address address;
  std::string host;                          ///< Host field
  std::string path = "/health";
  std::vector<std::pair<int, int>> expect{{200, 299}};  ///< statuses that are good, both ends included
  std::vector<std::string> argv{};           ///< kProgram
  std::vector<std::pair<std::string, std::string>> env{};  ///< added to the agent's own
  io::Milliseconds every{1000};
  io::Milliseconds timeout{500};             ///< connect and whole answer; a program's process group is killed then
  std::string preface{};                     ///< kHttp: bytes that begin each connection, before TLS
  std::shared_ptr<const io::TlsContext> tls{};  ///< null = plain
  std::string server_name{};                 ///< that the instance's certificate must carry where `tls` verifies
  std::uint32_t fall = 3, rise = 2;          ///< see proxy::HealthTracker
  bool fields = false;                       ///< kHttp: numbers and booleans of the answer are kept, see fields()
  std::vector<JsonAssert> asserts;           ///< one that does not hold makes the instance degraded
  std::vector<JsonAssert> critical_asserts;  ///< one that does not hold makes the check fail
  /// Uniform number below its argument: runs are up to a tenth of `every` early or late, so that agents do not come all at
  /// once. Empty = on time.
  std::function<std::uint64_t(std::uint64_t)> chance{};
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
[[nodiscard]] Verdict judge_exit(const io::ProcessExit& exit, const CheckSettings& settings);

/// Programs that checks run at a time, shared by all checks of an agent; a check that finds no room comes again soon.
struct ProgramSlots {
  static constexpr std::size_t kMax = 8;
  std::size_t running = 0;
};

/// Ownership: of whoever puts checks together (check_driver); destruction stops it, kills a program that runs. Thread: its loop's.
class HealthCheck final : private io::StreamSink {
 public:
  static constexpr io::Milliseconds kQuickInterval{200};  ///< between checks while the last ones contradict the state
  static constexpr io::Milliseconds kAlarmPause{10};      ///< after the first false alarm; doubles with each further one
  static constexpr io::Milliseconds kNoRoomPause{50};     ///< until a program is tried again that found no slot
  static constexpr std::size_t kOutputBytesMax = 4096;    ///< kept of what a program says
  static constexpr std::size_t kReasonBytesMax = 200;     ///< of those, told

  /// @param slots      shared by all; never null
  /// @param on_change  after every change of `health()`; must not destroy the check
  HealthCheck(io::Loop& loop, CheckSettings settings, std::shared_ptr<ProgramSlots> slots, std::function<void()> on_change);
  ~HealthCheck() override;
  HealthCheck(const HealthCheck&) = delete;
  HealthCheck& operator=(const HealthCheck&) = delete;
  void start();
  /// Live traffic had trouble: check at once instead of at the next turn.
  void check_now();
  [[nodiscard]] InstanceHealth health() const { return health_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] io::TimePoint well_at() const { return well_at_; }  ///< the last run that went well; long ago = none
  [[nodiscard]] const AppFields& fields() const { return fields_; }  ///< of the last answer; empty when there was none
  [[nodiscard]] std::uint64_t check_count() const { return check_count_; }
  [[nodiscard]] std::uint64_t failure_count() const { return failure_count_; }

 private:
  void on_due();
  void run_http();
  void run_program();
  void on_kept_closed();
  void on_open() override;
  void on_read(std::span<const std::byte>) override {}
  void on_end() override {}
  void on_error(const io::Error& error) override;
  /// @param answered  the other side has said something, however bad
  void settle(Verdict verdict, bool answered);
  [[nodiscard]] bool busy() const { return client_.busy() || stream_ != nullptr || process_ != nullptr; }
  [[nodiscard]] io::Milliseconds pause(bool contradicts) const;

  io::Loop& loop_;
  CheckSettings settings_;
  std::shared_ptr<ProgramSlots> slots_;
  std::function<void()> on_change_;
  io::TlsOffload handshakes_;
  HttpClient client_;
  std::unique_ptr<io::TcpStream> stream_;  // kTcp, while it connects
  std::unique_ptr<io::Process> process_;   // kProgram, while it runs; holds a slot
  io::Timer timer_;
  proxy::HealthTracker tracker_;
  InstanceHealth health_ = InstanceHealth::kUnknown;
  std::string reason_;
  AppFields fields_;
  io::TimePoint well_at_{};
  std::uint64_t check_count_ = 0, failure_count_ = 0;
  bool kept_closed_ = false;        // the kept connection was closed since the last answer
  std::uint32_t false_alarms_ = 0;  // in a row: it was closed, and the instance was well
  bool again_ = false;  // trouble was reported while a check ran
};

}  // namespace agent::drivers
