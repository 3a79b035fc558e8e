// The response on its way back.
#include <array>

#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {

using http1::Framing;

void Exchange::upstream_data(http1::ResponseParser& parser, Bytes bytes) {
  progress_ = core_.now;
  if (phase_ == Phase::kTunnel) {
    tunnel_from_server(bytes);
    return;
  }
  short_read_ = bytes.size() < kReadBytesMax / 4;
  while (!bytes.empty()) {
    const auto consumed = parser.feed(bytes, *this);
    if (!consumed) {
      response_broken(consumed.error());
      return;
    }
    bytes = bytes.subspan(*consumed);
    if (!response_complete_) continue;
    if (switched_) {
      response_body_.add(bytes);
      response_body_bytes_ += bytes.size();
      from_server_.feed(bytes);
    } else if (!bytes.empty()) {
      upstream_keep_alive_ = false;  // more than one answer to one question
    }
    break;
  }
  response_gathered();
}

http1::Flow Exchange::on_head(const http1::ResponseHead& head) {
  if (reading_answer_) return answer_head(head), http1::Flow::kContinue;
  if (is_reserved()) return order_head(head), http1::Flow::kContinue;
  const bool from_peer = endpoint_->endpoint.kind == EndpointKind::kPeer;
  if (head.interim()) {
    if (client_minor_ == 1) {
      ResponseFacts facts;
      facts.from = endpoint_->endpoint.kind;
      append_response_head(response_, head, facts);
      count_response(head.status);
    }
    return http1::Flow::kContinue;
  }
  first_byte_ = core_.now - started_;
  head_time_ = core_.now - attempt_at_;
  attempt_status_ = head.status;
  note(Step::kHead, {}, {}, static_cast<std::uint64_t>(head.status));
  const bool gateway_error = head.status >= 502 && head.status <= 504;
  const bool refused = from_peer && head.status == 421 && head.find(kRefusedField);
  if (other_ != nullptr && !settle_legs(head.status, refused)) return http1::Flow::kContinue;
  // The peer's own word that its instance failed (instances cannot send that field): another place may do better.
  const bool failed_there = from_peer && gateway_error && head.find(kOutcomeField) && http1::is_safe(method_) && can_go_elsewhere();
  if (refused || failed_there) {
    refused_ = true;
    if (refused) note_refusal(*head.find(kRefusedField));
    refused_end_ = refused ? AttemptEnd::kRefusedByPeer : AttemptEnd::kClosedEarly;
    upstream_keep_alive_ = head.keep_alive;
    return http1::Flow::kContinue;
  }
  if (head.status >= 500 && has_stale()) {
    refused_ = stale_instead_ = true;
    if (gateway_error) core_.report(*endpoint_, AttemptResult::kFailed);
    report_breaker(!route_->breaker.counts(Failure::kStatus5xx));
    return http1::Flow::kContinue;
  }
  // Begun before the endpoint is judged: an ejection moves what still waits there, and this request does not any more.
  phase_ = Phase::kResponding;
  response_begun_ = true;
  core_.report(*endpoint_, gateway_error ? AttemptResult::kFailed : AttemptResult::kGood);
  if (route_->balance.kind == Balance::kPeakEwma) endpoint_->latency.observe(core_.now, core_.now - attempt_at_);
  if (state_->hedge != nullptr && is_hedged() && head.status < 500) state_->hedge->window.observe(core_.now, core_.now - attempt_at_);
  report_breaker(head.status < 500 || !route_->breaker.counts(Failure::kStatus5xx));
  status_ = head.status;
  count_response(status_);
  switched_ = head.status == 101;
  switched_rightly_ = upgrade_ && http1::any_lists(head.headers, http1::HeaderId::kUpgrade, "websocket");
  upstream_keep_alive_ = head.keep_alive;
  if (cache_step_ == CacheStep::kFetch || cache_step_ == CacheStep::kAlone) begin_recording(head);
  begin_response(head, endpoint_->endpoint.kind);
  return http1::Flow::kContinue;
}

