#include "agent/drivers/proxy_worker.h"

#include <algorithm>
#include <span>
#include <utility>

#include "agent/drivers/rate_wire.h"
#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {
namespace {

constexpr io::Milliseconds kTroubleEvery{20};  // of one endpoint and worker
constexpr int kBacklogMax = 65'536;  // connections that a socket may hold for us; no kernel has more

}  // namespace

ProxyWorker::ProxyWorker(io::Loop& loop, const ProxyDriverSettings& settings, Reports reports)
    : loop_(loop),
      settings_(settings),
      reports_(std::move(reports)),
      closing_(loop),
      timer_(loop, [this] {
        if (egress_) egress_->tick(io::boottime_now());
        core_.tick(io::boottime_now());
        if (!relay_.idle()) relay_.tick(io::boottime_now());
        touched();
      }),
      after_turn_(loop, [this] { end_turn(); }),
      headers_(loop),
      hops_(loop, [this](std::unique_ptr<io::ByteStream> stream, std::string client) { accept_peer(std::move(stream), std::move(client)); },
            [this](std::unique_ptr<io::ByteStream> stream, RelayHop hop) { accept_hop(std::move(stream), hop); }),
      hellos_(loop),
      handshakes_([this](std::unique_ptr<io::ByteStream> stream, proxy::Accepted accepted) { accept(std::move(stream), std::move(accepted)); }),
      packers_(std::max<std::size_t>(1, settings.compress_streams_max / settings.threads)),
      accepting_(settings.accepting),
      retire_(loop, [this] {
        if (parting_until_) core_.drain(io::boottime_now());
        relay_.end_all();
        touched();
      }),
      egress_end_(loop, [this] {
        if (egress_) egress_->end_all();
        touched();
      }),
      recent_(settings.trail_bytes, settings.rules),
      core_(settings.proxy, *this, *this, [](std::uint64_t bound) { return io::random_below(bound); }),
      relay_(*this) {}

io::Result<void> ProxyWorker::listen(std::uint64_t id, std::shared_ptr<const ProxyListen> settings, const std::vector<const io::ListenSocket*>& sockets) {
  Listener& place = listeners_[id];
  place.settings = std::move(settings);
  for (const io::ListenSocket* socket : sockets) {
    auto listener = io::TcpListener::on(loop_, *socket, [this, id](std::unique_ptr<io::TcpStream> stream) { welcome(id, std::move(stream)); });
    if (!listener) return tl::make_unexpected(listener.error());
    if (!accepting_) (*listener)->pause();
    place.sockets.push_back(std::move(*listener));
  }
  return {};
}

void ProxyWorker::start_accepting() {
  accepting_ = true;
  for (auto& [id, listener] : listeners_) {
    for (const auto& socket : listener.sockets) socket->resume();
  }
}

void ProxyWorker::renew(std::uint64_t id, std::shared_ptr<const ProxyListen> settings) {
  if (const auto found = listeners_.find(id); found != listeners_.end()) found->second.settings = std::move(settings);
}

void ProxyWorker::leave(std::uint64_t id) {
  if (const auto found = listeners_.find(id); found != listeners_.end()) {
    for (const auto& socket : found->second.sockets) socket->accept_waiting(kBacklogMax);
    remember_relay(id, found->second);
    listeners_.erase(found);
    core_.part_with(id, io::boottime_now() + settings_.part_idle);
    if (egress_) egress_->part_with(id, io::boottime_now() + settings_.part_idle);
    touched();
  }
  reports_.news.send([tell = reports_.on_listener_left, id] { tell(id); });
}

void ProxyWorker::retire(io::TimePoint idle_until, io::TimePoint deadline, std::function<void()> idle) {
  for (auto& [id, listener] : listeners_) {
    for (const auto& socket : listener.sockets) socket->accept_waiting(kBacklogMax);
    remember_relay(id, listener);
  }
  listeners_.clear();
  parting_until_ = idle_until;
  idle_ = std::move(idle);
  core_.part_with(std::nullopt, idle_until);
  if (egress_) egress_->part_with(std::nullopt, idle_until);
  egress_ends_ = true;
  egress_end_.arm(deadline);
  retire_.arm(deadline);
  touched();
}

