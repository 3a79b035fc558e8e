#pragma once
/// The face of the library: one worker's reverse proxy, HTTP/1 and HTTP/2 towards clients, HTTP/1.1 towards instances.
///
/// A request comes in on a stream given to `accept`, is matched to a route, sent to an endpoint over a connection from the
/// pool, and its response streamed back; it has exactly one ending, which is recorded. Memory is bounded: per connection
/// one partial head and at most two read slabs; held requests by count and bytes; idle upstream connections by count.
///
/// Safety rules, in order of weight:
///  R1 Not one byte goes to the local instance on a `primary` route unless Host::now() was before the end of the lease of
///     the epoch under which the exchange was dispatched, read in the same call as the write.
///  R2 A request is in one place at a time, except a safe one whose first place is written off, or that its route hedges.
///  R3 A request of a `primary` route, or with an unsafe method, that may have reached an instance is never sent again.
///  R4 A request from a peer goes to the local instance or is refused; it never hops again.
/// Thread: the caller's, always the same one. No call of this class may be made from inside a Host or Connector call.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/egress_counters.h"
#include "proxy/error.h"
#include "proxy/guard.h"
#include "proxy/histogram.h"
#include "proxy/http1/codec.h"
#include "proxy/observe.h"
#include "proxy/order.h"
#include "proxy/outlier.h"
#include "proxy/rate_desk.h"
#include "proxy/route.h"
#include "proxy/stream.h"
#include "proxy/trusted_proxies.h"
#include "proxy/upstream.h"

