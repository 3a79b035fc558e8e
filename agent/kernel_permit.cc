#include "agent/kernel_permit.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "agent/io/clock.h"

namespace agent {
namespace {

constexpr Milliseconds kLapsedLook{20};  // a lapsed lease may be revived under the same view: it has that as an atomic, and nobody tells us

std::int64_t ms_of(TimePoint time) { return std::chrono::duration_cast<Milliseconds>(time.time_since_epoch()).count(); }

}  // namespace

KernelPermit::KernelPermit(io::Loop& loop, KernelPermitConfig config, Milliseconds lease, Log log)
    : loop_(loop), config_(std::move(config)), log_(std::move(log)), core_(io::boottime_now(), lease), timer_(loop, [this] { look(); }) {}

void KernelPermit::follow(const proxy::PrimaryView& view) {
  view_ = view;
  look();
}

void KernelPermit::shut(std::function<void()> done) {
  on_shut_ = std::move(done);
  look();
}

KernelPermit::State KernelPermit::state() const {
  State state = state_;
  state.granted = core_.granted(io::boottime_now());
  return state;
}

std::optional<HeldLease> KernelPermit::held(TimePoint now) const {
  const bool holds = view_.holder == proxy::PrimaryView::Holder::kLocal && view_.lease != nullptr && view_.lease->valid_at(now);
  if (!holds) return std::nullopt;
  return HeldLease{Epoch{static_cast<std::uint64_t>(view_.epoch)}, view_.lease->valid_until()};
}

void KernelPermit::look() {
  const TimePoint now = io::boottime_now();
  const auto lease = held(now);
  if (lease) on_shut_ = nullptr;
  // Killed and waited for: its end is behind everything that it did, so the revocation cannot be overtaken.
  if (process_ && !stopping_ && core_.wants_stop(lease)) {
    stopping_ = true;
    process_->kill_group(SIGKILL);
  }
  if (const auto next = core_.next(now, lease)) run(*next);
  TimePoint at = core_.next_deadline(now, lease);
  if (!lease && view_.holder == proxy::PrimaryView::Holder::kLocal) at = std::min(at, now + kLapsedLook);
  if (at == TimePoint::max()) timer_.disarm();
  else timer_.arm(at);
  if (on_shut_ && core_.is_shut(now)) std::exchange(on_shut_, nullptr)();
}

void KernelPermit::run(const PermitRun& run) {
  const bool renew = run.kind == PermitRun::Kind::kRenew;
  const std::int64_t until_ms = renew ? ms_of(run.until) : 0;
  io::ProcessOptions options;
  options.argv = config_.exec;
  options.argv.insert(options.argv.end(), {renew ? "renew" : "revoke", std::to_string(until_ms), std::to_string(static_cast<std::uint64_t>(run.epoch)),
                                           std::to_string(renew ? until_ms - ms_of(io::boottime_now()) : 0)});
  options.deadline = config_.timeout;
  options.output_bytes_max = 4096;
  auto process = io::Process::spawn(loop_, options, [this, kind = run.kind](const io::ProcessExit& exit) { ended(kind, exit); });
  if (process) {
    process_ = std::move(*process);
    return;
  }
  core_.ended(io::boottime_now(), false);
  failed(process.error().detail);
}

void KernelPermit::ended(PermitRun::Kind kind, const io::ProcessExit& exit) {
  const std::unique_ptr<io::Process> done = std::move(process_);
  const bool stopped = std::exchange(stopping_, false) && !exit.ok();
  core_.ended(io::boottime_now(), exit.ok(), stopped);
  if (exit.ok()) {
    if (kind == PermitRun::Kind::kRenew) ++state_.renewed;
    state_.fault.clear();
    if (std::exchange(told_fault_, false)) log_("kernel_permit", "the program works again", false);
  } else if (!stopped) {
    failed(exit.deadline_passed ? "the program took longer than kernel_permit.timeout"
                                : "exit code " + std::to_string(exit.exit_code) + ": " + exit.standard_error.substr(0, 200));
  }
  look();
}

void KernelPermit::failed(const std::string& fault) {
  ++state_.failed;
  state_.fault = fault;
  if (!std::exchange(told_fault_, true)) log_("kernel_permit_failed", fault, true);
}

}  // namespace agent
