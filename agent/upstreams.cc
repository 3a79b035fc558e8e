#include "agent/upstreams.h"

#include <algorithm>
#include <utility>

#include "agent/listen_tls.h"
#include "agent/parts.h"

namespace agent {
namespace {

drivers::CheckKind kind_of(const CheckConfig& check) {
  if (check.tcp) return drivers::CheckKind::kTcp;
  return check.exec.empty() ? drivers::CheckKind::kHttp : drivers::CheckKind::kProgram;
}

std::string key_of(const UpstreamConfig& upstream) { return "upstream \"" + upstream.name + "\""; }

proxy::Health proxy_health(drivers::InstanceHealth health) {
  switch (health) {
    case drivers::InstanceHealth::kPassing: return proxy::Health::kPassing;
    case drivers::InstanceHealth::kUnknown:
    case drivers::InstanceHealth::kDegraded: return proxy::Health::kDegraded;
    case drivers::InstanceHealth::kCritical:
    case drivers::InstanceHealth::kGone: return proxy::Health::kCritical;
  }
  return proxy::Health::kCritical;
}

}  // namespace

io::Result<std::vector<drivers::JsonAssert>> parse_asserts(const std::vector<std::string>& texts, const std::string& key) {
  std::vector<drivers::JsonAssert> asserts;
  for (const std::string& text : texts) {
    auto parsed = drivers::JsonAssert::parse(text);
    if (!parsed) return io::fail(io::Errc::kInvalidArgument, key + ": " + parsed.error().detail);
    asserts.push_back(std::move(*parsed));
  }
  return asserts;
}

io::Result<std::vector<drivers::CheckSettings>> checks_of(const std::vector<CheckConfig>& checks, const HostPort& address, const std::string& pool,
                                                          const std::string& key) {
  std::vector<drivers::CheckSettings> out;
  for (const CheckConfig& check : checks) {
    drivers::CheckSettings one;
    const HostPort& place = check.address.value_or(address);
    auto to = address_of(place, key + ".check.address");
    if (!to) return tl::make_unexpected(to.error());
    one.kind = kind_of(check);
    one.address = *to;
    one.host = place.is_unix() ? "localhost" : place.text();
    one.path = check.http;
    one.expect = check.expect;
    one.argv = check.exec;
    one.env = {{"OUTRIGGER_ADDRESS", address.text()}, {"OUTRIGGER_POOL", pool}};
    one.every = check.every;
    one.timeout = check.timeout;
    one.fall = check.fall;
    one.rise = check.rise;
    auto asserts = parse_asserts(check.asserts, key + ".check.assert");
    if (!asserts) return tl::make_unexpected(asserts.error());
    auto critical = parse_asserts(check.critical_asserts, key + ".check.critical_assert");
    if (!critical) return tl::make_unexpected(critical.error());
    one.asserts = std::move(*asserts);
    one.critical_asserts = std::move(*critical);
    out.push_back(std::move(one));
  }
  return out;
}

// FNV-1a over both names.
proxy::EndpointId upstream_id(const std::string& pool, const HostPort& address) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const std::string& text : {std::string("upstream"), pool, address.text()}) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash = (hash ^ 0xffU) * 1099511628211ULL;
  }
  return proxy::EndpointId{hash | (std::uint64_t{1} << 63U)};
}

std::string upstream_server_name(const UpstreamConfig& upstream, const UpstreamEndpointConfig& endpoint) {
  if (upstream.tls && !upstream.tls->server_name.empty()) return upstream.tls->server_name;
  return endpoint.name.empty() ? endpoint.address.host : endpoint.name;
}

io::Result<UpstreamTlsMap> upstream_tls(const std::vector<UpstreamConfig>& upstreams, std::int64_t wall_ms) {
  UpstreamTlsMap out;
  for (const UpstreamConfig& upstream : upstreams) {
    if (!upstream.tls) continue;
    auto context = client_tls(*upstream.tls, wall_ms);
    if (!context) return io::fail(context.error().code, key_of(upstream) + ".tls: " + context.error().detail);
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      const std::string name = upstream_server_name(upstream, endpoint);
      out[upstream.name].try_emplace(name, std::make_shared<const drivers::UpstreamTls>(drivers::InstanceTls{*context, name}));
    }
  }
  return out;
}

namespace {
/// null: plain.
std::shared_ptr<const drivers::UpstreamTls> tls_of(const UpstreamTlsMap& tls, const UpstreamConfig& upstream, const UpstreamEndpointConfig& endpoint) {
  const auto pool = tls.find(upstream.name);
  if (!upstream.tls || pool == tls.end()) return nullptr;
  const auto found = pool->second.find(upstream_server_name(upstream, endpoint));
  return found == pool->second.end() ? nullptr : found->second;
}
bool has_address(const UpstreamEndpointConfig& endpoint) { return endpoint.address.is_unix() || !endpoint.address.host.empty(); }
}  // namespace