std::shared_ptr<const proxy::RelayRoute> ProxyWorker::relay_of(std::uint64_t id) const {
  if (const auto found = listeners_.find(id); found != listeners_.end()) return found->second.settings->relay;
  const auto parted = parted_relays_.find(id);
  return parted == parted_relays_.end() ? nullptr : parted->second;
}

/// What waits for its handshake there must not be taken for HTTP when the listener is gone.
void ProxyWorker::remember_relay(std::uint64_t id, const Listener& listener) {
  if (listener.settings->relay) parted_relays_.emplace(id, listener.settings->relay);
}

void ProxyWorker::accept(std::unique_ptr<io::ByteStream> stream, proxy::Accepted accepted) {
  const std::uint64_t id = accepted.listener;
  if (const auto relay = relay_of(id)) {
    if (keeps_out(accepted.client)) return stream->reset();
    const proxy::RelayClient client{proxy::ListenerKind::kDownstream, ends_of(*stream, accepted.client)};
    return accept_relay(std::move(stream), relay, client);
  }
  auto adapted = std::make_unique<ProxyStream>(*this, proxy::Queueing::kSome);
  adapted->attach_open(std::move(stream));
  core_.accept(std::move(adapted), std::move(accepted));
  // Its handshake may have outlived its listener, or the peer's was on its way to us.
  if (parting_until_) core_.part_with(id, *parting_until_);
  else if (id != 0 && !listeners_.contains(id)) core_.part_with(id, io::boottime_now() + settings_.part_idle);
  touched();
}

void ProxyWorker::adopt(io::DetachedStream stream, std::string client) {
  auto adopted = io::adopt(loop_, std::move(stream));
  // Without TCP routes a peer's connection can only be one for requests.
  const bool relays = std::any_of(listeners_.begin(), listeners_.end(), [](const auto& one) { return one.second.settings->relay || one.second.settings->names; });
  relays ? hops_.begin(std::move(adopted), std::move(client)) : accept_peer(std::move(adopted), std::move(client));
}

void ProxyWorker::drain(io::TimePoint deadline, std::function<void()> idle) {
  headers_.clear();  // nothing has been asked yet
  hops_.clear();
  hellos_.clear();
  handshakes_.clear();
  idle_ = std::move(idle);
  core_.drain(deadline);
  retire_.arm(deadline);  // TCP connections have no end of their own
  touched();
}

void ProxyWorker::drain_egress(io::TimePoint deadline) {
  egress_ends_ = true;
  if (egress_) egress_->drain(deadline);
  egress_end_.arm(deadline);
  touched();
}

void ProxyWorker::set_egress(const EgressNews& news, const proxy::PrimaryView* view) {
  if (egress_ == nullptr) {
    egress_ = std::make_unique<EgressWorker>(loop_, settings_.proxy, *this, [this](const proxy::AccessRecord& record) { note_record(record); });
    if (view != nullptr) egress_->set_primary(*view);
    egress_->set_halts(halts_);
  }
  egress_->set(news);
}

void ProxyWorker::set_halts(std::shared_ptr<const proxy::HaltView> halts) {
  halts_ = std::move(halts);
  if (egress_) egress_->set_halts(halts_);
  core_.set_halts(halts_);
  relay_.set_halts(halts_);
}

void ProxyWorker::set_primary(const proxy::PrimaryView& view) {
  if (egress_) egress_->set_primary(view);
  core_.set_primary(view);
  relay_.set_primary(view);
}

bool ProxyWorker::keeps_out(const std::string& client) const {
  const proxy::GuardTable* guard = settings_.guard.get();
  const io::TimePoint now = io::boottime_now();
  if (guard == nullptr || !guard->bans_any(now) || !guard->bans(client, now)) return false;
  guard->count_refusal();
  return true;
}

