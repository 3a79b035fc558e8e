#include "proxy/h2_connection.h"

#include <algorithm>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/http1/writer.h"
#include "proxy/unasked.h"

namespace proxy {
namespace {

constexpr std::size_t kWriteBytesMax = 64 * 1024;  // framed at a time; a frame more may follow

http2::Limits limits_of(const Settings& settings) {
  http2::Limits limits;
  limits.head = settings.request_limits;
  limits.streams_max = settings.h2.streams_max;
  limits.stream_window = settings.h2.stream_window;
  limits.connection_window = std::max(settings.h2.connection_window, settings.h2.stream_window);
  limits.flood.resets_max = settings.h2.resets_max;
  limits.flood.control_frames_max = settings.h2.control_frames_max;
  return limits;
}

}  // namespace

H2Connection::H2Connection(Core& core, std::unique_ptr<Stream> stream, Accepted accepted)
    : AcceptedFacts{std::move(accepted)}, core_(core), stream_(std::move(stream)), session_(limits_of(core.settings), *this, core.chance),
      timer_(*this), grace_timer_(*this), pace_timer_(*this) {
  stream_->set_sink(this);
  ++core_.counters.connections;
  ++core_.counters.open_connections;
  ++core_.counters.h2_connections;
  arm_timer();
  core_.note_unsent(*this);  // our SETTINGS
}

H2Connection::~H2Connection() { --core_.counters.open_connections; }

// ---- streams ----

H2Client& H2Connection::take_client() {
  ++core_.counters.h2_streams_open;
  if (free_.empty()) {
    clients_.push_back(std::make_unique<H2Client>(*this, core_, met));
    return *clients_.back();
  }
  H2Client* client = free_.back();
  free_.pop_back();
  return *client;
}

void H2Connection::release(H2Client& client) {
  --core_.counters.h2_streams_open;
  free_.push_back(&client);
}

void H2Connection::touch(H2Client& client) {
  if (!std::exchange(client.touched, true)) touched_.push_back(&client);
}

http2::Receiver* H2Connection::on_request(http2::Stream& stream, const http1::RequestHead& head) {
  // A stream costs an exchange as a connection does; all together are bounded like those.
  if (last_said_ || core_.counters.h2_streams_open >= core_.settings.connections_max) {
    record_unasked(core_, met, last_said_ ? "draining" : "too_many_streams", 20, &head);
    return nullptr;
  }
  H2Client& client = take_client();
  client.begin(stream, head);
  return &client;
}

http2::Receiver* H2Connection::on_bad_head(http2::Stream& stream, const Error& error) {
  ++core_.counters.requests_malformed;
  H2Client& client = take_client();
  client.refuse(stream, error);
  return &client;
}

// ---- bytes ----

void H2Connection::on_data(Bytes bytes) {
  Core::Event event(core_);
  if (closed_) return;
  core_.counters.bytes_in += bytes.size();
  heard_ = true;
  const bool goes_on = session_.feed(bytes, core_.now);
  // What came before the fault may have complete requests in it; they are the client's loss as well.
  for (std::size_t i = 0; i < touched_.size() && goes_on; ++i) touched_[i]->gather();
  for (H2Client* client : touched_) client->touched = false;
  touched_.clear();
  note_news();
  if (!goes_on) {
    fault_ = session_.flood() == http2::Flood::kNone ? "h2_protocol_error" : "h2_flood";
    leave(fault_);
    send_frames();
    close();
    return;
  }
  arm_timer();
  core_.note_unsent(*this);
}

void H2Connection::note_news() {
  const http2::SessionNews news = session_.take_news();
  Counters& c = core_.counters;
  c.h2_streams += news.streams;
  c.h2_resets += news.resets_received;
  c.h2_streams_refused += news.refused;
  c.h2_malformed += news.malformed;
  if (news.faults > 0 && fault_.empty()) fault_ = "h2_protocol_error";
  for (std::uint64_t i = 0; i < news.unasked_refused; ++i) record_unasked(core_, met, "h2_stream_refused", 20);
  for (std::uint64_t i = 0; i < news.unasked_malformed; ++i) record_unasked(core_, met, "h2_malformed", 20);
}

void H2Connection::send_frames() {
  if (!outlet_.empty()) outlet_.flush(*stream_);
  std::string& frames = core_.frames;
  for (bool more = true; more && outlet_.empty();) {
    frames.clear();
    more = session_.write(frames, kWriteBytesMax);
    if (frames.empty()) break;
    core_.counters.bytes_out += frames.size();
    offered_bytes_ += frames.size();
    const Bytes piece = http1::bytes_of(frames);
    outlet_.send(*stream_, {&piece, 1});
  }
}

void H2Connection::flush() {
  if (closed_) return;
  send_frames();
  note_news();
  if (session_.flood() != http2::Flood::kNone) {  // found while it was answered
    fault_ = "h2_flood";
    leave(fault_);
    send_frames();
    close();
    return;
  }
  if ((session_.over() || (last_said_ && session_.streams() == 0)) && outlet_.empty()) {
    leave(fault_.empty() ? "client_gone" : fault_);
    close();
    return;
  }
  if (outlet_.empty() != reading_) {
    reading_ = outlet_.empty();
    reading_ ? stream_->resume_reading() : stream_->pause_reading();
  }
  if (!pace_timer_.armed()) watch_pace(core_.now);
  arm_timer();
}

void H2Connection::on_writable() {
  Core::Event event(core_);
  flush();
}

// ---- the end ----

// A client that is sent away in the middle of its requests is in their records; one without any has one of its own.
void H2Connection::leave(std::string_view reason) {
  const bool asks = std::any_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->in_use(); });
  if (!fault_.empty() && !asks) record_unasked(core_, met, fault_, 20);
  const http2::Flood flood = session_.flood();
  if (flood != http2::Flood::kNone) ++core_.counters.h2_floods[static_cast<std::size_t>(flood) - 1];
  for (const auto& client : clients_) {
    if (!client->in_use()) continue;
    --core_.counters.h2_streams_open;
    client->leave(reason);
  }
}

