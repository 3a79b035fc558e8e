#include "agent/config_names.h"

#include <cctype>

namespace agent {

std::string config_route_name(const RouteConfig& route) {
  if (!route.name.empty()) return route.name;
  std::string name;
  for (const std::string& method : route.methods) name += (name.empty() ? "" : "|") + method;
  if (!name.empty()) name += ' ';
  return name + route.host + (route.path_is_exact ? "=" : "") + route.path;
}

std::string config_session_zone(const RouteConfig& route) {
  if (route.sticky && !route.sticky->zone.empty()) return route.sticky->zone;
  std::string zone = config_route_name(route);
  for (char& c : zone) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    if (!plain) c = '_';
  }
  return zone;
}

}  // namespace agent