void ProxyWorker::on_access(const proxy::AccessRecord& record) {
  if (settings_.guard != nullptr && record.status >= 400 && !record.from_peer && settings_.guard->counts(record.status) &&
      settings_.guard->fail(record.client, io::boottime_now())) {
    reports_.news.send(reports_.on_health_news);
  }
  note_record(record);
}

void ProxyWorker::note_record(const proxy::AccessRecord& record) {
  if (reports_.access_log != nullptr && record.logged) reports_.access_log->take(reports_.number, record);
  if (reports_.spans != nullptr && record.traced && record.trace.sampled()) reports_.spans->take(reports_.number, record);
  if (settings_.trail_bytes > 0 && !record.request_id.empty()) recent_.add(record);
  if (tap_ == nullptr) return;
  scratch_.clear();
  append_record(scratch_, record, settings_.rules);
  (void)tap_->push(scratch_);  // counted there
}

void ProxyWorker::on_trouble(const proxy::Endpoint& endpoint, proxy::Trouble trouble) {
  if (endpoint.site) return;  // no instance that could be checked
  const io::TimePoint time = io::boottime_now();
  io::TimePoint& last = troubled_[endpoint.id];
  if (time - last < kTroubleEvery) return;
  last = time;
  reports_.news.send([tell = reports_.on_trouble, endpoint, trouble] { tell(endpoint, trouble); });
}

void ProxyWorker::on_orders_drained(std::string_view service, proxy::Epoch epoch) {
  reports_.news.send([tell = reports_.on_orders_drained, service = std::string(service), epoch] { tell(service, epoch); });
}

std::unique_ptr<proxy::Stream> ProxyWorker::connect(const proxy::Endpoint& endpoint, proxy::Queueing queueing,
                                       proxy::StreamSink& sink) {
  if (endpoint.site) return std::make_unique<FileStream>(*this, endpoint.site, sink);
  auto stream = std::make_unique<ProxyStream>(*this, queueing);
  stream->set_sink(&sink);
  // An address that cannot be read makes an empty one, whose connect fails in the usual way.
  const io::Address to = io::Address::parse(endpoint.address).value_or(io::Address());
  // The proxy has its own, shorter limit; this one only keeps a forgotten attempt from staying for ever.
  const io::TimePoint deadline = io::boottime_now() + settings_.peer_connect_timeout * 10;
  if (endpoint.kind == proxy::EndpointKind::kPeer && settings_.peer_tls) {
    stream->attach_connecting(io::TlsStream::client(settings_.peer_tls, io::TcpStream::connect(loop_, to, deadline, nullptr), "",
                                                    deadline, nullptr, stream->io_sink()), {});
    return stream;
  }
  if (endpoint.kind == proxy::EndpointKind::kLocal && (settings_.instance_tls || !settings_.instance_preface.empty())) {
    const bool secret = settings_.instance_tls.has_value();
    auto tcp = io::TcpStream::connect(loop_, to, deadline, secret ? nullptr : stream->io_sink());
    if (!settings_.instance_preface.empty()) static_cast<void>(tcp->write(std::as_bytes(std::span(settings_.instance_preface))));
    if (!secret) {
      stream->attach_connecting(std::move(tcp), {});
      return stream;
    }
    const InstanceTls& tls = *settings_.instance_tls;
    stream->attach_connecting(io::TlsStream::client(tls.context, std::move(tcp), tls.server_name, deadline, nullptr, stream->io_sink()), {});
    return stream;
  }
  if (const auto* means = dynamic_cast<const UpstreamTls*>(endpoint.means.get()); means != nullptr) {
    stream->attach_connecting(io::TlsStream::client(means->tls.context, io::TcpStream::connect(loop_, to, deadline, nullptr), means->tls.server_name,
                                                    deadline, nullptr, stream->io_sink()), {});
    return stream;
  }
  stream->attach_connecting(io::TcpStream::connect(loop_, to, deadline, stream->io_sink()),
                            endpoint.kind == proxy::EndpointKind::kPeer ? settings_.peer_preface : "");
  return stream;
}

