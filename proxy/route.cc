#include "proxy/route.h"

#include <algorithm>

namespace proxy {
namespace {

std::string_view without_port(std::string_view host) {
  if (!host.empty() && host.front() == '[') return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool matches_path(const Route& route, std::string_view path) {
  if (route.match == PathMatch::kExact) return path == route.path;
  if (!path.starts_with(route.path)) return false;
  return route.path.back() == '/' || path.size() == route.path.size() || path[route.path.size()] == '/';
}

std::string_view fault_of(const Route& route) {
  if (route.methods.empty()) return "no methods";
  if (route.path.empty() || route.path.front() != '/') return "path must begin with '/'";
  std::string scratch;
  const auto canonical = canonical_path(route.path, scratch);
  if (!canonical || *canonical != route.path) return "path is not in canonical form";
  if (route.kind == PoolKind::kAll && route.pool.empty()) return "no pool named";
  if (route.kind == PoolKind::kPrimary && route.service.empty()) return "no service named";
  if (route.cache != nullptr && route.kind == PoolKind::kPrimary) return "answers of the primary are not kept";
  if (route.order && route.kind != PoolKind::kPrimary) return "keys are for orders, and orders for the primary";
  if (route.order && (route.order->name.empty() || route.order->retention <= Milliseconds::zero())) return "its order rule is out of range";
  if (route.egress != nullptr && (route.kind != PoolKind::kAll || route.service.empty() || route.sticky || route.hedge || route.cache != nullptr))
    return "what goes out to a broker goes once, for a service, and is not kept";
  const RouteTimeouts& t = route.timeouts;
  if (t.connect <= Milliseconds::zero()) return "connect time-out must be above 0";
  const Milliseconds least = std::min({route.hold, t.first_byte, t.read_try, t.idle, t.total});
  if (least < Milliseconds::zero()) return "negative time";
  return {};
}

// Gives the route what it shares with others: routes above it of the same zone, and its own former self.
// @return what is wrong; empty = nothing
std::string_view make_admission(Route& route, std::span<const Route> above, std::span<const Route> before,
                                std::array<std::uint64_t, 2> seed) {
  Admission& own = route.admission;
  if (own.credentials.entries.size() > Credentials::kEntriesMax) return "more than 64 secrets";
  for (const Route& former : before) {
    if (former.name == route.name) own.share = former.admission.share;
  }
  if (own.share == nullptr) own.share = std::make_shared<RouteShare>();
  own.rate_table = nullptr;
  own.cluster_zone = nullptr;
  if (!own.rate) return {};
  if (!is_rate(*own.rate)) return "rate is out of range";
  if (own.rate_zone.empty()) own.rate_zone = route.name;
  own.rate_policy = rate_policy_of(own.rate_zone, *own.rate);
  const auto same_zone = [&](const Route& other) { return other.admission.rate_table != nullptr && other.admission.rate_zone == own.rate_zone; };
  for (const Route& other : above) {
    if (!same_zone(other)) continue;
    if (!(other.admission.rate_table->rule() == *own.rate)) return "its rate differs from that of another route of the same zone";
    if (!(other.admission.cluster == own.cluster)) return "its rate has another scope, timeout or fallback than another route of the same zone";
    own.rate_table = other.admission.rate_table;
    own.cluster_zone = other.admission.cluster_zone;
    return {};
  }
  for (const Route& other : before) {
    if (!same_zone(other) || !(other.admission.rate_table->rule() == *own.rate)) continue;
    own.rate_table = other.admission.rate_table;
    if (own.cluster && other.admission.cluster == own.cluster) own.cluster_zone = other.admission.cluster_zone;
  }
  if (own.rate_table == nullptr) own.rate_table = std::make_shared<RateTable>(*own.rate, seed[0], seed[1]);
  if (own.cluster && own.cluster_zone == nullptr) {
    own.cluster_zone = std::make_shared<RateZone>(own.rate_zone, *own.cluster, own.rate_table, seed[0], seed[1]);
  }
  return {};
}

// @return what is wrong; empty = nothing
std::string_view make_breakers(Route& route, std::span<const Route> before) {
  const BreakerRule& rule = route.breaker;
  route.breakers = nullptr;
  if (rule.fail == 0) return {};
  if (rule.fail > 10'000 || rule.window <= Milliseconds::zero() || rule.open <= Milliseconds::zero() || rule.on == 0) return "breaker is out of range";
  for (const Route& former : before) {
    if (former.name == route.name && former.breakers != nullptr && former.breakers->rule() == rule) route.breakers = former.breakers;
  }
  if (route.breakers == nullptr) route.breakers = std::make_shared<BreakerTable>(rule);
  return {};
}

// @return what is wrong; empty = nothing
std::string_view make_sticky(Route& route) {
  if (!route.sticky) return {};
  StickyRule& rule = *route.sticky;
  const bool keyed = rule.key.kind == ClientKey::Kind::kIp || rule.key.kind == ClientKey::Kind::kHeader || rule.key.kind == ClientKey::Kind::kCookie;
  if (route.kind != PoolKind::kAll) return "a primary route has one place to go to, so nothing can stick elsewhere";
  if (!keyed || rule.table == nullptr || rule.ttl < Milliseconds{1000} || rule.drain < Milliseconds::zero()) return "sticky is out of range";
  if (rule.zone.empty()) rule.zone = route.name;
  const auto number = rule.table->zone(rule.zone, rule.ttl);
  if (!number) return "more than 1024 zones of sessions since the agent has started";
  rule.zone_number = *number;
  return {};
}

// @return what is wrong; empty = nothing
std::string_view hedge_fault(const Route& route) {
  if (!route.hedge) return {};
  const HedgeRule& rule = *route.hedge;
  if (rule.percentile < 50 || rule.percentile > 99 || rule.least < Milliseconds::zero() || rule.budget_percent < 1 || rule.budget_percent > 50) return "hedge is out of range";
  if (route.kind != PoolKind::kAll || !route.retry || route.sticky) return "a route to the primary, without retries or with sessions sends nothing twice";
  return {};
}

int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_unreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

// Bytes that some application takes for a slash, a line end or the end of the path.
bool is_never_in_paths(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f || byte == '\\';
}

// Decodes what may be decoded without a change of meaning. "%2F" decodes too: applications that split paths after decoding
// would see a slash there, and a rule for a path must hold for them as well.
Result<void> decode(std::string_view path, std::string& out) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\') return fail(Errc::kBadRequestLine, "backslash in the path");
    if (path[i] != '%') {
      out += path[i];
      continue;
    }
    const int high = i + 1 < path.size() ? hex_of(path[i + 1]) : -1;
    const int low = i + 2 < path.size() ? hex_of(path[i + 2]) : -1;
    if (high < 0 || low < 0) return fail(Errc::kBadRequestLine, "broken %-escape in the path");
    const char c = static_cast<char>(high * 16 + low);
    if (is_never_in_paths(c)) return fail(Errc::kBadRequestLine, "escaped control byte or backslash in the path");
    if (is_unreserved(c) || c == '/') {
      out += c;
    } else {
      out.append(path, i, 3);
    }
    i += 2;
  }
  return {};
}

// Merges slashes and resolves dot segments of `path` in place; it begins with '/'.
Result<void> resolve(std::string& path) {
  std::size_t end = 0;  // of the result, which never is longer than what has been read
  std::size_t at = 0;
  bool trailing = false;
  while (at < path.size()) {
    while (at < path.size() && path[at] == '/') ++at;
    const std::size_t stop = std::min(path.find('/', at), path.size());
    const std::string_view segment(path.data() + at, stop - at);
    // Some application servers cut "..;x" down to ".." before they resolve it.
    const std::string_view name = segment.substr(0, segment.find(';'));
    trailing = segment.empty() || name == "." || name == "..";
    if (name == "..") {
      if (end == 0) return fail(Errc::kBadRequestLine, "path leads above the root");
      end = path.rfind('/', end - 1);
    } else if (!trailing) {
      const std::size_t count = segment.size();
      path[end++] = '/';
      std::copy(path.begin() + static_cast<std::ptrdiff_t>(at), path.begin() + static_cast<std::ptrdiff_t>(at + count),
                path.begin() + static_cast<std::ptrdiff_t>(end));
      end += count;
    }
    at = stop;
  }
  path.resize(end);
  if (trailing || path.empty()) path += '/';
  return {};
}

}  // namespace

Result<std::shared_ptr<const RouteTable>> RouteTable::make(std::vector<Route> routes, const RouteTable* previous,
                                                           std::array<std::uint64_t, 2> seed) {
  if (routes.size() > kRoutesMax) return fail(Errc::kBadRoute, "more than 1024 routes");
  const std::span<const Route> before = previous == nullptr ? std::span<const Route>() : previous->routes();
  for (std::size_t i = 0; i < routes.size(); ++i) {
    Route& route = routes[i];
    std::string_view fault = fault_of(route);
    if (fault.empty()) fault = make_admission(route, {routes.data(), i}, before, seed);
    if (fault.empty()) fault = make_breakers(route, before);
    if (fault.empty()) fault = make_sticky(route);
    if (fault.empty()) fault = hedge_fault(route);
    if (!fault.empty()) {
      return fail(Errc::kBadRoute, "route \"" + route.name + "\" (" + route.path + "): " + std::string(fault));
    }
  }
  return std::shared_ptr<const RouteTable>(new RouteTable(std::move(routes)));
}

RouteMatch RouteTable::find(http1::Method method, std::string_view host, std::string_view path) const {
  const std::string_view name = without_port(host);
  RouteMatch match;
  for (const Route& route : routes_) {
    if (!matches_path(route, path) || !(route.host.empty() || http1::same_text(route.host, name))) continue;
    if (route.methods.has(method)) {
      match.route = &route;
      return match;
    }
    match.path_known = true;
    match.allowed = match.allowed.with(route.methods);
  }
  return match;
}

Result<std::string_view> canonical_path(std::string_view path, std::string& scratch) {
  const bool plain = path.find('%') == std::string_view::npos && path.find("//") == std::string_view::npos &&
                     path.find("/.") == std::string_view::npos && path.find('\\') == std::string_view::npos;
  if (plain || path.empty() || path.front() != '/') return path;
  scratch.clear();
  if (auto ok = decode(path, scratch); !ok) return tl::unexpected<Error>(ok.error());
  if (auto ok = resolve(scratch); !ok) return tl::unexpected<Error>(ok.error());
  return std::string_view(scratch);
}

}  // namespace proxy
