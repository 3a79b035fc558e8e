#include "agent/parts.h"

#include <algorithm>
#include <map>
#include <span>
#include <thread>

#include "agent/config_names.h"
#include "agent/config_order.h"
#include "agent/drivers/json_text.h"
#include "agent/egress_keeper.h"
#include "agent/io/crypto.h"
#include "agent/listen_tls.h"
#include "agent/route_content.h"
#include "agent/upstreams.h"
#include "proxy/proxy_header.h"

namespace agent {
namespace {

tl::unexpected<io::Error> bad(const std::string& key, const std::string& what) {
  return io::fail(io::Errc::kInvalidArgument, key + ": " + what);
}

io::Result<std::optional<drivers::HookTarget>> hook_target(const std::optional<HookConfig>& hook, const std::string& key) {
  if (!hook) return std::optional<drivers::HookTarget>();
  if (!hook->exec.empty()) return std::optional(drivers::HookTarget{hook->exec, {}, {}, {}});
  auto target = drivers::parse_hook_url(hook->url);
  if (!target) return bad(key, target.error().detail);
  return std::optional(std::move(*target));
}

io::Result<void> set_admission(const RouteConfig& config, const std::string& key, proxy::Admission& out) {
  auto allow = proxy::AddressBlocks::parse(config.allow);
  if (!allow) return bad(key + ".allow", allow.error().detail);
  auto deny = proxy::AddressBlocks::parse(config.deny);
  if (!deny) return bad(key + ".deny", deny.error().detail);
  out.allow = std::move(*allow);
  out.deny = std::move(*deny);
  out.credentials.realm = config.auth.realm;
  for (const auto* list : {&config.auth.tokens, &config.auth.users}) {
    for (const std::string& secret : *list) {
      auto entry = proxy::Credentials::parse(secret);
      if (!entry) return bad(key + ".auth", "a secret is not of the form that the documentation names");
      out.credentials.entries.push_back(std::move(*entry));
    }
  }
  out.concurrency_max = config.concurrency;
  if (!config.rate) return {};
  const auto client = proxy::ClientKey::parse(config.rate->key);
  if (!client) return bad(key + ".rate.key", "\"" + config.rate->key + "\" tells no clients apart");
  out.rate_key = *client;
  out.rate_zone = config.rate->zone;
  out.rate = proxy::RateRule{config.rate->count, config.rate->period, config.rate->burst, config.rate->nodelay};
  if (config.rate->scope != RateScope::kCluster) return {};
  out.cluster = proxy::ClusterRate{config.rate->timeout, proxy::RateFallback::kShare};
  if (config.rate->fallback == RateFallbackKind::kAdmit) out.cluster->fallback = proxy::RateFallback::kAdmit;
  if (config.rate->fallback == RateFallbackKind::kRefuse) out.cluster->fallback = proxy::RateFallback::kRefuse;
  return {};
}

void set_balance(const RouteConfig& config, proxy::Route& out) {
  switch (config.balance) {
    case BalanceKind::kLeastRequest: out.balance.kind = proxy::Balance::kLeastRequest; break;
    case BalanceKind::kRoundRobin: out.balance.kind = proxy::Balance::kRoundRobin; break;
    case BalanceKind::kPeakEwma: out.balance.kind = proxy::Balance::kPeakEwma; break;
    case BalanceKind::kRingHash: out.balance.kind = proxy::Balance::kRingHash; break;
  }
  out.balance.load_percent = config.hash_load;
  out.balance.slow_start = config.slow_start;
  out.balance.prefer_zone = config.prefer_zone;
  out.hash_key = proxy::ClientKey::parse(config.hash).value_or(proxy::ClientKey());
  out.max_conns = config.max_conns;
  out.queue_max = config.queue.max;
  out.queue_timeout = config.queue.timeout;
  if (!config.breaker) return;
  out.breaker = {config.breaker->fail, config.breaker->window, config.breaker->open, 0};
  static const std::map<std::string, proxy::Failure> kFailures = {{"connect", proxy::Failure::kConnect}, {"timeout", proxy::Failure::kTimeout},
                                                                  {"reset", proxy::Failure::kReset}, {"5xx", proxy::Failure::kStatus5xx}};
  for (const std::string& word : config.breaker->on) {
    const auto known = kFailures.find(word);
    if (known != kFailures.end()) out.breaker.on = static_cast<std::uint8_t>(out.breaker.on | static_cast<std::uint8_t>(known->second));
  }
}

proxy::OrderRule order_rule(const IdempotencyConfig& config, const HaltConfig& halt) {
  proxy::OrderRule rule;
  const auto place = config_order_key(config.key).value_or(OrderKeyPlace{});
  rule.from = place.kind == OrderKeyPlace::Kind::kHeader  ? proxy::OrderKeyFrom::kHeader
              : place.kind == OrderKeyPlace::Kind::kQuery ? proxy::OrderKeyFrom::kQuery
                                                          : proxy::OrderKeyFrom::kJson;
  rule.name = place.name;
  rule.required = config.required;
  rule.retention = config.retention;
  rule.zone = config.zone;
  rule.account_field = config.account_header.empty() ? halt.account_header : config.account_header;
  rule.answer_bytes_max = static_cast<std::uint32_t>(config.answer_bytes_max);
  rule.unknown_statuses = config.unknown_statuses;
  return rule;
}

proxy::StickyRule sticky_rule(const RouteConfig& route, std::shared_ptr<proxy::StickyTable> table) {
  const StickyConfig& config = *route.sticky;
  proxy::StickyRule rule;
  rule.issue = config.by == "cookie";
  rule.key = rule.issue ? proxy::ClientKey{proxy::ClientKey::Kind::kCookie, std::string(proxy::kStickyCookie)}
                        : proxy::ClientKey::parse(config.by).value_or(proxy::ClientKey());
  rule.ttl = config.ttl;
  rule.drain = config.drain;
  rule.zone = config_session_zone(route);
  rule.table = std::move(table);
  return rule;
}

std::shared_ptr<const proxy::RelayRoute> relay_route(const Config& config, const TcpConfig& tcp) {
  auto route = std::make_shared<proxy::RelayRoute>();
  route->name = tcp.name;
  route->kind = tcp.pool == Pool::kPrimary ? proxy::PoolKind::kPrimary : proxy::PoolKind::kAll;
  route->pool = route->service = routed_service(config);
  // Without an instance here there is no health and no lease, so nothing beside this agent is ever the place to go.
  if (tcp.to && config.service) route->address = tcp.to->text();
  route->hold = tcp.hold;
  route->connect_timeout = tcp.connect_timeout;
  route->idle_timeout = tcp.idle_timeout;
  const std::uint32_t workers = worker_count(config);
  route->connections_max = std::max(1U, tcp.connections_max / workers);
  route->proxy_protocol = tcp.proxy_protocol;
  route->access_log = tcp.access_log;
  return route;
}

void set_relays(const Config& config, const ListenConfig& from, drivers::ProxyListen& listen) {
  if (from.tcp) listen.relay = relay_route(config, *from.tcp);
  if (from.sni.empty()) return;
  std::vector<proxy::RelayNames::Choice> choices;
  for (const SniConfig& sni : from.sni) {
    const auto route = relay_route(config, sni.tcp);
    for (const std::string& name : sni.server_names) choices.push_back({name, route});
  }
  listen.names = std::make_shared<const proxy::RelayNames>(std::move(choices), std::exchange(listen.relay, nullptr));
}

io::Result<std::shared_ptr<const drivers::ProxyHeaderRule>> header_rule(const ProxyProtocolConfig& config, const std::string& key) {
  drivers::ProxyHeaderRule rule;
  std::vector<std::string> blocks = config.from;
  rule.from_unix = std::erase(blocks, "unix") > 0;
  auto from = proxy::TrustedProxies::parse(blocks);
  if (!from) return bad(key, from.error().detail);
  rule.from = std::move(*from);
  rule.timeout = config.timeout;
  return std::make_shared<const drivers::ProxyHeaderRule>(std::move(rule));
}

io::Result<proxy::GuardRule> guard_rule(const GuardConfig& config) {
  auto never = proxy::AddressBlocks::parse(config.never);
  if (!never) return bad("guard.never", never.error().detail);
  return proxy::GuardRule{config.fails, config.within, config.ban, config.statuses, std::move(*never)};
}

proxy::Digest sha256_of(std::string_view text) {
  return io::sha256(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

proxy::Route route_of(const RouteConfig& config, const std::string& service) {
  proxy::Route route;
  route.name = config_route_name(config);
  if (!config.methods.empty()) {
    route.methods = {};
    for (const std::string& method : config.methods) route.methods.add(proxy::http1::method_of(method));
  }
  route.host = config.host;
  route.path = config.path;
  route.match = config.path_is_exact ? proxy::PathMatch::kExact : proxy::PathMatch::kPrefix;
  route.kind = config.pool == Pool::kPrimary ? proxy::PoolKind::kPrimary : proxy::PoolKind::kAll;
  route.pool = config.upstream.empty() ? service : config.upstream;
  if (config.upstream.empty()) route.service = service;
  route.hold = config.hold;
  route.timeouts.connect = config.connect_timeout;
  route.timeouts.first_byte = config.first_byte_timeout;
  route.timeouts.read_try = std::min(route.timeouts.read_try, config.first_byte_timeout);
  route.timeouts.idle = config.idle_timeout;
  route.timeouts.total = config.total_timeout;
  route.retry = config.retry;
  route.cancel = config.cancel;
  if (config.hedge) route.hedge = proxy::HedgeRule{config.hedge->percentile, config.hedge->least, config.hedge->budget};
  route.access_log = config.access_log;
  set_balance(config, route);
  return route;
}

}  // namespace

io::Result<proxy::Route> egress_route(const EgressConfig& egress, std::uint64_t body_bytes_max, std::shared_ptr<const proxy::EgressRule> rule) {
  proxy::Route route = route_of(egress.limits, egress.service);
  if (auto set = set_admission(egress.limits, "egress \"" + egress.name + "\"", route.admission); !set) return tl::make_unexpected(set.error());
  route.name = route.pool = egress.name;
  route.path = rule->prefix;
  route.access_log = egress.access_log;
  route.body_bytes_max = egress.limits.body_max.value_or(body_bytes_max);
  route.egress = std::move(rule);
  return route;
}

std::shared_ptr<const proxy::RelayRoute> egress_relay(const Config& config, const EgressConfig& egress, const std::string& pool) {
  auto route = std::make_shared<proxy::RelayRoute>();
  route->name = egress.name;
  route->kind = proxy::PoolKind::kAll;
  route->pool = pool;
  route->service = egress.service;
  route->connect_timeout = egress.connect_timeout;
  route->idle_timeout = egress.idle_timeout;
  const std::uint32_t workers = worker_count(config);
  route->connections_max = std::max(1U, egress.connections_max / workers);
  route->access_log = egress.access_log;
  proxy::EgressRule rule;
  rule.name = egress.name;
  route->egress = std::make_shared<const proxy::EgressRule>(std::move(rule));
  return route;
}

std::string routed_service(const Config& config) { return config.service ? config.service->name : ServiceConfig().name; }

io::Result<io::Address> address_of(const HostPort& place, const std::string& key) {
  auto address = place.is_unix() ? io::Address::unix_path(place.unix_path) : io::Address::ip(place.host, place.port);
  if (!address) return bad(key, address.error().detail);
  return *address;
}

store::Config store_config(const Config& config, store::NodeId id) {
  store::Config made;
  made.id = id;
  made.name = config.node.name;
  made.heartbeat = config.raft.heartbeat;
  made.election_min = config.raft.election_min;
  made.election_max = config.raft.election_max;
  made.read_lease_margin = std::max<store::Duration>(std::chrono::milliseconds(1), config.raft.election_min / 5);
  made.voters = config.raft.voters;
  made.replace_after = config.raft.replace_after;
  made.bootstrap_expect = config.raft.bootstrap_expect;
  return made;
}

io::Result<drivers::GossipSettings> gossip_settings(const Config& config, const Identity& identity) {
  drivers::GossipSettings settings;
  auto bind = io::Address::ip(config.mesh.bind, config.mesh.gossip_port);
  if (!bind) return bad("mesh.bind", bind.error().detail);
  auto advertise = io::Address::ip(config.mesh.advertise.empty() ? config.mesh.bind : config.mesh.advertise, config.mesh.gossip_port);
  if (!advertise) return bad("mesh.advertise", advertise.error().detail);
  if (advertise->is_any()) return bad("mesh.advertise", "must be an address that the others can reach when mesh.bind is " + config.mesh.bind);
  settings.bind = *bind;
  settings.core.id = identity.id;
  settings.core.name = config.node.name;
  settings.core.advertise = drivers::to_gossip(*advertise);
  settings.core.cluster = config.mesh.cluster.empty() ? kDefaultCluster : config.mesh.cluster;
  settings.snapshot_file = (identity.data_dir / "gossip.snapshot").string();
  if (config.mesh.gossip_key) {
    settings.key.emplace();
    std::copy_n(config.mesh.gossip_key->begin(), settings.key->size(), settings.key->begin());
  }
  return settings;
}

io::Result<std::vector<drivers::CheckSettings>> check_settings(const ServiceConfig& service) {
  drivers::CheckSettings settings;
  auto address = address_of(service.address, "service.address");
  if (!address) return tl::make_unexpected(address.error());
  settings.address = *address;
  if (service.proxy_protocol != 0) settings.preface = proxy::make_proxy_header(std::nullopt, service.proxy_protocol);
  settings.host = service.address.is_unix() ? "localhost" : service.address.text();
  settings.path = service.health.path;
  settings.fields = true;
  settings.every = service.health.every;
  settings.timeout = service.health.timeout;
  settings.fall = service.health.fall;
  settings.rise = service.health.rise;
  auto asserts = parse_asserts(service.health.asserts, "service.health.assert");
  if (!asserts) return tl::make_unexpected(asserts.error());
  auto critical = parse_asserts(service.health.critical_asserts, "service.health.critical_assert");
  if (!critical) return tl::make_unexpected(critical.error());
  settings.asserts = std::move(*asserts);
  settings.critical_asserts = std::move(*critical);
  auto more = checks_of(service.checks, service.address, service.name, "service");
  if (!more) return more;
  more->insert(more->begin(), std::move(settings));
  for (drivers::CheckSettings& one : *more) one.chance = io::random_below;
  return more;
}

io::Result<PrimaryDriverSettings> primary_settings(const Config& config, store::NodeId id) {
  const ServiceConfig& service = *config.service;
  PrimaryDriverSettings settings;
  settings.core.self = HolderId{id.value};
  settings.core.lease = service.lease;
  settings.core.yield_wait = service.order_wait;
  settings.core.eligible = service.eligible;
  if (service.tier == Tier::kBackup) settings.core.acquire_delay = Milliseconds(250);
  settings.service = service.name;
  settings.self_name = config.node.name;
  settings.margin = service.margin;
  settings.role_file = service.role_file.string();
  settings.hook_timeout = service.hooks.timeout;
  auto promote = hook_target(service.hooks.promote, "service.hooks.promote");
  if (!promote) return tl::make_unexpected(promote.error());
  auto demote = hook_target(service.hooks.demote, "service.hooks.demote");
  if (!demote) return tl::make_unexpected(demote.error());
  settings.promote = std::move(*promote);
  settings.demote = std::move(*demote);
  return settings;
}

io::Result<std::optional<ArmingDriverSettings>> arming_settings(const Config& config) {
  if (!config.arming || !config.service) return std::optional<ArmingDriverSettings>();
  const ArmingConfig& arming = *config.arming;
  ArmingDriverSettings settings;
  switch (arming.mode) {
    case ArmingModeConfig::kAuto: settings.rules.mode = ArmingMode::kAuto; break;
    case ArmingModeConfig::kSupervised: settings.rules.mode = ArmingMode::kSupervised; break;
    case ArmingModeConfig::kWhenFlat: settings.rules.mode = ArmingMode::kWhenFlat; break;
  }
  auto hook = hook_target(arming.reconcile, "arming.reconcile");
  if (!hook) return tl::make_unexpected(hook.error());
  settings.hook = std::move(*hook);
  settings.rules.has_hook = settings.hook.has_value();
  settings.rules.unknown_blocks = arming.unknown_blocks;
  settings.rules.settle = arming.settle;
  settings.rules.hook_timeout = arming.timeout;
  settings.rules.retry_min = arming.retry;
  settings.rules.retry_max = arming.every;
  settings.rules.look_first = std::min(settings.rules.look_first, arming.every);
  settings.rules.look_every = arming.every;
  settings.rules.batch = arming.batch;
  settings.service = config.service->name;
  settings.node = config.node.name;
  settings.recent = arming.recent;
  settings.quiet = arming.quiet;
  settings.rules.gives_up = arming.quiet.count() > 0;
  settings.write_timeout = config.raft.write_timeout;
  return std::optional(std::move(settings));
}

std::uint32_t worker_count(const Config& config) {
  return config.proxy.threads != 0 ? config.proxy.threads : std::max(1U, std::thread::hardware_concurrency());
}

io::Result<drivers::ProxyDriverSettings> proxy_settings(const Config& config) {
  drivers::ProxyDriverSettings settings;
  settings.threads = worker_count(config);
  settings.proxy.node = config.node.name;
  settings.proxy.zone = config.node.zone;
  settings.proxy.digest = sha256_of;
  settings.proxy.json_text = drivers::json_text;
  settings.proxy.request_limits.head_bytes_max = config.proxy.header_bytes_max;
  settings.proxy.response_limits.head_bytes_max = config.proxy.header_bytes_max;
  settings.proxy.connections_max = config.proxy.connections_max;
  settings.proxy.upstream_requests_max = config.proxy.upstream_requests_max;
  settings.proxy.client_requests_max = config.proxy.client_requests_max;
  if (config.guard) {
    auto guard = guard_rule(*config.guard);
    if (!guard) return tl::make_unexpected(guard.error());
    settings.guard = std::make_shared<proxy::GuardTable>(std::move(*guard), io::random_below(UINT64_MAX));
    settings.proxy.guard = settings.guard;
  }
  settings.compress_streams_max = config.proxy.compress_streams_max;
  settings.proxy.head_timeout = config.proxy.head_timeout;
  settings.proxy.request_id = {config.proxy.request_id.field, config.proxy.request_id.from_anyone, config.proxy.request_id.to_client};
  settings.proxy.trace = {config.tracing.enabled, config.tracing.from_anyone, config.tracing.sample_every, config.tracing.enabled};
  settings.proxy.trails = config.proxy.trail_bytes > 0;
  settings.trail_bytes = config.proxy.trail_bytes;
  settings.rules.query = config.access_log.query;
  settings.proxy.client_pace = {config.proxy.client_rate_min, config.proxy.client_rate_window};
  const H2Config& h2 = config.proxy.h2;
  settings.proxy.upstream_idle_max = 512;  // a burst of HTTP/2 streams needs them again at once; idle ones end after 4 s
  settings.proxy.h2 = {h2.streams, static_cast<std::uint32_t>(h2.stream_window), static_cast<std::uint32_t>(h2.connection_window), h2.resets,
                       h2.control_frames};
  settings.proxy.outlier.consecutive = config.outlier.consecutive;
  settings.proxy.outlier.window = config.outlier.window;
  settings.proxy.outlier.eject = config.outlier.eject;
  settings.proxy.outlier.max_ejected_percent = config.outlier.max_ejected_percent;
  // These connections serve many clients, so they are our own; whose request it is, X-Forwarded-For says.
  if (config.service && config.service->proxy_protocol != 0)
    settings.instance_preface = proxy::make_proxy_header(std::nullopt, config.service->proxy_protocol);
  return settings;
}

io::Result<std::vector<drivers::ProxyListen>> proxy_listeners(const Config& config, std::vector<drivers::ListenPolicy> policies) {
  std::vector<drivers::ProxyListen> listeners;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const std::string key = "listen[" + std::to_string(i) + "]";
    auto address = address_of(config.listeners[i].address, key + ".address");
    if (!address) return tl::make_unexpected(address.error());
    auto trusted = proxy::TrustedProxies::parse(config.listeners[i].trusted_proxies);
    if (!trusted) return bad(key + ".trusted_proxies", trusted.error().detail);
    if (config.listeners[i].proxy_protocol) {
      auto rule = header_rule(*config.listeners[i].proxy_protocol, key + ".proxy_protocol.from");
      if (!rule) return tl::make_unexpected(rule.error());
      policies[i].header = std::move(*rule);
    }
    listeners.push_back({*address, std::make_shared<const proxy::TrustedProxies>(std::move(*trusted)), std::move(policies[i])});
    set_relays(config, config.listeners[i], listeners.back());
  }
  auto egress = egress_listeners(config);
  if (!egress) return tl::make_unexpected(egress.error());
  for (drivers::ProxyListen& one : *egress) listeners.push_back(std::move(one));
  return listeners;
}

io::Result<std::optional<drivers::AccessLogSettings>> access_log_settings(const Config& config) {
  const AccessLogConfig& log = config.access_log;
  drivers::AccessLogSettings settings;
  settings.node = config.node.name;
  settings.ring_bytes = log.buffer_bytes;
  settings.rules.query = log.query;
  switch (log.to) {
    case LogTarget::kOff: return std::optional<drivers::AccessLogSettings>();
    case LogTarget::kFile: {
      auto file = io::open_log_file({log.file.string(), log.file_bytes_max, log.files_max});
      if (!file) return bad("access_log.file", file.error().detail);
      settings.sink = std::move(*file);
      break;
    }
    case LogTarget::kStdout: settings.sink = io::standard_output_sink(); break;
    case LogTarget::kSyslog: {
      auto address = address_of(log.syslog, "access_log.syslog");
      if (!address) return tl::make_unexpected(address.error());
      settings.sink = io::syslog_sink(*address, config.node.name, "outrigger");
      break;
    }
  }
  return std::optional(std::move(settings));
}

io::Result<std::optional<drivers::SpanExportSettings>> span_settings(const Config& config, std::int64_t wall_ms) {
  const TracingConfig& tracing = config.tracing;
  if (!tracing.enabled) return std::optional<drivers::SpanExportSettings>();
  drivers::SpanExportSettings settings;
  settings.resource = {tracing.service_name, config.node.name, OUTRIGGER_VERSION};
  settings.exports = !tracing.endpoint.empty();
  if (!settings.exports) return std::optional(std::move(settings));
  auto to = drivers::parse_collector_url(tracing.endpoint);
  if (!to) return bad("tracing.endpoint", to.error().detail);
  settings.to = std::move(*to);
  if (settings.to.https) {
    const InstanceTlsConfig tls = tracing.tls.value_or(InstanceTlsConfig());
    settings.server_name = tls.server_name;
    auto context = client_tls(tls, wall_ms);
    if (!context) return bad("tracing.tls", context.error().detail);
    settings.tls = std::move(*context);
  }
  for (const std::string& line : tracing.headers) {
    const std::size_t colon = line.find(':');
    const std::size_t value = std::min(line.find_first_not_of(' ', colon + 1), line.size());
    settings.fields.emplace_back(line.substr(0, colon), line.substr(value));
  }
  settings.gzip = tracing.gzip;
  settings.timeout = tracing.timeout;
  settings.batches.batch_spans = tracing.batch_spans;
  settings.batches.wait = tracing.batch_wait;
  settings.batches.queue_bytes = tracing.queue_bytes;
  return std::optional(std::move(settings));
}

io::Result<drivers::DnsSettings> dns_settings(const Config& config) {
  drivers::DnsSettings settings;
  auto listen = address_of(config.dns.listen, "dns.listen");
  if (!listen) return tl::make_unexpected(listen.error());
  settings.listen = *listen;
  settings.connections_max = config.dns.connections_max;
  settings.resolver.domain = dns::Name::parse(config.dns.domain).value_or(dns::Name());
  settings.resolver.alt_domain = dns::Name::parse(config.dns.alt_domain).value_or(dns::Name());
  settings.resolver.datacenter = config.mesh.cluster.empty() ? "dc1" : config.mesh.cluster;
  // A label of a cluster may be longer than one of a name; names then do without.
  if (!dns::Name::parse(settings.resolver.datacenter)) settings.resolver.datacenter.clear();
  settings.resolver.only_passing = config.dns.only_passing;
  settings.resolver.ttl_seconds = static_cast<std::uint32_t>(config.dns.ttl.count() / 1000);
  settings.resolver.answers_max = config.dns.answers_max;
  settings.resolver.truncate_flag = config.dns.truncate_flag;
  settings.resolver.udp_payload_bytes_max = config.dns.udp_bytes_max;
  return settings;
}

io::Result<std::shared_ptr<const proxy::RouteTable>> route_table(const Config& config, const proxy::RouteTable* previous,
                                                                 const std::function<std::shared_ptr<proxy::StickyTable>()>& sessions) {
  std::vector<proxy::Route> routes;
  const auto cache = cache_for(config, previous);
  for (std::size_t i = 0; i < config.routes.size(); ++i) {
    const std::string key = "route[" + std::to_string(i) + "]";
    routes.push_back(route_of(config.routes[i], routed_service(config)));
    auto set = set_admission(config.routes[i], key, routes.back().admission);
    if (set) set = set_content(config.routes[i], key, config.proxy.body_bytes_max, cache, routes.back());
    if (!set) return tl::make_unexpected(set.error());
    if (config.routes[i].idempotency) routes.back().order = order_rule(*config.routes[i].idempotency, config.halt);
    if (config.routes[i].sticky) routes.back().sticky = sticky_rule(config.routes[i], sessions());
  }
  auto table = proxy::RouteTable::make(std::move(routes), previous, {io::random_below(UINT64_MAX), io::random_below(UINT64_MAX)});
  if (!table) return bad("route", table.error().detail);
  return *table;
}

}  // namespace agent
