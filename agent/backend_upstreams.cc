// The endpoints as the proxy sees them: what the control side knows of each, and what the workers have counted.
#include <algorithm>
#include <string>

#include "agent/backend.h"

namespace agent {
namespace {

/// The state of the endpoint's breakers over all routes that have some: open before half-open before closed.
std::string worst_breaker(const ProxyStatus& status, proxy::EndpointId id) {
  if (status.table == nullptr) return {};
  std::string worst;
  for (const proxy::Route& route : status.table->routes()) {
    if (route.breakers == nullptr) continue;
    const proxy::BreakerState state = route.breakers->state(id);
    if (state == proxy::BreakerState::kOpen) return "open";
    if (state == proxy::BreakerState::kHalfOpen) worst = "half_open";
    if (worst.empty()) worst = "closed";
  }
  return worst;
}

double ms_of(std::chrono::nanoseconds value) { return static_cast<double>(value.count() / 1000) / 1000.0; }

/// Adds what all workers have seen of the endpoint.
void add_seen(api::EndpointInfo& info, const ProxyStatus& status, proxy::EndpointId id) {
  proxy::Histogram times;
  for (const auto& seen : status.endpoints) {
    if (seen.id != id) continue;
    info.in_flight += seen.in_flight;
    info.requests += seen.requests;
    info.failures += seen.failures;
    info.idle_connections += seen.idle_connections;
    info.ewma_ms = std::max(info.ewma_ms, seen.latency_ns / 1e6);
    times.add(seen.times);
    if (seen.ejected) info.ejected_for = std::max(info.ejected_for, api::Milliseconds(seen.ejected_for));
    if (seen.by_word && info.reason.empty()) info.reason = "left out because another agent has ejected it";
  }
  const api::LatencyInfo latency = latency_of(times);
  info.p50_ms = ms_of(latency.p50);
  info.p95_ms = ms_of(latency.p95);
  info.p99_ms = ms_of(latency.p99);
}

}  // namespace

void AgentBackend::upstreams(api::Completion<std::vector<api::UpstreamInfo>> done) {
  parts_.proxy_status([this, alive = alive_, done = std::move(done)](const ProxyStatus& status) {
    if (!*alive) return;
    std::vector<api::UpstreamInfo> infos;
    for (const proxy::PoolEndpoints& pool : parts_.endpoints().pools) {
      api::UpstreamInfo upstream;
      upstream.service = pool.pool;
      upstream.held = status.counters.held_now;
      upstream.workers_missing = status.workers_missing;
      for (const proxy::Endpoint& endpoint : pool.endpoints) {
        api::EndpointInfo info;
        info.name = endpoint.node;
        info.address = endpoint.address;
        info.is_local = endpoint.kind == proxy::EndpointKind::kLocal;
        info.is_backup = endpoint.tier == proxy::Tier::kBackup;
        info.draining = endpoint.draining;
        info.health = std::string(proxy::name_of(endpoint.health));
        info.weight = endpoint.weight;
        info.breaker = worst_breaker(status, endpoint.id);
        const drivers::CheckDriver* checks = info.is_local ? parts_.checks : parts_.upstreams != nullptr ? parts_.upstreams->find(endpoint.id) : nullptr;
        if (checks != nullptr) {
          info.reason = checks->reason();
          info.checks = std::to_string(checks->failure_count()) + " of " + std::to_string(checks->check_count()) + " failed";
        }
        add_seen(info, status, endpoint.id);
        if (parts_.traffic != nullptr && parts_.traffic->held_out_until(endpoint.id) > io::boottime_now()) info.reason = "ejected by an operator";
        upstream.endpoints.push_back(std::move(info));
      }
      infos.push_back(std::move(upstream));
    }
    done(std::move(infos));
  });
}

}  // namespace agent
