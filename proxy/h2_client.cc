#include "proxy/h2_client.h"

#include <algorithm>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/forwarding.h"
#include "proxy/h2_connection.h"
#include "proxy/http1/writer.h"
#include "proxy/unasked.h"

namespace proxy {

H2Client::H2Client(H2Connection& connection, Core& core, const Accepted& accepted)
    : Client(accepted, http1::Framing::kStream), connection_(connection), core_(core) {}

void H2Client::attach(http2::Stream& stream) {
  stream_ = &stream;
  exchange_ = nullptr;
  body_limit_ = UINT64_MAX;
  body_bytes_ = 0;
  pending_.clear();
  body_pace_.end();
  reader_pace_.end();
  tunnel_ = stream.is_tunnel();
  tunnel_open_ = ended_ = false;
}

void H2Client::begin(http2::Stream& stream, const http1::RequestHead& head) {
  attach(stream);
  exchange_ = &core_.new_exchange();
  exchange_->begin(*this, head);
  // To HTTP/1 the request for a WebSocket is complete; what follows belongs to the tunnel.
  if (tunnel_) exchange_->request_end({});
  connection_.touch(*this);
}

void H2Client::refuse(http2::Stream& stream, const Error& error) {
  attach(stream);
  LocalReply reply;
  reply.status = status_of(error.code);
  reply.code = name_of(error.code);
  reply.message = error.detail;
  reply.hint = error.code == Errc::kHeadTooLarge ? "send fewer or shorter header fields" : "send a request that conforms to RFC 9113";
  reply.outcome = name_of(Outcome::kNotSent);
  const std::string text = answer_unasked(core_, *this, reply, 20);
  const Bytes piece = http1::bytes_of(text);
  send({&piece, 1}, kWholeAnswer);
  connection_.session().abandon_request(stream);
}

void H2Client::gather() {
  touched = false;
  if (exchange_ != nullptr) exchange_->request_gathered();
  update_reading();
}

void H2Client::leave(std::string_view reason) {
  stream_ = nullptr;
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->client_gone(reason);
}

// ---- the answer ----

bool H2Client::send(std::span<const Bytes> pieces, const AnswerPart& part) {
  if (stream_ == nullptr) return true;
  core_.note_unsent(connection_);
  return connection_.session().send(*stream_, pieces, part.heads, part.trailer, part.last);
}

void H2Client::exchange_over(Next next) {
  exchange_ = nullptr;
  if (stream_ == nullptr) return;
  http2::Session& session = connection_.session();
  core_.note_unsent(connection_);
  if (next == Next::kReset) {
    session.reset(*stream_, http2::Code::kInternalError);
    return;
  }
  session.abandon_request(*stream_);
  session.end(*stream_);
}

void H2Client::shutdown() {
  if (stream_ == nullptr) return;
  connection_.session().end(*stream_);
  core_.note_unsent(connection_);
}

void H2Client::on_room() {
  if (exchange_ != nullptr) exchange_->client_writable();
}

// ---- the request ----

void H2Client::update_reading() {
  if (stream_ == nullptr || stream_->unconsumed() == 0) return;
  if (tunnel_ && !tunnel_open_ && exchange_ != nullptr) return;
  if (exchange_ != nullptr && !exchange_->wants_request()) {
    body_pace_.end();  // it is not the client that keeps us waiting
    return;
  }
  connection_.session().consume(*stream_);
  core_.note_unsent(connection_);
}

void H2Client::on_body(Bytes bytes) {
  if (exchange_ == nullptr) {
    update_reading();  // answered already: thrown away
    return;
  }
  body_bytes_ += bytes.size();
  if (tunnel_) {
    if (!tunnel_open_) {
      pending_ += http1::text_of(bytes);
      return;
    }
    exchange_->tunnel_from_client(bytes);
    update_reading();
    return;
  }
  if (body_bytes_ > body_limit_) {
    ++core_.counters.requests_malformed;
    exchange_->request_broken({Errc::kBodyTooLarge, "body over " + std::to_string(body_limit_) + " bytes"});
    return;
  }
  exchange_->request_body(bytes);
  connection_.touch(*this);
}

void H2Client::on_end(std::span<const http1::Header> trailers) {
  ended_ = true;
  if (exchange_ == nullptr) return;
  if (tunnel_) {
    if (tunnel_open_) exchange_->tunnel_client_eof();
    return;
  }
  exchange_->request_end(trailers);
  connection_.touch(*this);
}

void H2Client::start_tunnel() {
  tunnel_open_ = true;
  if (!pending_.empty()) {
    const std::string first = std::exchange(pending_, {});
    exchange_->tunnel_from_client(http1::bytes_of(first));
  }
  if (ended_ && exchange_ != nullptr) exchange_->tunnel_client_eof();
  update_reading();
}

void H2Client::on_closed() {
  if (stream_ == nullptr) return;  // the connection has given it up before
  stream_ = nullptr;
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->client_gone("client_reset");
  connection_.release(*this);
}

// ---- slow clients ----

TimePoint H2Client::watch_pace(TimePoint now) {
  if (stream_ == nullptr) return TimePoint::max();
  const TimePoint reader = watch_reader(now);
  return std::min(reader, watch_body(now));
}

// An answer waits for a window that the client does not open, or for a connection that it does not read.
TimePoint H2Client::watch_reader(TimePoint now) {
  const PaceSettings& settings = core_.settings.client_pace;
  if (stream_->was_drained() || stream_->backlog() == 0) reader_pace_.end();
  if (stream_->backlog() == 0) return TimePoint::max();
  if (reader_pace_.running() && reader_pace_.too_slow(settings, now, stream_->sent_bytes())) {
    ++core_.counters.slow_readers;
    if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->client_gone("slow_reader");
    connection_.session().reset(*stream_, http2::Code::kEnhanceYourCalm);
    core_.note_unsent(connection_);
    reader_pace_.end();
    return TimePoint::max();
  }
  reader_pace_.begin(now, stream_->sent_bytes());
  return reader_pace_.deadline(settings);
}

TimePoint H2Client::watch_body(TimePoint now) {
  const PaceSettings& settings = core_.settings.client_pace;
  const bool owes = exchange_ != nullptr && !tunnel_ && exchange_->awaits_body() && stream_->unconsumed() == 0;
  if (!owes) {
    body_pace_.end();
    return TimePoint::max();
  }
  if (body_pace_.running() && body_pace_.too_slow(settings, now, body_bytes_)) {
    body_pace_.end();
    ++core_.counters.slow_bodies;
    exchange_->request_too_slow();
    return TimePoint::max();
  }
  body_pace_.begin(now, body_bytes_);
  return body_pace_.deadline(settings);
}

}  // namespace proxy
