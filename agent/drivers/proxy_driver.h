#pragma once
/// Runs the proxy workers: each a thread with its own loop, its own listeners, pools and proxy core.
///
/// The control loop publishes immutable snapshots to them and asks for counters; it shares one atomic per lease (see
/// proxy::LeaseView). Requests never touch the control loop.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/drivers/access_log.h"
#include "agent/drivers/span_exporter.h"
#include "agent/drivers/hello_reader.h"
#include "agent/drivers/roll_call.h"
#include "agent/drivers/tap.h"
#include "agent/drivers/tls_acceptor.h"
#include "agent/io/address.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/listen_socket.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/io/tls_context.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"
#include "proxy/relay_names.h"

namespace agent::drivers {

class ProxyWorker;
struct EgressListen;
struct EgressNews;
struct EgressTotals;
struct WorkerReport;

/// One listener. The address as given is its name: a later one of the same name takes its place.
struct ProxyListen {
  io::Address address;  ///< port 0 takes a free one
  std::shared_ptr<const proxy::TrustedProxies> trusted{};  ///< whose X-Forwarded-* fields are believed; null = nobody's
  ListenPolicy policy{};
  std::shared_ptr<const proxy::RelayRoute> relay{};  ///< a TCP route: what comes in is no HTTP; null = requests
  std::shared_ptr<const proxy::RelayNames> names{};  ///< TCP routes by the name in the client's first TLS message; then `relay` is null
  std::shared_ptr<const EgressListen> egress{};  ///< the service's way out to brokers, never part of the other routes; null = none
};

/// TLS towards the instance of this agent.
struct InstanceTls {
  std::shared_ptr<const io::TlsContext> context;
  std::string server_name;  ///< that its certificate must carry where the context verifies, and SNI
};
/// The same towards an endpoint of a static upstream: its Endpoint::means.
struct UpstreamTls final : proxy::StreamMeans {
  explicit UpstreamTls(InstanceTls given) : tls(std::move(given)) {}
  InstanceTls tls;
};

struct ProxyDriverSettings {
  std::uint32_t threads = 1;  ///< >= 1
  bool accepting = true;      ///< false: clients wait in the sockets' queues until start_accepting
  proxy::Settings proxy;      ///< connections_max is for all workers together
  std::vector<ProxyListen> listeners;        ///< the first; see publish_listeners
  /// For connections to peers' mesh listeners, with the ALPN of the HTTP hop. Null = a plain mesh, see `peer_preface`.
  std::shared_ptr<const io::TlsContext> peer_tls;
  std::optional<InstanceTls> instance_tls{};
  /// The ledger of orders for each worker; called once per worker on the control loop. Null = there is none.
  std::function<std::unique_ptr<proxy::OrderLedger>(std::size_t worker)> ledger{};
  std::uint32_t compress_streams_max = 256;  ///< responses packed at a time, over all workers
  std::string instance_preface{};  ///< bytes that begin each connection to the instance, before TLS (PROXY protocol); no part of a request
  std::string peer_preface;   ///< plain mesh only: bytes that begin an HTTP hop
  io::Milliseconds peer_connect_timeout{1000};  ///< TCP and TLS handshake
  std::shared_ptr<proxy::GuardTable> guard{};  ///< that of `proxy`, to count failures in; null = none are counted
  std::size_t trail_bytes = 0;  ///< per worker, of recent requests with their trails; needs proxy.trails
  RecordRules rules;            ///< of what is kept for `why` and tap
  std::optional<AccessLogSettings> access_log{};  ///< its `workers` is filled here; none = no log
  std::optional<SpanExportSettings> spans{};      ///< the same; needs proxy.trace.spans; none = spans are made for nobody
  /// How long idle connections of a listener that goes may still bring one more request.
  io::Milliseconds part_idle{3000};
};

/// All are called on the control loop; none may destroy the driver.
struct ProxyDriverCallbacks {
  std::function<void(const proxy::Endpoint&, proxy::Trouble)> on_trouble;
  /// After a PrimaryView with accepts_new = false: no worker has an exchange of that epoch at the instance any more.
  std::function<void(const std::string& service, proxy::Epoch)> on_orders_drained;
  /// Workers have ejected an endpoint, a breaker has changed, or a client was banned: see share_of, Route::breakers, guard.
  std::function<void()> on_health_news{};
  /// The access log cannot be written, and why; empty = it can again.
  std::function<void(const std::string& why)> on_access_log{};
  /// The same for spans and their collector.
  std::function<void(const std::string& why)> on_spans{};
  /// A worker asks another agent about limits of the cluster; `frame` as of encode_questions. Empty = nobody is asked.
  std::function<void(proxy::RateMemberId owner, std::string frame)> on_rate_questions{};
};

/// Counters of all workers together; endpoints of one id and routes of one name are summed.
struct ProxyTotals {
  proxy::Counters counters;
  std::vector<proxy::Proxy::EndpointStatus> endpoints;
  std::vector<proxy::Proxy::RouteStatus> routes;  ///< by name
  TlsCounters tls;
  std::optional<AccessLogCounters> access_log{};  ///< none = there is no log
  std::optional<SpanExportCounters> spans{};      ///< none = there are none
  ProxyHeaderCounters headers;  ///< of the PROXY protocol
  HelloCounters hellos;         ///< of listeners that choose by name
  std::map<std::string, proxy::RelayCounters> relays;  ///< by name of the TCP route
  proxy::RateDeskCounters rates;
  std::shared_ptr<const EgressTotals> egress{};  ///< never null in what totals() tells
  std::size_t workers_missing = 0;  ///< that did not answer: theirs are the figures that they told last
};

/// Ownership: of the agent; destruction stops and joins every worker. Thread: the control loop.
class ProxyDriver {
 public:
  /// Binds every listener and starts the workers. Errors: those of TcpListener::listen (kAddressInUse names the
  /// address), kLimit.
  static io::Result<std::unique_ptr<ProxyDriver>> start(io::Loop& loop, ProxyDriverSettings settings,
                                                        ProxyDriverCallbacks callbacks);
  ~ProxyDriver();
  ProxyDriver(const ProxyDriver&) = delete;
  ProxyDriver& operator=(const ProxyDriver&) = delete;

