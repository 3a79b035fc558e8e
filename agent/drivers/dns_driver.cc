#include "agent/drivers/dns_driver.h"

#include <algorithm>
#include <utility>

#include "agent/drivers/dns_connection.h"
#include "agent/io/clock.h"

namespace agent::drivers {
namespace {

constexpr io::Milliseconds kSweepEvery{500};  // idle time-outs are coarse: seconds
constexpr int kPortTries = 16;                // port 0: a port free for UDP may be taken for TCP

}  // namespace

DnsDriver::DnsDriver(io::Loop& loop, DnsSettings settings, const dns::Catalog& catalog,
                     std::function<std::uint64_t(std::uint64_t)> chance)
    : loop_(loop),
      settings_(std::move(settings)),
      resolver_(settings_.resolver, catalog, std::move(chance)),
      sweep_timer_(loop, [this] { sweep(); }) {}

DnsDriver::~DnsDriver() = default;

io::Result<std::unique_ptr<DnsDriver>> DnsDriver::start(io::Loop& loop, DnsSettings settings, const dns::Catalog& catalog,
                                                        std::function<std::uint64_t(std::uint64_t)> chance) {
  std::unique_ptr<DnsDriver> driver(new DnsDriver(loop, std::move(settings), catalog, std::move(chance)));
  if (auto opened = driver->open(); !opened) {
    io::Error error = opened.error();
    error.detail = "DNS cannot listen on " + driver->settings_.listen.to_string() + ": " + error.detail +
                   (error.code == io::Errc::kAddressInUse
                        ? "; stop the program that uses it, or set dns.listen (--dns) to another address or \"off\""
                        : "; set dns.listen (--dns) to an address of this machine that you may use, or \"off\"");
    return tl::unexpected(std::move(error));
  }
  return driver;
}

io::Result<void> DnsDriver::open() {
  for (int tries = 1;; ++tries) {
    auto opened = open_once();
    const bool other_port = settings_.listen.port() == 0 && tries < kPortTries;
    if (opened || opened.error().code != io::Errc::kAddressInUse || !other_port) return opened;
  }
}

io::Result<void> DnsDriver::open_once() {
  io::UdpSocket::Options options;
  options.drain_max = kDatagramsPerTurn;
  auto udp = io::UdpSocket::bind(loop_, settings_.listen, *this, options);
  if (!udp) return tl::unexpected(udp.error());
  udp_ = std::move(*udp);
  auto listener = io::TcpListener::listen(loop_, udp_->local_address(), {}, [this](auto stream) { on_accept(std::move(stream)); });
  if (!listener) return tl::unexpected(listener.error());
  listener_ = std::move(*listener);
  return {};
}

DnsCounters DnsDriver::counters() const {
  DnsCounters out = counters_;
  out.connections = connections_.size();
  return out;
}

// ---------------------------------------------------------------- UDP

void DnsDriver::on_datagram(const io::Address& from, std::span<const std::byte> bytes) {
  const auto answer = resolver_.answer(bytes, dns::Transport::kUdp);
  if (!answer.empty() && !udp_->send(from, answer)) ++counters_.datagrams_lost;
}

void DnsDriver::on_datagram_error(const io::Address&, io::Errc) {}  // a client that did not wait for its answer

// ---------------------------------------------------------------- TCP

void DnsDriver::on_accept(std::unique_ptr<io::TcpStream> stream) {
  ++counters_.accepted;
  if (connections_.size() >= settings_.connections_max) make_room();
  auto connection = std::make_unique<DnsConnection>(*this, std::move(stream));
  DnsConnection& made = *connection;
  connections_.emplace(&made, std::move(connection));
  if (!sweep_timer_.armed()) sweep_timer_.arm_after(kSweepEvery);
  made.start();
}

void DnsDriver::on_closed(DnsConnection& connection) { connections_.erase(&connection); }

/// Closes the connection whose last query is oldest: whoever only holds one loses it first.
void DnsDriver::make_room() {
  const auto oldest = std::min_element(connections_.begin(), connections_.end(), [](const auto& a, const auto& b) {
    return a.first->last_query() < b.first->last_query();
  });
  ++counters_.evicted;
  connections_.erase(oldest);
}

void DnsDriver::sweep() {
  const auto oldest = io::boottime_now() - settings_.idle_timeout;
  counters_.timed_out += std::erase_if(connections_, [oldest](const auto& item) { return item.first->last_query() < oldest; });
  if (!connections_.empty()) sweep_timer_.arm_after(kSweepEvery);
}

}  // namespace agent::drivers
