#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/catalog_json.h"
#include "agent/api/consul.h"
#include "agent/api/discovery.h"
#include "agent/api/json_body.h"
#include "agent/api/registration.h"

/// /v1/agent/service, /v1/agent/check and maintenance: what runs beside this agent. There is no second registry: these
/// are this node's rows in the catalog, and a change is committed before it is answered.
namespace agent::api {
namespace {

constexpr std::string_view kScriptsRefused =
    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true "
    "(here: catalog.check_scripts = \"local\", and register from the agent's own machine)";

// ---------------------------------------------------------------- reads

bool refuse_filter(Api& api, const Call& call) { return !selection_of(api, call).has_value(); }

void get_services(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr || refuse_filter(api, call)) return;
  Json out = Json::object();
  for (const Service& service : catalog->local().services) out[service.id] = agent_service_json(service);
  api.reply_json(call.id, out);
}

void get_checks(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr || refuse_filter(api, call)) return;
  Json out = Json::object();
  for (const Check& check : catalog->local().checks) out[check.id] = check_json(check);
  api.reply_json(call.id, out);
}

/// FNV-1a, 64 bits: tells two contents apart, proves nothing.
std::string hash_text(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::string out(16, '0');
  for (std::size_t i = 16; i-- > 0; hash >>= 4) out[i] = "0123456789abcdef"[hash & 15];
  return out;
}

struct HashedService {
  Json body;
  std::string hash;
};
std::optional<HashedService> hashed_service(const CatalogBackend& catalog, const std::string& id) {
  const NodeServices local = catalog.local();
  const auto it = std::find_if(local.services.begin(), local.services.end(), [&id](const Service& s) { return s.id == id; });
  if (it == local.services.end()) return std::nullopt;
  HashedService out{agent_service_json(*it), {}};
  out.hash = hash_text(out.body.dump(-1, ' ', false, Json::error_handler_t::replace));
  out.body["ContentHash"] = out.hash;
  return out;
}

/// Blocks on the content, not on an index: `hash` is what the caller has seen.
void get_service(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const std::string id = call.parameters.at(0);
  const auto now = hashed_service(*catalog, id);
  const std::string seen = call.query.get("hash");
  Read read;
  read.needs_barrier = false;
  read.topic = Topic{Topic::Kind::kNode, api.backend().self().name};
  read.after = now && !seen.empty() && seen == now->hash ? catalog->catalog_index(*read.topic) : Index{};
  read.render = [catalog, id](const ReadInfo&) {
    auto found = hashed_service(*catalog, id);
    if (!found) return Response{404, "text/plain; charset=utf-8", {}, "unknown service ID: " + id};
    Response response{200, "application/json", {{"X-Consul-ContentHash", found->hash}}, {}};
    response.body = found->body.dump(-1, ' ', false, Json::error_handler_t::replace);
    return response;
  };
  api.read(call, std::move(read));
}

// ---------------------------------------------------------------- registration

void put_service(Api& api, const Call& call) {
  const auto body = body_of(api, call);
  if (!body) return;
  auto registration = read_service(*body);
  if (!registration) return api.fail(call.id, registration.error());
  registration->value.replace_existing_checks = call.query.has("replace-existing-checks");
  CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const bool may_run = catalog->script_policy() == ScriptPolicy::kLocal && call.request.from_this_machine;
  if (runs_programs(registration->value) && !may_run)
    return api.fail(call.id, {Errc::kRefused, std::string(kScriptsRefused), {}});
  catalog->register_service(std::move(registration->value), empty_answer(api, call, std::move(registration->warnings)));
}

/// Unknown ids are fine: what should not be there is not there.
CatalogBackend::Done gone_answer(Api& api, const Call& call) {
  return [done = empty_answer(api, call)](Result<std::monostate> result) {
    if (!result && result.error().code == Errc::kNotFound) return done(std::monostate{});
    done(std::move(result));
  };
}

void put_deregister_service(Api& api, const Call& call) {
  if (!may_change(api, call)) return;
  if (call.parameters.at(0).empty()) return api.fail(call.id, {Errc::kBadRequest, "Missing service ID", {}});
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->deregister_service(call.parameters.at(0), gone_answer(api, call));
}

