#include "agent/drivers/health_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/drivers/check_schedule.h"

namespace agent::drivers {
namespace {

const std::string* first_broken(const std::vector<JsonAssert>& asserts, const nlohmann::json& document) {
  for (const JsonAssert& one : asserts) {
    if (!one.holds(document)) return &one.text();
  }
  return nullptr;
}

InstanceHealth health_of(proxy::Health state, proxy::CheckResult newest) {
  switch (state) {
    case proxy::Health::kPassing: return InstanceHealth::kPassing;
    case proxy::Health::kDegraded: return InstanceHealth::kDegraded;
    case proxy::Health::kCritical: break;
  }
  return newest == proxy::CheckResult::kGone ? InstanceHealth::kGone : InstanceHealth::kCritical;
}

bool is_good(proxy::CheckResult result) { return result == proxy::CheckResult::kOk || result == proxy::CheckResult::kDegraded; }

/// The first line of what a program said, cut where no character is split; nothing that a terminal would obey.
std::string first_line(const io::ProcessExit& exit) {
  const std::string& text = exit.standard_output.empty() ? exit.standard_error : exit.standard_output;
  std::string line = cut_output(text.substr(0, text.find('\n')), HealthCheck::kReasonBytesMax, CutEnd::kTail);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line.empty() ? line : ": " + line;
}

}  // namespace

std::string_view name_of(InstanceHealth health) {
  switch (health) {
    case InstanceHealth::kUnknown: return "unknown";
    case InstanceHealth::kPassing: return "passing";
    case InstanceHealth::kDegraded: return "degraded";
    case InstanceHealth::kCritical: return "critical";
    case InstanceHealth::kGone: return "gone";
  }
  return "";
}

Verdict judge(const io::Result<HttpAnswer>& answer, const CheckSettings& settings) {
  using proxy::CheckResult;
  if (!answer) {
    const bool refused = answer.error().code == io::Errc::kRefused || answer.error().code == io::Errc::kNotFound;
    return {refused ? CheckResult::kGone : CheckResult::kFailed, answer.error().detail};
  }
  const auto expected = [&](const std::pair<int, int>& range) { return answer->status >= range.first && answer->status <= range.second; };
  if (std::none_of(settings.expect.begin(), settings.expect.end(), expected)) {
    return {CheckResult::kFailed, settings.path + " answered " + std::to_string(answer->status)};
  }
  if (settings.asserts.empty() && settings.critical_asserts.empty()) return {CheckResult::kOk, {}};
  const nlohmann::json document = nlohmann::json::parse(answer->body, nullptr, false);
  if (document.is_discarded()) return {CheckResult::kFailed, settings.path + " answered a body that is no JSON"};
  if (const auto* broken = first_broken(settings.critical_asserts, document)) return {CheckResult::kFailed, *broken + " does not hold"};
  if (const auto* broken = first_broken(settings.asserts, document)) return {CheckResult::kDegraded, *broken + " does not hold"};
  return {CheckResult::kOk, {}};
}

Verdict judge_exit(const io::ProcessExit& exit, const CheckSettings& settings) {
  using proxy::CheckResult;
  const std::string name = settings.argv.empty() ? std::string() : settings.argv.front();
  if (exit.deadline_passed) return {CheckResult::kFailed, name + " did not end within " + std::to_string(settings.timeout.count()) + " ms and was killed"};
  if (exit.signal_number != 0) return {CheckResult::kFailed, name + " was ended by signal " + std::to_string(exit.signal_number) + first_line(exit)};
  if (exit.exit_code == 0) return {CheckResult::kOk, {}};
  return {exit.exit_code == 1 ? CheckResult::kDegraded : CheckResult::kFailed, name + " exited with " + std::to_string(exit.exit_code) + first_line(exit)};
}

HealthCheck::HealthCheck(io::Loop& loop, CheckSettings settings, std::shared_ptr<ProgramSlots> slots, std::function<void()> on_change)
    : loop_(loop),
      settings_(std::move(settings)),
      slots_(std::move(slots)),
      on_change_(std::move(on_change)),
      handshakes_(loop, 1),
      client_(loop, settings_.address, settings_.host),
      timer_(loop, [this] { on_due(); }),
      tracker_(settings_.rise, settings_.fall, proxy::Health::kCritical) {
  client_.set_on_idle_closed([this] { on_kept_closed(); });
  client_.begin_with(settings_.preface);
  if (settings_.tls) client_.use_tls(settings_.tls, settings_.server_name, &handshakes_);
}

HealthCheck::~HealthCheck() {
  if (process_ != nullptr) --slots_->running;
}

void HealthCheck::start() { timer_.arm(io::boottime_now()); }

void HealthCheck::check_now() {
  if (busy()) again_ = true;
  else timer_.arm(io::boottime_now());
}

void HealthCheck::on_kept_closed() {
  kept_closed_ = true;
  if (false_alarms_ == 0) return check_now();
  const io::Milliseconds pause = kAlarmPause * (1U << std::min(false_alarms_ - 1, 10U));
  const io::TimePoint soon = io::boottime_now() + std::min(pause, settings_.every);
  if (!timer_.armed() || soon < timer_.deadline()) timer_.arm(soon);
}

void HealthCheck::on_due() {
  if (busy()) return;
  again_ = false;
  switch (settings_.kind) {
    case CheckKind::kHttp: return run_http();
    case CheckKind::kProgram: return run_program();
    case CheckKind::kTcp:
      ++check_count_;
      stream_ = io::TcpStream::connect(loop_, settings_.address, io::boottime_now() + settings_.timeout, this);
  }
}

void HealthCheck::run_http() {
  ++check_count_;
  static const std::vector<proxy::http1::TextHeader> kHeaders{{"User-Agent", "outrigger-check"}, {"Accept", "application/json"}};
  client_.request("GET", settings_.path, kHeaders, {}, io::boottime_now() + settings_.timeout, [this](io::Result<HttpAnswer> answer) {
    if (settings_.fields) fields_ = answer ? app_fields_of(answer->body) : AppFields();
    settle(judge(answer, settings_), answer.has_value());
  });
}

void HealthCheck::run_program() {
  if (slots_->running >= ProgramSlots::kMax) return timer_.arm_after(kNoRoomPause);
  ++check_count_;
  io::ProcessOptions options;
  options.argv = settings_.argv;
  options.env_add = settings_.env;
  options.deadline = settings_.timeout;
  options.output_bytes_max = kOutputBytesMax;
  auto process = io::Process::spawn(loop_, options, [this](const io::ProcessExit& exit) {
    --slots_->running;
    const Verdict verdict = judge_exit(exit, settings_);
    process_.reset();
    settle(verdict, true);
  });
  if (!process) return settle({proxy::CheckResult::kFailed, settings_.argv.front() + ": " + process.error().detail}, false);
  ++slots_->running;
  process_ = std::move(*process);
}

void HealthCheck::on_open() {
  stream_.reset();
  settle({proxy::CheckResult::kOk, {}}, true);
}

void HealthCheck::on_error(const io::Error& error) {
  const bool refused = error.code == io::Errc::kRefused || error.code == io::Errc::kNotFound;
  Verdict verdict{refused ? proxy::CheckResult::kGone : proxy::CheckResult::kFailed, "TCP " + settings_.address.to_string() + ": " + error.detail};
  stream_.reset();
  settle(std::move(verdict), false);
}

io::Milliseconds HealthCheck::pause(bool contradicts) const {
  if (again_) return io::Milliseconds(0);
  if (contradicts) return std::min(kQuickInterval, settings_.every);
  if (!settings_.chance || settings_.every.count() < 10) return settings_.every;
  const auto tenth = static_cast<std::uint64_t>(settings_.every.count() / 10);
  return settings_.every - io::Milliseconds(tenth) + io::Milliseconds(settings_.chance(2 * tenth + 1));
}

void HealthCheck::settle(Verdict verdict, bool answered) {
  if (!is_good(verdict.result)) ++failure_count_;
  if (verdict.result == proxy::CheckResult::kOk) well_at_ = io::boottime_now();
  tracker_.feed(verdict.result);
  const InstanceHealth now = health_of(tracker_.state(), verdict.result);
  const bool contradicts = tracker_.contrary_count() != 0;
  timer_.arm_after(pause(contradicts));
  reason_ = std::move(verdict.reason);
  const bool alarmed = std::exchange(kept_closed_, false);
  false_alarms_ = alarmed && answered ? std::min(false_alarms_ + 1, 16U) : 0;
  if (now == health_ || (health_ == InstanceHealth::kUnknown && is_good(verdict.result) && contradicts)) return;
  health_ = now;
  on_change_();
}

}  // namespace agent::drivers
