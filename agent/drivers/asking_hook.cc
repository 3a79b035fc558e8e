#include "agent/drivers/asking_hook.h"

#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kReasonBytesMax = 256;

std::string why(const io::ProcessExit& exit) {
  std::string text = exit.deadline_passed ? "killed at its deadline"
                     : exit.signal_number != 0 ? "ended by signal " + std::to_string(exit.signal_number)
                                               : "exit code " + std::to_string(exit.exit_code);
  if (!exit.standard_error.empty()) text += ": " + exit.standard_error.substr(0, kReasonBytesMax);
  return text;
}

}  // namespace

void AskingHook::ask(std::string json, std::vector<std::pair<std::string, std::string>> environment, io::Milliseconds most, Done done) {
  drop();
  done_ = std::move(done);
  if (target_.exec.empty()) {
    client_ = std::make_unique<HttpClient>(loop_, target_.address, target_.host);
    client_->request("POST", target_.path, {{"Content-Type", "application/json"}}, json, io::boottime_now() + most, [this](io::Result<HttpAnswer> answer) {
      if (!answer) return finish(false, answer.error().detail);
      const bool good = answer->status >= 200 && answer->status < 300;
      finish(good, good ? std::move(answer->body) : "status " + std::to_string(answer->status) + (answer->body.empty() ? "" : ": " + answer->body.substr(0, kReasonBytesMax)));
    });
    return;
  }
  io::ProcessOptions options;
  options.argv = target_.exec;
  options.env_add = std::move(environment);
  options.stdin_bytes = std::move(json);
  options.deadline = most;
  options.output_bytes_max = answer_bytes_max_;
  auto process = io::Process::spawn(loop_, options, [this](io::ProcessExit exit) {
    if (exit.ok() && exit.output_cut) return finish(false, "more output than " + std::to_string(answer_bytes_max_) + " bytes");
    exit.ok() ? finish(true, std::move(exit.standard_output)) : finish(false, why(exit));
  });
  if (process) {
    process_ = std::move(*process);
    return;
  }
  failed_ = std::make_unique<io::Deferral>(loop_, [this, detail = process.error().detail] { finish(false, detail); });
  failed_->schedule();
}

void AskingHook::drop() {
  done_ = nullptr;
  process_.reset();
  client_.reset();
  failed_.reset();
}

void AskingHook::finish(bool ok, std::string text) {
  const Done done = std::exchange(done_, nullptr);
  if (done) done(ok, std::move(text));
}

}  // namespace agent::drivers
