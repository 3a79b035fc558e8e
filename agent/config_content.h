#pragma once
#include "agent/config_document.h"

/// What a [[route]] makes of heads and bodies: body_max, headers, static, compress, cache.
/// Private to the settings (config_route.cc calls it).
namespace agent {

/// Rules that the proxy knows and the settings do not, from ConfigSource. Each may be empty: then nothing is asked.
struct RouteChecks {
  std::function<std::optional<std::string>(std::string_view, HeaderChange)> check_header;
  bool opens_files = false;  ///< looks whether folders are there
};

/// Reads and checks those keys of one route. Reports what is wrong to the reader's findings.
void config_read_content(const std::set<std::string>& all_keys, const RouteChecks& checks, ConfigReader& reader, RouteConfig& route);

}  // namespace agent
