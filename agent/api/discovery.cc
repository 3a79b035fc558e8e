#include "agent/api/discovery.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/json_body.h"

namespace agent::api {

CatalogBackend* catalog_of(Api& api, const Call& call) {
  CatalogBackend* catalog = api.backend().catalog();
  if (catalog == nullptr) api.fail(call.id, {Errc::kUnavailable, "this agent has no catalog", {}});
  return catalog;
}

bool may_change(Api& api, const Call& call) {
  const bool browser = !call.request.origin.empty() || !call.request.fetch_site.empty();
  if (call.request.method != "GET" || !browser) return true;
  api.fail(call.id, {Errc::kBadRequest, "GET changes nothing when a browser asks; use PUT", {}});
  return false;
}

std::optional<Json> body_of(Api& api, const Call& call) {
  if (call.request.body.empty()) return Json::object();
  std::string fault;
  auto body = parse_json(call.request.body, fault);
  if (body && !body->is_object()) fault = "it is no object", body.reset();
  if (!body) api.fail(call.id, {Errc::kBadRequest, "Request decode failed: " + fault, {}});
  return body;
}

CatalogBackend::Done empty_answer(Api& api, const Call& call, std::vector<std::string> warnings) {
  return api.answer<std::monostate>(call.id, [warnings = std::move(warnings)](const std::monostate&) {
    Response response{200, {}, {}, {}};
    for (const auto& warning : warnings) response.headers.emplace_back("X-Outrigger-Warning", warning.substr(0, 200));
    return response;
  });
}

bool Selection::fits(const Node& node) const {
  return std::all_of(node_meta.begin(), node_meta.end(), [&node](const auto& wanted) {
    const auto it = node.meta.find(wanted.first);
    return it != node.meta.end() && it->second == wanted.second;
  });
}

bool Selection::fits(const ServiceInstance& instance) const {
  if (!fits(instance.node) || (passing && instance.status() != CheckStatus::kPassing)) return false;
  return std::all_of(tags.begin(), tags.end(), [&](const std::string& tag) { return instance.has_tag(tag); });
}

std::optional<Selection> selection_of(Api& api, const Call& call) {
  Selection out;
  if (!call.query.get("filter").empty()) {
    api.fail(call.id, {Errc::kBadRequest, "filter expressions are not supported; use tag=, node-meta= and passing", {}});
    return std::nullopt;
  }
  for (auto& tag : call.query.all("tag"))
    if (!tag.empty()) out.tags.push_back(std::move(tag));
  for (const auto& pair : call.query.all("node-meta")) {
    const auto colon = std::min(pair.find(':'), pair.size());
    out.node_meta.emplace_back(pair.substr(0, colon), pair.substr(std::min(colon + 1, pair.size())));
  }
  out.near = call.query.get("near");
  if (const std::string* passing = call.query.find("passing")) {
    // Go's idea of a boolean; present without value means yes.
    const auto is = [passing](std::initializer_list<std::string_view> words) {
      return std::find(words.begin(), words.end(), *passing) != words.end();
    };
    out.passing = is({"", "1", "t", "T", "true", "TRUE", "True"});
    if (!out.passing && !is({"0", "f", "F", "false", "FALSE", "False"})) {
      api.fail(call.id, {Errc::kBadRequest, "Invalid value for ?passing", {}});
      return std::nullopt;
    }
  }
  return out;
}

void sort_near(std::vector<ServiceInstance>& instances, const Selection& selection, const Backend& backend) {
  if (selection.near.empty()) return;
  const std::string self = backend.self().name;
  if (selection.near != "_agent" && !same_name(selection.near, self)) return;
  std::map<std::string, Milliseconds> distance{{self, Milliseconds(-1)}};
  for (const auto& member : backend.members())
    if (member.rtt) distance.emplace(member.name, *member.rtt);
  const auto rank = [&distance](const ServiceInstance& instance) {
    const auto it = distance.find(instance.node.name);
    return it == distance.end() ? Milliseconds::max() : it->second;
  };
  std::stable_sort(instances.begin(), instances.end(),
                   [&rank](const ServiceInstance& a, const ServiceInstance& b) { return rank(a) < rank(b); });
}

void read_catalog(Api& api, const Call& call, Topic topic, std::function<Indexed<Json>(const CatalogView& view)> render) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  Read read;
  read.topic = std::move(topic);
  read.render = [catalog, render = std::move(render)](const ReadInfo& info) {
    const Indexed<Json> found = render(*catalog);
    Response response{200, "application/json", {}, found.value.dump(-1, ' ', false, Json::error_handler_t::replace)};
    add_consul_headers(response, found.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

}  // namespace agent::api