void Exchange::begin_response(const http1::ResponseHead& head, EndpointKind from) {
  if (!request_complete_) keep_client_ = false;
  ResponseFacts facts;
  client_framing_ = shape_response(head, facts);
  if (down_->is_stream() && client_framing_ == Framing::kChunked) client_framing_ = Framing::kStream;
  if (route_->sticky) learn_session(head);
  if (client_framing_ == Framing::kToEof) keep_client_ = false;
  facts.from = from;
  facts.client_minor = client_minor_;
  facts.hsts = down_->hsts();
  facts.framing = client_framing_;
  facts.keep_alive = keeps_client() && !down_->parting();
  facts.fields = admission_text_;
  name_response(facts);
  if (!facts.keep_alive) keep_client_ = false;
  append_response_head(response_, head, facts);
}

void Exchange::on_body(Bytes bytes) {
  if (refused_) return;
  if (packer_ == nullptr && !is_reserved()) response_body_bytes_ += bytes.size();
  response_body_.add(bytes);
  if (recording_ != nullptr) record_body(bytes);
}

void Exchange::on_end(std::span<const http1::Header> trailers) {
  response_complete_ = true;
  if (refused_ || is_reserved()) return;
  if (recording_ != nullptr) end_recording(!trailers.empty());
  if (client_framing_ == Framing::kChunked) http1::append_last_chunk(response_tail_, trailers);
  if (client_framing_ != Framing::kStream) return;
  for (const http1::Header& header : trailers) http1::append_header(response_tail_, header.name, header.value);
}

void Exchange::response_broken(const Error& error) {
  response_body_.clear();
  core_.host.on_trouble(endpoint_->endpoint, Trouble::kReset);
  // The text of `error` may lie in the parser that goes with the attempt; the reply needs it afterwards.
  early_text_ = error.detail;
  judge_breaker(AttemptEnd::kResponseBroken, true);
  attempt_code_ = name_of(Errc::kBadResponse);
  if (other_ != nullptr) {
    leg_lost_ = refused_ = response_complete_ = false;
    lose_leg(name_of(error.code), LegEnd::kFailed);
    return;
  }
  drop_attempt(true);
  core_.report(*endpoint_, AttemptResult::kFailed);
  if (response_begun_) {
    outcome_ = Outcome::kUnknown;
    reason_ = name_of(error.code);
    finish(Client::Next::kReset);
    return;
  }
  reply(502, name_of(Errc::kBadResponse), early_text_, "look at the instance: it does not speak HTTP/1.1 properly",
        Outcome::kUnknown);
}

void Exchange::response_gathered() {
  if (leg_lost_) return leave_lost_leg();
  if (is_reserved()) return order_gathered();
  if (stale_instead_) return serve_stale_instead();
  if (refused_) {
    if (response_complete_) peer_refused();
    return;
  }
  if (switched_ && !switched_rightly_) {
    response_.clear();
    response_begun_ = false;
    response_broken({Errc::kBadResponse, "101 to a protocol that the client did not ask for"});
    return;
  }
  if (packer_ != nullptr) pack_response();
  if (pack_broken_) {
    response_broken({Errc::kBadResponse, "the body could not be packed"});
    return;
  }
  write_response();
  if (switched_ && response_complete_) {
    start_tunnel();
  } else if (response_complete_) {
    finish_response();
  } else {
    arm_timer();
  }
}

bool Exchange::write_response() {
  std::array<Bytes, Gather::kPiecesMax + 4> out;
  std::size_t count = 0;
  const auto add = [&](std::string_view text) {
    if (!text.empty()) out[count++] = http1::bytes_of(text);
  };
  add(response_);
  response_framing_.clear();
  const bool chunked = client_framing_ == Framing::kChunked && !response_body_.empty();
  if (chunked) http1::append_chunk_size(response_framing_, response_body_.size());
  add(response_framing_);
  for (const Bytes piece : response_body_.pieces()) out[count++] = piece;
  if (chunked) add("\r\n");
  add(response_tail_);
  const AnswerPart part{!response_.empty(), !response_tail_.empty(), response_complete_ && !switched_};
  if (count == 0 && !(part.last && down_->is_stream())) return true;
  const bool all_taken = down_->send({out.data(), count}, part);
  response_.clear();
  response_body_.clear();
  response_tail_.clear();
  if (!all_taken && !response_complete_ && up_ != nullptr) up_->pause_reading();
  return all_taken;
}

// The instance has said all; its connection may serve others, if both sides keep it.
void Exchange::release_attempt() {
  const bool reuse = upstream_keep_alive_ && request_complete_;
  std::unique_ptr<Connection> connection = detach_attempt();
  if (reuse) {
    give_back(core_, std::move(connection));
  } else {
    connection->close();
    core_.bury(std::move(connection));
  }
}

