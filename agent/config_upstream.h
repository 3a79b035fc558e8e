#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "agent/config_document.h"
#include "agent/config_tls.h"

/// [[upstream]] and [[service.check]] read and checked. Private to the settings (config.cc calls it).
namespace agent {

/// See ConfigSource::check_assert.
using AssertCheck = std::function<std::optional<std::string>(std::string_view)>;

/// Reads the conditions of one key. Reports those that cannot be read.
[[nodiscard]] std::vector<std::string> config_read_asserts(const AssertCheck& check, ConfigReader& reader, const std::string& key);
/// Reads every [[check]] of `above`. @param scripts  kNone refuses `exec`
[[nodiscard]] std::vector<CheckConfig> config_read_checks(ConfigReader& above, const std::set<std::string>& all_keys, const AssertCheck& check,
                                                          CheckScripts scripts);
/// Reads every [[upstream]] of `root` into config.upstreams. config.catalog and config.service have been read.
void config_read_upstreams(ConfigReader& root, const std::set<std::string>& all_keys, const AssertCheck& check, const TlsReading& tls, Config& config);
/// Reads the pool of a route: "primary", "all" or the name of an upstream, whose balance and max_conns then are the route's
/// until it says its own. @return false: the route names none, or one that is not there (which is reported)
bool config_read_pool(ConfigReader& reader, const std::vector<UpstreamConfig>& upstreams, RouteConfig& route);

}  // namespace agent
