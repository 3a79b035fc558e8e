#pragma once
/// What a proxy tells its host: one record per request, counters, and news that somebody should act on.

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "proxy/compress.h"
#include "proxy/stream.h"
#include "proxy/trace.h"
#include "proxy/upstream.h"

namespace proxy {

/// How an exchange ended, from the point of view of the request's safety.
enum class Outcome : std::uint8_t {
  kAnswered,   ///< a response of an instance went to the client in full
  kNotSent,    ///< no byte of the request reached an instance: sending it again is safe
  kUnknown,    ///< bytes reached an instance or a peer and no full answer came back
  kTunnelled,  ///< upgraded connection, now closed
};
[[nodiscard]] std::string_view name_of(Outcome outcome);  ///< "answered", "not-sent", "unknown", "tunnelled"

/// A duration that was not measured, because what it measures did not happen.
inline constexpr std::chrono::nanoseconds kNotMeasured{-1};

/// The first 16 hexadecimal digits of the SHA-256 of an order's key, in lower case: the key itself is told to nobody.
using OrderKeyHash = std::array<char, 16>;

/// One request and its one ending. Views are void after the call. Trivially copyable: hosts keep it as bytes.
struct AccessRecord {
  std::string_view method;
  std::string_view target;       ///< as received
  std::string_view host;         ///< as asked for; may be empty
  std::string_view route;        ///< name; empty when no route was found
  std::string_view route_path;   ///< what its requests have in common: the path of the route as the settings say it
  std::string_view request_id;   ///< empty when no head was understood
  std::string_view client;       ///< address of the client, as far as it can be believed
  std::string_view peer;         ///< address of the connection: a trusted proxy's, another agent's, or `client` again
  std::string_view endpoint;     ///< address of the last attempt; empty without one
  std::string_view endpoint_node;
  std::string_view hedge_endpoint;  ///< of two attempts at once, the address of the one that did not win; empty = there was one
  std::string_view reason;       ///< our own answer's code ("no_primary", "first_byte_timeout"); empty otherwise
  int status = 0;                ///< sent to the client; 0 = the client left before an answer
  std::uint32_t attempt_count = 0;
  Epoch epoch{};                 ///< under which the last attempt was made on a `primary` route; else 0
  Outcome outcome = Outcome::kNotSent;
  std::uint64_t request_body_bytes = 0;   ///< received from the client
  std::uint64_t response_body_bytes = 0;  ///< sent to the client, without framing
  std::chrono::nanoseconds held{0};       ///< waiting for a primary
  std::chrono::nanoseconds first_byte{0}; ///< head received -> first byte of the response; 0 = none came
  std::chrono::nanoseconds total{0};
  // Of the last attempt, each from its beginning.
  std::chrono::nanoseconds connected = kNotMeasured;        ///< connection open; 0 on a kept one
  std::chrono::nanoseconds upstream_head = kNotMeasured;    ///< final head there
  std::chrono::nanoseconds upstream_total = kNotMeasured;   ///< response complete, or the attempt given up
  TimePoint started{};                    ///< head received
  TraceContext trace;                     ///< meaningful with `traced`: our span
  SpanId parent{};                        ///< of our span; all NUL = we began the trace
  bool traced = false;
  std::string_view spans;                 ///< ChildSpans::bytes; empty unless TraceSettings::spans and the trace is sampled
  std::uint32_t span_count = 0;           ///< in `spans`
  OrderKeyHash order{};                   ///< of the key of an order, for who looks for its trace; all NUL = none, or no spans
  std::string_view order_state;           ///< "reserved", "done", "not_sent", "unknown" as far as this agent knows; may be empty
  bool egress = false;                    ///< goes out to a broker
  std::string_view trail;                 ///< Trail::bytes; empty unless Settings::trails
  std::uint32_t trail_left_out = 0;       ///< steps that it had no room for
  bool from_peer = false;                 ///< another agent has passed it on
  bool at_peer = false;                   ///< `endpoint` is another agent, which knows the rest
  bool https = false;                     ///< the client's connection has TLS
  std::uint8_t http_version = 11;         ///< of the client: 10, 11, 20
  bool hedge_won = false;                 ///< with hedge_endpoint: the second attempt has answered
  bool logged = true;                     ///< its route wants a line in the access log
};
static_assert(std::is_trivially_copyable_v<AccessRecord>);

/// Trouble with an endpoint, seen by live traffic: a reason to check that instance now.
enum class Trouble : std::uint8_t { kRefused, kUnreachable, kReset, kTimedOut };

/// Plain integers of one worker about one route. They only grow.
struct RouteCounters {
  std::uint64_t requests = 0;
  std::uint64_t address_denied = 0, unauthorized = 0;   ///< 403, 401
  std::uint64_t rate_limited = 0, rate_delayed = 0;     ///< 429; waited for their turn
  std::uint64_t busy = 0;                               ///< 503: too many of the route at a time
  std::uint64_t queued = 0, queue_full = 0, queue_timeouts = 0;  ///< waited for max_conns; 503: no room, too long
  std::uint64_t halted = 0;                             ///< 503: an order to stop stands
  std::uint64_t breaker_denied = 0;                     ///< 503: every endpoint's breaker is open
  std::uint64_t hedges = 0, hedges_won = 0, hedges_denied = 0;  ///< second attempts; that answered first; over the budget
  std::uint64_t packed = 0, packed_denied = 0;          ///< responses; went as they were because all packers were lent
  std::uint64_t packed_bytes_in = 0, packed_bytes_out = 0;
  std::uint64_t responses_2xx = 0, responses_3xx = 0, responses_4xx = 0, responses_5xx = 0;  ///< sent to clients; 101 is none
  std::uint64_t unanswered = 0;                         ///< the client left before an answer
  std::uint64_t request_bytes = 0, response_bytes = 0;  ///< bodies

