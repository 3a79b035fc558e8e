// How attempts fail and exchanges end.
#include <algorithm>
#include <cassert>

#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {
namespace {

// Whether a failure says something about the endpoint.
bool blames_endpoint(AttemptEnd end, bool reused) {
  switch (end) {
    case AttemptEnd::kConnectFailed:
    case AttemptEnd::kFirstByteLate:
    case AttemptEnd::kResponseBroken: return true;
    // A server may close an idle connection at the moment at which we use it.
    case AttemptEnd::kClosedEarly: return !reused;
    case AttemptEnd::kNotWritten:
    case AttemptEnd::kRefusedByPeer:
    case AttemptEnd::kEndpointGone: return false;
  }
  return false;
}

}  // namespace

AttemptEnd Exchange::end_now() const {
  if (recording_answer_) return AttemptEnd::kClosedEarly;
  if (response_begun_) return AttemptEnd::kResponseBroken;
  if (up_ == nullptr || phase_ == Phase::kConnecting) return AttemptEnd::kConnectFailed;
  return up_->sent_bytes() == 0 ? AttemptEnd::kNotWritten : AttemptEnd::kClosedEarly;
}

std::unique_ptr<Connection> Exchange::detach_attempt() {
  if (in_flight_) {
    in_flight_ = false;
    attempt_time_ = core_.now - attempt_at_;
    if (response_complete_ && phase_ == Phase::kResponding) endpoint_->times.add(attempt_time_);
    if (spanned_) note_span();
    --endpoint_->in_flight;
    if (std::exchange(slot_, false)) endpoint_->share->in_flight.fetch_sub(1, std::memory_order_relaxed);
    core_.note_slot_freed();
    breaker_asked_ = false;
    if (std::exchange(probe_, false)) {
      route_->breakers->abandon(endpoint_->endpoint.id, core_.now);
      core_.host.on_health_news();
    }
    if (std::exchange(tunnel_counted_, false)) --endpoint_->tunnels;
    endpoint_link.unlink();
    if (is_leased()) service_link.unlink();
    if (route_->egress && up_ != nullptr) state_->egress.bytes_out += up_->sent_bytes();
  }
  if (local_order_) {
    local_order_ = false;
    --service_->local_orders;
    core_.note_local_order_left(*service_);
  }
  if (up_ != nullptr) up_->detach();
  return std::move(up_);
}

void Exchange::drop_attempt(bool with_reset) {
  if (other_ != nullptr) cancel_other();
  std::unique_ptr<Connection> connection = detach_attempt();
  if (connection == nullptr) return;
  with_reset ? connection->reset() : connection->close();
  core_.bury(std::move(connection));
}

bool Exchange::can_go_elsewhere() {
  if (route_->kind != PoolKind::kAll || attempt_count_ >= core_.settings.attempts_max) return false;
  tried_.push_back(endpoint_);
  const bool found = core_.can_pick(*pool_, *route_, tried_);
  tried_.pop_back();
  return found;
}

void Exchange::attempt_failed(AttemptEnd end, std::string_view code, std::string_view message) {
  attempt_code_ = code;
  EndpointState* endpoint = endpoint_;
  const bool blamed = blames_endpoint(end, up_ != nullptr && up_->reused());
  const bool from_peer = down_->accepted().kind == ListenerKind::kPeer;
  judge_breaker(end, blamed);
  if (other_ != nullptr) {
    if (!may_have_arrived(last_end_)) last_end_ = end;
    lose_leg(code, blamed ? LegEnd::kFailed : LegEnd::kNothing);
    return;
  }
  second_leg_ = false;
  RetryVerdict verdict = judge({route_->kind, method_, route_->retry, replayable_, attempt_count_,
                                core_.settings.attempts_max}, end);
  if (verdict == RetryVerdict::kTryElsewhere && !from_peer && !core_.budget.spend(core_.now)) {
    ++core_.counters.retries_denied;
    note(Step::kNoBudget);
    verdict = RetryVerdict::kGiveUp;
  }
  note(Step::kFailed, code, name_of(verdict));
  if (verdict == RetryVerdict::kGiveUp) {
    give_up(end, code, message);
    return;
  }
  drop_attempt(true);
  if (blamed) core_.report(*endpoint, AttemptResult::kFailed);
  phase_ = Phase::kNew;
  last_code_ = code;
  last_message_ = message;
  if (!may_have_arrived(last_end_)) last_end_ = end;
  if (verdict == RetryVerdict::kHold) {
    from_peer ? refuse_to_peer("no-instance") : hold();
    return;
  }
  if (!from_peer) ++core_.counters.retries;
  // One that answers badly or late may have a bad moment; a session is lost for good only to one that takes no connection.
  if (end != AttemptEnd::kConnectFailed && end != AttemptEnd::kEndpointGone) session_stays_ = true;
  // A stale pooled connection says nothing about the endpoint: it may be tried again, over another connection.
  if (blamed || end != AttemptEnd::kClosedEarly) tried_.push_back(endpoint);
  dispatch();
  if (phase_ != Phase::kOver) down_->update_reading();
}

