#pragma once
#include <string>

#include "agent/config.h"

/// What is called how where the settings give no name. The same settings make the same names at every agent.
namespace agent {

/// Of a route, for metrics and counters: its own, or methods, host and path ("GET|HEAD /quotes").
/// Unlike for every two routes that `validate` lets pass.
[[nodiscard]] std::string config_route_name(const RouteConfig& route);
/// Where sessions of a route with `sticky` are kept: its zone, or the route's name as part of a key (letters, digits and "._-").
[[nodiscard]] std::string config_session_zone(const RouteConfig& route);

}  // namespace agent
