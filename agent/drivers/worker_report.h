#pragma once
/// What one worker says of itself, and the sum of all. Ownership: values.

#include <map>
#include <string>
#include <vector>

#include "agent/drivers/egress_worker.h"
#include "agent/drivers/proxy_driver.h"

namespace agent::drivers {

struct WorkerReport {
  proxy::Counters counters;
  std::vector<proxy::Proxy::EndpointStatus> endpoints;
  std::vector<proxy::Proxy::RouteStatus> routes;
  TlsCounters tls;
  ProxyHeaderCounters headers;
  HelloCounters hellos;
  std::map<std::string, proxy::RelayCounters> relays;
  proxy::RateDeskCounters rates;
  EgressTotals egress;
};

/// Endpoints of one id and routes of one name are summed. @param reports  null = one that has said nothing yet
[[nodiscard]] ProxyTotals sum_of(const std::vector<std::shared_ptr<const WorkerReport>>& reports);

}  // namespace agent::drivers
