#include "agent/primary.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace agent {
namespace {

/// A renewal goes out every lease/3; with more than this many unanswered the oldest can no longer extend anything.
constexpr std::size_t kRenewalsMax = 8;

bool gone(InstanceState state) { return state == InstanceState::kCritical || state == InstanceState::kGone; }

const char* describe(InstanceState state) {
  switch (state) {
    case InstanceState::kUnknown: return "instance not checked yet";
    case InstanceState::kPassing: return "instance healthy";
    case InstanceState::kDegraded: return "instance degraded";
    case InstanceState::kCritical: return "instance critical";
    case InstanceState::kGone: return "instance gone";
  }
  return "";
}

}  // namespace

Primary::Primary(PrimaryConfig config, std::function<std::uint64_t(std::uint64_t)> chance)
    : config_(config), chance_(std::move(chance)), retry_pause_(config.retry_min) {
  assert(config_.self != HolderId{} && config_.lease.count() > 0);
}

bool Primary::electable() const {
  return config_.eligible && !draining_ && instance_ == InstanceState::kPassing && trouble_.empty();
}

void Primary::on_trouble(TimePoint now, std::string trouble) {
  if (trouble == trouble_) return;
  trouble_ = std::move(trouble);
  if (!trouble_.empty()) give_up(now, trouble_, false);
  consider(now);
}

void Primary::give_up(TimePoint now, const std::string& reason, bool wait_for_orders) {
  if (phase_ == Phase::kHolding || phase_ == Phase::kYielding) begin_yield(now, reason, wait_for_orders);
  else if (phase_ == Phase::kLapsed) send_release(now);
}

void Primary::on_instance(TimePoint now, InstanceState state) {
  if (state == instance_) return;
  instance_ = state;
  if (state != InstanceState::kPassing) give_up(now, describe(state), !gone(state));
  consider(now);
}

void Primary::on_lease(TimePoint now, const LeaseRecord& record) {
  const bool vacant_before = record_.holder == HolderId{};
  record_ = record;
  if (record.holder != HolderId{}) vacant_since_ = TimePoint::max();
  else if (!vacant_before || vacant_since_ == TimePoint::max()) vacant_since_ = now;
  const bool ours = record.holder == config_.self && record.epoch == held_epoch_;
  const bool held = phase_ == Phase::kHolding || phase_ == Phase::kLapsed || phase_ == Phase::kYielding;
  // The state machine is the truth about what is over. An epoch above ours means that somebody, perhaps
  // we ourselves in another process, was elected after us.
  if (held && !ours && record.epoch >= held_epoch_) lose(now, Phase::kIdle, "lease expired");
  if (phase_ == Phase::kReleasing && !ours && record.epoch >= held_epoch_) lose(now, Phase::kIdle, "released");
  consider(now);
}

void Primary::on_answer(TimePoint now, RequestNo request, Answer answer, Epoch epoch) {
  const auto renewal = std::find_if(renewals_.begin(), renewals_.end(),
                                    [&](const SentRenew& sent) { return sent.request == request; });
  if (renewal != renewals_.end()) {
    const TimePoint sent = renewal->sent;
    renewals_.erase(renewal);
    if (answer == Answer::kRefused) {
      lose(now, Phase::kIdle, "renewal refused");
    } else if (answer == Answer::kGranted && phase_ != Phase::kReleasing) {
      extend(sent + config_.lease);
      if (phase_ == Phase::kLapsed && may_write(now)) become_primary(now, "lease revived");
    } else if (answer == Answer::kUnknown) {
      renew_at_ = std::min(renew_at_, now + config_.retry_min);
    }
    consider(now);
    return;
  }
  if (pending_ != request) return;
  pending_.reset();
  if (phase_ == Phase::kAcquiring) {
    phase_ = Phase::kIdle;
    if (answer == Answer::kGranted) {
      held_epoch_ = epoch;
      phase_ = Phase::kLapsed;  // ours by the record; serving only while the period is known to run
      renew_at_ = now;
      retry_pause_ = config_.retry_min;
      if (!electable()) {
        send_release(now);
      } else {
        extend(pending_sent_ + config_.lease);
        if (may_write(now)) become_primary(now, "elected");
      }
    } else {
      back_off(now);
    }
  } else if (phase_ == Phase::kReleasing) {
    if (answer == Answer::kUnknown) {
      back_off(now);
    } else {
      // The record may arrive after this answer; what we know to be over must not be sought again.
      if (record_.holder == config_.self && record_.epoch == held_epoch_) {
        record_.holder = HolderId{};
        record_.preferred = successor_;
        vacant_since_ = now;
      }
      lose(now, Phase::kIdle, "released");
    }
  }
  consider(now);
}

void Primary::on_orders_drained(TimePoint now) {
  if (phase_ == Phase::kYielding) finish_yield(now);
}

void Primary::drain(TimePoint now) {
  draining_ = true;
  if (phase_ == Phase::kHolding) begin_yield(now, "drain", true);
  else if (phase_ == Phase::kLapsed) send_release(now);
}

void Primary::resume(TimePoint now) {
  draining_ = false;
  consider(now);
}

bool Primary::switchover(TimePoint now, HolderId target) {
  if (phase_ != Phase::kHolding) return false;
  successor_ = target;
  abstain_until_ = now + config_.lease + config_.yield_wait;
  begin_yield(now, "switchover", true);
  return true;
}