std::unique_ptr<proxy::Stream> ProxyWorker::relay_connect(const proxy::RelayRoute& route, const proxy::Endpoint& endpoint, const proxy::RelayClient& client,
                                             proxy::Queueing queueing, proxy::StreamSink& sink) {
  auto stream = std::make_unique<ProxyStream>(*this, queueing);
  stream->set_sink(&sink);
  const bool is_local = endpoint.kind == proxy::EndpointKind::kLocal;
  const io::Address to = io::Address::parse(is_local ? route.address : endpoint.address).value_or(io::Address());
  const io::TimePoint deadline = io::boottime_now() + settings_.peer_connect_timeout * 10;
  if (is_local) {
    stream->attach_connecting(io::TcpStream::connect(loop_, to, deadline, stream->io_sink()), {});
  } else if (settings_.peer_tls) {
    stream->attach_connecting(io::TlsStream::client(settings_.peer_tls, io::TcpStream::connect(loop_, to, deadline, nullptr), "", deadline, nullptr,
                                                    stream->io_sink()), make_relay_hop(route.name, client.ends));
  } else {
    stream->attach_connecting(io::TcpStream::connect(loop_, to, deadline, stream->io_sink()), settings_.peer_preface + make_relay_hop(route.name, client.ends));
  }
  return stream;
}

void ProxyWorker::relay_ended(const proxy::AccessRecord& record) { note_record(record); }

std::span<std::byte> ProxyWorker::file_slab() {
  if (file_slab_.empty()) file_slab_.resize(proxy::kReadBytesMax);
  return file_slab_;
}

std::shared_ptr<const io::FileTree> ProxyWorker::tree_of(const proxy::StaticSite& site) {
  auto& tree = trees_[site.root];
  if (tree == nullptr) tree = io::FileTree::open(site.root).value_or(nullptr);  // asked again while it cannot be
  return tree;
}

void ProxyWorker::welcome(std::uint64_t id, std::unique_ptr<io::TcpStream> stream) {
  const std::shared_ptr<const ProxyListen>& listen = listeners_.find(id)->second.settings;
  proxy::Accepted accepted;
  const io::Address peer = stream->peer_address();
  accepted.client = peer.empty() || peer.is_unix() ? "unix" : peer.host();
  accepted.trusted = listen->trusted;
  accepted.rules = listen->policy.rules;
  accepted.listener = id;
  if (listen->egress) {
    if (egress_ == nullptr) return stream->reset();
    const auto ends = ends_of(*stream, accepted.client);
    return egress_->accept(std::move(stream), *listen->egress, std::move(accepted), ends);
  }
  if (listen->policy.h2c) accepted.protocol = proxy::Protocol::kEither;
  const ProxyHeaderRule* rule = listen->policy.header.get();
  if (rule == nullptr || !rule->expects(accepted.client)) return secure(listen, std::move(stream), std::move(accepted));
  headers_.begin(std::move(stream), rule->timeout, std::move(accepted), [this, listen](std::unique_ptr<io::TcpStream> read, proxy::Accepted told) {
    secure(listen, std::move(read), std::move(told));
  });
}

void ProxyWorker::accept_peer(std::unique_ptr<io::ByteStream> stream, std::string client) {
  proxy::Accepted accepted;
  accepted.kind = proxy::ListenerKind::kPeer;
  accepted.client = std::move(client);
  accept(std::move(stream), std::move(accepted));
}

void ProxyWorker::accept_hop(std::unique_ptr<io::ByteStream> stream, const RelayHop& hop) {
  for (const auto& [id, listener] : listeners_) {
    const ProxyListen& listen = *listener.settings;
    const auto route = listen.names ? listen.names->named(hop.route) : listen.relay;
    if (route != nullptr && route->name == hop.route) return accept_relay(std::move(stream), route, {proxy::ListenerKind::kPeer, hop.ends});
  }
  stream->reset();
}

void ProxyWorker::accept_relay(std::unique_ptr<io::ByteStream> stream, const std::shared_ptr<const proxy::RelayRoute>& route, proxy::RelayClient client) {
  auto adapted = std::make_unique<ProxyStream>(*this, proxy::Queueing::kSome);
  adapted->attach_open(std::move(stream));
  relay_.accept(std::move(adapted), route, client);
  touched();
}