// No way to save it: answer with what is known about where the request may be.
void Exchange::give_up(AttemptEnd end, std::string_view code, std::string_view message) {
  EndpointState* endpoint = endpoint_;
  const bool blamed = endpoint != nullptr && in_flight_ && blames_endpoint(end, up_ != nullptr && up_->reused());
  attempt_code_ = code;
  judge_breaker(end, blamed);
  drop_attempt(true);
  if (blamed) core_.report(*endpoint, AttemptResult::kFailed);
  if (response_begun_) {
    outcome_ = Outcome::kUnknown;
    reason_ = code;
    finish(Client::Next::kReset);
    return;
  }
  const bool late = code.ends_with("timeout") || code == "draining";
  const Outcome outcome = may_have_arrived(end) ? Outcome::kUnknown : Outcome::kNotSent;
  reply(late ? 504 : 502, code, message,
        outcome == Outcome::kUnknown ? "find out whether the request took effect before sending it again"
                                     : "the request was not sent and may be tried again",
        outcome, outcome == Outcome::kNotSent ? Milliseconds{1000} : Milliseconds{0});
}

// Rules R1 and R3 when the ground is gone under an attempt.
void Exchange::end_under_lease(std::string_view code, std::string_view message) {
  if (phase_ == Phase::kTunnel) {
    outcome_ = Outcome::kTunnelled;
    reason_ = code;
    drop_attempt(true);
    finish(tell_client_of_loss());
    return;
  }
  note(Step::kLeaseLost, code);
  attempt_code_ = code;
  const AttemptEnd end = end_now();
  if (may_have_arrived(end) || !replayable_) {
    drop_attempt(true);
    if (response_begun_) {
      outcome_ = Outcome::kUnknown;
      reason_ = code;
      finish(Client::Next::kReset);
      return;
    }
    const bool arrived = may_have_arrived(end);
    reply(arrived ? 504 : 503, code, message, "find out whether the request took effect before sending it again",
          arrived ? Outcome::kUnknown : Outcome::kNotSent);
    return;
  }
  drop_attempt(true);
  phase_ = Phase::kNew;
  down_->accepted().kind == ListenerKind::kPeer ? refuse_to_peer("not-primary") : hold();
}

void Exchange::lease_lost() {
  if (!in_flight_) return;
  if (route_->egress) return egress_denied();
  ++core_.counters.lease_stops;
  end_under_lease("lease_lost", "this agent's lease ended while the request was at the instance");
}

void Exchange::holder_changed() {
  if (route_->egress) return egress_lost();
  const bool answering = (phase_ == Phase::kWaiting && request_complete_ && up_->drained()) || phase_ == Phase::kResponding;
  if (answering && endpoint_->endpoint.kind == EndpointKind::kPeer) {
    service_link.unlink();
    former_until_ = core_.now + kFormerWait;
    arm_timer();
    return;
  }
  if (local_order_) ++core_.counters.lease_stops;
  end_under_lease(kPrimaryChanged, kPrimaryChangedText);
}

void Exchange::endpoint_unfit() {
  if (route_->kind != PoolKind::kAll || !in_flight_) return;
  if (other_ != nullptr) {
    lose_leg("endpoint_gone", LegEnd::kNothing);
    return;
  }
  if (phase_ == Phase::kConnecting) {
    attempt_failed(AttemptEnd::kNotWritten, "endpoint_gone", "the endpoint was taken out while connecting");
    return;
  }
  const bool movable = phase_ == Phase::kWaiting && route_->retry && http1::is_safe(method_) && replayable_;
  if (!movable) return;
  if (down_->accepted().kind == ListenerKind::kPeer || can_go_elsewhere()) {
    attempt_failed(AttemptEnd::kEndpointGone, "endpoint_gone", "the endpoint was taken out before it answered");
  }
}

void Exchange::drain_deadline() {
  if (phase_ == Phase::kHeld) {
    leave_hold();
    reply(503, "draining", "this agent is shutting down", "try another agent", Outcome::kNotSent, Milliseconds{1000});
  } else if (phase_ == Phase::kTunnel) {
    reason_ = "draining";
    outcome_ = Outcome::kTunnelled;
    drop_attempt(false);
    finish(Client::Next::kClose);
  } else {
    give_up(end_now(), "draining", "this agent is shutting down and could not wait for the answer any longer");
  }
}