  void publish_routes(std::shared_ptr<const proxy::RouteTable> routes);
  void publish_endpoints(proxy::EndpointTable endpoints);
  /// What the workers know together of an endpoint that was published last; null = none of that id.
  [[nodiscard]] std::shared_ptr<proxy::EndpointShare> share_of(proxy::EndpointId id) const;
  void start_accepting();
  /// The listeners from now on. Those of a name that is there already go on with newer settings for new connections (HTTP/2
  /// clients are asked to come again); new ones are opened; the others accept what waits in their queues, close, and their connections end after one more
  /// request. Errors: as of start; then nothing has changed.
  io::Result<void> publish_listeners(const std::vector<ProxyListen>& listeners);
  void publish_primary(proxy::PrimaryView view);
  /// What the service may send out to, and how.
  void publish_egress(std::shared_ptr<const EgressNews> news);
  void publish_halts(std::shared_ptr<const proxy::HaltView> halts);
  /// Who counts the limits of the cluster. Before the first, this agent does.
  void publish_rate_members(std::shared_ptr<const proxy::RateMembers> members);
  /// Answers to what a worker has asked.
  void deliver_rates(std::uint16_t worker, proxy::RateMemberId owner, std::vector<proxy::RateAnswer> answers);
  /// Runs a task on the proxy of one worker. @return false: its queue is full, or it has ended, and the task never runs
  bool tell(std::size_t worker, std::function<void(proxy::Proxy&)> task);
  /// An accepted mesh stream that speaks HTTP; the workers take turns.
  void hand_over(io::DetachedStream stream, std::string client);
  /// `done` runs once, on the loop, when every worker has answered that is not silent: see RollCall.
  void totals(std::function<void(ProxyTotals)> done);
  /// After a rotation by somebody else, or because the operator says so.
  void reopen_access_log();
  /// The newest recent request of that id, as append_record wrote it; `done` runs once, never inside this call.
  /// With `missing` workers that did not answer, none found does not mean that there is none.
  void recent(const std::string& request_id, std::function<void(std::optional<std::string>, std::size_t missing)> done);
  [[nodiscard]] Tap& tap() { return tap_; }
  [[nodiscard]] SpanExporter* spans() { return spans_.get(); }  ///< null = there are none; lives as long as this
  /// Closes the listeners of clients, finishes what runs until `deadline`. Those of egress stay: what clients wait for may still have to
  /// reach its broker. `done` when no connection is left, also of egress, for whose end drain_egress must be called.
  void drain(io::TimePoint deadline, std::function<void()> done);
  /// Closes the listeners of egress, finishes what runs there until `deadline`.
  void drain_egress(io::TimePoint deadline);
  /// For a process whose sockets somebody else serves from now on: accepts what waits, then nothing; every connection ends
  /// after its present request, or when it idles at `idle_until`; what runs at `deadline` is ended. `done` as of drain.
  void retire(io::TimePoint idle_until, io::TimePoint deadline, std::function<void()> done);

