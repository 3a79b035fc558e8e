#include "agent/config_route.h"

#include "agent/config_order.h"
#include "agent/config_upstream.h"
#include "agent/config_values.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

void read_route_match(ConfigReader& reader, RouteConfig& route) {
  reader.list("methods", route.methods, 32);
  for (auto& method : route.methods) {
    for (char& c : method) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (!config_is_name(method))
      reader.problem("methods", "\"" + method + "\" is no method", "write [\"GET\", \"POST\"]");
  }
  reader.note_meaning("methods", config_quoted(route.methods));
  if (reader.text("path", route.path)) {
    route.path_is_exact = route.path.starts_with('=');
    if (route.path_is_exact) route.path.erase(0, 1);
    if (!route.path.starts_with('/') || route.path.find_first_of(" \t\r\n?#") != std::string::npos)
      reader.problem("path", "\"" + route.path + "\" is no path",
                     "write \"/orders\" for a prefix, \"=/orders\" for exactly that");
  }
  reader.text("host", route.host, 255);
  for (char& c : route.host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  reader.note_meaning("host", config_quoted(route.host));
  if (route.host.find_first_of(" /:") != std::string::npos)
    reader.problem("host", "\"" + route.host + "\" is no host name", "leave out scheme and port");
}

bool is_hex_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// sha256:HEX or NAME:sha256:HEX
bool is_token_secret(std::string_view text) {
  const std::size_t name = text.starts_with("sha256:") ? std::string_view::npos : text.find(':');
  if (name == 0 || (name != std::string_view::npos && name > 64)) return false;
  if (name != std::string_view::npos) text.remove_prefix(name + 1);
  return text.starts_with("sha256:") && is_hex_digest(text.substr(7));
}

// USER:sha256:SALT:HEX
bool is_user_secret(std::string_view text) {
  const std::size_t user = text.find(':');
  if (user == 0 || user == std::string_view::npos || user > 64 || text.substr(user + 1, 7) != "sha256:") return false;
  text.remove_prefix(user + 8);
  const std::size_t salt = text.find(':');
  if (salt == std::string_view::npos || salt < 8 || salt > 64 || !is_hex_digest(text.substr(salt + 1))) return false;
  return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(salt), [](unsigned char c) { return std::isalnum(c) != 0; });
}

void read_addresses(ConfigReader& reader, const std::string& key, std::vector<std::string>& out) {
  reader.list(key, out, 64);
  for (const auto& block : out)
    if (!config_is_cidr(block))
      reader.problem(key, "\"" + block + "\" is no IP address or range", "write \"10.0.0.0/8\" or \"192.0.2.7\"");
}

void read_route_auth(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  reader.list("tokens", route.auth.tokens, 64);
  reader.list("users", route.auth.users, 64);
  reader.text("realm", route.auth.realm, 64);
  // The value is not repeated: it may be the secret itself.
  for (const auto& secret : route.auth.tokens)
    if (!is_token_secret(secret))
      reader.problem("tokens", "an entry is not \"sha256:\" and 64 hexadecimal digits in lower case, perhaps with \"NAME:\" before it",
                     "make it with: printf %s \"$TOKEN\" | sha256sum");
  for (const auto& secret : route.auth.users)
    if (!is_user_secret(secret))
      reader.problem("users", "an entry is not \"USER:sha256:SALT:HEX\"",
                     "SALT is 8 to 64 letters and digits, HEX is made with: printf %s \"$SALT:$USER:$PASSWORD\" | sha256sum");
  if (route.auth.tokens.size() + route.auth.users.size() > 64)
    reader.problem("users", "more than 64 secrets on one route", "give groups of clients one token each");
  if (reader.present() && route.auth.tokens.empty() && route.auth.users.empty())
    reader.problem("tokens", "auth without a secret would let nobody in", "add tokens or users, or remove auth");
  for (const char c : route.auth.realm)
    if (c < ' ' || c > '~' || c == '"' || c == '\\') {
      reader.problem("realm", "the realm holds a quote, a backslash or a byte that is not printable", "use plain text");
      break;
    }
  reader.finish(all_keys);
}

