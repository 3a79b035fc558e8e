#include "proxy/prelude.h"

#include <algorithm>
#include <utility>

#include "proxy/downstream.h"
#include "proxy/h2_connection.h"
#include "proxy/http1/writer.h"

namespace proxy {
namespace {

template <class Speaker>
StreamSink& settle(Core& core, std::unique_ptr<Stream> stream, Accepted accepted) {
  const std::uint64_t listener = accepted.listener;
  const TimePoint idle_until = accepted.idle_until;
  auto made = std::make_unique<Speaker>(core, std::move(stream), std::move(accepted));
  Speaker& speaker = *made;
  ClientConnection* key = made.get();
  key->came_from(listener);
  core.downstreams.emplace(key, std::move(made));
  if (idle_until != TimePoint::max()) key->part(idle_until);
  return speaker;
}

}  // namespace

StreamSink& welcome(Core& core, std::unique_ptr<Stream> stream, Accepted accepted) {
  switch (accepted.protocol) {
    case Protocol::kHttp2: return settle<H2Connection>(core, std::move(stream), std::move(accepted));
    case Protocol::kEither: return settle<Prelude>(core, std::move(stream), std::move(accepted));
    case Protocol::kHttp1: break;
  }
  return settle<Downstream>(core, std::move(stream), std::move(accepted));
}

Prelude::Prelude(Core& core, std::unique_ptr<Stream> stream, Accepted accepted)
    : AcceptedFacts{std::move(accepted)}, core_(core), stream_(std::move(stream)), timer_(*this) {
  stream_->set_sink(this);
  core_.wheel.arm(timer_, core_.now + core_.settings.keep_alive_timeout);
}

Prelude::~Prelude() = default;

void Prelude::on_data(Bytes bytes) {
  Core::Event event(core_);
  if (stream_ == nullptr) return;
  std::string_view text = http1::text_of(bytes);
  if (!text_.empty()) text = text_ += text;
  const bool whole = text.starts_with(http2::kPreface);
  if (!whole && http2::kPreface.starts_with(text)) {
    if (text_.empty()) {
      text_ = text;
      core_.wheel.arm(timer_, core_.now + core_.settings.head_timeout);
    }
    return;
  }
  Accepted accepted = std::move(met);
  accepted.protocol = whole ? Protocol::kHttp2 : Protocol::kHttp1;
  StreamSink& speaker = welcome(core_, std::move(stream_), std::move(accepted));
  core_.wheel.disarm(timer_);
  core_.bury(*this);
  speaker.on_data(http1::bytes_of(text));
}

void Prelude::close() {
  std::exchange(stream_, nullptr)->close();
  core_.bury(*this);
}

// What it will speak is not known yet, so its first request must still find somebody.
void Prelude::part(TimePoint idle_until) {
  if (stream_ == nullptr) return;
  met.idle_until = std::min(met.idle_until, idle_until);
  core_.wheel.arm(timer_, std::min(timer_.deadline(), idle_until));
}
void Prelude::drain() {
  if (stream_ != nullptr && text_.empty()) close();
}
void Prelude::drain_deadline() {
  if (stream_ != nullptr) close();
}
void Prelude::abort(std::string_view) {
  if (stream_ == nullptr) return;
  std::exchange(stream_, nullptr)->reset();
  core_.bury(*this);
}
void Prelude::on_eof() {
  Core::Event event(core_);
  if (stream_ != nullptr) close();
}
void Prelude::on_closed(StreamEnd) {
  Core::Event event(core_);
  if (stream_ == nullptr) return;
  core_.bury(*this);
}
void Prelude::on_deadline(Timer&, TimePoint) {
  if (stream_ != nullptr) close();
}

}  // namespace proxy