  void add(const RouteCounters& other);
};

/// Plain integers of one worker. They only grow, except the gauges at the end.
struct Counters {
  std::uint64_t connections = 0;            ///< accepted from clients and peers
  std::uint64_t connections_refused = 0;    ///< over the limit, or draining
  std::uint64_t requests = 0;
  std::uint64_t responses_1xx = 0, responses_2xx = 0, responses_3xx = 0, responses_4xx = 0, responses_5xx = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;  ///< downstream, with heads
  std::uint64_t requests_malformed = 0;     ///< refused by the codec
  std::uint64_t slow_bodies = 0, slow_readers = 0;  ///< clients below PaceSettings: 408, or reset
  std::uint64_t upstream_connects = 0, upstream_connect_failures = 0, upstream_reuses = 0, upstream_resets = 0;
  std::uint64_t retries = 0, retries_denied = 0;  ///< denied: allowed by the rules, not by the budget
  std::uint64_t ejections = 0;
  std::uint64_t first_byte_timeouts = 0, idle_timeouts = 0, total_timeouts = 0;
  std::uint64_t held = 0, held_expired = 0, held_refused = 0;  ///< refused: no room in the hold queue
  std::uint64_t halted = 0;                 ///< 503, or sent back to a peer: an order to stop stands
  std::uint64_t orders_sent = 0;            ///< attempts on primary routes that wrote at least one byte to the local instance
  std::uint64_t orders_unknown = 0;         ///< ended with Outcome::kUnknown on a primary route
  // Orders under keys (order.h).
  std::uint64_t orders_reserved = 0, orders_recorded = 0, orders_replayed = 0;
  std::uint64_t orders_unkeyed = 0;         ///< 400: no key, or none that is one
  std::uint64_t orders_keyless = 0;         ///< passed without a key, since the rule lets them
  std::uint64_t orders_key_reused = 0;      ///< 422
  std::uint64_t orders_repeated_early = 0;  ///< 409: in flight, or unknown
  std::uint64_t orders_unreserved = 0;      ///< 503: ledger full or not to be reached; not sent
  std::uint64_t orders_unrecorded = 0;      ///< 504: answered, but the ledger has another end
  std::uint64_t orders_rules_differ = 0;    ///< 503: the agent of the primary has another OrderRule for it, or none; not sent
  std::uint64_t orders_not_armed = 0;       ///< 503: the primary may not be given orders (PrimaryView::armed); not sent
  std::uint64_t orders_without_client = 0;  ///< went on when their client left
  std::uint64_t peer_refusals_sent = 0, peer_refusals_received = 0;
  std::uint64_t lease_stops = 0;            ///< exchanges ended because the lease was over
  std::uint64_t writes_denied = 0;          ///< writes that the lease check stopped before the first byte
  std::uint64_t late_lease_writes = 0;      ///< writes after which the clock already stood past the lease's end
  std::uint64_t tunnels = 0;
  std::uint64_t tunnels_told = 0;           ///< tunnels whose client got a Close of ours (1012)
  std::uint64_t h2_connections = 0, h2_streams = 0;
  std::uint64_t h2_resets = 0;              ///< streams that clients have reset
  std::uint64_t h2_streams_refused = 0;     ///< over the bound of a connection or of all; the client may try again
  std::uint64_t h2_malformed = 0;           ///< streams reset because of what the client sent
  std::uint64_t h2_head_timeouts = 0;       ///< connections whose preface or field list did not come in time
  /// Connections sent away with ENHANCE_YOUR_CALM, by http2::Flood: resets, control, head frames, empty data, windows.
  std::array<std::uint64_t, 5> h2_floods{};
  // Gauges.
  std::uint64_t open_connections = 0, open_exchanges = 0, held_now = 0, held_bytes_now = 0;
  std::uint64_t upstream_open = 0, upstream_idle = 0, tunnels_open = 0, h2_streams_open = 0;

  void add(const Counters& other);  ///< sums field by field, gauges too
};

class OrderLedger;

/// The proxy's way to its surroundings. Called on the proxy's thread; must not call back into the proxy.
class Host {
 public:
  virtual ~Host() = default;
  /// CLOCK_BOOTTIME, read anew at each call: the lease check stands on it.
  [[nodiscard]] virtual TimePoint now() = 0;
  virtual void on_access(const AccessRecord& record) = 0;
  virtual void on_trouble(const Endpoint& endpoint, Trouble trouble) = 0;
  /// After a view whose `accepts_new` is false: no exchange of that service is at the local
  /// instance under `epoch` any more.
  virtual void on_orders_drained(std::string_view service, Epoch epoch) = 0;
  /// An endpoint was ejected, or a breaker has changed its state or let its probe through: others may want to know
  /// (EndpointShare, Route::breakers). Rare.
  virtual void on_health_news() {}
  /// Where orders under keys are written down; null = nowhere, and such orders are refused.
  virtual OrderLedger* orders() { return nullptr; }
  /// A gzip stream of that level for one response; null = none to be had now, and the response goes as it is.
  virtual std::unique_ptr<Packer> lend_packer(int level) { return static_cast<void>(level), nullptr; }
  /// One that was lent, whatever has become of its response.
  virtual void take_packer(std::unique_ptr<Packer> packer) { packer.reset(); }
};

}  // namespace proxy
