#pragma once
#include "agent/config_content.h"

/// [route.idempotency] and [halt] read and checked: under which keys orders are written down, how they are stopped. Private to the settings.
namespace agent {

/// Where a key stands, as IdempotencyConfig::key says it.
struct OrderKeyPlace {
  enum class Kind { kHeader, kQuery, kJson } kind = Kind::kHeader;
  std::string name;  ///< of the field or the parameter; with kJson an RFC 6901 pointer, "/" first
};
/// "header:NAME", "query:NAME" or "json:/POINTER"; nullopt = none of them.
[[nodiscard]] std::optional<OrderKeyPlace> config_order_key(std::string_view text);

/// Reads the section into `route` and reports what does not fit the route.
/// Behind the rules for the route's headers: the key must reach every agent as the client sent it.
void read_route_idempotency(const std::set<std::string>& all_keys, const RouteChecks& checks, ConfigReader& route_reader, RouteConfig& route);
/// The same of the field for ids of requests. @param request_id  [proxy.request_id]
void config_check_order_fields(ConfigReader request_id, const Config& config);

/// Reads [halt].
void config_read_halt(ConfigReader reader, const std::set<std::string>& all_keys, HaltConfig& halt);

}  // namespace agent
