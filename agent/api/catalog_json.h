#pragma once
#include <string>

#include "agent/api/api.h"
#include "agent/api/catalog_backend.h"

/// Rows of the catalog in the shapes that Consul's clients parse. Private to agent/api.
/// How a check is made is never shown: its headers may hold secrets, and no client reads it ("Definition" is {}).
namespace agent::api {

/// An element of catalog/nodes, and "Node" of health/service and catalog/node.
[[nodiscard]] Json node_json(const Node& node, const std::string& datacenter);
/// "Service" of health/service, and a value of "Services" of catalog/node.
[[nodiscard]] Json service_json(const Service& service);
/// The agent's view of its own service: agent/services, agent/service, agent/health.
[[nodiscard]] Json agent_service_json(const Service& service);
/// An element of catalog/service: node and service in one flat object.
[[nodiscard]] Json flat_service_json(const ServiceInstance& instance, const std::string& datacenter);
[[nodiscard]] Json check_json(const Check& check);
[[nodiscard]] Json checks_json(const std::vector<Check>& checks);
[[nodiscard]] Json event_json(const Event& event);

}  // namespace agent::api
