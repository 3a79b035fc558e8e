#include "agent/drivers/proxy_stream.h"

#include <array>
#include <utility>

#include "agent/io/tcp_stream.h"

namespace agent::drivers {

struct ClosingStreams::Lingering final : io::StreamSink {
  Lingering(ClosingStreams& of, std::unique_ptr<io::ByteStream> taken, io::TimePoint until)
      : owner(of), stream(std::move(taken)), deadline(until) {}
  void begin(bool ended) {
    over = ended;
    stream->set_sink(this);
    stream->shutdown();
    stream->read_start();
    on_drained();
  }
  void on_read(std::span<const std::byte>) override {}
  void on_end() override {
    over = true;
    on_drained();
  }
  void on_drained() override {
    if (over && stream->write_queue_bytes() == 0) owner.let_go(*this);
  }
  void on_error(const io::Error&) override { owner.let_go(*this); }
  ClosingStreams& owner;
  std::list<std::unique_ptr<Lingering>>::iterator place;
  std::unique_ptr<io::ByteStream> stream;
  io::TimePoint deadline;
  bool over = false;
};

namespace {
constexpr io::Milliseconds kSweepEvery{100};
}

ClosingStreams::ClosingStreams(io::Loop& loop) : timer_(loop, [this] { sweep(); }) {}
ClosingStreams::~ClosingStreams() = default;

void ClosingStreams::take(std::unique_ptr<io::ByteStream> stream, bool ended) {
  if (lingering_.size() >= kLingeringMax) lingering_.pop_front();
  lingering_.push_back(std::make_unique<Lingering>(*this, std::move(stream), io::boottime_now() + kLinger));
  Lingering& one = *lingering_.back();
  one.place = std::prev(lingering_.end());
  if (!timer_.armed()) timer_.arm_after(kSweepEvery);
  one.begin(ended);
}

void ClosingStreams::let_go(Lingering& one) { lingering_.erase(one.place); }

void ClosingStreams::sweep() {
  const io::TimePoint now = io::boottime_now();
  while (!lingering_.empty() && now >= lingering_.front()->deadline) lingering_.pop_front();
  if (!lingering_.empty()) timer_.arm_after(kSweepEvery);
}

ProxyStream::~ProxyStream() = default;

void ProxyStream::attach_open(std::unique_ptr<io::ByteStream> stream) {
  stream_ = std::move(stream);
  open_ = true;
  stream_->set_sink(this);
}

void ProxyStream::attach_connecting(std::unique_ptr<io::ByteStream> stream, std::string preface) {
  stream_ = std::move(stream);
  preface_ = std::move(preface);
}

void ProxyStream::set_sink(proxy::StreamSink* sink) {
  sink_ = sink;
  if (!stream_ || !open_) return;
  if (sink_ != nullptr && reading_) stream_->read_start();
  else stream_->read_stop();
}

std::size_t ProxyStream::write(std::span<const proxy::Bytes> pieces) {
  if (!stream_ || !open_) return 0;
  std::size_t total = 0;
  for (const proxy::Bytes& piece : pieces) total += piece.size();
  if (queueing_ == proxy::Queueing::kNone) {
    const auto taken = stream_->write_some(pieces);
    return taken ? *taken : 0;  // on_error follows
  }
  if (stream_->write_queue_bytes() >= kQueueBytesMax) {
    refused_bytes_ = true;
    return 0;
  }
  return stream_->write(pieces) ? total : 0;
}

void ProxyStream::pause_reading() {
  reading_ = false;
  if (stream_) stream_->read_stop();
}

void ProxyStream::resume_reading() {
  reading_ = true;
  if (stream_ && open_ && sink_ != nullptr) stream_->read_start();
}

void ProxyStream::shutdown() {
  if (stream_) stream_->shutdown();
}

void ProxyStream::close() { part(ended_); }
void ProxyStream::finish() { part(true); }

// Where nothing more can come and nothing of ours waits, destroying a TCP stream says all there is to say; TLS has a
// last record to send.
void ProxyStream::part(bool nothing_comes) {
  sink_ = nullptr;
  if (parting_ == Parting::kReset && !nothing_comes) return reset();
  const bool at_once = nothing_comes && stream_ && stream_->write_queue_bytes() == 0 &&
                       dynamic_cast<io::TcpStream*>(stream_.get()) != nullptr;
  if (stream_ && open_ && !at_once && parting_ == Parting::kPolite) host_.closing().take(std::move(stream_), ended_);
  stream_.reset();
}

void ProxyStream::reset() {
  sink_ = nullptr;
  if (stream_) stream_->reset();
  stream_.reset();
}

void ProxyStream::on_open() {
  open_ = true;
  if (!preface_.empty()) {
    const auto bytes = std::as_bytes(std::span(preface_));
    static_cast<void>(stream_->write(bytes));
  }
  if (reading_ && sink_ != nullptr) stream_->read_start();
  host_.touched();
  if (sink_ != nullptr) sink_->on_connected();
}

void ProxyStream::on_read(std::span<const std::byte> bytes) {
  host_.touched();
  if (sink_ != nullptr) sink_->on_data(bytes);
}

void ProxyStream::on_end() {
  ended_ = true;
  host_.touched();
  if (sink_ != nullptr) sink_->on_eof();
}

void ProxyStream::on_error(const io::Error& error) {
  proxy::StreamEnd end = proxy::StreamEnd::kReset;
  if (!open_) {
    const bool refused = error.code == io::Errc::kRefused || error.code == io::Errc::kNotFound;
    end = refused ? proxy::StreamEnd::kRefused : proxy::StreamEnd::kUnreachable;
  }
  open_ = false;
  host_.touched();
  if (sink_ != nullptr) sink_->on_closed(end);
}

void ProxyStream::on_drained() {
  if (queueing_ == proxy::Queueing::kSome && !std::exchange(refused_bytes_, false)) return;
  host_.touched();
  if (sink_ != nullptr) sink_->on_writable();
}

}  // namespace agent::drivers
