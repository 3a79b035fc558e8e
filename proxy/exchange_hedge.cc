// A second attempt at a safe request whose answer is late: the first answer wins, the other attempt is cancelled. Decision 0059.
//
// The fields of an attempt (up_, endpoint_, phase_, ...) are those of one leg; the other one is put aside in other_. Whatever
// happens at a connection first makes its leg the present one (focus), so that all code about attempts need not know of two.
#include <algorithm>
#include <cassert>

#include "proxy/exchange.h"

namespace proxy {

// What may be sent twice, and what says something about how late such a request is.
bool Exchange::is_hedged() const {
  return state_->hedge != nullptr && (method_ == http1::Method::kGet || method_ == http1::Method::kHead) && !upgrade_ && !in_session() &&
         request_framing_ == http1::Framing::kNone && down_->accepted().kind == ListenerKind::kDownstream;
}

// The only exception from rule R2, and only where the route says that sending a request twice does no harm.
bool Exchange::may_hedge() const { return is_hedged() && attempt_count_ == 1 && request_complete_ && !core_.draining; }

// With the first attempt. Until the route has answered often enough to know what is late, nothing is late.
void Exchange::plan_hedge() {
  if (!may_hedge()) return;
  HedgeState& hedge = *state_->hedge;
  hedge.budget.on_request(core_.now);
  const auto usual = hedge.window.percentile(core_.now, hedge.rule.percentile);
  if (usual) hedge_at_ = core_.now + std::max<std::chrono::nanoseconds>(*usual, hedge.rule.least);
}

void Exchange::start_hedge() {
  hedge_at_ = TimePoint::max();
  EndpointState* second = may_hedge() ? pick_second() : nullptr;
  if (second != nullptr && !state_->hedge->budget.spend(core_.now)) {
    ++state_->counters.hedges_denied;
    note(Step::kNoHedge);
    second = nullptr;
  }
  if (second == nullptr) return arm_timer();
  hedged_since_ = sent_at_ == TimePoint{} ? attempt_at_ : sent_at_;
  const auto waited = core_.now - attempt_at_;
  other_ = std::make_unique<Leg>();
  swap_legs();
  second_leg_ = true;
  if (!claim(*second)) {
    swap_legs();
    other_.reset();
    return arm_timer();
  }
  ++state_->counters.hedges;
  note(Step::kHedge, second->endpoint.address, second->endpoint.node, static_cast<std::uint64_t>(waited.count()));
  attempt(*second, nullptr);
}

// Another one that is as good as the first by everything that is known of it. What is down, ejected, degraded or kept for bad
// times is no place for a request that has one already.
EndpointState* Exchange::pick_second() {
  tried_.push_back(endpoint_);
  EndpointState* second = core_.pick(*pool_, *route_, tried_, hash_).endpoint;
  tried_.pop_back();
  if (second == nullptr || second->outlier().ejected_at(core_.now)) return nullptr;
  if (route_->breakers != nullptr && route_->breakers->state(second->endpoint.id) != BreakerState::kClosed) return nullptr;
  const Endpoint &a = endpoint_->endpoint, &b = second->endpoint;
  return b.health == Health::kPassing && (b.tier == Tier::kActive || b.tier == a.tier) ? second : nullptr;
}

void Exchange::swap_legs() {
  Leg& other = *other_;
  endpoint_link.unlink();
  std::swap(up_, other.up);
  std::swap(endpoint_, other.endpoint);
  std::swap(phase_, other.phase);
  std::swap(in_flight_, other.in_flight);
  std::swap(slot_, other.slot);
  std::swap(breaker_asked_, other.breaker_asked);
  std::swap(probe_, other.probe);
  std::swap(head_sent_, other.head_sent);
  std::swap(second_leg_, other.second);
  std::swap(attempt_at_, other.attempt_at);
  std::swap(sent_at_, other.sent_at);
  std::swap(connected_time_, other.connected_time);
  std::swap(attempt_span_, other.span);
  std::swap(attempt_number_, other.number);
  std::swap(attempt_status_, other.status);
  std::swap(spanned_, other.spanned);
  std::swap(attempt_code_, other.code);
  if (in_flight_) endpoint_->attempts.push_back(endpoint_link);
}

void Exchange::focus_other(const Connection& from) {
  if (other_->up.get() == &from) swap_legs();
}

// The present leg has answered, or nothing is to come of either: the other one says neither good nor bad about its endpoint.
void Exchange::cancel_other() {
  swap_legs();
  const bool first = !second_leg_;
  if (first && state_->hedge != nullptr) state_->hedge->window.observe(core_.now, core_.now - attempt_at_);
  note(Step::kHedgeLost, endpoint_->endpoint.address, "cancelled");
  other_endpoint_ = endpoint_;
  std::unique_ptr<Connection> connection = detach_attempt();
  connection->reset();
  core_.bury(std::move(connection));
  swap_legs();
  other_.reset();
}

// The present leg has failed. The other one goes on as if there had never been two.
void Exchange::lose_leg(std::string_view code, LegEnd end) {
  EndpointState* endpoint = endpoint_;
  note(Step::kHedgeLost, endpoint->endpoint.address, code);
  other_endpoint_ = endpoint;
  std::unique_ptr<Connection> connection = detach_attempt();
  connection->reset();
  core_.bury(std::move(connection));
  swap_legs();
  other_.reset();
  tried_.push_back(endpoint);
  arm_timer();
  if (end != LegEnd::kNothing) core_.report(*endpoint, end == LegEnd::kFailed ? AttemptResult::kFailed : AttemptResult::kGood);
}

// The head of an answer has come. @return false: it is not the one to be passed on, the leg ends with this read
bool Exchange::settle_legs(int status, bool refused) {
  if (refused || status >= 500) {
    const bool gateway_error = status >= 502 && status <= 504;
    leg_end_ = refused ? LegEnd::kNothing : gateway_error ? LegEnd::kFailed : LegEnd::kGood;
    if (!refused) report_breaker(!route_->breaker.counts(Failure::kStatus5xx));
    attempt_code_ = refused ? "refused_by_peer" : "passed_over";
    leg_lost_ = refused_ = true;  // nothing of its body is passed on
    return false;
  }
  cancel_other();
  if (second_leg_) ++state_->counters.hedges_won;
  return true;
}

// The read with that head is over.
void Exchange::leave_lost_leg() {
  leg_lost_ = refused_ = response_complete_ = false;
  lose_leg("answered that it cannot", leg_end_);
}

}  // namespace proxy
