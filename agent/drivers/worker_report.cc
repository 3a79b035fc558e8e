#include "agent/drivers/worker_report.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {
namespace {

void add(proxy::Proxy::EndpointStatus& sum, const proxy::Proxy::EndpointStatus& one) {
  sum.in_flight += one.in_flight;
  sum.idle_connections += one.idle_connections;
  sum.requests += one.requests;
  sum.failures += one.failures;
  sum.ejected = sum.ejected || one.ejected;
  sum.times.add(one.times);
  sum.latency_ns = std::max(sum.latency_ns, one.latency_ns);
}

}  // namespace

ProxyTotals sum_of(const std::vector<std::shared_ptr<const WorkerReport>>& reports) {
  ProxyTotals sum;
  EgressTotals egress;
  std::map<proxy::EndpointId, std::size_t> endpoints;
  std::map<std::string, std::size_t> routes;
  for (const auto& report : reports) {
    if (report == nullptr) continue;
    egress.add(report->egress);
    sum.counters.add(report->counters);
    sum.rates.add(report->rates);
    sum.tls.add(report->tls);
    sum.headers.add(report->headers);
    sum.hellos.add(report->hellos);
    for (const auto& [name, one] : report->relays) sum.relays[name].add(one);
    for (const auto& one : report->routes) {
      const auto [place, fresh] = routes.emplace(one.name, sum.routes.size());
      if (fresh) sum.routes.push_back({one.name, {}, {}});
      sum.routes[place->second].counters.add(one.counters);
      sum.routes[place->second].times.add(one.times);
    }
    for (const auto& one : report->endpoints) {
      const auto [place, fresh] = endpoints.emplace(one.id, sum.endpoints.size());
      if (fresh) sum.endpoints.push_back(one);
      else add(sum.endpoints[place->second], one);
    }
  }
  sum.egress = std::make_shared<const EgressTotals>(std::move(egress));
  return sum;
}

}  // namespace agent::drivers
