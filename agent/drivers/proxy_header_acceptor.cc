#include "agent/drivers/proxy_header_acceptor.h"

#include <utility>
#include <vector>

#include "agent/io/timer.h"

namespace agent::drivers {

/// One connection whose header has not ended.
struct ProxyHeaderAcceptor::Pending final : io::StreamSink {
  Pending(ProxyHeaderAcceptor& acceptor, proxy::Accepted given, OnRead then)
      : owner(acceptor), accepted(std::move(given)), next(std::move(then)), deadline(acceptor.loop_, [this] { owner.drop(*this, owner.counters_.timed_out); }) {}
  void on_read(std::span<const std::byte> bytes) override { owner.read(*this, bytes); }
  void on_end() override { owner.drop(*this, owner.counters_.closed); }
  void on_error(const io::Error&) override { owner.drop(*this, owner.counters_.closed); }

  ProxyHeaderAcceptor& owner;
  proxy::Accepted accepted;
  OnRead next;
  std::vector<std::byte> received;
  io::Timer deadline;
  std::unique_ptr<io::TcpStream> stream;
  std::list<std::unique_ptr<Pending>>::iterator place;
};

void ProxyHeaderCounters::add(const ProxyHeaderCounters& other) {
  told += other.told;
  local += other.local;
  malformed += other.malformed;
  timed_out += other.timed_out;
  closed += other.closed;
  refused += other.refused;
}

ProxyHeaderAcceptor::ProxyHeaderAcceptor(io::Loop& loop) : loop_(loop) {}
ProxyHeaderAcceptor::~ProxyHeaderAcceptor() = default;

void ProxyHeaderAcceptor::begin(std::unique_ptr<io::TcpStream> stream, io::Milliseconds timeout, proxy::Accepted accepted,
                                OnRead on_read) {
  if (pending_.size() >= kPendingMax) {
    ++counters_.refused;
    return;
  }
  auto& pending = *pending_.emplace_back(std::make_unique<Pending>(*this, std::move(accepted), std::move(on_read)));
  pending.place = std::prev(pending_.end());
  pending.stream = std::move(stream);
  pending.deadline.arm_after(timeout);
  pending.stream->set_sink(&pending);
  pending.stream->read_start();
}

void ProxyHeaderAcceptor::clear() { pending_.clear(); }

void ProxyHeaderAcceptor::read(Pending& pending, std::span<const std::byte> bytes) {
  // Mostly the header comes whole; what follows it in the same bytes is given back.
  pending.received.insert(pending.received.end(), bytes.begin(), bytes.end());
  const auto header = proxy::parse_proxy_header(pending.received);
  if (!header) return drop(pending, counters_.malformed);
  if (!*header) return;
  ++((*header)->ends ? counters_.told : counters_.local);
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
  if ((*header)->ends) done->accepted.client = proxy::text_of((*header)->ends->source);
  done->stream->read_stop();
  done->stream->set_sink(nullptr);
  const auto rest = std::span<const std::byte>(done->received).subspan((*header)->bytes);
  if (!rest.empty()) done->stream->unread(rest);
  done->next(std::move(done->stream), std::move(done->accepted));
}

void ProxyHeaderAcceptor::drop(Pending& pending, std::uint64_t& counter) {
  ++counter;
  const std::unique_ptr<Pending> done = std::move(*pending.place);
  pending_.erase(done->place);
}

}  // namespace agent::drivers
