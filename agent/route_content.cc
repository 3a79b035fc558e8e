#include "agent/route_content.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace agent {
namespace {

tl::expected<proxy::FieldRule, std::string> parse(std::string_view line, HeaderChange change) {
  using proxy::FieldRule, proxy::FieldSide, proxy::FieldVerb;
  switch (change) {
    case HeaderChange::kSetRequest: return FieldRule::parse(FieldVerb::kSet, FieldSide::kRequest, line);
    case HeaderChange::kAddRequest: return FieldRule::parse(FieldVerb::kAdd, FieldSide::kRequest, line);
    case HeaderChange::kDelRequest: return FieldRule::parse(FieldVerb::kDel, FieldSide::kRequest, line);
    case HeaderChange::kSetResponse: return FieldRule::parse(FieldVerb::kSet, FieldSide::kResponse, line);
    case HeaderChange::kAddResponse: return FieldRule::parse(FieldVerb::kAdd, FieldSide::kResponse, line);
    case HeaderChange::kDelResponse: return FieldRule::parse(FieldVerb::kDel, FieldSide::kResponse, line);
  }
  return tl::make_unexpected("no such change of a header");
}

io::Result<void> add_lines(const std::vector<std::string>& lines, HeaderChange change, const std::string& key, proxy::FieldRules& out) {
  for (const std::string& line : lines) {
    auto rule = parse(line, change);
    if (!rule) return io::fail(io::Errc::kInvalidArgument, key + ": " + rule.error());
    out.add(std::move(*rule));
  }
  return {};
}

proxy::StaticSite site_of(const RouteConfig& route) {
  const StaticConfig& files = *route.files;
  proxy::StaticSite site;
  site.root = files.root.string();
  site.prefix = route.path;
  site.index = files.index;
  site.fallback = files.spa;
  site.precompressed = files.precompressed;
  site.cache_control = files.cache_control;
  if (files.cache.count() > 0) {
    if (site.cache_control.empty()) site.cache_control = "public";
    site.cache_control += ", max-age=" + std::to_string(files.cache.count() / 1000);
  }
  return site;
}

// FNV-1a over all that makes the answers, with the top bit, which no id of an agent has.
std::uint64_t id_of(const proxy::StaticSite& site) {
  std::uint64_t hash = 14695981039346656037ULL;
  const std::string flag = site.precompressed ? "1" : "0";
  for (const std::string* text : {&site.root, &site.prefix, &site.index, &site.fallback, &site.cache_control, &flag}) {
    for (const char c : *text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash = (hash ^ 0xffU) * 1099511628211ULL;
  }
  return hash | (std::uint64_t{1} << 63U);
}

}  // namespace

std::optional<std::string> check_header(std::string_view line, HeaderChange change) {
  const auto rule = parse(line, change);
  return rule ? std::nullopt : std::optional(rule.error());
}

io::Result<void> set_content(const RouteConfig& config, const std::string& key, std::uint64_t body_bytes_max,
                             const std::shared_ptr<proxy::ResponseCache>& cache, proxy::Route& out) {
  out.body_bytes_max = config.body_max.value_or(body_bytes_max);
  const HeadersConfig &request = config.request_headers, &response = config.response_headers;
  const struct {
    const std::vector<std::string>& lines;
    HeaderChange change;
    const char* place;
    proxy::FieldRules& rules;
  } lists[] = {{request.set, HeaderChange::kSetRequest, ".request_headers.set", out.request_fields},
               {request.add, HeaderChange::kAddRequest, ".request_headers.add", out.request_fields},
               {request.del, HeaderChange::kDelRequest, ".request_headers.del", out.request_fields},
               {response.set, HeaderChange::kSetResponse, ".response_headers.set", out.response_fields},
               {response.add, HeaderChange::kAddResponse, ".response_headers.add", out.response_fields},
               {response.del, HeaderChange::kDelResponse, ".response_headers.del", out.response_fields}};
  for (const auto& list : lists) {
    if (auto added = add_lines(list.lines, list.change, key + list.place, list.rules); !added) return added;
  }
  if (response.security) proxy::add_security_preset(out.response_fields, response.csp);
  if (config.compress) {
    out.compress = {static_cast<int>(config.compress->level), config.compress->min, config.compress->types};
  }
  if (config.cache) {
    const CacheConfig& rule = *config.cache;
    out.cache_rule = {rule.ttl, rule.stale_while_revalidate, rule.stale_if_error, rule.object_max, rule.wait};
    out.cache = cache;
  }
  if (config.files) {
    out.pool = static_pool_name(config);
    out.service.clear();
    out.retry = false;  // there is one such folder
  }
  return {};
}

std::shared_ptr<proxy::ResponseCache> cache_for(const Config& config, const proxy::RouteTable* previous) {
  const auto wants = [](const RouteConfig& route) { return route.cache.has_value(); };
  if (std::none_of(config.routes.begin(), config.routes.end(), wants)) return nullptr;
  if (auto kept = cache_of(previous)) return kept;
  return std::make_shared<proxy::ResponseCache>(config.proxy.cache_bytes_max, config.proxy.cache_entries_max);
}

std::shared_ptr<proxy::ResponseCache> cache_of(const proxy::RouteTable* table) {
  if (table == nullptr) return nullptr;
  for (const proxy::Route& route : table->routes()) {
    if (route.cache != nullptr) return route.cache;
  }
  return nullptr;
}

std::string static_pool_name(const RouteConfig& config) { return "files " + config.host + config.path + " " + config.files->root.string(); }

std::vector<proxy::PoolEndpoints> static_pools(const Config& config) {
  std::vector<proxy::PoolEndpoints> pools;
  for (const RouteConfig& route : config.routes) {
    if (!route.files) continue;
    auto site = std::make_shared<const proxy::StaticSite>(site_of(route));
    proxy::Endpoint endpoint;
    endpoint.id = proxy::EndpointId{id_of(*site)};
    endpoint.address = "files:" + site->root;
    endpoint.node = config.node.name;
    endpoint.site = std::move(site);
    proxy::PoolEndpoints pool{static_pool_name(route), {std::move(endpoint)}};
    const auto same = [&](const proxy::PoolEndpoints& other) { return other.pool == pool.pool; };
    if (std::none_of(pools.begin(), pools.end(), same)) pools.push_back(std::move(pool));
  }
  return pools;
}

}  // namespace agent