std::optional<proxy::ProxyHeader::Ends> ProxyWorker::ends_of(const io::ByteStream& stream, const std::string& client) {
  const auto source = proxy::parse_ip(client);
  const io::Address peer = stream.peer_address(), here = stream.local_address();
  const auto destination = here.is_unix() ? std::nullopt : proxy::parse_ip(here.host());
  if (!source || !destination) return std::nullopt;
  return proxy::ProxyHeader::Ends{*source, *destination, peer.host() == client ? peer.port() : std::uint16_t{0}, here.port()};
}

void ProxyWorker::secure(const std::shared_ptr<const ProxyListen>& listen, std::unique_ptr<io::TcpStream> stream, proxy::Accepted accepted) {
  if (listen->names) {
    hellos_.begin(std::move(stream), settings_.proxy.head_timeout, std::move(accepted),
                  [this, names = listen->names](std::unique_ptr<io::TcpStream> read, const proxy::Accepted& told, const std::string& server_name) {
                    accept_named(*names, std::move(read), told, server_name);
                  });
    return;
  }
  if (!listen->policy.tls) return accept(std::move(stream), std::move(accepted));
  accepted.scheme = proxy::Scheme::kHttps;
  handshakes_.begin(std::move(stream), listen->policy, std::move(accepted));
}

void ProxyWorker::accept_named(const proxy::RelayNames& names, std::unique_ptr<io::TcpStream> stream, const proxy::Accepted& accepted,
                               const std::string& server_name) {
  const auto choice = names.route_for(server_name);
  HelloCounters& counters = hellos_.counters();
  ++(choice.route == nullptr ? counters.unknown : choice.by_name ? counters.named : counters.fallback);
  if (choice.route == nullptr || keeps_out(accepted.client)) return stream->reset();
  const proxy::RelayClient client{proxy::ListenerKind::kDownstream, ends_of(*stream, accepted.client), server_name};
  accept_relay(std::move(stream), choice.route, client);
}

// What one turn has brought is one frame for each owner, and one message to the control loop.
void ProxyWorker::send_rate_questions() {
  core_.take_rate_questions(questions_);
  std::stable_sort(questions_.begin(), questions_.end(), [](const auto& a, const auto& b) { return a.owner < b.owner; });
  std::vector<std::pair<proxy::RateMemberId, std::string>> frames;
  for (std::size_t at = 0; at < questions_.size();) {
    std::size_t end = at;
    while (end < questions_.size() && questions_[end].owner == questions_[at].owner && end - at < kRateItemsMax) ++end;
    frames.emplace_back(questions_[at].owner, encode_questions(static_cast<std::uint16_t>(reports_.number), std::span(questions_).subspan(at, end - at)));
    at = end;
  }
  // A queue that is full loses them; who waits for an answer has a deadline.
  reports_.news.send([ask = reports_.on_rate_questions, frames = std::move(frames)]() mutable {
    for (auto& [owner, frame] : frames) ask(owner, std::move(frame));
  });
}

void ProxyWorker::end_turn() {
  core_.send_gathered();
  if (egress_) egress_->end_turn();
  if (core_.has_rate_questions()) send_rate_questions();
  io::TimePoint deadline = core_.next_deadline();
  if (!relay_.idle()) deadline = std::min(deadline, relay_.next_deadline());
  if (egress_) deadline = std::min(deadline, egress_->next_deadline());
  if (deadline == io::TimePoint::max()) timer_.disarm();
  else if (!timer_.armed() || timer_.deadline() != deadline) timer_.arm(deadline);
  const bool all_known = handshakes_.size() + headers_.size() + hellos_.size() == 0;
  if (all_known && !parted_relays_.empty()) parted_relays_.clear();
  if (idle_ && all_known && core_.idle() && relay_.idle() && closing_.size() == 0 && (!egress_ || (egress_ends_ && egress_->idle()))) std::exchange(idle_, nullptr)();
}

}  // namespace agent::drivers