  /// Of the listeners in force, in their order, with the real ports.
  [[nodiscard]] std::vector<io::Address> listen_addresses() const;
  [[nodiscard]] std::uint64_t messages_lost() const { return messages_lost_; }  ///< to a worker whose queue was full

 private:
  struct Worker {
    std::unique_ptr<io::Thread> thread;
    std::shared_ptr<ProxyWorker*> core;  ///< set on the worker's thread before its loop runs, read only there
  };
  struct Drained {
    std::string service;
    proxy::Epoch epoch{};
    bool asked = false;             ///< the view published last has accepts_new = false
    std::set<std::size_t> workers;  ///< that have said so
  };
  /// A listener as the control loop holds it: its sockets, one per worker where that can be.
  struct Place {
    std::string name;
    std::uint64_t id = 0;
    std::vector<std::unique_ptr<io::ListenSocket>> sockets;
    std::size_t watched_by = 0;  ///< workers that have not yet let go of it
    bool is_egress = false;
  };
  ProxyDriver(io::Loop& loop, ProxyDriverSettings settings, ProxyDriverCallbacks callbacks);
  io::Result<Place> open_place(const ProxyListen& listen);
  [[nodiscard]] std::vector<const io::ListenSocket*> sockets_of(const Place& place, std::size_t worker) const;
  void close_place(Place place);
  enum class PlacesOf : std::uint8_t { kClients, kAll };
  void close_places(PlacesOf whose);
  void on_place_left(std::uint64_t id);
  std::function<void()> after_all_workers(std::function<void()> done) const;
  io::Result<void> start_writers(io::Loop& loop);
  io::Result<void> start_worker(std::size_t number, const std::vector<ProxyListen>& listeners);
  bool post(std::size_t worker, std::function<void(ProxyWorker&)> task);
  void post_all(const std::function<void(ProxyWorker&)>& task);
  void on_worker_drained(std::size_t worker, const std::string& service, proxy::Epoch epoch);

  ProxyDriverSettings settings_;
  ProxyDriverCallbacks callbacks_;
  io::Mailbox<std::function<void()>> news_;  ///< from the workers
  std::vector<Place> places_;   ///< in force, in order
  std::vector<Place> leaving_;  ///< still watched by a worker
  std::uint64_t place_count_ = 0;
  std::map<proxy::EndpointId, std::shared_ptr<proxy::EndpointShare>> shares_;  ///< of the endpoints published last
  std::shared_ptr<const proxy::PrimaryView> view_;  ///< as published last
  proxy::EndpointId holder_{};  ///< endpoint of the newest view, whose share is there too
  Drained drained_;
  std::size_t next_worker_ = 0;
  std::uint64_t messages_lost_ = 0;
  std::unique_ptr<AccessLog> access_log_;  // null: none
  std::unique_ptr<SpanExporter> spans_;    // the same
  Tap tap_;
  RollCall roll_call_;
  std::vector<std::shared_ptr<const WorkerReport>> reports_;  // what each worker told last; null = nothing yet
  std::vector<Worker> workers_;  // last: joined before anything above goes
};

}  // namespace agent::drivers
