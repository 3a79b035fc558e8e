#pragma once
/// The inside of a Proxy: the state that downstream connections, exchanges and upstream connections share.
/// Private to the library; one thread. Objects that end during an event are kept until the event is over.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proxy/balancer.h"
#include "proxy/client.h"
#include "proxy/egress_counters.h"
#include "proxy/hedge.h"
#include "proxy/histogram.h"
#include "proxy/list.h"
#include "proxy/outlier.h"
#include "proxy/proxy.h"
#include "proxy/rate_desk.h"
#include "proxy/retry.h"
#include "proxy/wheel.h"

namespace proxy {

class Connection;
class Exchange;
enum class OrderTicket : std::uint64_t;

/// A connection to a peer costs both sides milliseconds of mutual TLS, a request microseconds. A burst that opened one for each of its
/// requests would spend on handshakes what it needs to answer, and most would be given up for their slowness.
inline constexpr std::uint32_t kPeerOpeningMax = 16;

/// One endpoint as long as anything refers to it. Shared by all pools and views that name it.
struct EndpointState {
  Endpoint endpoint;
  LatencyTrack latency;             ///< to the first byte; fed by routes that balance by it
  Turn turn = 0;                    ///< of the balancer
  TimePoint fit_since{};            ///< for slow start; long ago for those that were there at the beginning
  TimePoint draining_since{};       ///< meaningful while `endpoint.draining`
  std::shared_ptr<EndpointShare> share;  ///< never null

  [[nodiscard]] OutlierTrack& outlier() { return share->outlier; }
  [[nodiscard]] const OutlierTrack& outlier() const { return share->outlier; }
  std::uint32_t in_flight = 0;      ///< exchanges whose present attempt is here
  std::uint32_t tunnels = 0;        ///< of `in_flight`, upgraded connections: long-lived, so no measure of load
  std::uint32_t open = 0;           ///< connections, connecting ones included
  std::uint32_t opening = 0;        ///< of `open`, those to a peer that are not connected yet; at most kPeerOpeningMax
  std::vector<Connection*> idle;    ///< newest last; at most Settings::upstream_idle_max
  LinkList attempts;                ///< of `in_flight`, for those that a change of health must reach
  std::uint64_t request_count = 0, failure_count = 0;
  Histogram times;                  ///< attempt begun -> its response complete
  std::uint32_t generation = 0;     ///< raised when the address changes: older connections are not reused
  bool wanted = true;               ///< some pool or view names it; else it goes when it is empty
};

struct PoolState {
  std::string name;
  std::vector<EndpointState*> endpoints;
};

/// One service: where its primary is, who is there, who waits.
/// Invariant: held_count <= hold_count_max and held_bytes <= hold_bytes_max + one read slab per exchange.
struct ServiceState {
  PrimaryView view;
  EndpointState* endpoint = nullptr;  ///< of the holder; null with Holder::kNone
  LinkList active;                    ///< exchanges with an attempt under `view`
  LinkList held;                      ///< in order of arrival
  std::uint32_t held_count = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t local_orders = 0;     ///< of `active`, those at the local instance
  bool drained_told = true;           ///< on_orders_drained was reported for this view, or need not be
};

/// What this worker remembers of one route for as long as tables have one of its name.
struct RouteState {
  std::string name;
  RouteCounters counters;
  Histogram times;            ///< of answered requests
  LinkList queue;             ///< exchanges that wait for an endpoint with fewer than max_conns, in order of arrival
  std::uint32_t queued = 0;   ///< their number, at most Route::queue_max
  std::unique_ptr<HedgeState> hedge;  ///< null = the route does not hedge
  EgressCounters egress;      ///< of a route to a broker
};

/// A route table with what its routes resolve to. Lives while a request uses it.
struct TableUse {
  std::shared_ptr<const RouteTable> table;
  std::vector<PoolState*> pools;        ///< by index of the route; null for primary routes
  std::vector<ServiceState*> services;  ///< by index of the route; null when it names none
  std::vector<std::shared_ptr<RouteState>> states;  ///< by index of the route
  std::uint64_t users = 0;
};

class Core {
 public:
  Core(Settings given, Host& given_host, Connector& given_connector, Chance given_chance);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Surrounds every call from outside: reads the clock, and at the end buries what has ended meanwhile.
  class Event {
   public:
    explicit Event(Core& core);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

   private:
    Core& core_;
  };

  void set_routes(std::shared_ptr<const RouteTable> routes);
  void set_endpoints(const EndpointTable& table);
  void set_primary(const PrimaryView& view);
  void set_halts(std::shared_ptr<const HaltView> given);
  void part_with(std::optional<std::uint64_t> listener, TimePoint idle_until);
  void drain(TimePoint deadline);
  void tick(TimePoint at);
  [[nodiscard]] TimePoint next_deadline() const;

