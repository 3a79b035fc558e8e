#include "proxy/relay.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "proxy/halt.h"
#include "proxy/outlet.h"

namespace proxy {
namespace {
constexpr Milliseconds kAskAgain{100};  // a primary that could not be reached may be there again

// Why a connection ended, as access logs have it.
constexpr std::string_view kOver{};
constexpr std::string_view kTooMany = "tcp_connections_max", kNobody = "no_endpoint", kNoPrimary = "no_primary", kLeaseOver = "lease_lost";
constexpr std::string_view kMoved = "primary_changed", kGone = "endpoint_gone", kIdle = "idle_timeout", kStopped = "agent_stops";
constexpr std::string_view kEstablishedText = "HTTP/1.1 200 Connection established\r\n\r\n";
const Bytes kEstablished = std::as_bytes(std::span(kEstablishedText.data(), kEstablishedText.size()));
constexpr std::string_view kClientReset = "client_reset", kServiceReset = "upstream_reset";
}

/// One client's connection and the one that serves it.
/// Invariant: at most one read slab waits in each outlet, because the side that fills it is not read while it is not empty.
struct Relay::Pipe final : Timer::Owner {
  enum class Phase : std::uint8_t { kNew, kHeld, kConnecting, kOpen, kEnded };
  /// One of the two streams, and what waits to leave through it.
  struct Side final : StreamSink {
    Side(Relay& of, Pipe& whole, bool service) : relay(of), pipe(whole), is_service(service) {}
    void on_connected() override;
    void on_data(Bytes bytes) override;
    void on_eof() override;
    void on_writable() override;
    void on_closed(StreamEnd end) override;

    Relay& relay;
    Pipe& pipe;
    bool is_service;
    std::unique_ptr<Stream> stream;
    Outlet outlet;
    bool ended = false;  ///< it sends no more
    bool shut = false;   ///< we send no more
  };

  Pipe(Relay& relay, std::shared_ptr<const RelayRoute> of, RelayClient who)
      : route(std::move(of)), client(std::move(who)), counters(relay.counters_[route->name]), started(relay.now_), down(relay, *this, false), up(relay, *this, true), timer(*this) {}
  void on_deadline(Timer& timer, TimePoint now) override;
  /// Towards a broker: what waits goes with it.
  void cut_wire() {
    up.stream->reset();
    up.outlet.clear();
    ++counters.egress.resets;
    ++counters.lease_stops;
  }

