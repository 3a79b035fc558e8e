#pragma once
/// What a route of the settings says about headers and bodies, as the proxy wants it.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "agent/io/error.h"
#include "proxy/response_cache.h"
#include "proxy/route.h"

namespace agent {

/// What is wrong with one line of the headers of a route, for ConfigSource::check_header; nullopt = nothing.
[[nodiscard]] std::optional<std::string> check_header(std::string_view line, HeaderChange change);

/// Puts the content settings of `config` into `out`.
/// @param key             of the route, for errors: "route[0]"
/// @param body_bytes_max  for a route that does not say  @param cache  for a route that keeps answers; cache_for()
[[nodiscard]] io::Result<void> set_content(const RouteConfig& config, const std::string& key, std::uint64_t body_bytes_max,
                                           const std::shared_ptr<proxy::ResponseCache>& cache, proxy::Route& out);
/// The one cache of all routes that keep answers: that of `previous` if there is one, so that a reload forgets nothing.
/// @return null when no route keeps any
[[nodiscard]] std::shared_ptr<proxy::ResponseCache> cache_for(const Config& config, const proxy::RouteTable* previous);
[[nodiscard]] std::shared_ptr<proxy::ResponseCache> cache_of(const proxy::RouteTable* table);  ///< null = it has none

/// The pools of routes that show files: one endpoint each, which is the folder itself. Names and ids follow from the settings,
/// so that the same settings make the same table.
[[nodiscard]] std::vector<proxy::PoolEndpoints> static_pools(const Config& config);
/// The pool of that route.
[[nodiscard]] std::string static_pool_name(const RouteConfig& config);

}  // namespace agent
