#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/halt_backend.h"
#include "agent/api/metrics_text.h"
#include "agent/api/operator_backend.h"
#include "agent/api/own.h"
#include "proxy/sticky.h"

/// /outrigger/v1: role, mesh, store, proxy and health, and what an agent can be told to do.
namespace agent::api {
namespace {

// ---------------------------------------------------------------- role

/// What is stopped here, by scope.
Json halted_json(Backend& backend) {
  Json scopes = Json::array();
  OperatorBackend* operators = backend.operators();
  const HaltBackend* halts = operators == nullptr ? nullptr : operators->halts();
  for (const HaltInfo& halt : halts == nullptr ? std::vector<HaltInfo>() : halts->halts()) {
    if (std::find(scopes.begin(), scopes.end(), Json(halt.scope)) == scopes.end()) scopes.push_back(halt.scope);
  }
  return scopes;
}

Json role_json(Backend& backend) {
  const RoleInfo role = backend.role();
  return {{"service", role.service},
          {"role", role.role},
          {"serving", role.serving},
          {"armed", role.armed},
          {"unarmed_reason", name_json(role.unarmed_reason)},
          {"epoch", number(role.epoch)},
          {"holder", name_json(role.holder_name)},
          {"holder_id", id_json(role.holder)},
          {"self", role.self_name},
          {"instance", role.instance},
          {"draining", role.draining},
          {"halted", halted_json(backend)},
          {"since_ms", role.since_ms},
          {"valid_for_ms", role.valid_for.count()},
          {"index", number(role.index)}};
}

void get_role(Api& api, const Call& call) {
  Read read;
  read.topic = Topic{};
  read.needs_barrier = false;  // the question is what this agent does now
  read.render = [&backend = api.backend()](const ReadInfo& info) {
    const RoleInfo role = backend.role();
    Response response = json_response(role_json(backend));
    add_consul_headers(response, role.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

void watch_role(Api& api, const Call& call) {
  api.stream(call, Topic{}, "role", [&backend = api.backend()] {
    return role_json(backend).dump(-1, ' ', false, Json::error_handler_t::replace);
  });
}

// ---------------------------------------------------------------- mesh, store, proxy

std::string_view text_of(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
      return "alive";
    case MemberState::kSuspect:
      return "suspect";
    case MemberState::kLeaving:
      return "leaving";
    case MemberState::kLeft:
      return "left";
    case MemberState::kDead:
      return "dead";
  }
  return "unknown";
}

void get_peers(Api& api, const Call& call) {
  Json list = Json::array();
  for (const auto& member : api.backend().members()) {
    Json tags = Json::object();
    for (const auto& [key, value] : member.tags) tags[key] = value;
    list.push_back({{"name", member.name},
                    {"id", member.id},
                    {"raft_id", id_json(member.raft_id)},
                    {"address", member.address},
                    {"gossip_port", member.gossip_port},
                    {"mesh_port", member.mesh_port},
                    {"api_address", member.api_address},
                    {"state", text_of(member.state)},
                    {"incarnation", member.incarnation},
                    {"accusers", member.accusers},
                    {"rtt_ms", member.rtt ? Json(member.rtt->count()) : Json(nullptr)},
                    {"mesh_connected", member.mesh_connected},
                    {"tags", tags}});
  }
  api.reply_json(call.id, {{"self", api.backend().self().name}, {"peers", list}});
}

Json endpoint_json(const EndpointInfo& endpoint) {
  return {{"name", endpoint.name},
          {"address", endpoint.address},
          {"is_local", endpoint.is_local},
          {"is_backup", endpoint.is_backup},
          {"is_draining", endpoint.draining},
          {"health", endpoint.health},
          {"reason", endpoint.reason},
          {"weight", endpoint.weight},
          {"ejected_for_ms", endpoint.ejected_for.count()},
          {"in_flight", endpoint.in_flight},
          {"requests", endpoint.requests},
          {"failures", endpoint.failures},
          {"idle_connections", endpoint.idle_connections},
          {"breaker", name_json(endpoint.breaker)},
          {"ewma_ms", endpoint.ewma_ms},
          {"p50_ms", endpoint.p50_ms},
          {"p95_ms", endpoint.p95_ms},
          {"p99_ms", endpoint.p99_ms},
          {"checks", name_json(endpoint.checks)}};
}

void get_upstreams(Api& api, const Call& call) {
  using List = std::vector<UpstreamInfo>;
  api.backend().upstreams(api.answer<List>(call.id, [](const List& upstreams) {
    Json list = Json::array();
    for (const auto& upstream : upstreams) {
      Json endpoints = Json::array();
      for (const auto& endpoint : upstream.endpoints) endpoints.push_back(endpoint_json(endpoint));
      list.push_back({{"service", upstream.service}, {"held", upstream.held}, {"endpoints", endpoints}});
    }
    return json_response({{"upstreams", list}});
  }));
}

/// Sessions of sticky routes, from their rows: all, those of a zone, or the one that a cookie, header or address stands for.
void get_sticky(Api& api, const Call& call) {
  constexpr std::size_t kListMax = 10'000;  // a page for people; scripts read the keys themselves
  const std::string* zone = call.query.find("zone");
  const std::string* value = call.query.find("value");
  if (value != nullptr && (zone == nullptr || value->empty()))
    return api.fail(call.id, {Errc::kBadRequest, "\"value\" needs a \"zone\": the name of the route, or its sticky.zone", {}});
  std::string prefix = "outrigger/sticky/";
  if (zone != nullptr) prefix += *zone + "/";
  if (value != nullptr) {
    std::string scratch;
    std::array<char, 17> digits{};
    std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(proxy::session_hash(*zone, proxy::session_address(*value, scratch))));
    prefix += digits.data();
  }
  Read read;
  read.topic = Topic{Topic::Kind::kPrefix, prefix};
  read.render = [&backend = api.backend(), prefix](const ReadInfo& info) {
    const KvAnswer found = backend.kv_list(prefix);
    Json list = Json::array();
    for (const auto& entry : found.entries) {
      if (list.size() == kListMax) break;
      const std::size_t slash = entry.key.rfind('/');
      const std::size_t start = std::string_view("outrigger/sticky/").size();
      if (slash < start) continue;
      list.push_back({{"zone", entry.key.substr(start, slash - start)},
                      {"session", entry.key.substr(slash + 1)},
                      {"node", entry.value},
                      {"ttl_s", entry.flags >> 32U},
                      {"index", number(entry.modify_index)}});
    }
    Response response = json_response({{"sessions", list}, {"total", found.entries.size()}});
    add_consul_headers(response, found.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

/// Targets for Prometheus' http_sd: every agent whose API others can reach.
void get_prometheus_targets(Api& api, const Call& call) {
  Json list = Json::array();
  for (const auto& member : api.backend().members()) {
    if (member.api_address.empty() || member.state == MemberState::kLeft) continue;
    Json labels = {{"node", member.name}};
    if (const auto zone = member.tags.find("zone"); zone != member.tags.end()) labels["zone"] = zone->second;
    list.push_back({{"targets", Json::array({member.api_address})}, {"labels", labels}});
  }
  api.reply_json(call.id, list);
}

// ---------------------------------------------------------------- health and actions

void reply_health(Api& api, const Call& call, const std::vector<HealthItem>& items) {
  const bool fine = std::all_of(items.begin(), items.end(), [](const HealthItem& item) { return item.ok; });
  Json checks = Json::array();
  for (const auto& item : items) checks.push_back({{"name", item.name}, {"ok", item.ok}, {"detail", item.detail}});
  api.reply_json(call.id, {{"status", fine ? "ok" : "failing"}, {"checks", checks}}, fine ? 200 : 503);
}

void get_live(Api& api, const Call& call) { reply_health(api, call, api.backend().live()); }
void get_ready(Api& api, const Call& call) { reply_health(api, call, api.backend().ready()); }

void put_drain(Api& api, const Call& call) {
  const Fields fields(call);
  const std::string enable = fields.ok() ? fields.text("enable") : "?";
  if (!enable.empty() && enable != "true" && enable != "false")
    return api.fail(call.id, {Errc::kBadRequest, "\"enable\" is true or false", {}});
  const bool drains = enable != "false";
  api.backend().drain(drains, api.answer<std::monostate>(call.id, [drains](const std::monostate&) {
    return json_response({{"draining", drains}});
  }));
}

/// Whether anything still runs at the instance beside this agent, whoever has sent it.
void get_drain(Api& api, const Call& call) {
  using List = std::vector<UpstreamInfo>;
  const RoleInfo role = api.backend().role();
  const bool draining = api.backend().self().draining;
  api.backend().upstreams(api.answer<List>(call.id, [role, draining](const List& upstreams) {
    std::uint64_t in_flight = 0;
    bool known = true;  // what a worker has that does not answer is not
    for (const auto& upstream : upstreams) {
      known = known && upstream.workers_missing == 0;
      for (const auto& endpoint : upstream.endpoints)
        if (endpoint.is_local) in_flight += endpoint.in_flight;
    }
    const bool empty = draining && role.role != "primary" && in_flight == 0 && known;
    return json_response({{"draining", draining}, {"role", role.role}, {"in_flight", in_flight}, {"empty", empty}});
  }));
}

void put_join(Api& api, const Call& call) {
  const Fields fields(call);
  std::vector<std::string> addresses;
  if (fields.body().is_object() && fields.body().contains("addresses") && fields.body().at("addresses").is_array())
    for (const auto& address : fields.body().at("addresses"))
      if (address.is_string() && addresses.size() < 64) addresses.push_back(address.get<std::string>());
  if (const auto* address = call.query.find("address")) addresses.push_back(*address);
  if (addresses.empty())
    return api.fail(call.id, {Errc::kBadRequest, "\"addresses\" is missing: a list of ip:port", {}});
  api.backend().join(std::move(addresses), api.answer<std::size_t>(call.id, [](const std::size_t& joined) {
    return json_response({{"joined", joined}});
  }));
}

void put_leave(Api& api, const Call& call) {
  api.backend().leave(api.answer<std::monostate>(call.id, [](const std::monostate&) {
    return json_response({{"left", true}});
  }));
}

}  // namespace

void add_own_routes(Router& router) {
  router.add("GET", "/outrigger/v1/role", get_role);
  router.add("GET", "/outrigger/v1/role/watch", watch_role);
  for (const auto* method : {"PUT", "POST"}) {
    router.add(method, "/outrigger/v1/drain", put_drain);
    router.add(method, "/outrigger/v1/join", put_join);
    router.add(method, "/outrigger/v1/leave", put_leave);
  }
  router.add("GET", "/outrigger/v1/drain", get_drain);
  router.add("GET", "/outrigger/v1/upstreams", get_upstreams);
  router.add("GET", "/outrigger/v1/peers", get_peers);
  router.add("GET", "/outrigger/v1/sticky", get_sticky);
  router.add("GET", "/outrigger/v1/health/live", get_live);
  router.add("GET", "/outrigger/v1/health/ready", get_ready);
  router.add("GET", "/outrigger/v1/sd/prometheus/agents", get_prometheus_targets);
  router.add("GET", "/outrigger/v1/metrics", get_metrics);
  router.add("GET", "/metrics", get_metrics);
}

}  // namespace agent::api