namespace proxy {

/// Uniform number in [0, bound), bound > 0.
using Chance = std::function<std::uint64_t(std::uint64_t bound)>;

/// The least that a client must do while it is its turn: send a request body, take an answer. Tunnels are exempt.
struct PaceSettings {
  std::uint64_t bytes_per_second = 240;  ///< 0 = no such limit
  Milliseconds window{20000};            ///< measured over this time, > 0; a single pause may be as long
  [[nodiscard]] std::uint64_t bytes_per_window() const {
    return bytes_per_second * static_cast<std::uint64_t>(window.count()) / 1000;
  }
};

/// Bounds of one HTTP/2 connection; see http2/session.h and http2/flood.h.
struct H2Settings {
  std::uint32_t streams_max = 100;              ///< at a time
  std::uint32_t stream_window = 65'535;         ///< bytes of one request body on their way, >= 65,535
  std::uint32_t connection_window = 1U << 20;   ///< of all bodies
  std::uint32_t resets_max = 200;               ///< streams that end before their answer, in 10 s
  std::uint32_t control_frames_max = 1000;      ///< SETTINGS, PING, PRIORITY, RST_STREAM, GOAWAY, in 10 s
};

/// The name of each request, in logs and at the instance.
struct RequestIdSettings {
  std::string field = "X-Request-Id";  ///< a token; the instance's own in a response gives way to ours
  bool from_anyone = false;            ///< clients' ids are taken too, not only those of trusted proxies; else one is drawn
  bool to_client = true;               ///< responses of instances carry it, too; answers of our own always do
};

/// W3C Trace Context. Off: the fields pass through like any other.
struct TraceSettings {
  bool on = false;
  bool from_anyone = true;         ///< false: only trusted proxies may begin a trace for us
  std::uint32_t sample_every = 1;  ///< of traces that begin here one in so many is sampled, by chance; 0 = none
  /// Parts of sampled requests are spans of their own (AccessRecord::spans), and endpoints are told of their attempts. Else they
  /// are told of the request's: a parent that nobody ever hears of would tear a trace in two.
  bool spans = false;
};

/// Settings that do not change while the proxy lives. Every *_max is a bound; what lies beyond it is refused.
struct Settings {
  std::string node;                          ///< this agent's name, for X-Outrigger-Node
  std::string zone;                          ///< this agent's; empty = none
  http1::Limits request_limits;              ///< body_bytes_max is replaced by the route's
  http1::Limits response_limits;
  OutlierSettings outlier;
  RequestIdSettings request_id;
  TraceSettings trace;
  bool trails = false;                       ///< AccessRecord::trail is filled
  DigestFunction digest = nullptr;           ///< SHA-256; null = routes with credentials let nobody in, those with an order rule take none
  JsonTextFunction json_text = nullptr;      ///< for OrderKeyFrom::kJson; null = such orders are refused
  std::uint32_t connections_max = 10000;     ///< downstream; HTTP/2 streams likewise, all connections together
  H2Settings h2;
  std::uint32_t upstream_idle_max = 64;      ///< kept open per endpoint
  std::uint32_t upstream_requests_max = 0;   ///< after so many a connection is closed; 0 = no such limit
  std::uint32_t client_requests_max = 0;     ///< the same of an HTTP/1 client's; the last answer says so
  std::shared_ptr<const GuardTable> guard{}; ///< clients that are banned are answered 403; null = nobody is
  std::uint32_t upstream_open_max = 1024;    ///< per endpoint; beyond it the endpoint is passed over, and if it is the last one requests wait in their route's queue
  std::uint32_t hold_count_max = 1024;       ///< held requests, per service
  std::uint64_t hold_bytes_max = 16 << 20;   ///< their heads and bodies, per service
  std::uint32_t replay_bytes_max = 64 * 1024;  ///< body kept for another attempt
  std::uint32_t attempts_max = 3;            ///< places tried for one safe request, the first included
  std::uint32_t retry_percent = 20;          ///< retries over requests, after a burst of retry_burst
  std::uint32_t retry_burst = 100;
  Milliseconds head_timeout{10000};          ///< first byte of a request -> end of its head
  Milliseconds keep_alive_timeout{75000};    ///< idle client connection
  PaceSettings client_pace;
  Milliseconds upstream_idle_timeout{4000};  ///< shorter than uvicorn's and gunicorn's own
  Milliseconds reuse_unsafe_max{1000};       ///< an unsafe request takes a pooled connection only if it idled less
  Milliseconds dispatch_retry_min{10};       ///< first pause before a held request asks the same primary again; doubles
  Milliseconds dispatch_retry_max{100};
};

/// Who connects.
enum class ListenerKind : std::uint8_t {
  kDownstream,  ///< a client: nothing it says about itself is believed
  kPeer,        ///< another agent, authenticated by the host (mTLS)
};
enum class Scheme : std::uint8_t { kHttp, kHttps };

/// What a listener makes of its clients, beyond passing their requests on. Immutable; a newer one is for new connections.
struct ListenerRules {
  /// Every request is answered with its own address over https, on this port; 0 = requests are served.
  std::uint16_t redirect_https_port = 0;
  std::string hsts;  ///< value of Strict-Transport-Security in every answer (RFC 6797); empty = none. TLS listeners only
};

/// What a connection speaks.
enum class Protocol : std::uint8_t {
  kHttp1,
  kHttp2,   ///< agreed on by ALPN
  kEither,  ///< its first bytes tell (prior knowledge)
};

/// What the proxy must know about an accepted connection.
struct Accepted {
  ListenerKind kind = ListenerKind::kDownstream;
  Scheme scheme = Scheme::kHttp;
  std::string client;               ///< IP literal without port; "unix" for unix sockets
  std::shared_ptr<const TrustedProxies> trusted{};  ///< null = nobody
  std::shared_ptr<const ListenerRules> rules{};  ///< null = none
  /// Told to the instance as X-Forwarded-Client-Cert: who the client has proved to be; empty = it is told nothing.
  std::string client_certificate{};
  Protocol protocol = Protocol::kHttp1;
  std::uint64_t listener = 0;  ///< the host's number for where it came in; see part_with
  TimePoint idle_until = TimePoint::max();  ///< not max: it takes one more request at most, see part_with
};

class Core;  ///< the inside; see core.h
struct HaltView;

class Proxy {
 public:
  /// `host` and `connector` must outlive the proxy.
  Proxy(Settings settings, Host& host, Connector& connector, Chance chance);
  ~Proxy();  ///< drops every connection without ceremony
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // Snapshots. Requests under way keep the route they matched; everything else follows at once.
  void set_routes(std::shared_ptr<const RouteTable> routes);
  /// Safe requests that still wait for the first byte of an endpoint that is now critical or gone move elsewhere.
  void set_endpoints(const EndpointTable& endpoints);
  /// A newer view of one service. Exchanges at another holder or epoch end at once (504, outcome unknown, if bytes were
  /// written; else they are held again), and held ones go to the new holder. Views of older epochs are ignored.
  void set_primary(const PrimaryView& view);

