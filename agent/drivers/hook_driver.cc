#include "agent/drivers/hook_driver.h"

#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kReportBytesMax = 256;

std::string describe(const io::ProcessExit& exit) {
  std::string text;
  if (exit.deadline_passed) text = "killed at its deadline";
  else if (exit.signal_number != 0) text = "ended by signal " + std::to_string(exit.signal_number);
  else text = "exit code " + std::to_string(exit.exit_code);
  if (!exit.standard_error.empty()) text += ": " + exit.standard_error.substr(0, kReportBytesMax);
  return text;
}

}  // namespace

io::Result<HookTarget> parse_hook_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    return io::fail(io::Errc::kInvalidArgument, "hook url \"" + std::string(url) + "\" must start with http://");
  }
  const std::string_view rest = url.substr(kScheme.size());
  const std::size_t slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  auto address = io::Address::parse(authority);
  if (!address) return tl::make_unexpected(address.error());
  HookTarget target;
  target.address = *address;
  target.host = std::string(authority);
  target.path = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  return target;
}

HookDriver::HookDriver(io::Loop& loop, io::Milliseconds timeout, std::function<void(const HookReport&)> on_report)
    : loop_(loop), timeout_(timeout), on_report_(std::move(on_report)), next_(loop, [this] { begin(); }) {}

void HookDriver::call(HookCall call) {
  waiting_ = std::move(call);
  if (!running_) next_.schedule();
}

void HookDriver::begin() {
  process_.reset();
  client_.reset();
  if (running_ || !waiting_) return;
  running_ = std::exchange(waiting_, std::nullopt);
  started_ = io::boottime_now();
  if (!running_->target.exec.empty()) {
    io::ProcessOptions options;
    options.argv = running_->target.exec;
    options.env_add = running_->environment;
    options.stdin_bytes = running_->json;
    options.deadline = timeout_;
    auto process = io::Process::spawn(loop_, options, [this](io::ProcessExit exit) { finish(exit.ok(), describe(exit)); });
    if (process) process_ = std::move(*process);
    else finish(false, process.error().detail);
    return;
  }
  client_ = std::make_unique<HttpClient>(loop_, running_->target.address, running_->target.host);
  client_->request("POST", running_->target.path, {{"Content-Type", "application/json"}}, running_->json,
                   started_ + timeout_, [this](io::Result<HttpAnswer> answer) {
                     if (!answer) return finish(false, answer.error().detail);
                     finish(answer->status >= 200 && answer->status < 300, "status " + std::to_string(answer->status));
                   });
}

void HookDriver::cut_off(std::string_view why) {
  next_.cancel();
  process_.reset();
  client_.reset();
  auto running = std::exchange(running_, std::nullopt), waiting = std::exchange(waiting_, std::nullopt);
  const auto took = std::chrono::duration_cast<io::Milliseconds>(io::boottime_now() - started_);
  if (running) on_report_({running->name, false, "cut off: " + std::string(why), took});
  if (waiting) on_report_({waiting->name, false, "cut off before it was begun: " + std::string(why), io::Milliseconds(0)});
}

void HookDriver::finish(bool ok, std::string detail) {
  const HookReport report{running_->name, ok, std::move(detail),
                          std::chrono::duration_cast<io::Milliseconds>(io::boottime_now() - started_)};
  running_.reset();
  next_.schedule();  // the process or client that reports is not destroyed inside its own callback
  on_report_(report);
}

}  // namespace agent::drivers
