// The tunnel that an upgrade leaves behind, and how it ends when one of its ends has to go.
#include <algorithm>

#include "proxy/exchange.h"

namespace proxy {
namespace {

constexpr Milliseconds kGoodbyeWait{1000};  // for both sides' Close after ours

}  // namespace

void Exchange::start_tunnel() {
  phase_ = Phase::kTunnel;
  ++core_.counters.tunnels;
  ++core_.counters.tunnels_open;
  if (in_flight_) {
    tunnel_counted_ = true;
    ++endpoint_->tunnels;
  }
  outcome_ = Outcome::kTunnelled;
  if (core_.draining) end_tunnel_by(core_.drain_deadline);
  arm_timer();
  down_->start_tunnel();
}

void Exchange::tunnel_from_client(Bytes bytes) {
  progress_ = core_.now;
  request_body_bytes_ += bytes.size();
  if (in_session()) keep_session();
  from_client_.feed(bytes);
  if (goodbye_ == Goodbye::kSaid) {
    end_tunnel_if_answered();
    return;
  }
  if (up_->send({&bytes, 1}) == SendResult::kLeaseOver) {
    lease_lost();
    return;
  }
  if (goodbye_ == Goodbye::kDue) say_goodbye();
  if (phase_ == Phase::kTunnel) arm_timer();
}

void Exchange::tunnel_from_server(Bytes bytes) {
  response_body_bytes_ += bytes.size();
  if (in_session()) keep_session();
  from_server_.feed(bytes);
  if (goodbye_ == Goodbye::kSaid) {
    end_tunnel_if_answered();
    return;
  }
  if (!down_->send({&bytes, 1}, {})) up_->pause_reading();
  if (goodbye_ == Goodbye::kDue) say_goodbye();
  if (phase_ == Phase::kTunnel) arm_timer();
}

void Exchange::tunnel_client_eof() {
  client_eof_ = true;
  if (upstream_eof_) {
    drop_attempt(false);
    finish(Client::Next::kClose);
  } else if (goodbye_ == Goodbye::kSaid) {
    end_tunnel_if_answered();
  } else if (up_->drained()) {
    up_->shutdown();
  }
}

void Exchange::tunnel_server_eof() {
  upstream_eof_ = true;
  if (client_eof_) {
    outcome_ = Outcome::kTunnelled;
    drop_attempt(false);
    finish(Client::Next::kClose);
  } else if (goodbye_ == Goodbye::kSaid) {
    end_tunnel_if_answered();
  } else if (from_server_.at_border() && !from_server_.closing()) {
    // A server that means to end a tunnel says Close first; this one is gone.
    drop_attempt(false);
    finish(tell_client_of_loss());
  } else if (down_->drained()) {
    down_->shutdown();
  }
}

// ---- good-bye ----

// Not all at once: everybody who is told comes again, elsewhere.
void Exchange::end_tunnel_by(TimePoint deadline) {
  if (phase_ != Phase::kTunnel || goodbye_ != Goodbye::kNone) return;
  const auto span = std::chrono::duration_cast<Milliseconds>(deadline - core_.now) - kGoodbyeWait;
  goodbye_ = Goodbye::kPlanned;
  goodbye_at_ = core_.now + Milliseconds(static_cast<std::int64_t>(core_.chance(static_cast<std::uint64_t>(std::max<std::int64_t>(0, span.count())) + 1)));
  arm_timer();
}

// Between two frames of either direction; inside of one nobody could tell a Close from the rest of the payload. Where one
// side has said good-bye already, they end by themselves.
void Exchange::say_goodbye() {
  goodbye_ = Goodbye::kDue;
  const bool borders = from_client_.at_border() && from_server_.at_border();
  if (!borders || from_client_.closing() || from_server_.closing() || client_eof_ || upstream_eof_) return;
  const auto mask = static_cast<std::uint32_t>(core_.chance(std::uint64_t{1} << 32));
  const CloseFrame to_server(CloseCode::kGoingAway, "client is sent elsewhere", &mask);
  const CloseFrame to_client(CloseCode::kServiceRestart, "connect again", nullptr);
  const Bytes up = to_server.bytes(), down = to_client.bytes();
  if (up_->send({&up, 1}) == SendResult::kLeaseOver) {
    lease_lost();
    return;
  }
  (void)down_->send({&down, 1}, {});
  goodbye_ = Goodbye::kSaid;
  goodbye_at_ = core_.now + kGoodbyeWait;
  reason_ = "draining";
  ++core_.counters.tunnels_told;
  up_->resume_reading();
  arm_timer();
}

void Exchange::end_tunnel_if_answered() {
  const bool client_done = client_eof_ || from_client_.closed(), server_done = upstream_eof_ || from_server_.closed();
  if (client_done && server_done) end_tunnel();
}

void Exchange::end_tunnel() {
  outcome_ = Outcome::kTunnelled;
  drop_attempt(false);
  finish(Client::Next::kClose);
}

// The instance's side is gone. The client is told to come again if it can be told.
Client::Next Exchange::tell_client_of_loss() {
  if (goodbye_ == Goodbye::kSaid || from_server_.closed()) return Client::Next::kClose;
  if (!from_server_.at_border() || from_server_.closing()) return Client::Next::kReset;
  const CloseFrame frame(CloseCode::kServiceRestart, "connect again", nullptr);
  const Bytes bytes = frame.bytes();
  (void)down_->send({&bytes, 1}, {});
  ++core_.counters.tunnels_told;
  return Client::Next::kClose;
}

void Exchange::tunnel_late(TimePoint now) {
  if (goodbye_ == Goodbye::kPlanned && goodbye_at_ <= now) {
    goodbye_at_ = TimePoint::max();
    say_goodbye();
    if (phase_ == Phase::kTunnel) arm_timer();
    return;
  }
  if (goodbye_ != Goodbye::kSaid) {
    ++core_.counters.idle_timeouts;
    reason_ = "idle_timeout";
  }
  end_tunnel();
}

}  // namespace proxy
