#include "proxy/downstream.h"

#include <algorithm>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/forwarding.h"
#include "proxy/http1/writer.h"
#include "proxy/unasked.h"

namespace proxy {
namespace {

// How long a closed-for-writing connection is drained, so that the client reads our answer before a RST can reach it.
constexpr Milliseconds kLinger{1000};

std::string_view hint_of(Errc code) {
  switch (code) {
    case Errc::kTargetTooLong: return "shorten the request target";
    case Errc::kHeadTooLarge: return "send fewer or shorter header fields";
    case Errc::kBodyTooLarge: return "send a smaller body or raise the limit of the route";
    case Errc::kBadVersion: return "speak HTTP/1.1";
    default: return "send a request that conforms to RFC 9112";
  }
}

}  // namespace

Downstream::Downstream(Core& core, std::unique_ptr<Stream> stream, Accepted accepted)
    : AcceptedFacts{std::move(accepted)}, Client(met, http1::Framing::kChunked), core_(core), stream_(std::move(stream)),
      parser_(core.settings.request_limits), timer_(*this), pace_timer_(*this) {
  stream_->set_sink(this);
  ++core_.counters.connections;
  ++core_.counters.open_connections;
  arm_timer();
}

Downstream::~Downstream() { --core_.counters.open_connections; }

// Between requests the keep-alive time-out runs, inside a head the head time-out; an exchange has timers of its own.
void Downstream::arm_timer() {
  if (exchange_ != nullptr || phase_ != Phase::kServing) {
    if (phase_ != Phase::kLingering) core_.wheel.disarm(timer_);
    in_head_ = false;
    return;
  }
  const bool in_head = parser_.in_message();
  if (in_head && in_head_) return;  // the clock of a slow head is not set back by each byte
  in_head_ = in_head;
  const TimePoint deadline = core_.now + (in_head ? core_.settings.head_timeout : core_.settings.keep_alive_timeout);
  core_.wheel.arm(timer_, in_head ? deadline : std::min(deadline, idle_until_));
}

bool Downstream::send(std::span<const Bytes> pieces, const AnswerPart&) {
  if (phase_ == Phase::kClosed) return true;
  const std::uint64_t before = core_.counters.bytes_out;
  for (const Bytes piece : pieces) core_.counters.bytes_out += piece.size();
  offered_bytes_ += core_.counters.bytes_out - before;
  outlet_.send(*stream_, pieces);
  if (!reader_pace_.running() && (!outlet_.empty() || stream_->backlog_bytes() > 0)) watch_pace();
  return outlet_.empty();
}

// What the peer's side of the connection has confirmed. Its reader may be behind that by one receive buffer.
std::uint64_t Downstream::bytes_confirmed() const {
  const std::uint64_t waiting = outlet_.size() + stream_->unconfirmed_bytes();
  return offered_bytes_ > waiting ? offered_bytes_ - waiting : 0;
}

// Nothing of this costs a system call as long as the kernel takes what is sent and bodies come with their heads.
void Downstream::watch_pace() {
  if (core_.settings.client_pace.bytes_per_second == 0) return;
  const bool owes_body = phase_ == Phase::kServing && exchange_ != nullptr && reading_ && exchange_->awaits_body();
  const bool owes_room = (phase_ == Phase::kServing || phase_ == Phase::kLingering) &&
                         (!outlet_.empty() || stream_->backlog_bytes() > 0);
  owes_body ? body_pace_.begin(core_.now, received_bytes_) : body_pace_.end();
  if (!owes_room) reader_pace_.end();
  if (owes_room && !reader_pace_.running()) reader_pace_.begin(core_.now, bytes_confirmed());
  const PaceSettings& settings = core_.settings.client_pace;
  const TimePoint deadline = std::min(body_pace_.deadline(settings), reader_pace_.deadline(settings));
  if (deadline != TimePoint::max()) {
    core_.wheel.arm(pace_timer_, deadline);
  } else if (pace_timer_.armed()) {
    core_.wheel.disarm(pace_timer_);
  }
}

void Downstream::pace_deadline(TimePoint now) {
  watch_pace();  // an answer that has left meanwhile was not reported
  const PaceSettings& settings = core_.settings.client_pace;
  if (reader_pace_.running() && reader_pace_.too_slow(settings, now, bytes_confirmed())) {
    ++core_.counters.slow_readers;
    abort("slow_reader");
    return;
  }
  if (body_pace_.too_slow(settings, now, received_bytes_)) {
    body_pace_.end();
    ++core_.counters.slow_bodies;
    exchange_->request_too_slow();
  }
  watch_pace();
}

void Downstream::update_reading() {
  if (phase_ == Phase::kClosed) return;
  const bool wanted = pending_.empty() && (exchange_ == nullptr || exchange_->wants_request());
  if (wanted != reading_) {
    reading_ = wanted;
    wanted ? stream_->resume_reading() : stream_->pause_reading();
  }
  if (exchange_ != nullptr || body_pace_.running()) watch_pace();
}

void Downstream::on_data(Bytes bytes) {
  Core::Event event(core_);
  core_.counters.bytes_in += bytes.size();
  received_bytes_ += bytes.size();
  switch (phase_) {
    case Phase::kServing: consume(bytes); break;
    case Phase::kTunnel: exchange_->tunnel_from_client(bytes); break;
    case Phase::kLingering:
    case Phase::kClosed: return;
  }
  update_reading();
}

void Downstream::consume(Bytes bytes) {
  consuming_ = true;
  while (!bytes.empty() && phase_ == Phase::kServing) {
    // The next request waits for the end of this exchange and for its response to have left.
    if ((exchange_ != nullptr && exchange_->request_complete()) || !outlet_.empty()) {
      pending_ += http1::text_of(bytes);
      break;
    }
    auto consumed = parser_.feed(bytes, *this);
    if (!consumed) {
      refuse(consumed.error());
      break;
    }
    bytes = bytes.subspan(*consumed);
    if (exchange_ != nullptr) exchange_->request_gathered();
  }
  consuming_ = false;
  arm_timer();
}

void Downstream::consume_pending() {
  if (consuming_ || phase_ != Phase::kServing || exchange_ != nullptr || !outlet_.empty()) return;
  if (!pending_.empty()) {
    work_.swap(pending_);
    pending_.clear();
    consume(http1::bytes_of(work_));
  }
  // A client that has said all and got all its answers.
  if (client_done_ && exchange_ == nullptr && pending_.empty() && phase_ == Phase::kServing) close();
}

http1::Flow Downstream::on_head(const http1::RequestHead& head) {
  exchange_ = &core_.new_exchange();
  last_request_ = !head.keep_alive;
  ++requests_;
  core_.wheel.disarm(timer_);
  exchange_->begin(*this, head);
  return http1::Flow::kContinue;
}

void Downstream::on_body(Bytes bytes) { exchange_->request_body(bytes); }
void Downstream::on_end(std::span<const http1::Header> trailers) { exchange_->request_end(trailers); }

// One clear status, then the end of the connection: behind a malformed message no byte can be trusted.
void Downstream::refuse(const Error& error) {
  ++core_.counters.requests_malformed;
  if (exchange_ != nullptr) {
    exchange_->request_broken(error);
    return;
  }
  LocalReply reply;
  reply.status = status_of(error.code);
  reply.code = name_of(error.code);
  reply.message = error.detail;
  reply.hint = hint_of(error.code);
  reply.outcome = name_of(Outcome::kNotSent);
  answer_without_exchange(reply);
}

void Downstream::answer_without_exchange(const LocalReply& reply) {
  const std::string text = answer_unasked(core_, *this, reply, 11);
  const Bytes piece = http1::bytes_of(text);
  send(std::span<const Bytes>(&piece, 1), kWholeAnswer);
  linger();
}

void Downstream::exchange_over(Next next) {
  // "Connection: close" was the client's promise, and its request is whole: no byte of it can meet a closed socket.
  const bool all_said = last_request_ && pending_.empty() && exchange_ != nullptr && exchange_->request_complete();
  exchange_ = nullptr;
  if (phase_ == Phase::kClosed) return;
  switch (next) {
    case Next::kReset:
      stream_->reset();
      phase_ = Phase::kClosed;
      core_.bury(*this);
      return;
    case Next::kClose:
      if (all_said && outlet_.empty()) close(&Stream::finish);
      else linger();
      return;
    case Next::kRequest: break;
  }
  // Parting: this answer may have begun before it could say so, and then the client may be sending its next request.
  if (core_.draining || core_.now >= idle_until_) {
    linger();
    return;
  }
  arm_timer();
  consume_pending();
  update_reading();
}

void Downstream::linger() {
  phase_ = Phase::kLingering;
  pending_.clear();
  if (client_done_ && outlet_.empty()) {
    close();
    return;
  }
  if (outlet_.empty()) stream_->shutdown();
  if (!reading_) stream_->resume_reading();
  reading_ = true;
  // A slow reader gets the time of an idle one to take its answer; then a moment to see the end.
  core_.wheel.arm(timer_, core_.now + (outlet_.empty() || core_.drained_long_enough() ? kLinger : core_.settings.keep_alive_timeout));
}

void Downstream::close(void (Stream::*how)()) {
  phase_ = Phase::kClosed;
  (*stream_.*how)();
  core_.bury(*this);
}

void Downstream::start_tunnel() {
  phase_ = Phase::kTunnel;
  core_.wheel.disarm(timer_);
  if (!pending_.empty()) {
    work_.swap(pending_);
    pending_.clear();
    exchange_->tunnel_from_client(http1::bytes_of(work_));
  }
  update_reading();
}

void Downstream::part(TimePoint idle_until) {
  idle_until_ = std::min(idle_until_, idle_until);
  if (core_.now >= idle_until_) drain();
  else arm_timer();
}

void Downstream::drain() {
  if (phase_ == Phase::kServing && exchange_ == nullptr && !parser_.in_message() && outlet_.empty()) close();
}

void Downstream::drain_deadline() {
  if (phase_ == Phase::kServing && exchange_ == nullptr) {
    linger();
  } else if (phase_ == Phase::kLingering) {
    core_.wheel.arm(timer_, core_.now + kLinger);
  }
}

void Downstream::abort(std::string_view reason) {
  if (phase_ == Phase::kClosed) return;
  if (exchange_ != nullptr) exchange_->client_gone(reason);
  exchange_ = nullptr;
  stream_->reset();
  phase_ = Phase::kClosed;
  core_.bury(*this);
}

void Downstream::on_eof() {
  Core::Event event(core_);
  client_done_ = true;
  if (phase_ == Phase::kTunnel) {
    exchange_->tunnel_client_eof();
    return;
  }
  // Inside a message, idle, or with a request that nobody has sent on: there is nobody left to answer.
  // With a complete request at an instance, or an order that is being written down, the answer is still worth its way.
  const bool under_way = exchange_ != nullptr && exchange_->request_complete() && (exchange_->at_endpoint() || exchange_->at_ledger());
  if (phase_ == Phase::kServing && under_way) return;
  if (exchange_ != nullptr) {
    exchange_->client_gone();
    exchange_ = nullptr;
  }
  if (phase_ == Phase::kServing && !outlet_.empty()) {
    linger();
    return;
  }
  if (phase_ != Phase::kClosed && outlet_.empty()) close();
}

void Downstream::on_writable() {
  Core::Event event(core_);
  if (phase_ == Phase::kClosed) return;
  outlet_.flush(*stream_);
  if (!outlet_.empty()) return;
  if (phase_ == Phase::kLingering) {
    if (client_done_) {
      close();
    } else {
      stream_->shutdown();
      core_.wheel.arm(timer_, core_.now + kLinger);
    }
    return;
  }
  if (exchange_ != nullptr) {
    exchange_->client_writable();
    return;
  }
  consume_pending();
  update_reading();
}

void Downstream::on_closed(StreamEnd) {
  Core::Event event(core_);
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  if (exchange_ != nullptr) exchange_->client_gone();
  exchange_ = nullptr;
  core_.bury(*this);
}

void Downstream::on_deadline(Timer& timer, TimePoint now) {
  if (&timer == &pace_timer_) {
    if (phase_ != Phase::kClosed) pace_deadline(now);
    return;
  }
  if (phase_ == Phase::kLingering) {
    // It had its time to read; what is unsent now stays unsent.
    phase_ = Phase::kClosed;
    outlet_.empty() ? stream_->close() : stream_->reset();
    core_.bury(*this);
    return;
  }
  if (phase_ != Phase::kServing || exchange_ != nullptr) return;
  if (!parser_.in_message()) {
    if (outlet_.empty()) {
      close();
    } else {
      abort("client_gone");  // it does not even take the answer to its last request
    }
    return;
  }
  LocalReply reply;
  reply.status = 408;
  reply.code = "head_timeout";
  reply.message = "the request head did not arrive in time";
  reply.hint = "send the whole head at once";
  reply.outcome = name_of(Outcome::kNotSent);
  answer_without_exchange(reply);
}

}  // namespace proxy
