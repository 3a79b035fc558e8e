#include "agent/upstreams.h"

#include <algorithm>
#include <utility>

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

std::vector<proxy::PoolEndpoints> upstream_pools(const std::vector<UpstreamConfig>& upstreams) {
  std::vector<proxy::PoolEndpoints> pools;
  for (const UpstreamConfig& upstream : upstreams) {
    proxy::PoolEndpoints pool{upstream.name, {}};
    for (const UpstreamEndpointConfig& config : upstream.endpoints) {
      proxy::Endpoint endpoint;
      endpoint.id = upstream_id(upstream.name, config.address);
      endpoint.kind = proxy::EndpointKind::kStatic;
      endpoint.address = config.address.text();
      endpoint.node = endpoint.address;
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
      if (auto address = address_of(endpoint.address, key_of(upstream)); !address) return tl::make_unexpected(address.error());
      if (auto checks = checks_of(upstream.checks, endpoint.address, upstream.name, key_of(upstream)); !checks) return tl::make_unexpected(checks.error());
    }
  }
  return {};
}

io::Result<void> UpstreamChecks::set(const std::vector<UpstreamConfig>& upstreams) {
  if (auto fine = valid(upstreams); !fine) return fine;
  std::map<proxy::EndpointId, Place> kept;
  for (const UpstreamConfig& upstream : upstreams) {
    if (upstream.checks.empty()) continue;
    for (const UpstreamEndpointConfig& endpoint : upstream.endpoints) {
      const proxy::EndpointId id = upstream_id(upstream.name, endpoint.address);
      if (const auto old = places_.find(id); old != places_.end() && old->second.checks == upstream.checks) {
        kept.insert(places_.extract(old));
        continue;
      }
      auto settings = checks_of(upstream.checks, endpoint.address, upstream.name, key_of(upstream));
      if (!settings) return tl::make_unexpected(settings.error());
      for (drivers::CheckSettings& one : *settings) one.chance = chance_;
      auto driver = std::make_unique<drivers::CheckDriver>(
          loop_, std::move(*settings),
          [this, pool = upstream.name, address = endpoint.address.text()](drivers::InstanceHealth health, const std::string& reason) {
            on_change_(pool, address, health, reason);
          },
          slots_);
      driver->start();
      kept[id] = {upstream.checks, std::move(driver)};
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
