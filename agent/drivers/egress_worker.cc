#include "agent/drivers/egress_worker.h"

#include <algorithm>
#include <utility>

#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/timer.h"
#include "agent/io/tls_stream.h"
#include "proxy/http1/writer.h"

namespace agent::drivers {
namespace {

constexpr io::Milliseconds kForgotten{60'000};  // the proxy has its own, shorter limit for connecting

/// What a proxy of its own for brokers is told beside the settings of all.
proxy::Settings egress_settings(proxy::Settings settings) {
  settings.trace.on = settings.trace.on && settings.trace.spans;  // it is looked at, and passes as it is
  settings.trace.from_anyone = true;
  settings.guard = nullptr;          // its clients are the service itself
  settings.request_id.to_client = false;
  return settings;
}

}  // namespace

/// The lease as the newest view has it. Streams of older epochs are gone before it changes.
class EgressWorker::Gate final : public io::WriteGate {
 public:
  [[nodiscard]] bool may_write() const override { return lease_ != nullptr && lease_->valid_at(io::boottime_now()); }
  void set(std::shared_ptr<const proxy::LeaseView> lease) { lease_ = std::move(lease); }

 private:
  std::shared_ptr<const proxy::LeaseView> lease_;
};

/// A connection that has not said yet where it wants to go.
struct EgressWorker::Asking final : io::StreamSink {
  Asking(EgressWorker& of, const EgressListen& by) : owner(of), listen(by), deadline(of.loop_, [this] { owner.refuse(*this, 408, "connect_timeout"); }) {}
  void on_read(std::span<const std::byte> bytes) override { owner.read(*this, bytes); }
  void on_end() override { owner.forget(*this); }
  void on_error(const io::Error&) override { owner.forget(*this); }