  // Endpoints.
  /// Counts what an attempt says about its endpoint, ejects it if that is due, tells the host about trouble.
  void report(EndpointState& state, AttemptResult result);
  void eject(EndpointState& state);
  /// Whether every pool that has it could spare it, as far as this agent itself has seen.
  [[nodiscard]] bool can_spare(const EndpointState& state) const;
  /// An endpoint for a kAll attempt; null = none, and why: some would do but have max_conns, or an open breaker.
  struct Picked {
    EndpointState* endpoint = nullptr;
    bool full = false, broken = false;
  };
  /// @param tried  those not to be picked  @param hash  of the client's key
  Picked pick(const PoolState& pool, const Route& route, const std::vector<EndpointState*>& tried, std::uint64_t hash);
  /// Why an endpoint was or would be passed over now; empty = it could be picked. For people.
  [[nodiscard]] std::string_view unfit_reason(const EndpointState& state, const Route& route, const std::vector<EndpointState*>& tried) const;
  /// Whether pick would find one; takes no turn.
  bool can_pick(const PoolState& pool, const Route& route, const std::vector<EndpointState*>& tried);
  /// What becomes of a session whose node has no room.
  enum class NoRoom : std::uint8_t { kWait, kMove };
  /// The endpoint of a session: where the table says, as long as that can take requests, else where its hash says. Takes no
  /// turn and notes nothing. With kWait one that is full is waited for (Picked::full), whoever else has room.
  Picked pick_session(const PoolState& pool, const Route& route, const std::vector<EndpointState*>& tried, SessionHash session,
                      NoRoom no_room);
  /// An exchange waits in a queue, or has left one.
  void note_queued(int difference);
  void note_slot_freed() { slot_freed_ = true; }
  /// The local instance among the endpoints of a pool that can take a request; null = none.
  EndpointState* local_of(const PoolState& pool);
  [[nodiscard]] bool has_room(const EndpointState& state) const {
    return !state.idle.empty() || (state.open < settings.upstream_open_max && state.opening < kPeerOpeningMax);
  }

  /// The deadline of a drain has passed: no client is waited for any longer.
  [[nodiscard]] bool drained_long_enough() const { return draining && drain_deadline == TimePoint::max(); }
  template <class Visit>
  void for_each_pool_member(Visit visit) const {
    for (const auto& [name, state] : pools_) {
      for (const EndpointState* endpoint : state->endpoints) visit(*state, *endpoint);
    }
  }

  // Services.
  ServiceState& service(std::string_view name);  ///< made on first use
  /// The state of the route in the newest table, or a new one.
  std::shared_ptr<RouteState> route_state(const std::string& name);
  void note_local_order_left(ServiceState& service);
  /// The permit of a service is gone: every connection to its brokers is reset, idle ones too, and only then does anybody hear of it.
  void cut_egress(ServiceState& service);

  // Orders under keys.
  OrderTicket take_ticket(Exchange& exchange);
  void drop_ticket(OrderTicket ticket) { waiting_orders_.erase(ticket); }
  [[nodiscard]] Exchange* waiting_for(OrderTicket ticket) const;  ///< null = nobody any more
  std::uint64_t absent_clients = 0;   ///< exchanges that go on without theirs

  // Objects.
  Exchange& new_exchange();
  void bury(std::unique_ptr<Connection> connection);
  void bury(ClientConnection& downstream);   ///< it must be in `downstreams`
  void bury(Exchange& exchange);
  /// The connection has something to send at the end of the host's turn.
  void note_unsent(ClientConnection& connection) {
    if (!std::exchange(connection.unsent, true)) unsent_.push_back(&connection);
  }
  void send_gathered();

  Settings settings;
  Host& host;
  Connector& connector;
  Chance chance;
  TimePoint now{};                ///< at the beginning of the present event
  Wheel wheel;
  Counters counters;
  RetryBudget budget;
  RateDesk desk;                  ///< limits that the cluster counts together
  std::shared_ptr<const HaltView> halts;  ///< null = nothing is stopped
  TableUse* table = nullptr;      ///< the newest; null before the first
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> downstreams;
  std::unordered_map<EndpointId, std::unique_ptr<EndpointState>> endpoints;
  bool draining = false;
  TimePoint drain_deadline = TimePoint::max();
  std::string frames;             ///< scratch of HTTP/2 connections while they send

 private:
  EndpointState& endpoint_of(const Endpoint& endpoint);
  PoolState& pool(std::string_view name);
  void sweep_endpoints();
  void move_attempts(EndpointState& state);
  void end_tunnels(EndpointState& state);
  void change_holder(ServiceState& state, const PrimaryView& view);
  void end_lapsed_leases();
  [[nodiscard]] bool has_idle_egress(const ServiceState& service) const;
  void release_held(ServiceState& state);
  void end_drain();
  void purge();
  Picked gather(const PoolState& pool, const Route& route, const std::vector<EndpointState*>& tried);
  enum class Fit : std::uint8_t { kNow, kFull, kNot };
  [[nodiscard]] Fit fit_of(const EndpointState& state, const Route& route, const std::vector<EndpointState*>& tried) const;
  void serve_queues();

  std::vector<std::unique_ptr<TableUse>> tables_;
  std::unordered_map<std::string, std::unique_ptr<PoolState>> pools_;
  std::vector<std::unique_ptr<ServiceState>> services_;   ///< few; the order is that of first use
  std::vector<std::unique_ptr<Exchange>> exchanges_;      ///< every one ever made
  std::vector<Exchange*> free_exchanges_;
  std::vector<Exchange*> ended_exchanges_;
  std::vector<std::unique_ptr<Connection>> ended_connections_;
  std::vector<std::unique_ptr<ClientConnection>> ended_downstreams_;
  std::vector<ClientConnection*> unsent_;
  std::vector<Candidate> candidates_;   ///< scratch of pick()
  std::unordered_map<OrderTicket, Exchange*> waiting_orders_;
  std::uint64_t last_ticket_ = 0;
  std::uint32_t egress_endpoints_ = 0;  ///< of `endpoints`, brokers
  std::uint32_t queued_ = 0;            ///< exchanges in queues of all routes
  bool slot_freed_ = false;             ///< during this event
  bool endpoints_known_ = false;        ///< a first table has come
  /// Another worker may have freed a place: looked for every kGrain of the wheel while anybody waits.
  TimePoint queue_poll_ = TimePoint::max();
  int depth_ = 0;
};

}  // namespace proxy
