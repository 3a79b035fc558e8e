#include "agent/drivers/check_driver.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

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
  if (answer->status < 200 || answer->status > 299) {
    return {CheckResult::kFailed, settings.path + " answered " + std::to_string(answer->status)};
  }
  if (settings.asserts.empty() && settings.critical_asserts.empty()) return {CheckResult::kOk, {}};
  const nlohmann::json document = nlohmann::json::parse(answer->body, nullptr, false);
  if (document.is_discarded()) return {CheckResult::kFailed, settings.path + " answered a body that is no JSON"};
  if (const auto* broken = first_broken(settings.critical_asserts, document)) return {CheckResult::kFailed, *broken + " does not hold"};
  if (const auto* broken = first_broken(settings.asserts, document)) return {CheckResult::kDegraded, *broken + " does not hold"};
  return {CheckResult::kOk, {}};
}

CheckDriver::CheckDriver(io::Loop& loop, CheckSettings settings,
                         std::function<void(InstanceHealth, const std::string&)> on_change)
    : loop_(loop),
      settings_(std::move(settings)),
      on_change_(std::move(on_change)),
      handshakes_(loop, 1),
      client_(loop, settings_.address, settings_.host),
      timer_(loop, [this] { on_due(); }),
      tracker_(settings_.rise, settings_.fall, proxy::Health::kCritical) {
  client_.set_on_idle_closed([this] { on_kept_closed(); });
  client_.begin_with(settings_.preface);
  if (settings_.tls) client_.use_tls(settings_.tls, settings_.server_name, &handshakes_);
}

void CheckDriver::start() { timer_.arm(io::boottime_now()); }

void CheckDriver::check_now() {
  if (client_.busy()) again_ = true;
  else timer_.arm(io::boottime_now());
}

void CheckDriver::on_kept_closed() {
  kept_closed_ = true;
  if (false_alarms_ == 0) return check_now();
  const io::Milliseconds pause = kAlarmPause * (1U << std::min(false_alarms_ - 1, 10U));
  const io::TimePoint soon = io::boottime_now() + std::min(pause, settings_.every);
  if (!timer_.armed() || soon < timer_.deadline()) timer_.arm(soon);
}

void CheckDriver::on_due() {
  if (client_.busy()) return;
  again_ = false;
  ++check_count_;
  static const std::vector<proxy::http1::TextHeader> kHeaders{{"User-Agent", "outrigger-check"}, {"Accept", "application/json"}};
  client_.request("GET", settings_.path, kHeaders, {}, io::boottime_now() + settings_.timeout,
                  [this](io::Result<HttpAnswer> answer) { on_answer(answer); });
}

void CheckDriver::on_answer(const io::Result<HttpAnswer>& answer) {
  Verdict verdict = judge(answer, settings_);
  if (verdict.result == proxy::CheckResult::kFailed || verdict.result == proxy::CheckResult::kGone) ++failure_count_;
  tracker_.feed(verdict.result);
  const InstanceHealth now = health_of(tracker_.state(), verdict.result);
  const bool contradicts = tracker_.contrary_count() != 0;
  timer_.arm_after(again_ ? io::Milliseconds(0) : contradicts ? std::min(kQuickInterval, settings_.every) : settings_.every);
  reason_ = std::move(verdict.reason);
  const bool alarmed = std::exchange(kept_closed_, false);
  false_alarms_ = alarmed && answer.has_value() ? std::min(false_alarms_ + 1, 16U) : 0;
  const bool good = verdict.result == proxy::CheckResult::kOk || verdict.result == proxy::CheckResult::kDegraded;
  if (now == health_ || (health_ == InstanceHealth::kUnknown && good && contradicts)) return;
  health_ = now;
  on_change_(health_, reason_);
}

}  // namespace agent::drivers