std::vector<proxy::PoolEndpoints> upstream_pools(const std::vector<UpstreamConfig>& upstreams, const UpstreamTlsMap& tls) {
  std::vector<proxy::PoolEndpoints> pools;
  for (const UpstreamConfig& upstream : upstreams) {
    proxy::PoolEndpoints pool{upstream.name, {}};
    for (const UpstreamEndpointConfig& config : upstream.endpoints) {
      if (!has_address(config)) continue;
      proxy::Endpoint endpoint;
      endpoint.id = upstream_id(upstream.name, config.address);
      endpoint.kind = proxy::EndpointKind::kStatic;
      endpoint.address = config.address.text();
      endpoint.node = config.name.empty() ? endpoint.address : config.name + "/" + endpoint.address;
      endpoint.means = tls_of(tls, upstream, config);
      endpoint.weight = config.weight;
      endpoint.tier = config.tier == Tier::kBackup ? proxy::Tier::kBackup : proxy::Tier::kActive;
      endpoint.zone = config.zone;
      pool.endpoints.push_back(std::move(endpoint));
    }
    pools.push_back(std::move(pool));
  }
  return pools;
}

UpstreamChecks::UpstreamChecks(io::Loop& loop, std::function<std::uint64_t(std::uint64_t)> chance, OnChange on_change)
    : loop_(loop), chance_(std::move(chance)), on_change_(std::move(on_change)) {}

io::Result<void> UpstreamChecks::valid(const std::vector<UpstreamConfig>& upstreams) {
  for (const UpstreamConfig& upstream : upstreams) {
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      if (!has_address(endpoint)) continue;
      if (auto address = address_of(endpoint.address, key_of(upstream)); !address) return tl::make_unexpected(address.error());
      if (auto checks = checks_of(upstream.checks, endpoint.address, upstream.name, key_of(upstream)); !checks) return tl::make_unexpected(checks.error());
    }
  }
  return {};
}

io::Result<void> UpstreamChecks::set(const std::vector<UpstreamConfig>& upstreams, const UpstreamTlsMap& tls) {
  if (auto fine = valid(upstreams); !fine) return fine;
  std::map<proxy::EndpointId, Place> kept;
  for (const UpstreamConfig& upstream : upstreams) {
    if (upstream.checks.empty()) continue;
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      if (!has_address(endpoint)) continue;
      const proxy::EndpointId id = upstream_id(upstream.name, endpoint.address);
      const auto secret = tls_of(tls, upstream, endpoint);
      if (const auto old = places_.find(id); old != places_.end() && old->second.checks == upstream.checks && old->second.tls == secret) {
        kept.insert(places_.extract(old));
        continue;
      }
      auto settings = checks_of(upstream.checks, endpoint.address, upstream.name, key_of(upstream));
      if (!settings) return tl::make_unexpected(settings.error());
      for (std::size_t i = 0; i < settings->size(); ++i) {
        drivers::CheckSettings& one = (*settings)[i];
        one.chance = chance_;
        if (upstream.checks[i].address) continue;  // another place, which is spoken to plainly
        if (!endpoint.name.empty()) one.host = endpoint.text();
        if (secret == nullptr) continue;
        one.tls = secret->tls.context;
        one.server_name = secret->tls.server_name;
      }
      auto driver = std::make_unique<drivers::CheckDriver>(
          loop_, std::move(*settings),
          [this, pool = upstream.name, address = endpoint.address.text()](drivers::InstanceHealth health, const std::string& reason) {
            on_change_(pool, address, health, reason);
          },
          slots_);
      driver->start();
      kept[id] = {upstream.checks, secret, std::move(driver)};
    }
  }
  places_ = std::move(kept);
  return {};
}

void UpstreamChecks::judge(proxy::PoolEndpoints& pool) const {
  for (proxy::Endpoint& endpoint : pool.endpoints) {
    const drivers::CheckDriver* driver = find(endpoint.id);
    endpoint.health = driver == nullptr ? proxy::Health::kPassing : proxy_health(driver->health());
  }
}

const drivers::CheckDriver* UpstreamChecks::find(proxy::EndpointId id) const {
  const auto found = places_.find(id);
  return found == places_.end() ? nullptr : found->second.driver.get();
}

void UpstreamChecks::check_now(proxy::EndpointId id) {
  if (const auto found = places_.find(id); found != places_.end()) found->second.driver->check_now();
}

}  // namespace agent