void Exchange::request_too_slow() {
  const Outcome outcome = may_have_arrived(end_now()) ? Outcome::kUnknown : Outcome::kNotSent;
  const bool begun = response_begun_;
  drop_attempt(true);
  keep_client_ = false;
  if (begun) {
    outcome_ = outcome;
    reason_ = "body_too_slow";
    finish(Client::Next::kReset);
    return;
  }
  reply(408, "body_too_slow", "the request body came below the least rate", "send the body faster, or change proxy.client_rate_min",
        outcome);
}

void Exchange::client_gone(std::string_view reason) {
  if (phase_ == Phase::kOver || outlives_client(reason)) return;
  if (phase_ == Phase::kTunnel) {
    outcome_ = Outcome::kTunnelled;
  } else if (up_ != nullptr && may_have_arrived(end_now())) {
    outcome_ = Outcome::kUnknown;
  }
  if (phase_ != Phase::kTunnel && !response_begun_) status_ = 0;
  reason_ = reason;
  drop_attempt(phase_ == Phase::kTunnel);
  finish_without_client();
}

// ---- our own answers ----

bool Exchange::keeps_client() const {
  return client_keep_alive_ && keep_client_ && request_complete_ && !core_.draining;
}

std::string_view Exchange::request_id() const { return std::string_view(head_).substr(id_.at, id_.size); }

void Exchange::refuse_to_peer(std::string_view reason) {
  ++core_.counters.peer_refusals_sent;
  LocalReply answer;
  answer.status = 421;
  answer.code = answer.refused = reason;
  answer.outcome = name_of(Outcome::kNotSent);
  send_reply(answer);
}

void Exchange::reply(int status, std::string_view code, std::string_view message, std::string_view hint, Outcome outcome,
                     Milliseconds retry_after) {
  if (doubt_ != Doubt::kNone && outcome == Outcome::kNotSent) return refuse_in_flight();  // by us it was not, perhaps by another try
  LocalReply answer;
  answer.status = status;
  answer.code = code;
  answer.message = message;
  answer.hint = hint;
  answer.retry_after = retry_after;
  answer.outcome = name_of(outcome);
  outcome_ = outcome;
  send_reply(answer);
}

void Exchange::send_reply(const LocalReply& answer) {
  assert(up_ == nullptr && !response_begun_);
  if (answer.status >= 500 && has_stale()) return serve_stale();
  LocalReply full = answer;
  if (shaped_) route_->response_fields.append_to_own(admission_text_, field_facts());
  full.fields = admission_text_;
  if (full.outcome.empty()) full.outcome = name_of(Outcome::kNotSent);
  status_ = answer.status;
  reason_ = answer.code;
  note(Step::kAnswer, answer.code, {}, static_cast<std::uint64_t>(answer.status));
  count_response(status_);
  const bool keep = keeps_client() && !down_->parting();
  ResponseFacts facts;
  facts.keep_alive = keep;
  facts.client_minor = client_minor_;
  facts.hsts = down_->hsts();
  facts.id_field = core_.settings.request_id.field;
  facts.request_id = request_id();
  // Interim heads that are still here go first.
  append_reply(response_, full, facts, method_);
  const Bytes piece = http1::bytes_of(response_);
  down_->send({&piece, 1}, kWholeAnswer);
  response_.clear();
  finish(keep ? Client::Next::kRequest : Client::Next::kClose);
}

// ---- the one ending ----

void Exchange::leave_everything() {
  assert(up_ == nullptr && other_ == nullptr && !in_flight_ && phase_ != Phase::kOver);
  if (rate_ticket_ != 0) core_.desk.forget(std::exchange(rate_ticket_, 0));
  if (phase_ == Phase::kHeld) leave_hold();
  if (phase_ == Phase::kQueued) leave_queue();
  if (phase_ == Phase::kTunnel) --core_.counters.tunnels_open;
  stop_packing();
  if (keyed_) leave_order();
  if (claimed_) release_claim(true);
  stored_.reset();     // what is kept may go; this object is kept for the next request
  recording_.reset();
  count_ending();
  record();
  core_.wheel.disarm(timer_);
  phase_ = Phase::kOver;
  if (std::exchange(running_counted_, false)) route_->admission.share->running.fetch_sub(1, std::memory_order_relaxed);
  if (route_ != nullptr && route_->egress) state_->egress.bytes_in += response_body_bytes_;
  if (use_ != nullptr) --use_->users;
  --core_.counters.open_exchanges;
  if (is_order() && outcome_ == Outcome::kUnknown) ++core_.counters.orders_unknown;
  core_.bury(*this);
}

void Exchange::finish(Client::Next next) {
  leave_everything();
  Client* down = down_;
  down_ = nullptr;
  down->exchange_over(next);
}

void Exchange::finish_without_client() {
  leave_everything();
  down_ = nullptr;
}

}  // namespace proxy
