#include "proxy/core.h"

#include <algorithm>
#include <cassert>
#include <unordered_set>

#include "proxy/connection_pool.h"
#include "proxy/egress.h"
#include "proxy/exchange.h"
#include "proxy/halt.h"

namespace proxy {
namespace {

constexpr Milliseconds kTunnelDrain{30'000};  // in which tunnels at an endpoint that drains are told to end

}  // namespace

Core::Core(Settings given, Host& given_host, Connector& given_connector, Chance given_chance)
    : settings(std::move(given)), host(given_host), connector(given_connector), chance(std::move(given_chance)),
      now(given_host.now()), wheel(now), budget(settings.retry_percent, settings.retry_burst) {}

Core::~Core() {
  {
    Event event(*this);
    std::vector<ClientConnection*> all;
    for (const auto& [down, owner] : downstreams) all.push_back(down);
    for (ClientConnection* down : all) down->abort("client_gone");
    for (const auto& [id, state] : endpoints) close_idle(*this, *state);
  }
  assert(downstreams.empty());
}

Core::Event::Event(Core& core) : core_(core) {
  if (core_.depth_++ == 0) core_.now = core_.host.now();
}

Core::Event::~Event() {
  if (core_.depth_ == 1) {
    if (std::exchange(core_.slot_freed_, false) && core_.queued_ > 0) core_.serve_queues();
    core_.purge();
  }
  --core_.depth_;
}

// ---- orders under keys ----

OrderTicket Core::take_ticket(Exchange& exchange) {
  const OrderTicket ticket{++last_ticket_};
  waiting_orders_.emplace(ticket, &exchange);
  return ticket;
}

Exchange* Core::waiting_for(OrderTicket ticket) const {
  const auto found = waiting_orders_.find(ticket);
  return found == waiting_orders_.end() ? nullptr : found->second;
}

// ---- objects ----

Exchange& Core::new_exchange() {
  if (free_exchanges_.empty()) {
    exchanges_.push_back(std::make_unique<Exchange>(*this));
    free_exchanges_.push_back(exchanges_.back().get());
  }
  Exchange* exchange = free_exchanges_.back();
  free_exchanges_.pop_back();
  exchange->recycle();
  return *exchange;
}

void Core::bury(std::unique_ptr<Connection> connection) { ended_connections_.push_back(std::move(connection)); }
void Core::bury(Exchange& exchange) { ended_exchanges_.push_back(&exchange); }
void Core::bury(ClientConnection& downstream) {
  const auto found = downstreams.find(&downstream);
  assert(found != downstreams.end());
  if (downstream.unsent) std::erase(unsent_, &downstream);
  ended_downstreams_.push_back(std::move(found->second));
  downstreams.erase(found);
}

// One write for everything that a turn has brought. Sending may make room for more, of this or another connection.
void Core::send_gathered() {
  if (unsent_.empty()) return;
  Event event(*this);
  while (!unsent_.empty()) {
    ClientConnection* connection = unsent_.back();
    unsent_.pop_back();
    connection->unsent = false;
    connection->flush();
  }
}

// Nothing of these is on the stack any more.
void Core::purge() {
  free_exchanges_.insert(free_exchanges_.end(), ended_exchanges_.begin(), ended_exchanges_.end());
  ended_exchanges_.clear();
  ended_connections_.clear();
  ended_downstreams_.clear();
  if (tables_.size() > 1) {
    std::erase_if(tables_, [&](const auto& use) { return use.get() != table && use->users == 0; });
  }
}

// ---- snapshots ----

void Core::set_routes(std::shared_ptr<const RouteTable> routes) {
  Event event(*this);
  auto use = std::make_unique<TableUse>();
  for (const Route& route : routes->routes()) {
    use->pools.push_back(route.kind == PoolKind::kAll ? &pool(route.pool) : nullptr);
    use->services.push_back(route.service.empty() ? nullptr : &service(route.service));
    use->states.push_back(route_state(route.name));
    std::unique_ptr<HedgeState>& hedge = use->states.back()->hedge;
    if (!route.hedge) hedge.reset();
    else if (hedge == nullptr || !(hedge->rule == *route.hedge)) hedge = std::make_unique<HedgeState>(*route.hedge);
  }
  use->table = std::move(routes);
  table = use.get();
  tables_.push_back(std::move(use));
}

std::shared_ptr<RouteState> Core::route_state(const std::string& name) {
  if (table != nullptr) {
    for (const auto& state : table->states) {
      if (state->name == name) return state;
    }
  }
  auto made = std::make_shared<RouteState>();
  made->name = name;
  return made;
}

PoolState& Core::pool(std::string_view name) {
  auto& slot = pools_[std::string(name)];
  if (slot == nullptr) {
    slot = std::make_unique<PoolState>();
    slot->name = name;
  }
  return *slot;
}

ServiceState& Core::service(std::string_view name) {
  for (const auto& state : services_) {
    if (state->view.service == name) return *state;
  }
  services_.push_back(std::make_unique<ServiceState>());
  services_.back()->view.service = name;
  return *services_.back();
}

EndpointState& Core::endpoint_of(const Endpoint& endpoint) {
  auto& slot = endpoints[endpoint.id];
  const bool fresh = slot == nullptr;
  if (fresh) slot = std::make_unique<EndpointState>();
  EndpointState& state = *slot;
  const bool rose = state.endpoint.health == Health::kCritical && endpoint.health != Health::kCritical;
  if (endpoints_known_ && (fresh || rose)) state.fit_since = now;
  if (state.share == nullptr) state.share = endpoint.share != nullptr ? endpoint.share : std::make_shared<EndpointShare>();
  // Connections that lead elsewhere now, or whose other side was verified by older rules, are not used again.
  const auto &was = state.endpoint.egress, &is = endpoint.egress;
  const bool other_way = was != is && was != nullptr && is != nullptr && !is->is_like(*was);
  if (other_way || (!state.endpoint.address.empty() && (state.endpoint.address != endpoint.address || state.endpoint.means != endpoint.means))) {
    ++state.generation;
    close_idle(*this, state);
  }
  // An active check has found it fit again: traffic follows its word.
  if (state.endpoint.health == Health::kCritical && endpoint.health == Health::kPassing) state.outlier().reinstate();
  if (endpoint.draining && !state.endpoint.draining) state.draining_since = now;
  const NodeNumber number = endpoint.number == NodeNumber::kNone ? state.endpoint.number : endpoint.number;  // views of primaries have none
  state.endpoint = endpoint;
  state.endpoint.number = number;
  state.wanted = true;
  return state;
}

void Core::set_endpoints(const EndpointTable& given) {
  Event event(*this);
  for (const auto& [id, state] : endpoints) state->wanted = false;
  for (const auto& [name, state] : pools_) state->endpoints.clear();
  for (const PoolEndpoints& entry : given.pools) {
    PoolState& state = pool(entry.pool);
    for (const Endpoint& endpoint : entry.endpoints) {
      if (state.endpoints.size() == kPoolEndpointsMax) break;
      state.endpoints.push_back(&endpoint_of(endpoint));
    }
  }
  endpoints_known_ = true;
  egress_endpoints_ = static_cast<std::uint32_t>(
      std::count_if(endpoints.begin(), endpoints.end(), [](const auto& one) { return one.second->endpoint.egress != nullptr; }));
  for (const auto& state : services_) {
    if (state->endpoint != nullptr) state->endpoint->wanted = true;
  }
  std::vector<EndpointState*> unfit;
  for (const auto& [id, state] : endpoints) {
    if (!state->wanted || state->endpoint.health == Health::kCritical) unfit.push_back(state.get());
    if (state->endpoint.draining && state->draining_since == now && state->tunnels > 0) end_tunnels(*state);
  }
  for (EndpointState* state : unfit) {
    close_idle(*this, *state);
    move_attempts(*state);
  }
  sweep_endpoints();
  slot_freed_ = true;  // a queue may have got somewhere to go
}

// Their clients connect again elsewhere, not all in the same moment.
void Core::end_tunnels(EndpointState& state) {
  LinkList all;
  all.take(state.attempts);
  while (Exchange* exchange = all.pop_front()) {
    state.attempts.push_back(exchange->endpoint_link);
    exchange->end_tunnel_by(now + kTunnelDrain);
  }
}

// Everything that can be helped elsewhere leaves this endpoint.
void Core::move_attempts(EndpointState& state) {
  std::vector<Exchange*> there;
  LinkList all;
  all.take(state.attempts);
  while (Exchange* exchange = all.pop_front()) {
    state.attempts.push_back(exchange->endpoint_link);
    there.push_back(exchange);
  }
  // An exchange that moves never touches another of this list; each is asked once.
  for (Exchange* exchange : there) {
    if (!exchange->over()) exchange->endpoint_unfit();
  }
}

void Core::sweep_endpoints() {
  std::unordered_set<const EndpointState*> in_use;
  for (const auto& exchange : exchanges_) {
    if (!exchange->over()) exchange->collect_endpoints(in_use);
  }
  std::erase_if(endpoints, [&](const auto& entry) {
    const EndpointState& state = *entry.second;
    return !state.wanted && state.open == 0 && state.in_flight == 0 && !in_use.contains(&state);
  });
}

void Core::set_primary(const PrimaryView& view) {
  Event event(*this);
  ServiceState& state = service(view.service);
  if (view.epoch < state.view.epoch) return;
  assert(view.holder != PrimaryView::Holder::kLocal || view.lease != nullptr);
  const PrimaryView& old = state.view;
  const bool same = old.holder == view.holder && old.epoch == view.epoch && old.lease == view.lease &&
                    (view.holder == PrimaryView::Holder::kNone || old.endpoint.id == view.endpoint.id);
  if (same) {
    if (view.holder != PrimaryView::Holder::kNone) state.endpoint = &endpoint_of(view.endpoint);
    state.drained_told = view.accepts_new || (state.drained_told && !old.accepts_new);
    state.view = view;
    if (!view.armed) cut_egress(state);
  } else {
    change_holder(state, view);
  }
  if (!view.accepts_new) note_local_order_left(state);
  release_held(state);
}

void Core::set_halts(std::shared_ptr<const HaltView> given) {
  Event event(*this);
  halts = std::move(given);
  if (halts == nullptr || halts->orders.empty()) return;
  // Whoever waits looks again: it is refused now, or waits on in its place.
  for (const auto& state : services_) {
    LinkList waiting;
    waiting.take(state->held);
    while (Exchange* exchange = waiting.front()) exchange->dispatch_held();
  }
  const bool cuts = std::any_of(halts->orders.begin(), halts->orders.end(), [](const HaltOrder& one) { return !one.cancels_pass; });
  for (std::size_t i = 0; cuts && i < exchanges_.size(); ++i) exchanges_[i]->end_if_cut();
}

void Core::change_holder(ServiceState& state, const PrimaryView& view) {
  // Exchanges at the old holder look at the old view's lease until they have ended.
  const PrimaryView old = state.view;
  state.view = view;
  cut_egress(state);
  state.endpoint = view.holder == PrimaryView::Holder::kNone ? nullptr : &endpoint_of(view.endpoint);
  state.drained_told = view.accepts_new || view.holder != PrimaryView::Holder::kLocal;
  LinkList active;
  active.take(state.active);
  while (Exchange* exchange = active.front()) exchange->holder_changed();
}

void Core::release_held(ServiceState& state) {
  const PrimaryView& view = state.view;
  if (view.holder == PrimaryView::Holder::kNone || !view.accepts_new || state.held.empty()) return;
  if (view.holder == PrimaryView::Holder::kLocal && !view.lease->valid_at(host.now())) return;
  LinkList waiting;
  waiting.take(state.held);
  // Those that have to wait on join the end of `held` again, in their order.
  while (Exchange* exchange = waiting.front()) exchange->dispatch_held();
}

// Two passes: first every wire is cut, then those who waited hear of it.
void Core::cut_egress(ServiceState& service) {
  if (egress_endpoints_ == 0) return;
  std::vector<Exchange*> cut;
  for (const auto& [id, state] : endpoints) {
    const EgressTarget* target = state->endpoint.egress.get();
    if (target == nullptr || target->service != service.view.service) continue;
    const EgressAct look{target->egress, Epoch{}, std::nullopt, EgressDeed::kRead};
    const bool shut = egress_permit(service.view, look, host.now()) != EgressVerdict::kOpen;
    route_state(target->egress)->egress.resets += reset_idle(*this, *state, shut ? Epoch{} : service.view.epoch);
    LinkList all;
    all.take(state->attempts);
    while (Exchange* exchange = all.pop_front()) {
      state->attempts.push_back(exchange->endpoint_link);
      if (exchange->cut_if_forbidden()) cut.push_back(exchange);
    }
  }
  for (Exchange* exchange : cut) {
    if (!exchange->over()) exchange->egress_lost();
  }
}

bool Core::has_idle_egress(const ServiceState& service) const {
  return egress_endpoints_ > 0 && std::any_of(endpoints.begin(), endpoints.end(), [&](const auto& one) {
    const EgressTarget* target = one.second->endpoint.egress.get();
    return target != nullptr && target->service == service.view.service && !one.second->idle.empty();
  });
}

void Core::note_local_order_left(ServiceState& state) {
  if (state.drained_told || state.local_orders > 0 || state.view.accepts_new) return;
  state.drained_told = true;
  host.on_orders_drained(state.view.service, state.view.epoch);
}

// ---- endpoints ----

void Core::report(EndpointState& state, AttemptResult result) {
  if (result == AttemptResult::kFailed) ++state.failure_count;
  if (state.outlier().feed(settings.outlier, now, result)) eject(state);
}

// What peers say takes nothing from this: what was seen here is surer, and their words are weighed against it elsewhere.
bool Core::can_spare(const EndpointState& state) const {
  bool found = false;
  for (const auto& [name, pool_state] : pools_) {
    const auto& members = pool_state->endpoints;
    if (std::find(members.begin(), members.end(), &state) == members.end()) continue;
    found = true;
    const auto count = [&](auto predicate) {
      return static_cast<std::size_t>(std::count_if(members.begin(), members.end(), predicate));
    };
    const std::size_t usable = count([](const EndpointState* s) { return is_usable(s->endpoint); });
    const std::size_t ejected = count(
        [&](const EndpointState* s) { return is_usable(s->endpoint) && s != &state && s->outlier().ejected_here_at(now); });
    if (!may_eject(settings.outlier, usable, ejected)) return false;
  }
  return found;
}

void Core::eject(EndpointState& state) {
  if (!can_spare(state) || !state.outlier().eject(settings.outlier, now)) return;
  // Another worker may have ejected another one in the same moment: who sees both takes back its own.
  if (!can_spare(state)) return state.outlier().reinstate();
  ++counters.ejections;
  host.on_health_news();
  move_attempts(state);
}

EndpointState* Core::local_of(const PoolState& from) {
  for (EndpointState* state : from.endpoints) {
    if (state->endpoint.kind == EndpointKind::kLocal && state->endpoint.health != Health::kCritical && has_room(*state)) {
      return state;
    }
  }
  return nullptr;
}

// ---- time ----

void Core::tick(TimePoint at) {
  Event event(*this);
  now = at;
  wheel.tick(at);
  end_lapsed_leases();
  if (at >= queue_poll_) {
    serve_queues();
    queue_poll_ = queued_ > 0 ? at + Wheel::kGrain : TimePoint::max();
  }
  if (at >= drain_deadline) end_drain();
}

// The holder's check is made at each write; what only waits for an answer is found here.
void Core::end_lapsed_leases() {
  for (const auto& state : services_) {
    if (state->view.holder != PrimaryView::Holder::kLocal || (state->local_orders == 0 && egress_endpoints_ == 0)) continue;
    if (state->view.lease->valid_at(now)) continue;
    cut_egress(*state);
    LinkList active;
    active.take(state->active);
    while (Exchange* exchange = active.front()) exchange->lease_lost();
  }
}

TimePoint Core::next_deadline() const {
  TimePoint next = std::min({wheel.next_deadline(), drain_deadline, queue_poll_});
  for (const auto& state : services_) {
    if (state->view.holder == PrimaryView::Holder::kLocal && (state->local_orders > 0 || has_idle_egress(*state))) {
      next = std::min(next, state->view.lease->valid_until());
    }
  }
  return next;
}

void Core::part_with(std::optional<std::uint64_t> listener, TimePoint idle_until) {
  Event event(*this);
  std::vector<ClientConnection*> all;
  for (const auto& [down, owner] : downstreams) {
    if (!listener || down->listener() == *listener) all.push_back(down);
  }
  for (ClientConnection* down : all) down->part(idle_until);
}

void Core::drain(TimePoint deadline) {
  Event event(*this);
  draining = true;
  drain_deadline = deadline;
  std::vector<ClientConnection*> all;
  for (const auto& [down, owner] : downstreams) all.push_back(down);
  for (ClientConnection* down : all) down->drain();
  for (const auto& exchange : exchanges_) {
    if (!exchange->over()) exchange->end_tunnel_by(deadline);
  }
  for (const auto& [id, state] : endpoints) close_idle(*this, *state);
}

void Core::end_drain() {
  drain_deadline = TimePoint::max();
  for (std::size_t i = 0; i < exchanges_.size(); ++i) {
    if (!exchanges_[i]->over()) exchanges_[i]->drain_deadline();
  }
  std::vector<ClientConnection*> all;
  for (const auto& [down, owner] : downstreams) all.push_back(down);
  for (ClientConnection* down : all) down->drain_deadline();
}

}  // namespace proxy
