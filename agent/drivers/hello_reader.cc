#include "agent/drivers/hello_reader.h"

#include <utility>
#include <vector>

#include "agent/io/timer.h"

namespace agent::drivers {

/// One connection whose first message has not ended.
struct HelloReader::Pending final : io::StreamSink {
  Pending(HelloReader& reader, proxy::Accepted given, OnRead then)
      : owner(reader), accepted(std::move(given)), next(std::move(then)), deadline(reader.loop_, [this] { owner.drop(*this, owner.counters_.timed_out); }) {}
  void on_read(std::span<const std::byte> bytes) override { owner.read(*this, bytes); }
  void on_end() override { owner.drop(*this, owner.counters_.closed); }
  void on_error(const io::Error&) override { owner.drop(*this, owner.counters_.closed); }

  HelloReader& owner;
  proxy::Accepted accepted;
  OnRead next;
  std::vector<std::byte> received;
  std::size_t wanted = 0;  ///< before so many bytes there is nothing to look at
  io::Timer deadline;
  std::unique_ptr<io::TcpStream> stream;
  std::list<std::unique_ptr<Pending>>::iterator place;
};

void HelloCounters::add(const HelloCounters& other) {
  named += other.named;
  fallback += other.fallback;
  unknown += other.unknown;
  malformed += other.malformed;
  timed_out += other.timed_out;
  closed += other.closed;
  refused += other.refused;
}

HelloReader::HelloReader(io::Loop& loop) : loop_(loop) {}
HelloReader::~HelloReader() = default;

void HelloReader::begin(std::unique_ptr<io::TcpStream> stream, io::Milliseconds timeout, proxy::Accepted accepted, OnRead on_read) {
  if (pending_.size() >= kPendingMax) {
    ++counters_.refused;
    stream->reset();
    return;
  }
  auto& pending = *pending_.emplace_back(std::make_unique<Pending>(*this, std::move(accepted), std::move(on_read)));
  pending.place = std::prev(pending_.end());
  pending.stream = std::move(stream);
  pending.deadline.arm_after(timeout);
  pending.stream->set_sink(&pending);
  pending.stream->read_start();
}

void HelloReader::clear() { pending_.clear(); }

void HelloReader::read(Pending& pending, std::span<const std::byte> bytes) {
  pending.received.insert(pending.received.end(), bytes.begin(), bytes.end());
  if (pending.received.size() < pending.wanted) return;
  const proxy::ClientHello hello = proxy::parse_client_hello(pending.received);
  if (hello.state == proxy::ClientHello::State::kRefused) return drop(pending, counters_.malformed);
  if (hello.state == proxy::ClientHello::State::kMore) {
    pending.wanted = hello.bytes_needed;
    return;
  }
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
  done->stream->read_stop();
  done->stream->set_sink(nullptr);
  done->stream->unread(done->received);
  done->next(std::move(done->stream), std::move(done->accepted), hello.server_name);
}

void HelloReader::drop(Pending& pending, std::uint64_t& counter) {
  ++counter;
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
  done->stream->reset();
}

}  // namespace agent::drivers