void Exchange::finish_response() {
  outcome_ = answer_says_unknown_ ? Outcome::kUnknown : Outcome::kAnswered;
  release_attempt();
  finish(keep_client_ && keeps_client() ? Client::Next::kRequest : Client::Next::kClose);
}

// The peer's instance has got nothing. Its connection can be used again; this request goes elsewhere or waits.
void Exchange::peer_refused() {
  ++core_.counters.peer_refusals_received;
  note(Step::kRefusedThere, refused_end_ == AttemptEnd::kRefusedByPeer ? "its instance got nothing" : "its instance failed");
  refused_ = false;
  response_complete_ = false;
  EndpointState* endpoint = endpoint_;
  const bool failed_there = refused_end_ != AttemptEnd::kRefusedByPeer;
  const int status = failed_there ? attempt_status_ : 503;
  const std::string_view code = failed_there ? "failed_at_peer" : "refused_by_peer";
  attempt_code_ = code;
  const std::string_view message = failed_there ? "an instance at another agent failed or did not answer" : "the agent in charge could not take the request";
  if (failed_there) session_stays_ = true;
  RetryVerdict verdict = judge({route_->kind, method_, route_->retry, replayable_, attempt_count_,
                                core_.settings.attempts_max}, refused_end_);
  if (verdict == RetryVerdict::kTryElsewhere && !core_.budget.spend(core_.now)) {
    ++core_.counters.retries_denied;
    verdict = RetryVerdict::kGiveUp;
  }
  release_attempt();
  phase_ = Phase::kNew;
  if (failed_there) core_.report(*endpoint, AttemptResult::kFailed);  // not before this request has left the endpoint
  if (verdict == RetryVerdict::kHold) {
    hold();
  } else if (verdict == RetryVerdict::kGiveUp) {
    reply(status, code, message, failed_there ? "look at that agent's instance" : "try again",
          failed_there ? Outcome::kUnknown : Outcome::kNotSent, Milliseconds{1000});
  } else {
    ++core_.counters.retries;
    tried_.push_back(endpoint);
    last_code_ = code;
    last_message_ = message;
    if (!may_have_arrived(last_end_)) last_end_ = refused_end_;
    dispatch();
  }
  if (phase_ != Phase::kOver) down_->update_reading();
}

void Exchange::client_writable() {
  progress_ = core_.now;
  if (cache_step_ == CacheStep::kServe) return send_stored();
  if (phase_ == Phase::kTunnel && upstream_eof_) down_->shutdown();
  if (up_ != nullptr) up_->resume_reading();
  arm_timer();
}

void Exchange::upstream_eof(http1::ResponseParser& parser) {
  if (phase_ == Phase::kTunnel) {
    tunnel_server_eof();
    return;
  }
  if (phase_ == Phase::kResponding) {
    upstream_keep_alive_ = false;
    if (const auto end = parser.finish(*this); !end) {
      response_broken(end.error());
    } else {
      response_gathered();
    }
    return;
  }
  upstream_closed(StreamEnd::kReset);
}

void Exchange::upstream_closed(StreamEnd end) {
  switch (phase_) {
    case Phase::kConnecting:
      ++core_.counters.upstream_connect_failures;
      core_.host.on_trouble(endpoint_->endpoint, end == StreamEnd::kRefused ? Trouble::kRefused : Trouble::kUnreachable);
      attempt_failed(AttemptEnd::kConnectFailed, "connect_failed", "no connection to the instance could be opened");
      return;
    case Phase::kWaiting: {
      ++core_.counters.upstream_resets;
      const AttemptEnd how = end_now();
      // A reused connection that the server closes while idle is no news; one that breaks under a request is.
      core_.host.on_trouble(endpoint_->endpoint, Trouble::kReset);
      attempt_failed(how, "upstream_closed", "the instance closed the connection before it answered");
      return;
    }
    case Phase::kResponding:
      ++core_.counters.upstream_resets;
      response_broken({Errc::kTruncated, "connection broken inside the response"});
      return;
    case Phase::kTunnel:
      outcome_ = Outcome::kTunnelled;
      drop_attempt(true);
      finish(tell_client_of_loss());
      return;
    case Phase::kNew:
    case Phase::kAsked:
    case Phase::kQueued:
    case Phase::kHeld:
    case Phase::kReserving:
    case Phase::kOver: return;
  }
}

}  // namespace proxy