void Primary::tick(TimePoint now) {
  const bool held = phase_ == Phase::kHolding || phase_ == Phase::kYielding;
  if (held && !may_write(now)) {
    // Every other duty waits: nothing may be written under a lease that is over.
    const bool yielding = phase_ == Phase::kYielding;
    lose(now, Phase::kLapsed, "lease ran out");
    if (yielding) send_release(now);
  }
  if (phase_ == Phase::kYielding && now >= yield_deadline_) finish_yield(now);
  if (now >= retry_at_) {
    retry_at_ = TimePoint::max();
    if (phase_ == Phase::kReleasing && !pending_) send_release(now);
  }
  consider(now);
  const bool renewing = phase_ == Phase::kHolding || phase_ == Phase::kLapsed || phase_ == Phase::kYielding;
  if (renewing && now >= renew_at_) send_renew(now);
}

TimePoint Primary::next_deadline() const {
  TimePoint at = std::min(retry_at_, yield_deadline_);
  if (phase_ == Phase::kHolding || phase_ == Phase::kYielding) at = std::min(at, valid_until_);
  if (phase_ == Phase::kHolding || phase_ == Phase::kLapsed || phase_ == Phase::kYielding) at = std::min(at, renew_at_);
  if (phase_ == Phase::kIdle && electable() && record_.holder == HolderId{} && vacant_since_ != TimePoint::max()) {
    TimePoint open = vacant_since_ + config_.acquire_delay;
    if (record_.preferred != HolderId{} && record_.preferred != config_.self) open = vacant_since_ + config_.lease;
    at = std::min(at, std::max(open, abstain_until_));
    if (retry_at_ != TimePoint::max()) at = std::max(at, retry_at_);
  }
  return at;
}

std::vector<PrimaryOutput> Primary::take_output() { return std::exchange(output_, {}); }

bool Primary::vacancy_is_ours(TimePoint now) const {
  if (record_.holder == config_.self) return true;  // an earlier process of ours, or an acquire whose answer was lost
  if (record_.holder != HolderId{} || vacant_since_ == TimePoint::max() || now < abstain_until_) return false;
  if (record_.preferred == config_.self) return true;
  if (record_.preferred != HolderId{}) return now >= vacant_since_ + config_.lease;
  return now >= vacant_since_ + config_.acquire_delay;
}

void Primary::consider(TimePoint now) {
  if (phase_ != Phase::kIdle || pending_ || retry_at_ != TimePoint::max()) return;
  if (electable() && vacancy_is_ours(now)) {
    send_acquire(now);
  } else if (!electable() && record_.holder == config_.self) {
    held_epoch_ = record_.epoch;  // a lease of ours that we cannot use: give it back rather than let it run out
    send_release(now);
  }
}

void Primary::send_acquire(TimePoint now) {
  phase_ = Phase::kAcquiring;
  pending_ = next_request();
  pending_sent_ = now;
  output_.push_back(Acquire{*pending_});
}

void Primary::send_renew(TimePoint now) {
  const RequestNo request = next_request();
  if (renewals_.size() == kRenewalsMax) renewals_.pop_front();
  renewals_.push_back({request, now});
  renew_at_ = now + config_.lease / 3;
  output_.push_back(Renew{request, held_epoch_});
}

void Primary::send_release(TimePoint now) {
  if (valid_until_ != TimePoint::min()) output_.push_back(CloseGate{});
  phase_ = Phase::kReleasing;
  valid_until_ = TimePoint::min();
  renewals_.clear();
  renew_at_ = TimePoint::max();
  retry_at_ = TimePoint::max();
  pending_ = next_request();
  pending_sent_ = now;
  output_.push_back(Release{*pending_, held_epoch_, successor_});
}

void Primary::begin_yield(TimePoint now, const std::string& reason, bool wait_for_orders) {
  if (phase_ == Phase::kYielding) {
    if (!wait_for_orders) finish_yield(now);
    return;
  }
  phase_ = Phase::kYielding;
  output_.push_back(RoleChange{Role::kPrimary, held_epoch_, false, reason});
  if (!wait_for_orders || config_.yield_wait.count() == 0) {
    finish_yield(now);
    return;
  }
  yield_deadline_ = now + config_.yield_wait;
  output_.push_back(DrainOrders{});
}

void Primary::finish_yield(TimePoint now) {
  const Epoch epoch = held_epoch_;
  lose(now, Phase::kReleasing, "yielded");
  held_epoch_ = epoch;
  send_release(now);
}

void Primary::become_primary(TimePoint, const std::string& reason) {
  phase_ = Phase::kHolding;
  role_ = Role::kPrimary;
  output_.push_back(RoleChange{Role::kPrimary, held_epoch_, true, reason});
}

void Primary::lose(TimePoint, Phase next, const std::string& reason) {
  const bool had_gate = valid_until_ != TimePoint::min();
  const Epoch epoch = held_epoch_;
  valid_until_ = TimePoint::min();
  yield_deadline_ = TimePoint::max();
  if (had_gate) output_.push_back(CloseGate{});
  if (role_ == Role::kPrimary) {
    role_ = Role::kStandby;
    output_.push_back(RoleChange{Role::kStandby, epoch, false, reason});
  }
  phase_ = next;
  if (next == Phase::kIdle) {
    held_epoch_ = Epoch{};
    renewals_.clear();
    renew_at_ = TimePoint::max();
    retry_at_ = TimePoint::max();
    retry_pause_ = config_.retry_min;
    pending_.reset();
    successor_ = HolderId{};
  }
}

void Primary::extend(TimePoint valid_until) {
  if (valid_until <= valid_until_) return;
  valid_until_ = valid_until;
  output_.push_back(OpenGate{held_epoch_, valid_until});
}

void Primary::back_off(TimePoint now) {
  const auto pause = static_cast<std::uint64_t>(retry_pause_.count());
  retry_at_ = now + retry_pause_ / 2 + Milliseconds(static_cast<std::int64_t>(chance_(pause / 2 + 1)));
  retry_pause_ = std::min(retry_pause_ * 2, config_.retry_max);
}

}  // namespace agent