  std::shared_ptr<const RelayRoute> route;
  RelayClient client;
  RelayCounters& counters;  ///< map nodes stay where they are
  Phase phase = Phase::kNew;
  Endpoint endpoint;                        ///< of the present attempt
  std::shared_ptr<const LeaseView> lease;   ///< of a local primary; null = no check
  Epoch epoch{};
  std::vector<EndpointId> tried;
  std::uint32_t attempts = 0;
  TimePoint hold_deadline{};
  TimePoint progress{};
  TimePoint started;                        ///< accepted
  TimePoint attempted{}, opened{};          ///< the last attempt: begun, connected
  std::uint64_t bytes_in = 0, bytes_out = 0;
  Side down, up;
  Timer timer;
};

class Relay::Event {
 public:
  explicit Event(Relay& relay) : relay_(relay) {
    if (relay_.depth_++ == 0) relay_.now_ = relay_.host_.relay_now();
  }
  ~Event() {
    if (--relay_.depth_ == 0) relay_.ended_.clear();
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

 private:
  Relay& relay_;
};

void RelayCounters::add(const RelayCounters& other) {
  connections += other.connections;
  refused += other.refused;
  no_endpoint += other.no_endpoint;
  connect_failures += other.connect_failures;
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  idle_timeouts += other.idle_timeouts;
  lease_stops += other.lease_stops;
  late_lease_writes += other.late_lease_writes;
  halted += other.halted;
  open += other.open;
  egress.add(other.egress);
}

Relay::Relay(RelayHost& host) : host_(host), wheel_(host.relay_now()) {}
Relay::~Relay() = default;

// --- coming in -------------------------------------------------------------------------------------------------------

void Relay::accept(std::unique_ptr<Stream> stream, std::shared_ptr<const RelayRoute> route, RelayClient client) {
  const Event event(*this);
  auto made = std::make_unique<Pipe>(*this, std::move(route), std::move(client));
  Pipe& pipe = *made;
  if (pipe.counters.open >= pipe.route->connections_max) {
    ++pipe.counters.refused;
    stream->reset();
    return tell(pipe, kTooMany);
  }
  ++pipe.counters.connections;
  ++pipe.counters.open;
  pipe.down.stream = std::move(stream);
  // Not one byte is read before there is somebody to give it to: until then another endpoint can be tried.
  pipe.down.stream->pause_reading();
  pipe.down.stream->set_sink(&pipe.down);
  pipe.hold_deadline = now_ + pipe.route->hold;
  pipes_.emplace(&pipe, std::move(made));
  dispatch(pipe);
}

void Relay::dispatch(Pipe& pipe) {
  const RelayRoute& route = *pipe.route;
  if (is_halted(pipe)) return end(pipe, kHaltedCode);  // it is not open yet: nothing of it has gone out
  if (route.egress) return dispatch_egress(pipe);
  const bool from_peer = pipe.client.kind == ListenerKind::kPeer;
  if (route.kind == PoolKind::kAll) {
    const Endpoint* endpoint = pipe.attempts < kAttemptsMax ? pick(pipe) : nullptr;
    if (endpoint != nullptr) return connect(pipe, *endpoint, nullptr);
    ++pipe.counters.no_endpoint;
    return end(pipe, kNobody);
  }
  const auto found = views_.find(route.service);
  const PrimaryView* view = found == views_.end() ? nullptr : &found->second;
  if (view != nullptr && view->holder == PrimaryView::Holder::kLocal && view->accepts_new && view->armed && !route.address.empty() &&
      view->lease->valid_at(host_.relay_now())) {
    pipe.epoch = view->epoch;
    return connect(pipe, view->endpoint, view->lease);
  }
  if (view != nullptr && view->holder == PrimaryView::Holder::kPeer && !from_peer) {
    pipe.epoch = view->epoch;
    return connect(pipe, view->endpoint, nullptr);
  }
  if (!from_peer) return hold(pipe);
  ++pipe.counters.no_endpoint;
  end(pipe, kNoPrimary);
}

// --- to a broker -----------------------------------------------------------------------------------------------------

EgressVerdict Relay::egress_verdict(const Pipe& pipe) const {
  const auto found = views_.find(pipe.route->service);
  if (found == views_.end()) return EgressVerdict::kNotPrimary;
  return egress_permit(found->second, {pipe.route->egress->name, pipe.epoch, std::nullopt, EgressDeed::kAct}, host_.relay_now());
}

void Relay::dispatch_egress(Pipe& pipe) {
  const EgressVerdict verdict = egress_verdict(pipe);
  if (verdict != EgressVerdict::kOpen) {
    pipe.counters.egress.count(verdict);
    return end(pipe, name_of(verdict));
  }
  const Endpoint* endpoint = pipe.attempts < kAttemptsMax ? pick(pipe) : nullptr;
  if (endpoint == nullptr) {
    ++pipe.counters.no_endpoint;
    return end(pipe, kNobody);
  }
  const PrimaryView& view = views_.find(pipe.route->service)->second;
  pipe.epoch = view.epoch;
  connect(pipe, *endpoint, view.lease);
}

// Two passes: first every wire is cut, then clients hear of it.
void Relay::cut_egress(std::string_view service) {
  std::vector<std::pair<Pipe*, EgressVerdict>> cut;
  for (const auto& [pipe, owner] : pipes_) {
    const bool there = pipe->phase == Pipe::Phase::kConnecting || pipe->phase == Pipe::Phase::kOpen;
    if (!pipe->route->egress || pipe->route->service != service || !there) continue;
    const EgressVerdict verdict = egress_verdict(*pipe);
    if (verdict == EgressVerdict::kOpen) continue;
    pipe->cut_wire();
    cut.emplace_back(pipe, verdict);
  }
  for (const auto& [pipe, verdict] : cut) end(*pipe, name_of(verdict));
}

void Relay::answer(Pipe& pipe, std::string_view reason) const {
  LocalReply reply;
  for (const EgressVerdict verdict : {EgressVerdict::kNotPrimary, EgressVerdict::kLeaseOver, EgressVerdict::kNotArmed, EgressVerdict::kOldEpoch}) {
    if (reason == name_of(verdict)) reply = egress_reply(verdict);
  }
  if (reply.status == 0) {
    reply.status = 503;
    reply.code = reason;
    const bool halted = reason == kHaltedCode;
    const HaltOrder* halt = halted ? refused_by(pipe) : nullptr;
    reply.message = halt != nullptr ? std::string_view(halt->message) : "no connection to the broker could be opened";
    reply.hint = halted ? kHaltedHint : "look at outrigger egress: the name may not resolve, or nobody listens there";
    reply.outcome = name_of(Outcome::kNotSent);
    reply.retry_after = Milliseconds{1000};
  }
  ResponseFacts facts;
  facts.keep_alive = false;
  std::string text;
  append_reply(text, reply, facts, http1::Method::kConnect);
  const Bytes bytes = std::as_bytes(std::span(text.data(), text.size()));
  static_cast<void>(pipe.down.outlet.send(*pipe.down.stream, {&bytes, 1}));
}

/// Active before backup, passing before degraded, then the least busy for its weight.
const Endpoint* Relay::pick(const Pipe& pipe) const {
  const auto pool = pools_.find(pipe.route->pool);
  if (pool == pools_.end()) return nullptr;
  const bool from_peer = pipe.client.kind == ListenerKind::kPeer;
  const Endpoint* best = nullptr;
  const auto rank = [this](const Endpoint& one) {
    const auto busy = load_.find(one.id);
    const double load = (busy == load_.end() ? 0.0 : busy->second) + 1.0;
    return std::tuple(one.tier == Tier::kBackup, one.health != Health::kPassing, load / one.weight, one.id);
  };
  for (const Endpoint& one : pool->second.endpoints) {
    const bool is_local = one.kind == EndpointKind::kLocal;
    if (!is_usable(one) || (from_peer && !is_local) || (is_local && pipe.route->address.empty())) continue;
    if (std::find(pipe.tried.begin(), pipe.tried.end(), one.id) != pipe.tried.end()) continue;
    if (best == nullptr || rank(one) < rank(*best)) best = &one;
  }
  return best;
}

void Relay::hold(Pipe& pipe) {
  if (now_ >= pipe.hold_deadline) {
    ++pipe.counters.no_endpoint;
    return end(pipe, kNoPrimary);
  }
  pipe.phase = Pipe::Phase::kHeld;
  wheel_.arm(pipe.timer, std::min(pipe.hold_deadline, now_ + kAskAgain));
}

void Relay::connect(Pipe& pipe, const Endpoint& endpoint, std::shared_ptr<const LeaseView> lease) {
  pipe.phase = Pipe::Phase::kConnecting;
  pipe.endpoint = endpoint;
  pipe.lease = std::move(lease);
  ++pipe.attempts;
  pipe.attempted = now_;
  ++load_[endpoint.id];
  if (pipe.lease) ++leased_;
  wheel_.arm(pipe.timer, now_ + pipe.route->connect_timeout);
  // Nothing may wait behind the lease check; where there is none the stream may keep some.
  const Queueing queueing = pipe.lease ? Queueing::kNone : Queueing::kSome;
  pipe.up.stream = host_.relay_connect(*pipe.route, endpoint, pipe.client, queueing, pipe.up);
}

void Relay::connected(Pipe& pipe) {
  pipe.phase = Pipe::Phase::kOpen;
  pipe.opened = now_;
  touch(pipe);
  if (!lease_holds(pipe)) return;
  if (pipe.route->proxy_protocol != 0 && pipe.endpoint.kind == EndpointKind::kLocal) {
    const std::string header = make_proxy_header(pipe.client.ends, pipe.route->proxy_protocol);
    const Bytes bytes = std::as_bytes(std::span(header.data(), header.size()));
    static_cast<void>(pipe.up.outlet.send(*pipe.up.stream, {&bytes, 1}));
  }
  if (pipe.client.asked) static_cast<void>(pipe.down.outlet.send(*pipe.down.stream, {&kEstablished, 1}));
  if (pipe.up.outlet.empty()) pipe.down.stream->resume_reading();
}

void Relay::connect_failed(Pipe& pipe, Trouble trouble) {
  ++pipe.counters.connect_failures;
  host_.relay_trouble(pipe.endpoint, trouble);
  pipe.tried.push_back(pipe.endpoint.id);
  left(pipe);
  pipe.up.stream.reset();
  pipe.phase = Pipe::Phase::kNew;
  wheel_.disarm(pipe.timer);
  // The primary is one place: it is asked again in a moment, and when somebody says something new about it.
  if (pipe.route->kind == PoolKind::kAll) return dispatch(pipe);
  pipe.client.kind == ListenerKind::kPeer ? end(pipe, kNoPrimary) : hold(pipe);
}

// --- bytes -----------------------------------------------------------------------------------------------------------

/// Rule R1, in the call that writes.
bool Relay::lease_holds(Pipe& pipe) {
  if (pipe.route->egress) {
    const EgressVerdict verdict = egress_verdict(pipe);
    if (verdict == EgressVerdict::kOpen) return true;
    cut_egress(pipe.route->service);
    // The bytes of this write are gone: it ends, also when the lease has been renewed in the meantime.
    if (pipe.phase != Pipe::Phase::kEnded) {
      pipe.cut_wire();
      end(pipe, name_of(verdict));
    }
    return false;
  }
  if (!pipe.lease || pipe.lease->valid_at(host_.relay_now())) return true;
  ++pipe.counters.lease_stops;
  end(pipe, kLeaseOver);
  return false;
}

void Relay::touch(Pipe& pipe) {
  pipe.progress = now_;
  if (pipe.route->idle_timeout.count() > 0) wheel_.arm(pipe.timer, now_ + pipe.route->idle_timeout);
  else wheel_.disarm(pipe.timer);
}

void Relay::moved(Pipe& pipe, bool to_service, Bytes bytes) {
  touch(pipe);
  (to_service ? pipe.counters.bytes_in : pipe.counters.bytes_out) += bytes.size();
  (to_service ? pipe.bytes_in : pipe.bytes_out) += bytes.size();
  if (to_service && !lease_holds(pipe)) return;
  Pipe::Side& into = to_service ? pipe.up : pipe.down;
  Pipe::Side& from = to_service ? pipe.down : pipe.up;
  const std::size_t taken = into.outlet.send(*into.stream, {&bytes, 1});
  if (pipe.route->egress) (to_service ? pipe.counters.egress.bytes_out : pipe.counters.egress.bytes_in) += to_service ? taken : bytes.size();
  if (to_service && pipe.lease && !pipe.lease->valid_at(host_.relay_now())) ++pipe.counters.late_lease_writes;
  if (!into.outlet.empty()) from.stream->pause_reading();
}

void Relay::flush(Pipe& pipe, bool to_service) {
  Pipe::Side& into = to_service ? pipe.up : pipe.down;
  Pipe::Side& from = to_service ? pipe.down : pipe.up;
  if (into.outlet.empty()) return;
  if (to_service && !lease_holds(pipe)) return;
  const std::size_t taken = into.outlet.flush(*into.stream);
  if (taken > 0) touch(pipe);
  if (to_service && pipe.route->egress) pipe.counters.egress.bytes_out += taken;
  if (!into.outlet.empty()) return;
  if (from.ended) return pass_on_end(pipe, to_service);
  from.stream->resume_reading();
}

/// An end of one direction goes on to the other side when what came before it has left.
void Relay::pass_on_end(Pipe& pipe, bool to_service) {
  Pipe::Side& into = to_service ? pipe.up : pipe.down;
  if (!into.outlet.empty() || into.shut) return;
  into.shut = true;
  if (pipe.down.ended && pipe.up.ended && pipe.down.outlet.empty() && pipe.up.outlet.empty()) return end(pipe, kOver);
  into.stream->shutdown();
}

void Relay::Pipe::Side::on_connected() {
  const Event event(relay);
  if (pipe.phase == Phase::kConnecting) relay.connected(pipe);
}

void Relay::Pipe::Side::on_data(Bytes bytes) {
  const Event event(relay);
  if (pipe.phase == Phase::kOpen) relay.moved(pipe, !is_service, bytes);
}

void Relay::Pipe::Side::on_eof() {
  const Event event(relay);
  ended = true;
  if (pipe.phase == Phase::kOpen) relay.pass_on_end(pipe, !is_service);
}

void Relay::Pipe::Side::on_writable() {
  const Event event(relay);
  if (pipe.phase == Phase::kOpen) relay.flush(pipe, is_service);
}

void Relay::Pipe::Side::on_closed(StreamEnd end) {
  const Event event(relay);
  if (pipe.phase == Phase::kEnded) return;
  if (is_service && pipe.phase == Phase::kConnecting)
    return relay.connect_failed(pipe, end == StreamEnd::kRefused ? Trouble::kRefused : Trouble::kUnreachable);
  relay.end(pipe, is_service ? kServiceReset : kClientReset);
}

// --- time, news, ends ------------------------------------------------------------------------------------------------

void Relay::Pipe::on_deadline(Timer&, TimePoint) {
  Relay& relay = down.relay;
  const Event event(relay);
  switch (phase) {
    case Phase::kConnecting: return relay.connect_failed(*this, Trouble::kTimedOut);
    case Phase::kHeld: return relay.dispatch(*this);
    case Phase::kOpen:
      ++counters.idle_timeouts;
      return relay.end(*this, kIdle);
    case Phase::kNew:
    case Phase::kEnded: return;
  }
}

/// The endpoint of the present attempt has one connection less.
void Relay::left(Pipe& pipe) {
  if (--load_[pipe.endpoint.id] == 0) load_.erase(pipe.endpoint.id);
  if (pipe.lease) --leased_;
}

void Relay::tell(const Pipe& pipe, std::string_view reason) {
  const RelayRoute& route = *pipe.route;
  const std::string client = pipe.client.ends ? text_of(pipe.client.ends->source) : "unix";
  const bool opened = pipe.opened != TimePoint{};
  AccessRecord record;
  record.method = "TCP";
  record.route = route.name;
  record.host = pipe.client.server_name;
  record.client = record.peer = client;
  record.reason = reason;
  record.attempt_count = pipe.attempts;
  record.outcome = opened ? Outcome::kTunnelled : Outcome::kNotSent;
  record.request_body_bytes = pipe.bytes_in;
  record.response_body_bytes = pipe.bytes_out;
  record.started = pipe.started;
  record.total = now_ - pipe.started;
  record.from_peer = pipe.client.kind == ListenerKind::kPeer;
  record.logged = route.access_log;
  if (pipe.attempts > 0) {
    record.endpoint = pipe.endpoint.kind == EndpointKind::kLocal ? std::string_view(route.address) : std::string_view(pipe.endpoint.address);
    record.endpoint_node = pipe.endpoint.node;
    record.at_peer = pipe.endpoint.kind == EndpointKind::kPeer;
    record.epoch = pipe.epoch;
    record.upstream_total = now_ - pipe.attempted;
    if (opened) record.connected = pipe.opened - pipe.attempted;
  }
  // What was not spent at an endpoint was spent waiting for one.
  record.held = route.kind == PoolKind::kPrimary ? (pipe.attempts > 0 ? pipe.attempted : now_) - pipe.started : std::chrono::nanoseconds{0};
  host_.relay_ended(record);
}

void Relay::end(Pipe& pipe, std::string_view reason) {
  if (pipe.phase == Pipe::Phase::kEnded) return;
  const bool politely = reason.empty();
  if (pipe.phase == Pipe::Phase::kConnecting || pipe.phase == Pipe::Phase::kOpen) left(pipe);
  pipe.phase = Pipe::Phase::kEnded;
  wheel_.disarm(pipe.timer);
  --pipe.counters.open;
  if (reason == kHaltedCode) ++pipe.counters.halted;
  tell(pipe, reason);
  const bool untold = pipe.client.asked && pipe.opened == TimePoint{} && pipe.down.stream && reason != kClientReset;
  if (untold) answer(pipe, reason);
  for (Pipe::Side* side : {&pipe.up, &pipe.down}) {
    if (!side->stream) continue;
    if (untold && side == &pipe.down) side->stream->close();
    else politely ? side->stream->finish() : side->stream->reset();
  }
  const auto owner = pipes_.find(&pipe);
  ended_.push_back(std::move(owner->second));
  pipes_.erase(owner);
}

template <class Which>
void Relay::end_those(std::string_view reason, Which which) {
  std::vector<Pipe*> all;
  for (const auto& [pipe, owner] : pipes_) {
    if (which(*pipe)) all.push_back(pipe);
  }
  for (Pipe* pipe : all) end(*pipe, reason);
}

void Relay::set_endpoints(const EndpointTable& table) {
  const Event event(*this);
  pools_.clear();
  for (const PoolEndpoints& pool : table.pools) pools_[pool.pool] = pool;
  end_those(kGone, [this](const Pipe& pipe) {
    if (pipe.route->kind != PoolKind::kAll || pipe.phase == Pipe::Phase::kNew || pipe.phase == Pipe::Phase::kHeld) return false;
    const auto pool = pools_.find(pipe.route->pool);
    if (pool == pools_.end()) return true;
    if (pipe.route->egress) return false;  // a name that leads elsewhere now is no reason to hang up
    const auto& all = pool->second.endpoints;
    const auto same = std::find_if(all.begin(), all.end(), [&](const Endpoint& one) { return one.id == pipe.endpoint.id; });
    return same == all.end() || same->health == Health::kCritical;
  });
}

// A new connection to a broker may carry orders, and nobody reads which: it is refused whether cancels may pass or not.
const HaltOrder* Relay::refused_by(const Pipe& pipe) const {
  if (halts_ == nullptr || !pipe.route->egress) return nullptr;
  return halts_->stops_broker(pipe.route->egress->name, {}, false);
}

bool Relay::is_halted(const Pipe& pipe) const {
  if (halts_ == nullptr) return false;
  if (!pipe.route->egress) return halts_->cuts_route(pipe.route->name);
  return pipe.phase == Pipe::Phase::kOpen ? halts_->cuts_broker(pipe.route->egress->name) : refused_by(pipe) != nullptr;
}

void Relay::set_halts(std::shared_ptr<const HaltView> halts) {
  const Event event(*this);
  halts_ = std::move(halts);
  end_those(kHaltedCode, [this](const Pipe& pipe) { return is_halted(pipe); });
}

void Relay::set_primary(const PrimaryView& view) {
  const Event event(*this);
  PrimaryView& known = views_[view.service];
  if (view.epoch < known.epoch) return;
  known = view;
  cut_egress(view.service);
  end_those(kMoved, [&](Pipe& pipe) {
    const bool meant = pipe.route->kind == PoolKind::kPrimary && pipe.route->service == view.service;
    const bool there = pipe.phase == Pipe::Phase::kConnecting || pipe.phase == Pipe::Phase::kOpen;
    if (!meant || !there || (pipe.epoch == view.epoch && view.holder != PrimaryView::Holder::kNone && pipe.endpoint.kind == view.endpoint.kind)) return false;
    ++pipe.counters.lease_stops;
    return true;
  });
  std::vector<Pipe*> waiting;
  for (const auto& [pipe, owner] : pipes_) {
    if (pipe->phase == Pipe::Phase::kHeld && pipe->route->service == view.service) waiting.push_back(pipe);
  }
  for (Pipe* pipe : waiting) dispatch(*pipe);
}

void Relay::tick(TimePoint now) {
  const Event event(*this);
  now_ = now;
  wheel_.tick(now);
  // A connection under a lease that is over must not linger until its next byte.
  if (!a_lease_is_over(now)) return;
  std::vector<Pipe*> over;
  for (const auto& [pipe, owner] : pipes_) {
    if (pipe->lease && !pipe->lease->valid_at(now) && pipe->phase != Pipe::Phase::kHeld && pipe->phase != Pipe::Phase::kNew) over.push_back(pipe);
  }
  for (Pipe* pipe : over) {
    if (pipe->phase != Pipe::Phase::kEnded) static_cast<void>(lease_holds(*pipe));
  }
}

/// Of those in the present views; a connection under another one was ended with its view.
bool Relay::a_lease_is_over(TimePoint now) const {
  return leased_ > 0 && std::any_of(views_.begin(), views_.end(), [now](const auto& one) {
    return one.second.holder == PrimaryView::Holder::kLocal && !one.second.lease->valid_at(now);
  });
}

TimePoint Relay::next_deadline() const {
  TimePoint next = wheel_.next_deadline();
  if (leased_ == 0) return next;
  for (const auto& [service, view] : views_) {
    if (view.holder == PrimaryView::Holder::kLocal) next = std::min(next, view.lease->valid_until());
  }
  return next;
}

void Relay::end_all() {
  const Event event(*this);
  end_those(kStopped, [](const Pipe&) { return true; });
}

}  // namespace proxy