  EgressWorker& owner;
  EgressListen listen;
  std::optional<proxy::ProxyHeader::Ends> ends;
  std::vector<std::byte> received;
  io::Timer deadline;
  std::unique_ptr<io::TcpStream> stream;
  std::list<std::unique_ptr<Asking>>::iterator place;
};

void EgressTotals::add(const EgressTotals& other) {
  for (const auto& [name, counters] : other.by_name) by_name[name].add(counters);
  for (const auto& [name, count] : other.requests) requests[name] += count;
  for (const auto& [name, count] : other.open) open[name] += count;
  for (const auto& [name, count] : other.halted) halted[name] += count;
  late_writes += other.late_writes;
  writes_denied += other.writes_denied;
}

EgressWorker::EgressWorker(io::Loop& loop, const proxy::Settings& settings, StreamHost& host, OnAccess on_access)
    : loop_(loop), host_(host), on_access_(std::move(on_access)), gate_(std::make_unique<Gate>()), closing_(loop), head_timeout_(settings.head_timeout),
      core_(egress_settings(settings), *this, *this, [](std::uint64_t bound) { return io::random_below(bound); }), relay_(*this) {}

EgressWorker::~EgressWorker() = default;

proxy::TimePoint EgressWorker::now() { return io::boottime_now(); }

void EgressWorker::set(const EgressNews& news) {
  core_.set_routes(news.routes);
  core_.set_endpoints(news.endpoints);
  relay_.set_endpoints(news.endpoints);
}

// The gate first: from here on nothing of an older epoch leaves, whatever the cores still hold.
void EgressWorker::set_primary(const proxy::PrimaryView& view) {
  gate_->set(view.holder == proxy::PrimaryView::Holder::kLocal ? view.lease : nullptr);
  relay_.set_primary(view);
  core_.set_primary(view);
  host_.touched();
}

void EgressWorker::set_halts(const std::shared_ptr<const proxy::HaltView>& halts) {
  relay_.set_halts(halts);
  core_.set_halts(halts);
  host_.touched();
}

// ---- the service's connections ----

void EgressWorker::accept(std::unique_ptr<io::TcpStream> stream, const EgressListen& listen, proxy::Accepted accepted,
                          std::optional<proxy::ProxyHeader::Ends> ends) {
  if (listen.relay != nullptr) return accept_relay(std::move(stream), listen.relay, {proxy::ListenerKind::kDownstream, ends});
  if (listen.tunnels.empty()) {
    auto adapted = std::make_unique<ProxyStream>(*this, proxy::Queueing::kSome);
    adapted->attach_open(std::move(stream));
    core_.accept(std::move(adapted), std::move(accepted));
    return host_.touched();
  }
  if (asking_.size() >= kAskingMax) return stream->reset();
  Asking& asking = *asking_.emplace_back(std::make_unique<Asking>(*this, listen));
  asking.place = std::prev(asking_.end());
  asking.ends = ends;
  asking.stream = std::move(stream);
  asking.deadline.arm_after(head_timeout_);
  asking.stream->set_sink(&asking);
  asking.stream->read_start();
}

void EgressWorker::read(Asking& asking, std::span<const std::byte> bytes) {
  asking.received.insert(asking.received.end(), bytes.begin(), bytes.end());
  const proxy::ConnectHead head = proxy::parse_connect_head(asking.received);
  if (head.state == proxy::ConnectHead::State::kMore) return;
  if (head.state == proxy::ConnectHead::State::kRefused) return refuse(asking, head.status, head.code);
  const auto& tunnels = asking.listen.tunnels;
  const auto found = std::find_if(tunnels.begin(), tunnels.end(), [&](const EgressListen::Tunnel& one) { return one.target == head.target; });
  if (found == tunnels.end()) return refuse(asking, 403, "target_not_allowed");
  const std::unique_ptr<Asking> done = std::move(*asking.place);
  asking_.erase(done->place);
  done->stream->read_stop();
  done->stream->set_sink(nullptr);
  done->stream->unread(std::span<const std::byte>(done->received).subspan(head.bytes));
  proxy::RelayClient client{proxy::ListenerKind::kDownstream, done->ends};
  client.asked = true;
  accept_relay(std::move(done->stream), found->route, std::move(client));
}

void EgressWorker::refuse(Asking& asking, int status, std::string_view code) {
  relay_.count_unreadable(asking.listen.name);
  proxy::LocalReply reply;
  reply.status = status;
  reply.code = code;
  reply.message = status == 403 ? "no tunnel leads there" : "this listener takes CONNECT host:port and nothing else";
  reply.hint = status == 403 ? "list the place in connect of the egress" : "set HTTPS_PROXY to this address; plain requests go by an egress with url";
  reply.outcome = proxy::name_of(proxy::Outcome::kNotSent);
  proxy::ResponseFacts facts;
  facts.keep_alive = false;
  std::string text;
  proxy::append_reply(text, reply, facts, proxy::http1::Method::kConnect);
  static_cast<void>(asking.stream->write(std::as_bytes(std::span(text))));
  const std::unique_ptr<Asking> done = std::move(*asking.place);
  asking_.erase(done->place);
  done->stream->set_sink(nullptr);
  closing_.take(std::move(done->stream), false);
}

void EgressWorker::forget(Asking& asking) {
  const std::unique_ptr<Asking> done = std::move(*asking.place);
  asking_.erase(done->place);
}

void EgressWorker::accept_relay(std::unique_ptr<io::ByteStream> stream, std::shared_ptr<const proxy::RelayRoute> route, proxy::RelayClient client) {
  auto adapted = std::make_unique<ProxyStream>(*this, proxy::Queueing::kSome);
  adapted->attach_open(std::move(stream));
  relay_.accept(std::move(adapted), std::move(route), std::move(client));
  host_.touched();
}

// ---- to the broker ----

std::unique_ptr<proxy::Stream> EgressWorker::connect(const proxy::Endpoint& endpoint, proxy::Queueing queueing, proxy::StreamSink& sink) {
  return dial(endpoint, queueing, sink);
}

std::unique_ptr<proxy::Stream> EgressWorker::relay_connect(const proxy::RelayRoute&, const proxy::Endpoint& endpoint, const proxy::RelayClient&,
                                                           proxy::Queueing queueing, proxy::StreamSink& sink) {
  return dial(endpoint, queueing, sink);
}

std::unique_ptr<proxy::Stream> EgressWorker::dial(const proxy::Endpoint& endpoint, proxy::Queueing queueing, proxy::StreamSink& sink) {
  auto stream = std::make_unique<ProxyStream>(*this, queueing, ProxyStream::Parting::kReset);
  stream->set_sink(&sink);
  const io::Address to = io::Address::parse(endpoint.address).value_or(io::Address());
  const io::TimePoint deadline = io::boottime_now() + kForgotten;
  const auto* place = static_cast<const EgressPlace*>(endpoint.egress.get());
  const bool plain = place == nullptr || place->tls == nullptr;
  auto tcp = io::TcpStream::connect(loop_, to, deadline, plain ? stream->io_sink() : nullptr);
  // Also when this process dies: the kernel must not go on delivering what a broker has not confirmed.
  tcp->reset_at_end();
  if (plain) {
    tcp->set_write_gate(gate_.get());
    stream->attach_connecting(std::move(tcp), {});
    return stream;
  }
  auto tls = io::TlsStream::client(place->tls, std::move(tcp), place->server_name, deadline, nullptr, stream->io_sink());
  tls->set_write_gate(gate_.get());
  stream->attach_connecting(std::move(tls), {});
  return stream;
}

// ---- time, ends ----

void EgressWorker::tick(proxy::TimePoint now) {
  if (!relay_.idle()) relay_.tick(now);
  core_.tick(now);
}

proxy::TimePoint EgressWorker::next_deadline() const {
  return relay_.idle() ? core_.next_deadline() : std::min(core_.next_deadline(), relay_.next_deadline());
}

void EgressWorker::drain(proxy::TimePoint deadline) {
  asking_.clear();
  core_.drain(deadline);
}

void EgressWorker::end_all() {
  asking_.clear();
  relay_.end_all();
}

bool EgressWorker::idle() const { return asking_.empty() && core_.idle() && relay_.idle() && closing_.size() == 0; }

EgressTotals EgressWorker::totals() const {
  EgressTotals totals;
  for (const auto& route : core_.routes()) {
    totals.by_name[route.name].add(route.egress);
    totals.requests[route.name] += route.counters.requests;
    totals.halted[route.name] += route.counters.halted;
  }
  for (const auto& endpoint : core_.endpoints()) {
    if (totals.by_name.contains(endpoint.pool)) totals.open[endpoint.pool] += endpoint.in_flight + endpoint.idle_connections;
  }
  for (const auto& [name, counters] : relay_.counters()) {
    totals.by_name[name].add(counters.egress);
    totals.requests[name] += counters.connections;
    totals.halted[name] += counters.halted;
    totals.open[name] += counters.open;
    totals.late_writes += counters.late_lease_writes;
  }
  totals.late_writes += core_.counters().late_lease_writes;
  totals.writes_denied += core_.counters().writes_denied;
  return totals;
}

}  // namespace agent::drivers
