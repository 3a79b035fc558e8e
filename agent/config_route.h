#pragma once
#include "agent/config_content.h"

/// [[route]] read and checked: which requests a route takes, where they go, who may use it and how often.
/// Private to the settings (config.cc calls it).
namespace agent {

/// Reads every [[route]] of `root` into config.routes, or the default routes when there are none but the agent serves
/// clients. Reports what is wrong to the reader's findings.
/// @param checks  what this library does not know itself (config_content.h)
void config_read_routes(ConfigReader& root, const std::set<std::string>& all_keys, const RouteChecks& checks, Config& config);

/// What a route has that leads to one place outside: timeouts, retry, rate, concurrency, max_conns, queue, breaker and body_max.
void config_read_limits(ConfigReader& reader, const std::set<std::string>& all_keys, RouteConfig& route);

/// "10/s", "20/10s", "600/1m", "5/500ms": so many per so long. nullopt when it is not of that form.
[[nodiscard]] std::optional<std::pair<std::uint64_t, Milliseconds>> config_rate(std::string_view text);
/// "ip", "path", "route", "header:NAME" or "cookie:NAME".
[[nodiscard]] bool config_is_client_key(std::string_view text);

}  // namespace agent
