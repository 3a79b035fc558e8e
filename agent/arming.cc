#include "agent/arming.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace agent {
namespace {

/// The newest orders are shown so that the hook can compare; a day of them would tell it no more.
constexpr std::size_t kRecentPagesMax = 10;
/// Of one page, beside orders: what cannot change anything is not worth more calls. A bit more than a minute with the defaults.
constexpr std::size_t kRecentFailuresMax = 8;
constexpr std::size_t kDetailBytesMax = 240;

std::string count_of(std::uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace

const char* to_string(ArmingPhase phase) {
  switch (phase) {
    case ArmingPhase::kOff: return "off";
    case ArmingPhase::kFenced: return "fenced";
    case ArmingPhase::kReconciling: return "reconciling";
    case ArmingPhase::kWaiting: return "waiting";
    case ArmingPhase::kArmed: return "armed";
  }
  return "";
}

const char* to_string(ArmingMode mode) {
  switch (mode) {
    case ArmingMode::kAuto: return "auto";
    case ArmingMode::kSupervised: return "supervised";
    case ArmingMode::kWhenFlat: return "when_flat";
  }
  return "";
}

const char* to_string(OrderStanding standing) {
  switch (standing) {
    case OrderStanding::kUnknown: return "unknown";
    case OrderStanding::kReserved: return "reserved";
    case OrderStanding::kDone: return "done";
    case OrderStanding::kNotSent: return "not_sent";
  }
  return "";
}

Arming::Arming(const ArmingRules& rules, std::function<std::uint64_t(std::uint64_t)> chance)
    : rules_(rules), chance_(std::move(chance)), retry_pause_(rules.retry_min), look_pause_(rules.look_first), recent_pause_(rules.retry_min) {
  assert(rules_.batch > 0 && (rules_.has_hook || rules_.mode != ArmingMode::kWhenFlat));
}

// --- what happens around ------------------------------------------------------------------------------------------------

void Arming::on_primary(TimePoint now, Epoch epoch) {
  assert(epoch != Epoch{});
  if (epoch == epoch_) return;
  on_standby(now);
  epoch_ = epoch;
  if (epoch != armed_epoch_) {
    recent_due_ = rules_.has_hook;
    recent_bound_ = UINT64_MAX;
    recent_pages_ = recent_failures_ = 0;
    recent_pause_ = rules_.retry_min;
    recent_at_ = TimePoint::min();
  }
  // The lease was late and not lost: nobody else had it, and what was found out and agreed on holds.
  if (epoch == armed_epoch_) return arm("as before a late renewal");
  settled_at_ = now + rules_.settle;
  set(ArmingPhase::kFenced, "the state of the old epoch is awaited");
}

void Arming::on_standby(TimePoint) {
  if (phase_ == ArmingPhase::kOff) return;
  drop_pass();
  epoch_ = Epoch{};
  state_known_ = reconciled_ = false;
  unknown_left_ = 0;
  flat_.reset();
  retry_pause_ = rules_.retry_min;
  look_pause_ = rules_.look_first;
  retry_at_ = look_at_ = TimePoint::max();
  set(ArmingPhase::kOff, "this agent is not primary");
}

void Arming::on_state(TimePoint now, Epoch epoch, std::uint64_t unknown_count) {
  const std::uint64_t before = std::exchange(unknown_count_, unknown_count);
  unknown_left_ = std::min(unknown_left_, unknown_count);
  if (epoch_ == Epoch{} || epoch < epoch_) return;
  state_known_ = true;
  if (phase_ == ArmingPhase::kFenced) return look_at_fence(now);
  if (phase_ == ArmingPhase::kWaiting) evaluate(now);
  if (phase_ != ArmingPhase::kArmed || !rules_.has_hook) return;
  if (unknown_count > before) look_pause_ = rules_.look_first;
  if (unknown_count == 0) {
    look_at_ = TimePoint::max();
    look_pause_ = rules_.look_first;
  } else if (unknown_count > before || ((!pass_ || pass_->recent) && retry_at_ == TimePoint::max() && look_at_ == TimePoint::max())) {
    plan_look(now, look_pause_);  // a new one also while the hook is failing, or is asked about others
  }
  go_on(now);
}

// The old holder's gate was shut before this epoch began, or its lease was over: what its kernel had taken by then arrives meanwhile.
void Arming::look_at_fence(TimePoint now) {
  if (now < settled_at_) return set(ArmingPhase::kFenced, "what the old epoch let out may still be under way");
  set(ArmingPhase::kReconciling, "what the old epoch left open is being found out");
  rules_.has_hook ? begin_pass(now) : static_cast<void>(reconciled_ = true);
  evaluate(now);
}

void Arming::on_approval(TimePoint now, const Approval& approval) {
  if (approval == approval_) return;
  approval_ = approval;  // what the state says now: one of an epoch that is not ours decides nothing
  if (!approved() || phase_ == ArmingPhase::kArmed) return;
  output_.emplace_back(ArmingNews{"arming_approved", "epoch " + std::to_string(static_cast<std::uint64_t>(approval.epoch)) + " by " + approval.who +
                                                         (approval.force ? ", by force" : "")});
  evaluate(now);
}

// --- a pass -------------------------------------------------------------------------------------------------------------

void Arming::begin_pass(TimePoint now) {
  assert(rules_.has_hook && !pass_);
  ++counters_.passes;
  retry_at_ = TimePoint::max();
  pass_.emplace();
  pass_->armed = phase_ == ArmingPhase::kArmed;
  // What is unknown goes first: somebody waits for it.
  pass_->recent = pass_->armed && recent_due_ && recent_at_ <= now && look_at_ > now;
  if (pass_->recent) pass_->bound = recent_bound_;
  else look_at_ = TimePoint::max();
  read_page();
}

/// Armed, and nothing is asked: whatever is due.
void Arming::go_on(TimePoint now) {
  if (phase_ != ArmingPhase::kArmed || !rules_.has_hook || !state_known_ || pass_) return;
  const bool recent = recent_due_ && recent_at_ <= now && retry_at_ == TimePoint::max();
  if (recent || look_at_ <= now) begin_pass(now);
}

void Arming::read_page() {
  Pass& pass = *pass_;
  pass.step = Pass::Step::kReading;
  pass.page = PageNo{++number_};
  output_.emplace_back(ReadPage{pass.page, pass.recent ? ReadPage::Kind::kRecent : ReadPage::Kind::kUnknown, pass.bound, rules_.batch});
}

void Arming::on_page(TimePoint now, PageNo number, std::vector<OrderSeen> orders, const HeldBack& held) {
  if (!pass_ || pass_->step != Pass::Step::kReading || pass_->page != number) return;
  Pass& pass = *pass_;
  const bool whole = orders.size() + held.orders < rules_.batch;
  // What is newer is of the present epoch: it would push the old ones out of a page that is asked for again.
  if (pass.recent && pass.armed && !orders.empty()) recent_bound_ = std::min(recent_bound_, orders.front().reserved + 1);
  if (!orders.empty()) pass.bound = orders.back().reserved;
  if (held.orders > 0) pass.bound = std::max(pass.bound, held.last);
  pass.left += held.orders;
  pass.whole = whole;
  if (pass.recent) {
    std::erase_if(orders, [&](const OrderSeen& order) {  // the unknown ones were asked about; those of now are in somebody's hands
      return order.standing == OrderStanding::kUnknown || (pass.armed && order.epoch == static_cast<std::uint64_t>(epoch_));
    });
  }
  pass.orders = std::move(orders);
  if (pass.recent) {
    pass.last = whole || (pass.armed ? recent_pages_ + 1 : ++pass.recent_pages) >= kRecentPagesMax;
  } else if (pass.armed || !recent_first()) {
    pass.last = whole;
  } else if (whole && pass.orders.empty()) {  // on to the others at once
    pass.recent = true;
    pass.bound = UINT64_MAX;
    return read_page();
  }
  // Before it arms the hook is asked once in any case: it may have to look at positions.
  if (!pass.orders.empty() || (!pass.armed && !pass.asked)) return ask(now);
  page_done(now);
}

void Arming::ask(TimePoint now) {
  Pass& pass = *pass_;
  pass.step = Pass::Step::kAsking;
  pass.asked = true;
  pass.call = HookNo{++number_};
  pass.call_until = now + rules_.hook_timeout;
  ++counters_.calls;
  output_.emplace_back(AskHook{pass.call, epoch_, pass.armed, !pass.last, pass.orders});
}

void Arming::on_hook(TimePoint now, HookNo number, HookAnswer answer) {
  if (!pass_ || pass_->step != Pass::Step::kAsking || pass_->call != number) return;
  if (!answer.ok) return hook_failed(now, answer.detail);
  last_error_.clear();
  if (answer.flat) pass_->flat = answer.flat;
  if (answer.recent_first) wants_recent_ = *answer.recent_first;
  take_findings(now, answer.findings);
}

void Arming::take_findings(TimePoint now, const std::vector<OrderFinding>& findings) {
  std::map<std::pair<std::string_view, std::string_view>, const OrderFinding*> by_name;
  for (const OrderSeen& order : pass_->orders) by_name[{order.zone, order.key}] = nullptr;
  for (const OrderFinding& finding : findings) {
    const auto at = by_name.find({finding.zone, finding.key});
    if (at == by_name.end()) {
      ++counters_.strays;
    } else if (at->second == nullptr) {
      at->second = &finding;
    } else if (at->second->standing != finding.standing) {
      ++counters_.strays;
      static const OrderFinding kNothing;
      at->second = &kNothing;  // two words about one order are none
    }
  }
  pass_->step = Pass::Step::kWriting;
  for (const OrderSeen& order : pass_->orders) judge(order, by_name[{order.zone, order.key}]);
  if (pass_->open.empty()) page_done(now);
}

void Arming::judge(const OrderSeen& order, const OrderFinding* finding) {
  bool decides = finding != nullptr && (finding->standing == OrderStanding::kDone || finding->standing == OrderStanding::kNotSent);
  // Nothing has fenced an order of the present epoch: that the broker does not have it yet says nothing of a moment later.
  const bool fenced = order.epoch != static_cast<std::uint64_t>(epoch_);
  if (decides && finding->standing == OrderStanding::kNotSent && order.standing == OrderStanding::kUnknown && !fenced && !rules_.gives_up) {
    ++counters_.unfenced;
    decides = false;
  }
  if (order.standing == OrderStanding::kUnknown) {
    if (!decides) {
      ++pass_->left;
      return;
    }
    const VerdictNo number{++number_};
    const auto at = pass_->open.emplace(number, WriteVerdict{number, *finding, order.seen}).first;
    output_.emplace_back(at->second);
    return;
  }
  const bool settled = order.standing == OrderStanding::kDone || order.standing == OrderStanding::kNotSent;
  if (!decides || !settled || finding->standing == order.standing) return;
  ++counters_.contradictions;
  output_.emplace_back(ArmingNews{"order_contradicted", "the ledger has the order of key \"" + order.key + "\" in zone \"" + order.zone + "\" as " +
                                                            to_string(order.standing) + ", the hook as " + to_string(finding->standing)});
}

void Arming::on_verdict(TimePoint now, VerdictNo number, VerdictEnd end) {
  if (!pass_) return;
  const auto at = pass_->open.find(number);
  if (at == pass_->open.end()) return;
  if (end == VerdictEnd::kNoAnswer) {
    pass_->again.push_back(number);
    if (retry_at_ == TimePoint::max()) retry_at_ = now + jittered(retry_pause_);
    return;
  }
  if (end == VerdictEnd::kOvertaken) {
    ++counters_.overtaken;
    ++pass_->left;  // it may still be unknown; if it is not, the next state says so
  } else {
    ++(at->second.finding.standing == OrderStanding::kDone ? counters_.done : counters_.not_sent);
  }
  pass_->open.erase(at);
  if (pass_->open.empty()) page_done(now);
}

void Arming::page_done(TimePoint now) {
  Pass& pass = *pass_;
  if (!pass.armed && !pass.recent && pass.whole && recent_first()) {
    pass.recent = true;
    pass.bound = UINT64_MAX;
    return read_page();
  }
  // Beside orders, each page of settled ones gives way to whatever is unknown by then.
  if (pass.last || (pass.armed && pass.recent)) return end_pass(now);
  read_page();
}

void Arming::end_pass(TimePoint now) {
  const Pass pass = std::move(*pass_);
  pass_.reset();
  if (pass.armed && pass.recent) {
    recent_failures_ = 0;
    recent_pause_ = rules_.retry_min;
    recent_bound_ = pass.bound;
    ++recent_pages_;
    recent_due_ = !pass.last;
    return go_on(now);
  }
  retry_pause_ = rules_.retry_min;
  unknown_left_ = pass.left;
  if (!pass.armed) {
    flat_ = pass.flat;
    reconciled_ = true;
    if (pass.recent) recent_due_ = false;
    return evaluate(now);
  }
  // What became UNKNOWN a moment ago was not asked about; what the hook left is asked about later and later.
  if (unknown_count_ > 0) {
    look_pause_ = std::min(look_pause_ * 2, rules_.look_every);
    plan_look(now, look_pause_);
  }
  go_on(now);
}

void Arming::hook_failed(TimePoint now, const std::string& why) {
  ++counters_.failures;
  const bool armed = pass_->armed, recent = pass_->recent;
  last_error_ = why.substr(0, kDetailBytesMax);
  output_.emplace_back(ArmingNews{"reconcile_failed", last_error_});
  pass_.reset();
  if (armed && recent) return recent_failed(now);
  retry_at_ = now + jittered(retry_pause_);
  retry_pause_ = std::min(retry_pause_ * 2, rules_.retry_max);
  // A condition that held a moment ago is no longer known to hold.
  if (!armed) {
    reconciled_ = false;
    set(ArmingPhase::kReconciling, "the reconcile hook failed: " + last_error_);
  }
}

// A page of settled orders that the hook cannot bear has pauses of its own: what is unknown is asked about as it was planned.
void Arming::recent_failed(TimePoint now) {
  recent_due_ = ++recent_failures_ < kRecentFailuresMax;
  recent_at_ = now + jittered(recent_pause_);
  recent_pause_ = std::min(recent_pause_ * 2, rules_.retry_max);
  if (!recent_due_) {
    output_.emplace_back(ArmingNews{"recent_given_up", "the hook has failed " + std::to_string(recent_failures_) + " times at one page of settled orders; under epoch " +
                                                           std::to_string(static_cast<std::uint64_t>(epoch_)) + " it is shown none any more"});
  }
  go_on(now);
}

void Arming::drop_pass() {
  if (pass_ && pass_->step == Pass::Step::kAsking) output_.emplace_back(DropHook{pass_->call});
  pass_.reset();
}

// --- what follows from it -----------------------------------------------------------------------------------------------

void Arming::evaluate(TimePoint now) {
  if (phase_ != ArmingPhase::kReconciling && phase_ != ArmingPhase::kWaiting) return;
  if (approved() && approval_.force) {
    drop_pass();
    retry_at_ = TimePoint::max();
    arm("forced by " + approval_.who);
    if (rules_.has_hook && unknown_count_ > 0) look_at_ = now;  // the hook was not heard about them
    return go_on(now);
  }
  if (!reconciled_ || pass_) return;
  const std::uint64_t left = rules_.has_hook ? unknown_left_ : unknown_count_;
  if (left > 0 && rules_.unknown_blocks) {
    set(ArmingPhase::kWaiting, count_of(left, "order is", "orders are") + " unknown; resolve them or approve by force");
  } else if (rules_.mode == ArmingMode::kSupervised && !approved()) {
    set(ArmingPhase::kWaiting, "approval of epoch " + std::to_string(static_cast<std::uint64_t>(epoch_)) + " is awaited");
  } else if (rules_.mode == ArmingMode::kWhenFlat && !approved() && flat_ != true) {
    set(ArmingPhase::kWaiting, "the position is not flat");
  } else {
    arm(left > 0 ? "with " + count_of(left, "unknown order", "unknown orders") : std::string());
    if (rules_.has_hook && unknown_count_ > 0) plan_look(now, look_pause_);
    return go_on(now);
  }
  // What keeps it waiting may be over without a word to us.
  const bool asks = rules_.has_hook && (left > 0 || (rules_.mode == ArmingMode::kWhenFlat && flat_ != true));
  if (!asks || look_at_ != TimePoint::max()) return;
  plan_look(now, look_pause_);
  look_pause_ = std::min(look_pause_ * 2, rules_.look_every);
}

void Arming::plan_look(TimePoint now, Milliseconds pause) { look_at_ = std::min(look_at_, now + jittered(pause)); }

void Arming::arm(const std::string& reason) {
  look_at_ = TimePoint::max();
  look_pause_ = rules_.look_first;
  armed_epoch_ = epoch_;
  set(ArmingPhase::kArmed, reason);
}

void Arming::set(ArmingPhase phase, std::string reason) {
  if (phase == phase_ && reason == reason_) return;
  phase_ = phase;
  reason_ = std::move(reason);
  output_.emplace_back(ArmingChange{});
  output_.emplace_back(ArmingNews{"arming", std::string(to_string(phase_)) + (epoch_ == Epoch{} ? "" : ", epoch " + std::to_string(static_cast<std::uint64_t>(epoch_))) +
                                                (reason_.empty() ? "" : ": " + reason_)});
}

Milliseconds Arming::jittered(Milliseconds pause) {
  const auto half = static_cast<std::uint64_t>(pause.count() / 2);
  return pause / 2 + Milliseconds(static_cast<std::int64_t>(chance_(half + 1)));
}

// --- time ---------------------------------------------------------------------------------------------------------------

void Arming::tick(TimePoint now) {
  if (phase_ == ArmingPhase::kFenced && state_known_ && settled_at_ <= now) return look_at_fence(now);
  if (pass_ && pass_->step == Pass::Step::kAsking && pass_->call_until <= now) {
    output_.emplace_back(DropHook{pass_->call});
    hook_failed(now, "no answer within " + std::to_string(rules_.hook_timeout.count()) + " ms");
  }
  if (retry_at_ <= now) {
    retry_at_ = TimePoint::max();
    if (!pass_ && phase_ != ArmingPhase::kArmed) return begin_pass(now);
    if (!pass_ && unknown_count_ > 0) look_at_ = now;
    if (pass_) {
      for (const VerdictNo number : std::exchange(pass_->again, {})) output_.emplace_back(pass_->open.at(number));
    }
  }
  if (phase_ == ArmingPhase::kArmed) return go_on(now);
  if (look_at_ <= now && !pass_) begin_pass(now);
}

TimePoint Arming::next_deadline() const {
  if (phase_ == ArmingPhase::kFenced) return state_known_ ? settled_at_ : TimePoint::max();
  TimePoint deadline = pass_ ? retry_at_ : std::min(retry_at_, look_at_);
  const bool recent = phase_ == ArmingPhase::kArmed && rules_.has_hook && state_known_ && recent_due_ && !pass_ && retry_at_ == TimePoint::max();
  if (recent) deadline = std::min(deadline, recent_at_);
  if (pass_ && pass_->step == Pass::Step::kAsking) deadline = std::min(deadline, pass_->call_until);
  return deadline;
}

std::vector<ArmingOutput> Arming::take_output() { return std::exchange(output_, {}); }

}  // namespace agent
