#pragma once
/// Which pool serves a request: an ordered table in which the first match wins. Built once, then read only.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admission.h"
#include "proxy/balancer.h"
#include "proxy/breaker.h"
#include "proxy/compress.h"
#include "proxy/error.h"
#include "proxy/field_rules.h"
#include "proxy/http1/message.h"
#include "proxy/order.h"
#include "proxy/sticky.h"
#include "proxy/stream.h"

namespace proxy {

/// A set of http1::Method values.
class MethodSet {
 public:
  constexpr MethodSet() = default;
  constexpr MethodSet(std::initializer_list<http1::Method> methods) {
    for (const http1::Method method : methods) add(method);
  }
  constexpr void add(http1::Method method) { bits_ = static_cast<std::uint16_t>(bits_ | bit(method)); }
  /// Both sets together.
  [[nodiscard]] constexpr MethodSet with(MethodSet other) const {
    other.bits_ = static_cast<std::uint16_t>(other.bits_ | bits_);
    return other;
  }
  [[nodiscard]] constexpr bool has(http1::Method method) const { return (bits_ & bit(method)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] static constexpr MethodSet every() { MethodSet set; set.bits_ = 0x3ff; return set; }

 private:
  static constexpr std::uint16_t bit(http1::Method m) {
    return static_cast<std::uint16_t>(1U << static_cast<unsigned>(m));
  }
  std::uint16_t bits_ = 0;
};

enum class PoolKind : std::uint8_t {
  kAll,      ///< any usable endpoint of the pool
  kPrimary,  ///< the primary of the service, wherever it is
};
enum class PathMatch : std::uint8_t {
  kExact,
  kPrefix,  ///< ends at a segment border: "/orders" matches "/orders" and "/orders/7", not "/ordersbook"
};

/// Time limits of one exchange. 0 = no limit, except where said.
struct RouteTimeouts {
  Milliseconds connect{1000};       ///< until an upstream connection is open, per attempt; > 0
  Milliseconds first_byte{5000};    ///< request sent -> first byte of the response
  Milliseconds read_try{1000};      ///< as first_byte, but for an attempt of a safe request that could be tried elsewhere
  Milliseconds idle{60000};         ///< between two pieces of a body or of a tunnel
  Milliseconds total{60000};        ///< request head -> end of the response; tunnels are exempt
};

class ResponseCache;
struct EgressRule;  ///< egress.h

/// Which answers of a route are kept for other clients (response_cache.h).
struct CacheRule {
  Milliseconds ttl{300'000};                ///< of those that do not say how long they are fresh; 0 = those are not kept
  Milliseconds stale_while_revalidate{0};   ///< where the answer says nothing of its own
  Milliseconds stale_if_error{0};           ///< the same
  std::uint64_t object_bytes_max = 1 << 20; ///< of one answer
  Milliseconds wait{5000};                  ///< how long a request waits for another one that asks for the same
};

/// How a route asks a second instance when the first one is late (hedge.h).
struct HedgeRule {
  std::uint32_t percentile = 95;     ///< of the latencies to the first byte, 50..99
  Milliseconds least{10};            ///< not sooner than this, however fast the instances are; kept to 8 ms
  std::uint32_t budget_percent = 5;  ///< second attempts per 100 requests of the last 10 s, 1..50
  friend bool operator==(const HedgeRule&, const HedgeRule&) = default;
};

struct Route {
  std::string name;                 ///< for logs and counters
  MethodSet methods = MethodSet::every();
  std::string host;                 ///< lower case, without port; empty = every host
  std::string path = "/";           ///< begins with '/', canonical (no "//", no dot segments, nothing %-encoded)
  PathMatch match = PathMatch::kPrefix;
  PoolKind kind = PoolKind::kAll;
  std::string pool;                 ///< kAll: name in the EndpointTable
  std::string service;              ///< whose primary it is (kPrimary), and whose role and epoch are shown to it
  Milliseconds hold{5000};          ///< kPrimary: how long a request waits for a primary; 0 = not at all
  RouteTimeouts timeouts;
  std::uint64_t body_bytes_max = 50ULL << 20;   ///< of a request; beyond it 413
  FieldRules request_fields, response_fields;   ///< applied where the client comes in, not again at a peer
  CompressRule compress;            ///< the same
  CacheRule cache_rule;             ///< with `cache`
  std::shared_ptr<ResponseCache> cache;  ///< null = nothing is kept; may be that of other routes, too. kAll
  bool access_log = true;           ///< AccessRecord::logged of its requests
  bool cancel = false;              ///< its requests only take orders back: a halt that lets cancels pass lets them pass (halt.h)
  bool retry = true;                ///< lets safe requests of a kAll route be tried on another endpoint
  Admission admission;              ///< who may use it, and how often
  BalanceRule balance;              ///< kAll
  ClientKey hash_key;               ///< for Balance::kRingHash
  std::uint32_t max_conns = 0;      ///< kAll: requests of such routes at one endpoint at a time; 0 = no limit
  std::uint32_t queue_max = 1024;   ///< requests that wait, per worker, while all endpoints have max_conns; 0 = none
  Milliseconds queue_timeout{1000};
  BreakerRule breaker{0, {}, {}, 0};       ///< fail = 0: none
  std::shared_ptr<BreakerTable> breakers;  ///< filled by RouteTable::make; goes on in a new table
  std::optional<StickyRule> sticky;        ///< kAll
  std::optional<HedgeRule> hedge;          ///< kAll, with `retry`, never with `sticky`
  std::optional<OrderRule> order;          ///< kPrimary
  std::shared_ptr<const EgressRule> egress;  ///< kAll, with `service`: requests of the service to its broker; null = no egress

