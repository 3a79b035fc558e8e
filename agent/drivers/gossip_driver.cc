#include "agent/drivers/gossip_driver.h"

#include <algorithm>
#include <utility>

#include "agent/io/crypto.h"
#include "agent/io/file.h"

namespace agent::drivers {
namespace {

constexpr std::size_t kSnapshotBytesMax = std::size_t{16} << 20;
constexpr int kPumpRoundsMax = 16;
constexpr int kFreePortAttempts = 8;

gossip::Failure failure_of(io::Errc code) {
  switch (code) {
    case io::Errc::kRefused:
    case io::Errc::kReset: return gossip::Failure::kRefused;
    case io::Errc::kTimedOut: return gossip::Failure::kTimeout;
    case io::Errc::kClosed: return gossip::Failure::kClosed;
    case io::Errc::kTooLarge: return gossip::Failure::kTooBig;
    case io::Errc::kWouldBlock:
    case io::Errc::kQueueFull:
    case io::Errc::kLimit: return gossip::Failure::kNoBuffer;
    case io::Errc::kInvalidArgument:
    case io::Errc::kAddressInUse:
    case io::Errc::kAddressMissing:
    case io::Errc::kPermission:
    case io::Errc::kUnreachable:
    case io::Errc::kGateClosed:
    case io::Errc::kNotFound:
    case io::Errc::kExists:
    case io::Errc::kLocked:
    case io::Errc::kDiskFull:
    case io::Errc::kCertificate:
    case io::Errc::kTlsPeer:
    case io::Errc::kTlsProtocol:
    case io::Errc::kAuthentication:
    case io::Errc::kIo: return gossip::Failure::kOther;
  }
  return gossip::Failure::kOther;
}

}  // namespace

gossip::Address to_gossip(const io::Address& address) {
  const auto bytes = address.bytes();
  const std::span<const std::uint8_t> ip(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  return gossip::Address::from_bytes(ip, address.port()).value_or(gossip::Address());
}

io::Address to_io(const gossip::Address& address) {
  return io::Address::from_bytes(std::as_bytes(address.bytes()), address.port()).value_or(io::Address());
}

/// One gossip stream: bytes between a socket and the core, which knows it by its id.
class GossipDriver::Stream final : public io::StreamSink {
 public:
  Stream(GossipDriver& driver, gossip::StreamId id) : driver_(driver), id_(id) {}
  void attach(std::unique_ptr<io::TcpStream> stream) {
    stream_ = std::move(stream);
    // Also ends one that the core has closed while its last bytes wait for a peer that reads no more.
    stream_->set_unanswered_max(kStreamConnectTimeout);
    stream_->set_sink(this);
    stream_->read_start();
  }
  void send(std::span<const std::byte> bytes) {
    if (stream_) static_cast<void>(stream_->write(bytes));
  }
  /// The core has forgotten this stream. @return true if nothing waits to be sent
  bool close() {
    closing_ = true;
    stream_->shutdown();
    return stream_->write_queue_bytes() == 0;
  }

 private:
  void on_open() override {
    driver_.swim_->on_stream_opened(io::boottime_now(), id_);
    driver_.input();
  }
  void on_read(std::span<const std::byte> bytes) override {
    if (closing_) return;
    driver_.swim_->on_stream_data(io::boottime_now(), id_, bytes);
    driver_.input();
  }
  void on_end() override { over(io::Errc::kClosed); }
  void on_error(const io::Error& error) override { over(error.code); }
  void on_drained() override {
    if (closing_) driver_.streams_.erase(static_cast<std::uint64_t>(id_));
  }
  void over(io::Errc code) {
    GossipDriver& driver = driver_;
    const gossip::StreamId id = id_;
    if (!closing_) driver.swim_->on_stream_closed(io::boottime_now(), id, failure_of(code));
    driver.input();
    driver.streams_.erase(static_cast<std::uint64_t>(id));
  }
  GossipDriver& driver_;
  gossip::StreamId id_;
  std::unique_ptr<io::TcpStream> stream_;
  bool closing_ = false;
};

GossipDriver::GossipDriver(io::Loop& loop, GossipSettings settings, GossipCallbacks callbacks)
    : loop_(loop),
      settings_(std::move(settings)),
      callbacks_(std::move(callbacks)),
      timer_(loop, [this] { on_due(); }),
      lookup_timer_(loop, [this] { look_up_names(); }),
      closing_(loop),
      pump_(loop, [this] { pump(); }) {}

GossipDriver::~GossipDriver() = default;

io::Result<std::unique_ptr<GossipDriver>> GossipDriver::start(io::Loop& loop, GossipSettings settings,
                                                              GossipCallbacks callbacks) {
  std::unique_ptr<GossipDriver> driver(new GossipDriver(loop, std::move(settings), std::move(callbacks)));
  if (auto opened = driver->open(); !opened) return tl::make_unexpected(opened.error());
  return driver;
}

io::Result<void> GossipDriver::open() {
  if (auto bound = bind_sockets(); !bound) return bound;
  gossip::Config& core = settings_.core;
  if (core.advertise.port() == 0) {
    core.advertise = gossip::Address::from_bytes(core.advertise.bytes(), local_.port()).value_or(core.advertise);
  }
  core.plaintext = !settings_.key;
  if (auto valid = gossip::validate(core); !valid) return io::fail(io::Errc::kInvalidArgument, valid.error().detail);
  if (settings_.key) keyring_ = std::make_unique<GossipKeyring>(*settings_.key);
  swim_ = std::make_unique<gossip::Swim>(core, [](std::uint64_t bound) { return io::random_below(bound); }, keyring_.get(),
                                         io::boottime_now(), static_cast<std::uint64_t>(io::wall_ms()));
  restore();
  input();
  return {};
}

/// With port 0 the TCP listener picks one and UDP follows; where that one is taken for UDP, another is tried.
io::Result<void> GossipDriver::bind_sockets() {
  const int attempts = settings_.bind.port() == 0 ? kFreePortAttempts : 1;
  for (int attempt = 1;; ++attempt) {
    auto listener = io::TcpListener::listen(
        loop_, settings_.bind, {},
        [this](std::unique_ptr<io::TcpStream> stream) { on_accept(std::move(stream)); });
    if (!listener) return tl::make_unexpected(listener.error());
    auto udp = io::UdpSocket::bind(loop_, (*listener)->local_address(), *this);
    if (!udp && udp.error().code == io::Errc::kAddressInUse && attempt < attempts) continue;
    if (!udp) return tl::make_unexpected(udp.error());
    listener_ = std::move(*listener);
    udp_ = std::move(*udp);
    local_ = listener_->local_address();
    return {};
  }
}

void GossipDriver::restore() {
  if (settings_.snapshot_file.empty()) return;
  const auto bytes = io::read_file(settings_.snapshot_file, kSnapshotBytesMax);
  if (!bytes) {
    if (bytes.error().code != io::Errc::kNotFound) callbacks_.log("gossip_snapshot_unread", bytes.error().detail);
    return;
  }
  const auto restored = swim_->restore(io::boottime_now(), std::as_bytes(std::span(*bytes)));
  // Without it the start is slower, and only the seeds are known.
  if (!restored) callbacks_.log("gossip_snapshot_ignored", settings_.snapshot_file + ": " + restored.error().detail);
}

void GossipDriver::on_datagram(const io::Address& from, std::span<const std::byte> bytes) {
  if (callbacks_.drops && callbacks_.drops(to_gossip(from))) return;
  swim_->on_datagram(io::boottime_now(), to_gossip(from), bytes);
}

void GossipDriver::on_datagram_error(const io::Address& to, io::Errc code) {
  swim_->on_datagram_error(io::boottime_now(), to_gossip(to), failure_of(code));
  input();
}

void GossipDriver::on_accept(std::unique_ptr<io::TcpStream> stream) {
  const auto id = swim_->accept_stream(io::boottime_now(), to_gossip(stream->peer_address()));
  // A reset would read as "process gone" at the other side.
  if (!id) return closing_.take(std::move(stream), false);
  auto made = std::make_unique<Stream>(*this, *id);
  Stream& kept = *made;
  streams_.emplace(static_cast<std::uint64_t>(*id), std::move(made));
  kept.attach(std::move(stream));
  input();
}

void GossipDriver::on_due() {
  // Whatever waits in the socket was in time: it is heard before anybody is judged.
  udp_->drain();
  swim_->tick(io::boottime_now());
  input();
}

void GossipDriver::pump() {
  bool happened = false;
  for (int round = 0; round < kPumpRoundsMax; ++round) {
    std::vector<gossip::Output> outputs = swim_->take_output();
    if (outputs.empty()) break;
    happened = true;
    for (gossip::Output& output : outputs) carry_out(output);
  }
  timer_.arm(swim_->next_deadline());
  if (happened) callbacks_.on_turn();
}

void GossipDriver::carry_out(gossip::Output& output) {
  if (const auto* datagram = std::get_if<gossip::SendDatagram>(&output)) {
    send_datagram(*datagram);
  } else if (const auto* open = std::get_if<gossip::OpenStream>(&output)) {
    if (callbacks_.drops && callbacks_.drops(open->to)) {
      swim_->on_stream_closed(io::boottime_now(), open->id, gossip::Failure::kTimeout);
      return;
    }
    auto made = std::make_unique<Stream>(*this, open->id);
    Stream& kept = *made;
    streams_.insert_or_assign(static_cast<std::uint64_t>(open->id), std::move(made));
    kept.attach(io::TcpStream::connect(loop_, to_io(open->to), io::boottime_now() + kStreamConnectTimeout, &kept));
  } else if (const auto* send = std::get_if<gossip::SendStream>(&output)) {
    if (const auto found = streams_.find(static_cast<std::uint64_t>(send->id)); found != streams_.end()) found->second->send(send->bytes);
  } else if (const auto* close = std::get_if<gossip::CloseStream>(&output)) {
    const auto found = streams_.find(static_cast<std::uint64_t>(close->id));
    if (found != streams_.end() && found->second->close()) streams_.erase(found);
  } else if (const auto* persist = std::get_if<gossip::Persist>(&output)) {
    if (settings_.snapshot_file.empty()) return;
    const std::string_view text(reinterpret_cast<const char*>(persist->snapshot.data()), persist->snapshot.size());
    // The first one carries our generation, which must never be used again; the rest only speeds up the next start.
    const auto write = std::exchange(generation_saved_, true) ? io::replace_file_fast : io::replace_file;
    if (auto written = write(settings_.snapshot_file, text, 0600); !written) {
      callbacks_.log("gossip_snapshot_unwritten", written.error().detail);
    }
  } else {
    callbacks_.on_event(std::get<gossip::Event>(output));
  }
}

void GossipDriver::send_datagram(const gossip::SendDatagram& send) {
  if (callbacks_.drops && callbacks_.drops(send.to)) return;
  const auto sent = udp_->send(to_io(send.to), send.bytes);
  if (sent || sent.error().code == io::Errc::kWouldBlock) return;  // a full buffer loses datagrams, as networks do
  swim_->on_datagram_error(io::boottime_now(), send.to, failure_of(sent.error().code));
}

void GossipDriver::join(const std::vector<io::HostPort>& seeds) {
  std::vector<gossip::Address> numeric;
  for (const io::HostPort& seed : seeds) {
    const auto address = io::Address::ip(seed.host, seed.port);
    if (address) numeric.push_back(to_gossip(*address));
    else if (!find_lookup(seed)) lookups_.push_back({seed, nullptr});
  }
  if (!numeric.empty()) {
    if (auto joined = swim_->join(io::boottime_now(), numeric); !joined) callbacks_.log("join_refused", joined.error().detail);
  }
  look_up_names();
  input();
}

/// Starts what is not under way. A name stays until it is found: the seed may be started after us.
void GossipDriver::look_up_names() {
  for (Lookup& lookup : lookups_) {
    if (lookup.running) continue;
    lookup.running = io::resolve(loop_, lookup.seed.host, lookup.seed.port,
                                 [this, seed = lookup.seed](io::Result<std::vector<io::Address>> found) {
                                   on_looked_up(seed, found);
                                 });
  }
}

GossipDriver::Lookup* GossipDriver::find_lookup(const io::HostPort& seed) {
  const auto found = std::find_if(lookups_.begin(), lookups_.end(), [&seed](const Lookup& each) {
    return each.seed.host == seed.host && each.seed.port == seed.port;
  });
  return found == lookups_.end() ? nullptr : &*found;
}

void GossipDriver::on_looked_up(const io::HostPort& seed, const io::Result<std::vector<io::Address>>& found) {
  Lookup* const lookup = find_lookup(seed);
  if (lookup == nullptr) return;
  if (!found) {
    lookup->running.reset();
    lookup_timer_.arm_after(kSeedLookupEvery);
    callbacks_.log("seed_name_unknown", seed.host + ": " + found.error().detail + "; trying again");
    return;
  }
  lookups_.erase(lookups_.begin() + (lookup - lookups_.data()));
  std::vector<gossip::Address> addresses;
  for (const io::Address& address : *found) addresses.push_back(to_gossip(address));
  if (auto joined = swim_->join(io::boottime_now(), addresses); !joined) {
    callbacks_.log("join_refused", seed.host + ": " + joined.error().detail);
  }
  input();
}

gossip::Result<void> GossipDriver::set_tags(std::span<const gossip::TagChange> changes, gossip::Urgency urgency) {
  auto set = swim_->set_tags(io::boottime_now(), changes, urgency);
  input();
  return set;
}

gossip::Result<void> GossipDriver::push_out(const gossip::MemberId& member) {
  auto done = swim_->push_out(io::boottime_now(), member);
  input();
  return done;
}

void GossipDriver::leave() {
  swim_->leave(io::boottime_now());
  input();
}

}  // namespace agent::drivers