void put_check(Api& api, const Call& call) {
  const auto body = body_of(api, call);
  if (!body) return;
  auto registration = read_check(*body);
  if (!registration) return api.fail(call.id, registration.error());
  CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const bool may_run = catalog->script_policy() == ScriptPolicy::kLocal && call.request.from_this_machine;
  if (registration->value.definition.kind == CheckDefinition::Kind::kExec && !may_run)
    return api.fail(call.id, {Errc::kRefused, std::string(kScriptsRefused), {}});
  catalog->register_check(std::move(registration->value), empty_answer(api, call, std::move(registration->warnings)));
}

void put_deregister_check(Api& api, const Call& call) {
  if (!may_change(api, call)) return;
  if (call.parameters.at(0).empty()) return api.fail(call.id, {Errc::kBadRequest, "Missing check ID", {}});
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->deregister_check(call.parameters.at(0), gone_answer(api, call));
}

// ---------------------------------------------------------------- results of TTL checks

template <CheckStatus kStatus>
void put_result(Api& api, const Call& call) {
  if (!may_change(api, call)) return;
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->update_check(call.parameters.at(0), kStatus, call.query.get("note"), empty_answer(api, call));
}

void put_update(Api& api, const Call& call) {
  const auto body = body_of(api, call);
  if (!body) return;
  JsonFields fields(*body);
  const std::string word = fields.text("Status");
  std::string output = fields.text("Output");
  if (!fields.fault().empty()) return api.fail(call.id, {Errc::kBadRequest, "Request decode failed: json: " + fields.fault(), {}});
  const auto status = parse_check_status(word);
  if (!status) return api.fail(call.id, {Errc::kBadRequest, "Invalid check status: '" + word.substr(0, 100) + "'", {}});
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->update_check(call.parameters.at(0), *status, std::move(output), empty_answer(api, call));
}

// ---------------------------------------------------------------- maintenance

/// Go's idea of a boolean. nullopt after an answer.
std::optional<bool> enable_of(Api& api, const Call& call) {
  const std::string* text = call.query.find("enable");
  std::string fault = "Missing value for enable";
  if (text != nullptr && !text->empty()) {
    for (const char* word : {"1", "t", "T", "true", "TRUE", "True"})
      if (*text == word) return true;
    for (const char* word : {"0", "f", "F", "false", "FALSE", "False"})
      if (*text == word) return false;
    fault = "Invalid value for enable: \"" + text->substr(0, 100) + "\"";
  }
  api.fail(call.id, {Errc::kBadRequest, fault, {}});
  return std::nullopt;
}

void put_maintenance(Api& api, const Call& call) {
  const auto enable = enable_of(api, call);
  CatalogBackend* catalog = enable ? catalog_of(api, call) : nullptr;
  if (catalog != nullptr) catalog->set_maintenance({}, *enable, call.query.get("reason"), empty_answer(api, call));
}

void put_service_maintenance(Api& api, const Call& call) {
  const std::string& id = call.parameters.at(0);
  if (id.empty()) return api.fail(call.id, {Errc::kBadRequest, "Missing service ID", {}});
  const auto enable = enable_of(api, call);
  CatalogBackend* catalog = enable ? catalog_of(api, call) : nullptr;
  if (catalog != nullptr) catalog->set_maintenance(id, *enable, call.query.get("reason"), empty_answer(api, call));
}

// ---------------------------------------------------------------- health of what runs here

/// Consul's fourth state stands above critical: out of service on purpose.
struct Aggregate {
  int status = 200;
  std::string word = "passing";
  int rank = 0;
};
Aggregate aggregate_of(const std::vector<Check>& checks) {
  Aggregate out;
  const auto raise = [&out](int rank, int status, std::string word) {
    if (rank > out.rank) out = {status, std::move(word), rank};
  };
  for (const Check& check : checks) {
    if (check.id == kNodeMaintenance || check.id.starts_with(kServiceMaintenance)) raise(3, 503, "maintenance");
    if (check.status == CheckStatus::kCritical) raise(2, 503, "critical");
    if (check.status == CheckStatus::kWarning) raise(1, 429, "warning");
  }
  return out;
}

/// Checks that count for a service of this node: those of the node itself and its own.
std::vector<Check> checks_of(const NodeServices& local, const std::string& service_id) {
  std::vector<Check> out;
  for (const Check& check : local.checks)
    if (check.service_id.empty() || check.service_id == service_id) out.push_back(check);
  return out;
}