void read_route_rate(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  if (reader.present()) route.rate.emplace();
  RateConfig absent;
  RateConfig& rate = route.rate ? *route.rate : absent;
  std::string limit;
  if (reader.text("limit", limit)) {
    const auto parsed = config_rate(limit);
    if (!parsed)
      reader.problem("limit", "\"" + limit + "\" is no rate", "write \"10/s\", \"20/10s\" or \"600/1m\"");
    else if (parsed->first < 1 || parsed->first > 500'000 || parsed->second < Milliseconds(1) || parsed->second > hours(24))
      reader.problem("limit", "\"" + limit + "\" is out of range", "allowed are 1 to 500000 requests in 1ms to 24h");
    else
      rate.count = static_cast<std::uint32_t>(parsed->first), rate.period = parsed->second;
  } else if (reader.present() && !reader.has("limit")) {
    reader.problem("limit", "rate does not say how much", "add limit = \"10/s\"");
  }
  reader.number("burst", rate.burst, 0, 500'000);
  const bool said = reader.boolean("nodelay", rate.nodelay);
  if (said && !rate.burst)
    reader.problem("nodelay", "nodelay says how a burst is let through, and there is no burst", "add burst = 20, or remove nodelay");
  if (reader.text("key", rate.key, 80) && !config_is_client_key(rate.key))
    reader.problem("key", "\"" + rate.key + "\" tells no clients apart",
                   "write \"ip\", \"path\", \"route\", \"header:X-Api-Key\" or \"cookie:session\"");
  if (reader.text("zone", rate.zone, 64) && !config_is_name(rate.zone))
    reader.problem("zone", "\"" + rate.zone + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  reader.choice("scope", rate.scope, {{"node", RateScope::kNode}, {"cluster", RateScope::kCluster}});
  const bool timed = reader.duration("timeout", rate.timeout, Milliseconds(1), Milliseconds(1000));
  const bool fallen = reader.choice("fallback", rate.fallback,
                                    {{"share", RateFallbackKind::kShare}, {"admit", RateFallbackKind::kAdmit}, {"refuse", RateFallbackKind::kRefuse}});
  if ((timed || fallen) && rate.scope != RateScope::kCluster)
    reader.problem(timed ? "timeout" : "fallback", "an agent that counts by itself asks nobody", "add scope = \"cluster\", or remove the key");
  reader.finish(all_keys);
}

void read_route_admission(const std::set<std::string>& all_keys, ConfigReader& reader, RouteConfig& route) {
  read_route_rate(all_keys, reader.section("rate"), route);
  read_route_auth(all_keys, reader.section("auth"), route);
  read_addresses(reader, "allow", route.allow);
  read_addresses(reader, "deny", route.deny);
  reader.number("concurrency", route.concurrency, 0, 1'000'000);
}

void read_route_breaker(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  if (reader.present()) route.breaker.emplace();
  BreakerConfig absent;
  BreakerConfig& breaker = route.breaker ? *route.breaker : absent;
  reader.number("fail", breaker.fail, 1, 10'000);
  reader.duration("window", breaker.window, Milliseconds(10), hours(24));
  reader.duration("open", breaker.open, Milliseconds(10), hours(24));
  reader.list("on", breaker.on, 8);
  for (const auto& word : breaker.on)
    if (word != "connect" && word != "timeout" && word != "reset" && word != "5xx")
      reader.problem("on", "\"" + word + "\" is no failure", "valid are \"connect\", \"timeout\", \"reset\", \"5xx\"");
  if (breaker.on.empty()) reader.problem("on", "nothing counts as a failure", "name some, or remove the breaker");
  reader.finish(all_keys);
}

void read_route_sticky(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  if (reader.present()) route.sticky.emplace();
  StickyConfig absent;
  StickyConfig& sticky = route.sticky ? *route.sticky : absent;
  const bool keyed = reader.text("by", sticky.by, 80);
  const bool known = sticky.by == "cookie" || (config_is_client_key(sticky.by) && sticky.by != "path" && sticky.by != "route");
  if (keyed && !known)
    reader.problem("by", "\"" + sticky.by + "\" tells no sessions apart",
                   "write \"cookie\" (ours), \"cookie:JSESSIONID\" (the application's), \"header:X-Session\" or \"ip\"");
  if (reader.present() && !reader.has("by"))
    reader.problem("by", "sticky does not say what tells sessions apart", "add by = \"cookie\"");
  reader.duration("ttl", sticky.ttl, Milliseconds(1000), hours(24 * 7));
  reader.duration("drain", sticky.drain, Milliseconds(0), hours(24));
  if (reader.text("zone", sticky.zone, 64) && !config_is_name(sticky.zone))
    reader.problem("zone", "\"" + sticky.zone + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  reader.finish(all_keys);
}

void read_route_hedge(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  if (reader.present()) route.hedge.emplace();
  HedgeConfig absent;
  HedgeConfig& hedge = route.hedge ? *route.hedge : absent;
  reader.number("percentile", hedge.percentile, 50, 99);
  reader.duration("least", hedge.least, Milliseconds(1), minutes(1));
  reader.number("budget", hedge.budget, 1, 50);
  reader.finish(all_keys);
}

// Where asking twice cannot help, or is not allowed.
void check_hedge(ConfigReader& reader, const RouteConfig& route) {
  if (!route.hedge) return;
  if (route.pool == Pool::kPrimary)
    reader.problem("hedge", "a primary route has one place to go to, and nothing is sent there twice", "remove it, or write pool = \"all\"");
  else if (!route.retry)
    reader.problem("hedge", "hedging sends a request twice, and retry = false forbids that", "remove one of the two");
  else if (route.sticky)
    reader.problem("hedge", "a session has one node to go to", "remove it, or sticky");
  else if (reader.has("static"))
    reader.problem("hedge", "files come from this machine, there is no second one to ask", "remove it");
}

// What new sessions are chosen by, when every request has a session: the hash alone, which all agents agree on.
void check_sticky(ConfigReader& reader, const RouteConfig& route, bool balanced) {
  if (!route.sticky) return;
  if (route.pool == Pool::kPrimary)
    reader.problem("sticky", "a primary route has one place to go to: its sessions are where the primary is", "remove it, or write pool = \"all\"");
  if (route.sticky->by != "ip") return;
  const char* key = balanced ? "balance" : route.slow_start > Milliseconds(0) ? "slow_start" : route.prefer_zone ? "prefer_zone" : nullptr;
  if (key != nullptr)
    reader.problem(key, "with sticky by \"ip\" every request has a session, and new ones go where their hash says, so that all agents agree",
                   "remove it, or write by = \"cookie\", where new sessions are balanced");
}

// How much an endpoint is given.
void read_route_places(const std::set<std::string>& all_keys, ConfigReader& reader, RouteConfig& route) {
  reader.number("max_conns", route.max_conns, 0, 1'000'000);
  auto queue = reader.section("queue");
  queue.number("max", route.queue.max, 0, 100'000);
  queue.duration("timeout", route.queue.timeout, Milliseconds(1), minutes(5));
  queue.finish(all_keys);
  if (queue.present() && route.max_conns == 0)
    reader.problem("queue", "nobody waits without max_conns", "add max_conns = 100, or remove queue");
  read_route_breaker(all_keys, reader.section("breaker"), route);
}

void read_route_timeouts(const std::set<std::string>& all_keys, ConfigReader timeouts, RouteConfig& route) {
  timeouts.duration("connect", route.connect_timeout, Milliseconds(10), minutes(5));
  timeouts.duration("first_byte", route.first_byte_timeout, Milliseconds(10), hours(1));
  timeouts.duration("idle", route.idle_timeout, Milliseconds(10), hours(24));
  timeouts.duration("total", route.total_timeout, Milliseconds(10), hours(24));
  timeouts.finish(all_keys);
}

void read_route_balance(const std::set<std::string>& all_keys, ConfigReader& reader, RouteConfig& route) {
  const bool balanced = reader.choice("balance", route.balance,
                                      {{"least_request", BalanceKind::kLeastRequest},
                                       {"round_robin", BalanceKind::kRoundRobin},
                                       {"peak_ewma", BalanceKind::kPeakEwma},
                                       {"ring_hash", BalanceKind::kRingHash}});
  const bool hashed = reader.text("hash", route.hash, 80);
  if (hashed && (!config_is_client_key(route.hash) || route.hash == "route"))
    reader.problem("hash", "\"" + route.hash + "\" tells no clients apart",
                   "write \"ip\", \"path\", \"header:X-Api-Key\" or \"cookie:session\"");
  const bool loaded = reader.number("hash_load", route.hash_load, 0, 1000);
  if (loaded && route.hash_load > 0 && route.hash_load < 100)
    reader.problem("hash_load", "below 100 percent not all requests would find a place", "125 is usual; 0 = no bound");
  if ((hashed || loaded) && route.balance != BalanceKind::kRingHash)
    reader.problem(hashed ? "hash" : "hash_load", "only ring_hash looks at it", "add balance = \"ring_hash\", or remove the key");
  reader.duration("slow_start", route.slow_start, Milliseconds(0), hours(1));
  reader.boolean("prefer_zone", route.prefer_zone);
  read_route_places(all_keys, reader, route);
  read_route_sticky(all_keys, reader.section("sticky"), route);
  check_sticky(reader, route, balanced);
  if (route.pool == Pool::kPrimary && (balanced || route.max_conns > 0 || route.breaker))
    reader.problem(balanced ? "balance" : route.breaker ? "breaker" : "max_conns", "a primary route has one place to go to",
                   "remove it, or write pool = \"all\"");
}

// What must hold between routes: names are labels of metrics, and routes of one zone count together.
void check_among(ConfigReader& reader, const RouteConfig& route, const std::vector<RouteConfig>& above) {
  for (const RouteConfig& other : above) {
    if (!route.name.empty() && route.name == other.name)
      reader.problem("name", "another route is named \"" + route.name + "\" too", "names stand in metrics and must differ");
    if (route.sticky && other.sticky && !route.sticky->zone.empty() && route.sticky->zone == other.sticky->zone &&
        (route.sticky->by != other.sticky->by || route.sticky->ttl != other.sticky->ttl))
      reader.problem("sticky", "zone \"" + route.sticky->zone + "\" has another key or ttl in a route above", "give both the same, or two zones");
    if (!route.rate || route.rate->zone.empty() || !other.rate || other.rate->zone != route.rate->zone) continue;
    const RateConfig &a = *route.rate, &b = *other.rate;
    if (a.count != b.count || a.period != b.period || a.burst != b.burst || a.nodelay != b.nodelay)
      reader.problem("rate", "zone \"" + a.zone + "\" has another limit in a route above", "give both the same limit, or two zones");
    else if (a.scope != b.scope || a.timeout != b.timeout || a.fallback != b.fallback)
      reader.problem("rate", "zone \"" + a.zone + "\" has another scope, timeout or fallback in a route above", "give both the same, or two zones");
  }
}

void read_route(const std::set<std::string>& all_keys, const RouteChecks& checks, const std::vector<UpstreamConfig>& upstreams, ConfigReader& reader,
                RouteConfig& route) {
  if (reader.text("name", route.name) && !config_is_name(route.name))
    reader.problem("name", "\"" + route.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  read_route_match(reader, route);
  if (!config_read_pool(reader, upstreams, route) && reader.present() && !reader.has("pool") && !reader.has("static"))
    reader.problem("pool", "[[route]] does not say where its requests go",
                   "add pool = \"primary\", pool = \"all\" or the name of an [[upstream]], or static = { root = \"...\" }");
  reader.duration("hold", route.hold, Milliseconds(0), minutes(5));
  read_route_timeouts(all_keys, reader.section("timeouts"), route);
  reader.boolean("retry", route.retry);
  reader.boolean("cancel", route.cancel);
  reader.boolean("access_log", route.access_log);
  read_route_admission(all_keys, reader, route);
  read_route_balance(all_keys, reader, route);
  read_route_hedge(all_keys, reader.section("hedge"), route);
  check_hedge(reader, route);
  config_read_content(all_keys, checks, reader, route);
  read_route_idempotency(all_keys, checks, reader, route);
  reader.finish(all_keys);
}

/// True when every request that `later` would take is taken by `earlier` already.
bool covers(const RouteConfig& earlier, const RouteConfig& later) {
  const bool host = earlier.host.empty() || earlier.host == later.host;
  const bool path = earlier.path_is_exact ? later.path_is_exact && earlier.path == later.path
                    : earlier.path.ends_with('/')
                        ? later.path.starts_with(earlier.path)
                        : later.path == earlier.path || later.path.starts_with(earlier.path + "/");
  const bool methods =
      earlier.methods.empty() ||
      (!later.methods.empty() && std::all_of(later.methods.begin(), later.methods.end(), [&](const auto& m) {
        return std::find(earlier.methods.begin(), earlier.methods.end(), m) != earlier.methods.end();
      }));
  return host && path && methods;
}

}  // namespace

void config_read_limits(ConfigReader& reader, const std::set<std::string>& all_keys, RouteConfig& route) {
  read_route_timeouts(all_keys, reader.section("timeouts"), route);
  reader.boolean("retry", route.retry);
  read_route_rate(all_keys, reader.section("rate"), route);
  reader.number("concurrency", route.concurrency, 0, 1'000'000);
  read_route_places(all_keys, reader, route);
  reader.size("body_max", route.body_max, 0, 1ULL << 40);
}

void config_read_routes(ConfigReader& root, const std::set<std::string>& all_keys, const RouteChecks& checks, Config& config) {
  for (auto& reader : root.tables("route", 1024)) {
    RouteConfig route;
    read_route(all_keys, checks, config.upstreams, reader, route);
    check_among(reader, route, config.routes);
    for (std::size_t i = 0; i < config.routes.size(); ++i)
      if (covers(config.routes[i], route)) {
        reader.problem("path", "this route is never reached: route[" + std::to_string(i) + "] takes all its requests",
                       "put the narrower route first");
        break;
      }
    config.routes.push_back(std::move(route));
  }
  if (!config.routes.empty() || (!config.service && config.listeners.empty())) return;
  RouteConfig orders, rest;
  orders.methods = {"POST", "PUT", "PATCH", "DELETE"};
  orders.pool = Pool::kPrimary;
  config.routes = {std::move(orders), std::move(rest)};
}

std::optional<std::pair<std::uint64_t, Milliseconds>> config_rate(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == 0 || slash == std::string_view::npos) return std::nullopt;
  std::uint64_t count = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + slash, count);
  if (code != std::errc{} || stop != text.data() + slash) return std::nullopt;
  std::string period(text.substr(slash + 1));
  if (!period.empty() && std::isdigit(static_cast<unsigned char>(period.front())) == 0) period = "1" + period;
  const auto quantity = config_quantity(period);
  if (!quantity) return std::nullopt;
  const double scale = quantity->unit == "ms" ? 1 : quantity->unit == "s" ? 1000 : quantity->unit == "m" ? 60'000 : quantity->unit == "h" ? 3'600'000 : 0;
  const double length = quantity->number * scale;
  if (scale == 0 || length < 1 || length > 1e9 || length != std::floor(length)) return std::nullopt;
  return std::pair(count, Milliseconds(static_cast<std::int64_t>(length)));
}

bool config_is_client_key(std::string_view text) {
  if (text == "ip" || text == "path" || text == "route") return true;
  if (!text.starts_with("header:") && !text.starts_with("cookie:")) return false;
  const std::string_view name = text.substr(7);
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

}  // namespace agent