  /// What is to stop (halt.h). Requests that wait and are stopped now are answered at once.
  void set_halts(std::shared_ptr<const HaltView> halts);

  // Limits that all agents count together. The host carries the questions, at the latest at the end of each turn.
  void set_rate_members(std::shared_ptr<const RateMembers> members);
  [[nodiscard]] bool has_rate_questions() const;
  /// Empties `out`, whose memory is used for the next ones.
  void take_rate_questions(std::vector<RateQuestion>& out);
  void rate_answers(RateMemberId owner, std::span<const RateAnswer> answers);
  [[nodiscard]] const RateDeskCounters& rate_counters() const;

  /// Takes over a connection. While draining it is closed, over `connections_max` as well: over HTTP/1 behind a 503 that
  /// says why.
  void accept(std::unique_ptr<Stream> stream, Accepted accepted);
  /// Ends the keep-alive connections of one listener (or all present ones) so that no request meets a closed one: the next
  /// answer says `Connection: close`, and what is idle at `idle_until` is closed. Requests and tunnels end by themselves.
  void part_with(std::optional<std::uint64_t> listener, TimePoint idle_until);
  /// Accept nothing new, end keep-alive connections after their present request. What still runs at `deadline` is ended
  /// there: held requests get 503, others 504, tunnels are closed; a second later idle() is true. Drains once.
  void drain(TimePoint deadline);
  [[nodiscard]] bool idle() const;  ///< no downstream connection left, and no order whose client has left
  // Answers of Host::orders().
  /// @return false: nobody waits for it any more, and a reservation in it is the host's to take back
  bool order_told(OrderTicket ticket, const OrderReply& reply);
  /// @param recorded  false: the ledger has another end for that reservation
  void order_recorded(OrderTicket ticket, bool recorded, const OrderCommit& commit = {});
  /// To be called once at the end of each turn of the loop in which any other call was made: HTTP/2 connections send what
  /// their streams have gathered. Costs one look when there is none.
  void send_gathered();
  /// Listeners have new rules (or certificates): HTTP/2 clients are told to come again when their streams have ended.
  void renew_clients();

  /// Lets time pass: time-outs, retries of held requests, ends of leases. @param now  Host::now()
  void tick(TimePoint now);
  /// When to tick; at the latest 8 ms after the exact moment. TimePoint::max() = nothing waits.
  [[nodiscard]] TimePoint next_deadline() const;

  [[nodiscard]] const Counters& counters() const;
  /// Exchanges of `primary` routes that are at the local instance now.
  [[nodiscard]] std::uint64_t orders_in_flight(std::string_view service) const;

  /// One line per endpoint for the API.
  struct EndpointStatus {
    EndpointId id;
    std::string pool, address;
    std::uint32_t in_flight = 0, idle_connections = 0;
    std::uint64_t requests = 0, failures = 0;
    bool ejected = false;
    Milliseconds ejected_for{0};  ///< from now on
    bool by_word = false;         ///< only because other agents say so
    Histogram times{};            ///< attempt begun -> its response complete
    double latency_ns = 0;        ///< LatencyTrack::at, of routes that balance by it; 0 = not known
  };
  [[nodiscard]] std::vector<EndpointStatus> endpoints() const;

  /// The counters of one route of the newest table.
  struct RouteStatus {
    std::string name;
    RouteCounters counters;
    Histogram times{};            ///< AccessRecord::total of answered requests; tunnels are not among them
    EgressCounters egress{};      ///< of a route to a broker
  };
  [[nodiscard]] std::vector<RouteStatus> routes() const;

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace proxy