bool wants_text(const Call& call) { return call.query.get("format") == "text" || call.request.accept == "text/plain"; }

Response health_response(int status, const std::string& reason, Response body) {
  body.status = status;
  body.headers.emplace_back("X-Consul-Reason", reason);
  return body;
}
Response as_json(const Json& body) {
  return {200, "application/json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

void get_health_by_id(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const std::string& id = call.parameters.at(0);
  if (id.empty()) return api.fail(call.id, {Errc::kBadRequest, "Missing serviceID", {}});
  const NodeServices local = catalog->local();
  const auto it = std::find_if(local.services.begin(), local.services.end(), [&id](const Service& s) { return s.id == id; });
  if (it == local.services.end()) {
    const std::string reason = "ServiceId " + id + " not found";
    const Json body = wants_text(call) ? Json(reason) : Json{{"AggregatedStatus", "critical"}, {"Service", nullptr}, {"Checks", nullptr}};
    return api.reply(call.id, health_response(404, reason, as_json(body)));
  }
  const auto checks = checks_of(local, id);
  const Aggregate aggregate = aggregate_of(checks);
  if (wants_text(call)) return api.reply(call.id, health_response(aggregate.status, aggregate.word, {200, "text/plain", {}, aggregate.word}));
  const Json body = {{"AggregatedStatus", aggregate.word}, {"Service", agent_service_json(*it)}, {"Checks", checks_json(checks)}};
  api.reply(call.id, health_response(aggregate.status, aggregate.word, as_json(body)));
}

void get_health_by_name(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const std::string& name = call.parameters.at(0);
  if (name.empty()) return api.fail(call.id, {Errc::kBadRequest, "Missing service Name", {}});
  const NodeServices local = catalog->local();
  Json list = Json::array();
  Aggregate worst;
  for (const Service& service : local.services) {
    if (service.name != name) continue;
    const auto checks = checks_of(local, service.id);
    const Aggregate aggregate = aggregate_of(checks);
    if (aggregate.rank > worst.rank) worst = aggregate;
    list.push_back({{"AggregatedStatus", aggregate.word}, {"Service", agent_service_json(service)}, {"Checks", checks_json(checks)}});
  }
  if (list.empty()) {
    const std::string reason = "ServiceName " + name + " Not Found";
    return api.reply(call.id, health_response(404, reason, as_json(wants_text(call) ? Json(reason) : list)));
  }
  if (wants_text(call)) return api.reply(call.id, health_response(worst.status, worst.word, {200, "text/plain", {}, worst.word}));
  api.reply(call.id, health_response(worst.status, worst.word, as_json(list)));
}

/// PUT, and GET for clients older than Consul 1.0.
void add_old(Router& router, std::string_view pattern, Handler handler) {
  router.add("PUT", pattern, handler);
  router.add("GET", pattern, handler);
}

}  // namespace

void add_agent_routes(Router& router) {
  router.add("GET", "/v1/agent/services", get_services);
  router.add("GET", "/v1/agent/checks", get_checks);
  router.add("PUT", "/v1/agent/service/register", put_service);
  add_old(router, "/v1/agent/service/deregister/*", put_deregister_service);
  router.add("PUT", "/v1/agent/service/maintenance/*", put_service_maintenance);
  router.add("GET", "/v1/agent/service/*", get_service);
  router.add("PUT", "/v1/agent/check/register", put_check);
  add_old(router, "/v1/agent/check/deregister/*", put_deregister_check);
  add_old(router, "/v1/agent/check/pass/*", put_result<CheckStatus::kPassing>);
  add_old(router, "/v1/agent/check/warn/*", put_result<CheckStatus::kWarning>);
  add_old(router, "/v1/agent/check/fail/*", put_result<CheckStatus::kCritical>);
  router.add("PUT", "/v1/agent/check/update/*", put_update);
  router.add("PUT", "/v1/agent/maintenance", put_maintenance);
  router.add("GET", "/v1/agent/health/service/id/*", get_health_by_id);
  router.add("GET", "/v1/agent/health/service/name/*", get_health_by_name);
}

}  // namespace agent::api
