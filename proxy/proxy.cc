#include "proxy/proxy.h"

#include <algorithm>

#include "proxy/core.h"
#include "proxy/connection_pool.h"
#include "proxy/exchange.h"
#include "proxy/http1/writer.h"
#include "proxy/prelude.h"

namespace proxy {

namespace {

/// One write, and nothing of the client is read: whoever comes in a flood gets a reason and costs no more than a refusal.
void tell_full(Stream& stream) {
  static const std::string kAnswer = [] {
    const std::string body = R"({"code":"connections_max","message":"this agent has as many client connections as its settings allow",)"
                             R"("hint":"try again in a moment, or raise proxy.connections_max","retry_after_ms":1000})" "\n";
    return "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\nX-Outrigger-Outcome: not-sent\r\nRetry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" + body;
  }();
  const Bytes piece = http1::bytes_of(kAnswer);
  (void)stream.write(std::span(&piece, 1));  // what the kernel does not take of so little, nobody waits for
}

}  // namespace

Proxy::Proxy(Settings settings, Host& host, Connector& connector, Chance chance)
    : core_(std::make_unique<Core>(std::move(settings), host, connector, std::move(chance))) {}
Proxy::~Proxy() = default;

void Proxy::set_routes(std::shared_ptr<const RouteTable> routes) { core_->set_routes(std::move(routes)); }
void Proxy::set_endpoints(const EndpointTable& endpoints) { core_->set_endpoints(endpoints); }
void Proxy::set_halts(std::shared_ptr<const HaltView> halts) { core_->set_halts(std::move(halts)); }
void Proxy::set_primary(const PrimaryView& view) { core_->set_primary(view); }

void Proxy::set_rate_members(std::shared_ptr<const RateMembers> members) { core_->desk.set_members(std::move(members)); }
bool Proxy::has_rate_questions() const { return core_->desk.has_questions(); }
void Proxy::take_rate_questions(std::vector<RateQuestion>& out) { core_->desk.take_questions(out); }
const RateDeskCounters& Proxy::rate_counters() const { return core_->desk.counters(); }

void Proxy::rate_answers(RateMemberId owner, std::span<const RateAnswer> answers) {
  Core::Event event(*core_);
  for (const RateAnswer& answer : answers) core_->desk.answer(owner, answer, core_->now);
}

void Proxy::accept(std::unique_ptr<Stream> stream, Accepted accepted) {
  Core::Event event(*core_);
  if (core_->draining || core_->downstreams.size() >= core_->settings.connections_max) {
    ++core_->counters.connections_refused;
    if (!core_->draining && accepted.kind == ListenerKind::kDownstream && accepted.protocol != Protocol::kHttp2) tell_full(*stream);
    stream->close();
    return;
  }
  welcome(*core_, std::move(stream), std::move(accepted));
}

void Proxy::send_gathered() { core_->send_gathered(); }

void Proxy::renew_clients() {
  Core::Event event(*core_);
  std::vector<ClientConnection*> all;
  for (const auto& [down, owner] : core_->downstreams) all.push_back(down);
  for (ClientConnection* down : all) down->renew();
}

void Proxy::part_with(std::optional<std::uint64_t> listener, TimePoint idle_until) { core_->part_with(listener, idle_until); }
void Proxy::drain(TimePoint deadline) { core_->drain(deadline); }
bool Proxy::idle() const { return core_->downstreams.empty() && core_->absent_clients == 0; }

bool Proxy::order_told(OrderTicket ticket, const OrderReply& reply) {
  const Core::Event event(*core_);
  Exchange* exchange = core_->waiting_for(ticket);
  if (exchange == nullptr) return false;
  exchange->order_told(reply);
  return true;
}

void Proxy::order_recorded(OrderTicket ticket, bool recorded, const OrderCommit& commit) {
  const Core::Event event(*core_);
  if (Exchange* exchange = core_->waiting_for(ticket)) exchange->order_recorded(recorded, commit);
}
void Proxy::tick(TimePoint now) { core_->tick(now); }
TimePoint Proxy::next_deadline() const { return core_->next_deadline(); }
const Counters& Proxy::counters() const { return core_->counters; }

std::uint64_t Proxy::orders_in_flight(std::string_view service) const {
  return core_->service(service).local_orders;
}

std::vector<Proxy::EndpointStatus> Proxy::endpoints() const {
  std::vector<EndpointStatus> out;
  core_->for_each_pool_member([&](const PoolState& pool, const EndpointState& state) {
    EndpointStatus status;
    status.id = state.endpoint.id;
    status.pool = pool.name;
    status.address = state.endpoint.address;
    status.in_flight = state.in_flight;
    status.idle_connections = static_cast<std::uint32_t>(state.idle.size());
    status.requests = state.request_count;
    status.failures = state.failure_count;
    const TimePoint now = core_->host.now();
    const OutlierTrack& outlier = state.outlier();
    status.ejected = outlier.ejected_at(now);
    status.by_word = status.ejected && !outlier.ejected_here_at(now);
    if (status.ejected) status.ejected_for = std::chrono::ceil<Milliseconds>(std::max(outlier.ejected_until(), outlier.advised_until()) - now);
    status.times = state.times;
    status.latency_ns = state.latency.at(now);
    out.push_back(std::move(status));
  });
  return out;
}

std::vector<Proxy::RouteStatus> Proxy::routes() const {
  std::vector<RouteStatus> out;
  if (core_->table == nullptr) return out;
  for (const auto& state : core_->table->states) out.push_back({state->name, state->counters, state->times, state->egress});
  return out;
}

}  // namespace proxy