  /// True if it has a say in what requests or responses look like.
  [[nodiscard]] bool shapes() const { return !request_fields.empty() || !response_fields.empty() || compress.level > 0 || cache != nullptr; }
};

/// What the table says about a request.
struct RouteMatch {
  const Route* route = nullptr;     ///< null: no route, and then:
  bool path_known = false;          ///< a route of that host and path exists, for other methods (405, not 404)
  MethodSet allowed;                ///< the methods of those
};

/// Immutable; shared by all workers. At most kRoutesMax routes.
class RouteTable {
 public:
  static constexpr std::size_t kRoutesMax = 1024;  ///< a scan of all of them stays below 10 us

  /// @param previous  whose counts of limits go on where name and rule are the same; null = begin at nothing
  /// @param seed      chance for the tables of limits (RateTable)
  /// @return the table, or kBadRoute naming the route and what is wrong with it. Times must be >= 0.
  [[nodiscard]] static Result<std::shared_ptr<const RouteTable>> make(std::vector<Route> routes,
                                                                      const RouteTable* previous = nullptr,
                                                                      std::array<std::uint64_t, 2> seed = {});

  /// @param host  as in the request, port and letter case do not matter
  /// @param path  canonical (canonical_path)
  [[nodiscard]] RouteMatch find(http1::Method method, std::string_view host, std::string_view path) const;
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

 private:
  explicit RouteTable(std::vector<Route> routes) : routes_(std::move(routes)) {}
  std::vector<Route> routes_;
};

/// The path as an application behind us may understand it, so that "//orders", "/./orders" and "/%6frders" meet the rules
/// made for "/orders": unreserved %-escapes decoded, slashes merged, dot segments resolved (RFC 3986, section 6.2.2).
/// What goes upstream stays as received.
/// @param scratch  holds the result if it differs from `path`; recycled by the caller
/// A segment "..;x" counts as "..", since some application servers read it so.
/// @return a view of `path` or of `scratch`. Errors: kBadRequestLine for a broken escape, a backslash, a control byte
///         (escaped or not), or ".." above the root.
[[nodiscard]] Result<std::string_view> canonical_path(std::string_view path, std::string& scratch);

}  // namespace proxy
