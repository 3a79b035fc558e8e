#include <nlohmann/json.hpp>

#include "agent/api/catalog_json.h"
#include "agent/api/consul.h"
#include "agent/api/discovery.h"
#include "agent/api/registration.h"

/// /v1/catalog and /v1/health: discovery. catalog/service and health/service of one index list the same instances in the
/// same order, since there are clients that pair them by position.
namespace agent::api {
namespace {

std::string datacenter(Api& api) { return datacenter_of(api.backend().self()); }

/// The name in the path, or nothing after an answer.
std::optional<std::string> name_of(Api& api, const Call& call, const char* missing) {
  const std::string& name = call.parameters.at(0);
  if (!name.empty()) return name;
  api.fail(call.id, {Errc::kBadRequest, missing, {}});
  return std::nullopt;
}

// ---------------------------------------------------------------- catalog

void get_datacenters(Api& api, const Call& call) { api.reply_json(call.id, Json::array({datacenter(api)})); }

void get_nodes(Api& api, const Call& call) {
  const auto selection = selection_of(api, call);
  if (!selection) return;
  read_catalog(api, call, {Topic::Kind::kNodes, {}}, [selection = *selection, dc = datacenter(api)](const CatalogView& view) {
    const auto nodes = view.nodes();
    Indexed<Json> out{Json::array(), nodes.index};
    for (const Node& node : nodes.value)
      if (selection.fits(node)) out.value.push_back(node_json(node, dc));
    return out;
  });
}

/// The services of the nodes that fit: only asked for with node-meta, so it need not be quick.
std::map<std::string, std::set<std::string>> services_on(const CatalogView& view, const Selection& selection) {
  std::map<std::string, std::set<std::string>> out;
  for (const Node& node : view.nodes().value) {
    if (!selection.fits(node)) continue;
    const auto found = view.node(node.name);
    if (!found.value) continue;
    for (const Service& service : found.value->services) out[service.name].insert(service.tags.begin(), service.tags.end());
  }
  return out;
}

void get_services(Api& api, const Call& call) {
  const auto selection = selection_of(api, call);
  if (!selection) return;
  read_catalog(api, call, {Topic::Kind::kServices, {}}, [selection = *selection](const CatalogView& view) {
    const auto services = view.services();
    Indexed<Json> out{Json::object(), services.index};
    if (selection.node_meta.empty()) {
      for (const auto& [name, tags] : services.value) out.value[name] = tags;
    } else {
      for (const auto& [name, tags] : services_on(view, selection)) out.value[name] = tags;
    }
    return out;
  });
}

void get_service(Api& api, const Call& call) {
  const auto name = name_of(api, call, "Missing service name");
  const auto selection = name ? selection_of(api, call) : std::nullopt;
  if (!selection) return;
  read_catalog(api, call, {Topic::Kind::kService, *name},
               [name = *name, selection = *selection, dc = datacenter(api), &backend = api.backend()](const CatalogView& view) {
                 auto found = view.instances_of(name);
                 sort_near(found.value, selection, backend);
                 Indexed<Json> out{Json::array(), found.index};
                 for (const ServiceInstance& instance : found.value)
                   if (selection.fits(instance)) out.value.push_back(flat_service_json(instance, dc));
                 return out;
               });
}

void get_node(Api& api, const Call& call) {
  const auto name = name_of(api, call, "Missing node name");
  if (!name || !selection_of(api, call)) return;
  read_catalog(api, call, {Topic::Kind::kNode, *name}, [name = *name, dc = datacenter(api)](const CatalogView& view) {
    const auto found = view.node(name);
    Indexed<Json> out{nullptr, found.index};
    if (!found.value) return out;
    Json services = Json::object();
    for (const Service& service : found.value->services) services[service.id] = service_json(service);
    out.value = {{"Node", node_json(found.value->node, dc)}, {"Services", std::move(services)}};
    return out;
  });
}

/// A completion that answers as Consul does for changes of the catalog.
CatalogBackend::Done true_answer(Api& api, const Call& call, std::vector<std::string> warnings = {}) {
  return api.answer<std::monostate>(call.id, [warnings = std::move(warnings)](const std::monostate&) {
    Response response{200, "application/json", {}, "true"};
    for (const auto& warning : warnings) response.headers.emplace_back("X-Outrigger-Warning", warning.substr(0, 200));
    return response;
  });
}

void put_register(Api& api, const Call& call) {
  const auto body = body_of(api, call);
  if (!body) return;
  auto registration = read_catalog_registration(*body);
  if (!registration) return api.fail(call.id, registration.error());
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->catalog_register(std::move(registration->value), true_answer(api, call, std::move(registration->warnings)));
}

void put_deregister(Api& api, const Call& call) {
  const auto body = body_of(api, call);
  if (!body) return;
  auto deregistration = read_catalog_deregistration(*body);
  if (!deregistration) return api.fail(call.id, deregistration.error());
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->catalog_deregister(std::move(*deregistration), true_answer(api, call));
}

// ---------------------------------------------------------------- health

void get_health_service(Api& api, const Call& call) {
  const auto name = name_of(api, call, "Missing service name");
  const auto selection = name ? selection_of(api, call) : std::nullopt;
  if (!selection) return;
  read_catalog(api, call, {Topic::Kind::kService, *name},
               [name = *name, selection = *selection, dc = datacenter(api), &backend = api.backend()](const CatalogView& view) {
                 auto found = view.instances_of(name);
                 sort_near(found.value, selection, backend);
                 Indexed<Json> out{Json::array(), found.index};
                 for (const ServiceInstance& instance : found.value) {
                   if (!selection.fits(instance)) continue;
                   out.value.push_back({{"Node", node_json(instance.node, dc)},
                                        {"Service", service_json(instance.service)},
                                        {"Checks", checks_json(instance.checks)}});
                 }
                 return out;
               });
}

/// The checks that are on nodes that fit; every one when nothing is asked of nodes.
Json checks_on(const CatalogView& view, const std::vector<Check>& checks, const Selection& selection) {
  if (selection.node_meta.empty()) return checks_json(checks);
  std::set<std::string> nodes;
  for (const Node& node : view.nodes().value)
    if (selection.fits(node)) nodes.insert(node.name);
  Json out = Json::array();
  for (const Check& check : checks)
    if (nodes.contains(check.node)) out.push_back(check_json(check));
  return out;
}

void get_health_checks(Api& api, const Call& call) {
  const auto name = name_of(api, call, "Missing service name");
  const auto selection = name ? selection_of(api, call) : std::nullopt;
  if (!selection) return;
  read_catalog(api, call, {Topic::Kind::kService, *name}, [name = *name, selection = *selection](const CatalogView& view) {
    const auto found = view.checks_of(name);
    return Indexed<Json>{checks_on(view, found.value, selection), found.index};
  });
}

void get_health_node(Api& api, const Call& call) {
  const auto name = name_of(api, call, "Missing node name");
  if (!name || !selection_of(api, call)) return;
  read_catalog(api, call, {Topic::Kind::kNode, *name}, [name = *name](const CatalogView& view) {
    const auto found = view.node(name);
    return Indexed<Json>{found.value ? checks_json(found.value->checks) : Json::array(), found.index};
  });
}

void get_health_state(Api& api, const Call& call) {
  const auto word = name_of(api, call, "Missing check state");
  const auto selection = word ? selection_of(api, call) : std::nullopt;
  if (!selection) return;
  const auto status = parse_check_status(*word);
  // A word that is no status fits no check; Consul answers an empty list, too.
  const bool nothing = !status && *word != "any";
  read_catalog(api, call, {Topic::Kind::kChecks, {}}, [status, nothing, selection = *selection](const CatalogView& view) {
    if (nothing) return Indexed<Json>{Json::array(), view.catalog_index({Topic::Kind::kChecks, {}})};
    const auto found = view.checks_in(status);
    return Indexed<Json>{checks_on(view, found.value, selection), found.index};
  });
}

// ---------------------------------------------------------------- Prometheus

/// Targets in the shape of Prometheus' http_sd: one group per instance, since labels differ. Everything that a name of
/// Prometheus may not hold becomes '_'.
std::string label_name(const std::string& name) {
  std::string out;
  for (const char c : name) out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return out;
}

Json target_json(const ServiceInstance& instance, const std::string& dc) {
  const std::string& host = instance.address();
  const std::string target = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(instance.service.port);
  std::string tags = ",";
  for (const auto& tag : instance.service.tags) tags += tag + ",";
  Json labels = {{"__meta_outrigger_node", instance.node.name},        {"__meta_outrigger_node_address", instance.node.address},
                 {"__meta_outrigger_service", instance.service.name},  {"__meta_outrigger_service_id", instance.service.id},
                 {"__meta_outrigger_service_address", instance.service.address},
                 {"__meta_outrigger_service_port", std::to_string(instance.service.port)},
                 {"__meta_outrigger_tags", tags},                      {"__meta_outrigger_health", to_string(instance.status())},
                 {"__meta_outrigger_dc", dc}};
  for (const auto& [key, value] : instance.service.meta) labels["__meta_outrigger_service_metadata_" + label_name(key)] = value;
  for (const auto& [key, value] : instance.node.meta) labels["__meta_outrigger_metadata_" + label_name(key)] = value;
  return {{"targets", Json::array({target})}, {"labels", std::move(labels)}};
}

/// GET /outrigger/v1/sd/prometheus?service=a&service=b&tag=&passing
void get_prometheus(Api& api, const Call& call) {
  const auto selection = selection_of(api, call);
  if (!selection) return;
  std::vector<std::string> wanted;
  for (auto& name : call.query.all("service"))
    if (!name.empty()) wanted.push_back(std::move(name));
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  Read read;  // never blocks: Prometheus asks again by itself
  read.render = [catalog, wanted, selection = *selection, dc = datacenter(api)](const ReadInfo&) {
    std::vector<std::string> names = wanted;
    if (names.empty())
      for (const auto& [name, tags] : catalog->services().value) names.push_back(name);
    Json out = Json::array();
    for (const auto& name : names)
      for (const ServiceInstance& instance : catalog->instances_of(name).value)
        // Without a port there is nothing to scrape.
        if (instance.service.port != 0 && selection.fits(instance)) out.push_back(target_json(instance, dc));
    return Response{200, "application/json", {}, out.dump(-1, ' ', false, Json::error_handler_t::replace)};
  };
  api.read(call, std::move(read));
}

}  // namespace

void add_catalog_routes(Router& router) {
  router.add("GET", "/v1/catalog/datacenters", get_datacenters);
  router.add("GET", "/v1/catalog/nodes", get_nodes);
  router.add("GET", "/v1/catalog/services", get_services);
  router.add("GET", "/v1/catalog/service/*", get_service);
  router.add("GET", "/v1/catalog/node/*", get_node);
  router.add("PUT", "/v1/catalog/register", put_register);
  router.add("PUT", "/v1/catalog/deregister", put_deregister);
  router.add("GET", "/v1/health/service/*", get_health_service);
  router.add("GET", "/v1/health/checks/*", get_health_checks);
  router.add("GET", "/v1/health/node/*", get_health_node);
  router.add("GET", "/v1/health/state/*", get_health_state);
  router.add("GET", "/outrigger/v1/sd/prometheus", get_prometheus);
}

}  // namespace agent::api