void H2Connection::close() {
  closed_ = true;
  stream_->close();
  core_.bury(*this);
}

void H2Connection::drain() {
  if (closed_ || std::exchange(leaving_, true)) return;
  session_.announce_end();
  core_.wheel.arm(grace_timer_, core_.now + kGrace);
  core_.note_unsent(*this);
}

void H2Connection::drain_deadline() {
  if (closed_) return;
  send_frames();  // the answers that the end has caused
  session_.terminate(http2::Code::kNoError);
  send_frames();
  leave("draining");
  close();
}

void H2Connection::abort(std::string_view reason) {
  if (closed_) return;
  leave(reason);
  closed_ = true;
  stream_->reset();
  core_.bury(*this);
}

// Without its windows nothing can be sent to it for long: a client that says no more is gone.
void H2Connection::on_eof() {
  Core::Event event(core_);
  if (closed_) return;
  leave("client_gone");
  close();
}

void H2Connection::on_closed(StreamEnd) {
  Core::Event event(core_);
  if (closed_) return;
  leave("client_gone");
  closed_ = true;
  core_.bury(*this);
}

// ---- time ----

// Preface and field lists have the time of a head from their first byte on; PING and the like do not prolong idleness.
void H2Connection::arm_timer() {
  if (closed_) return;
  const bool in_head = session_.in_head() || (heard_ && !session_.begun());
  if (in_head) {
    if (!std::exchange(in_head_, true)) core_.wheel.arm(timer_, core_.now + core_.settings.head_timeout);
    idle_ = false;
    return;
  }
  const bool idle = session_.streams() == 0;
  if (idle == idle_ && !std::exchange(in_head_, false)) return;
  idle_ = idle;
  in_head_ = false;
  idle ? core_.wheel.arm(timer_, core_.now + core_.settings.keep_alive_timeout) : core_.wheel.disarm(timer_);
}

void H2Connection::on_deadline(Timer& timer, TimePoint now) {
  if (closed_) return;
  if (&timer == &pace_timer_) {
    watch_pace(now);
    return;
  }
  if (&timer == &grace_timer_) {
    session_.refuse_new();
    last_said_ = true;
  } else {
    if (in_head_) {
      ++core_.counters.h2_head_timeouts;
      fault_ = "head_timeout";
    }
    if (!outlet_.empty()) return abort("client_gone");  // it does not even take the answers to its last streams
    session_.terminate(in_head_ ? http2::Code::kEnhanceYourCalm : http2::Code::kNoError);
  }
  core_.note_unsent(*this);
}

// The same rule as for HTTP/1, for each stream: a window that stays shut is a reader that does not read.
void H2Connection::watch_pace(TimePoint now) {
  if (core_.settings.client_pace.bytes_per_second == 0) return;
  TimePoint next = TimePoint::max();
  if (reader_too_slow(now, next)) {
    ++core_.counters.slow_readers;
    abort("slow_reader");
    return;
  }
  for (std::size_t i = 0; i < clients_.size(); ++i) next = std::min(next, clients_[i]->watch_pace(now));
  if (next != TimePoint::max()) core_.wheel.arm(pace_timer_, std::max(next, now + Wheel::kGrain));
}

bool H2Connection::reader_too_slow(TimePoint now, TimePoint& next) {
  const PaceSettings& settings = core_.settings.client_pace;
  if (outlet_.empty() && stream_->backlog_bytes() == 0) {
    reader_pace_.end();
    return false;
  }
  const std::uint64_t waiting = outlet_.size() + stream_->unconfirmed_bytes();
  const std::uint64_t confirmed = offered_bytes_ > waiting ? offered_bytes_ - waiting : 0;
  if (reader_pace_.running() && reader_pace_.too_slow(settings, now, confirmed)) return true;
  reader_pace_.begin(now, confirmed);
  next = std::min(next, reader_pace_.deadline(settings));
  return false;
}

}  // namespace proxy
