#include "agent/permit.h"

#include <algorithm>

namespace agent {

Permit::Permit(TimePoint now, Milliseconds lease) : lease_(lease), open_until_(now + lease) {}

std::optional<PermitRun> Permit::wanted(const std::optional<HeldLease>& held) const {
  if (held) {
    if (granted_ && held->epoch == epoch_ && held->until <= granted_until_) return std::nullopt;
    return PermitRun{PermitRun::Kind::kRenew, held->epoch, held->until};
  }
  if (open_until_ == TimePoint::min()) return std::nullopt;
  return PermitRun{PermitRun::Kind::kRevoke, epoch_, {}};
}

std::optional<PermitRun> Permit::next(TimePoint now, const std::optional<HeldLease>& held) {
  if (running_) return std::nullopt;
  const auto run = wanted(held);
  if (!run) return std::nullopt;
  // Another kind of run, or one under another epoch, owes nothing to a failure before it.
  if (failed_ && failed_->kind == run->kind && failed_->epoch == run->epoch && now < retry_at_) return std::nullopt;
  if (run->kind == PermitRun::Kind::kRenew) {
    epoch_ = run->epoch;
    open_until_ = std::max(open_until_, run->until);
  }
  running_ = run;
  return run;
}

void Permit::ended(TimePoint now, bool ok, bool stopped) {
  if (!running_) return;
  const PermitRun run = *running_;
  running_.reset();
  if (ok) {
    failed_.reset();
    granted_ = run.kind == PermitRun::Kind::kRenew;
    granted_until_ = run.until;
    if (!granted_) open_until_ = granted_until_ = TimePoint::min();
    return;
  }
  if (stopped) return;
  const bool again = failed_ && failed_->kind == run.kind && failed_->epoch == run.epoch;
  pause_ = again ? std::min(pause_ * 2, std::max(lease_ / 3, kPauseMin)) : kPauseMin;
  retry_at_ = now + pause_;
  failed_ = run;
  if (run.kind == PermitRun::Kind::kRevoke && is_shut(now)) {  // it ran out by itself: there is nothing left to take back
    granted_ = false;
    open_until_ = granted_until_ = TimePoint::min();
  }
}

bool Permit::wants_stop(const std::optional<HeldLease>& held) const { return running_ && running_->kind == PermitRun::Kind::kRenew && !held; }

TimePoint Permit::next_deadline(TimePoint now, const std::optional<HeldLease>& held) const {
  TimePoint at = TimePoint::max();
  if (held) {
    // Often enough that one run may fail, and never for a gain of nothing.
    const auto left = std::chrono::duration_cast<Milliseconds>(held->until - now);
    at = now + std::clamp(left / 3, Milliseconds(20), Milliseconds(5000));
  } else if (open_until_ != TimePoint::min()) {
    at = std::max(open_until_ + kSlack, now + Milliseconds(20));
  }
  const auto run = wanted(held);
  if (!running_ && run && failed_ && failed_->kind == run->kind && failed_->epoch == run->epoch) at = std::min(at, std::max(retry_at_, now));
  return at;
}

}  // namespace agent
