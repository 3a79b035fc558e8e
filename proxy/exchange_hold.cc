// Waiting for a primary, and for one that may be given orders.
#include <algorithm>
#include <cassert>

#include "proxy/exchange.h"

namespace proxy {
namespace {

constexpr std::string_view kNotArmed = "not-armed", kNotArmedHere = "not_armed";
constexpr Milliseconds kAskAgain{1000};  // what clients are told

}  // namespace

void Exchange::hold() {
  if (look_before_hold()) return;
  const Milliseconds hold_time = route_->hold;
  phase_ = Phase::kHeld;
  if (held_since_ == TimePoint{}) {
    ++core_.counters.held;
    hold_deadline_ = core_.now + hold_time;
  }
  held_since_ = core_.now;
  note_held();
  held_bytes_ = head_.size() + kept_.size();
  ServiceState& service = *service_;
  const bool room = service.held_count < core_.settings.hold_count_max &&
                    service.held_bytes + held_bytes_ <= core_.settings.hold_bytes_max;
  if (!room || hold_deadline_ <= core_.now || core_.draining) {
    phase_ = Phase::kNew;
    if (room) return reply_not_taken();
    ++core_.counters.held_refused;
    reply(503, "hold_queue_full", "too many requests wait for a primary", "try again with the same order key", Outcome::kNotSent, Milliseconds{1000});
    return;
  }
  service.held.push_back(service_link);
  ++service.held_count;
  service.held_bytes += held_bytes_;
  ++core_.counters.held_now;
  core_.counters.held_bytes_now += held_bytes_;
  // The view may be ahead of the holder, or behind it: ask again, soon at first.
  const bool known = service.view.holder != PrimaryView::Holder::kNone;
  const Settings& settings = core_.settings;
  dispatch_pause_ = std::clamp(dispatch_pause_ * 2, settings.dispatch_retry_min, settings.dispatch_retry_max);
  retry_at_ = known ? core_.now + dispatch_pause_ : TimePoint::max();
  arm_timer();
}

void Exchange::leave_hold() {
  assert(phase_ == Phase::kHeld);
  service_link.unlink();
  --service_->held_count;
  service_->held_bytes -= held_bytes_;
  --core_.counters.held_now;
  core_.counters.held_bytes_now -= held_bytes_;
  held_bytes_ = 0;
  held_time_ += core_.now - held_since_;
  phase_ = Phase::kNew;
}

void Exchange::dispatch_held() {
  leave_hold();
  dispatch();
  if (phase_ != Phase::kOver && down_ != nullptr) down_->update_reading();
}

// ---- one that may not be given orders yet ----

// It may make the instance act: so it waits until the primary is armed. A tunnel may carry anything.
bool Exchange::is_for_armed() const { return !http1::is_safe(method_) || upgrade_; }

bool Exchange::waits_for_arming() const {
  const PrimaryView& view = service_->view;
  return view.holder == PrimaryView::Holder::kLocal && !view.armed && is_for_armed();
}

// The entry holds it, and has to be able to say why.
void Exchange::refuse_unarmed_to_peer() {
  ++core_.counters.peer_refusals_sent;
  early_text_ = kNotArmed;
  early_text_ += ": ";
  early_text_.append(service_->view.unarmed_reason, 0, kUnarmedReasonMax);
  make_plain(early_text_);
  LocalReply answer;
  answer.status = 421;
  answer.code = kNotArmed;
  answer.refused = early_text_;
  answer.outcome = name_of(Outcome::kNotSent);
  send_reply(answer);
}

// @param field  value of kRefusedField
void Exchange::note_refusal(std::string_view field) {
  unarmed_there_.clear();
  rules_differ_there_ = field == kOrderRulesDiffer;
  may_be_reserved_there_ = may_be_reserved_there_ || !rules_differ_there_;  // those are told before anything is reserved
  if (!field.starts_with(kNotArmed)) return;
  field.remove_prefix(std::min(kNotArmed.size() + 2, field.size()));
  unarmed_there_ = field.empty() ? "no reason is given" : field.substr(0, kUnarmedReasonMax);
  make_plain(unarmed_there_);
}

void Exchange::reply_not_taken() {
  if (look_again()) return;
  if (rules_differ_there_ && service_->view.holder == PrimaryView::Holder::kPeer) {
    ++core_.counters.orders_rules_differ;
    return reply(503, "order_rules_differ", "the agent of the primary has other settings for the keys of these orders, or none; nothing was sent",
                 "give all agents the same routes (idempotency: key and zone), then try again with the same order key", Outcome::kNotSent, kAskAgain);
  }
  const bool here = waits_for_arming();
  if (!here && (unarmed_there_.empty() || service_->view.holder != PrimaryView::Holder::kPeer)) {
    const bool none = service_->view.holder == PrimaryView::Holder::kNone;
    return reply(503, "no_primary", none ? "the service has no primary at the moment" : "no primary could take this request in time",
                 "try again with the same order key", Outcome::kNotSent, kAskAgain);
  }
  ++core_.counters.orders_not_armed;
  early_text_ = "the primary may not be given orders yet: ";
  early_text_.append(here ? service_->view.unarmed_reason : unarmed_there_, 0, kUnarmedReasonMax);
  make_plain(early_text_);
  reply(503, kNotArmedHere, early_text_, "try again with the same order key, or see what the primary waits for", Outcome::kNotSent, kAskAgain);
}

}  // namespace proxy
