#include "agent/api/catalog_json.h"

#include <nlohmann/json.hpp>

#include "agent/api/consul.h"

namespace agent::api {
namespace {

std::uint64_t number(Index index) { return static_cast<std::uint64_t>(index); }

Json object_of(const std::map<std::string, std::string>& map) {
  Json out = Json::object();
  for (const auto& [key, value] : map) out[key] = value;
  return out;
}
/// Consul's servers answer null where an external node gave none.
Json object_or_null(const std::map<std::string, std::string>& map) {
  return map.empty() ? Json(nullptr) : object_of(map);
}

Json array_of(const std::vector<std::string>& list) {
  Json out = Json::array();
  for (const auto& text : list) out.push_back(text);
  return out;
}

Json tagged_json(const Service& service) {
  Json out = Json::object();
  for (const auto& [name, at] : service.tagged_addresses) out[name] = {{"Address", at.address}, {"Port", at.port}};
  return out;
}

Json weights_json(const Service& service) {
  return {{"Passing", service.weight_passing}, {"Warning", service.weight_warning}};
}

// Service mesh of Consul, which we do not have: its clients want the empty objects.
Json proxy_json() { return {{"MeshGateway", Json::object()}, {"Expose", Json::object()}}; }

}  // namespace

Json node_json(const Node& node, const std::string& datacenter) {
  return {{"ID", node.id},
          {"Node", node.name},
          {"Address", node.address},
          {"Datacenter", datacenter},
          {"TaggedAddresses", object_or_null(node.tagged_addresses)},
          {"Meta", object_or_null(node.meta)},
          {"CreateIndex", number(node.create_index)},
          {"ModifyIndex", number(node.modify_index)}};
}

Json service_json(const Service& service) {
  Json out = {{"ID", service.id}, {"Service", service.name}, {"Tags", array_of(service.tags)}, {"Address", service.address}};
  if (!service.tagged_addresses.empty()) out["TaggedAddresses"] = tagged_json(service);
  out["Meta"] = object_of(service.meta);
  out["Port"] = service.port;
  out["Weights"] = weights_json(service);
  out["EnableTagOverride"] = service.enable_tag_override;
  out["Proxy"] = proxy_json();
  out["Connect"] = Json::object();
  out["CreateIndex"] = number(service.create_index);
  out["ModifyIndex"] = number(service.modify_index);
  return out;
}

Json agent_service_json(const Service& service) {
  Json out = {{"ID", service.id},         {"Service", service.name}, {"Tags", array_of(service.tags)},
              {"Meta", object_of(service.meta)}, {"Port", service.port},    {"Address", service.address}};
  if (!service.tagged_addresses.empty()) out["TaggedAddresses"] = tagged_json(service);
  out["Weights"] = weights_json(service);
  out["EnableTagOverride"] = service.enable_tag_override;
  return out;
}

Json flat_service_json(const ServiceInstance& instance, const std::string& datacenter) {
  const Service& service = instance.service;
  Json out = {{"ID", instance.node.id},
              {"Node", instance.node.name},
              {"Address", instance.node.address},
              {"Datacenter", datacenter},
              {"TaggedAddresses", object_or_null(instance.node.tagged_addresses)},
              {"NodeMeta", object_or_null(instance.node.meta)},
              {"ServiceKind", ""},
              {"ServiceID", service.id},
              {"ServiceName", service.name},
              {"ServiceTags", array_of(service.tags)},
              {"ServiceAddress", service.address}};
  if (!service.tagged_addresses.empty()) out["ServiceTaggedAddresses"] = tagged_json(service);
  out["ServiceWeights"] = weights_json(service);
  out["ServiceMeta"] = object_of(service.meta);
  out["ServicePort"] = service.port;
  out["ServiceEnableTagOverride"] = service.enable_tag_override;
  out["ServiceProxy"] = proxy_json();
  out["ServiceConnect"] = Json::object();
  out["CreateIndex"] = number(service.create_index);
  out["ModifyIndex"] = number(service.modify_index);
  return out;
}

Json check_json(const Check& check) {
  return {{"Node", check.node},
          {"CheckID", check.id},
          {"Name", check.name},
          {"Status", to_string(check.status)},
          {"Notes", check.notes},
          {"Output", check.output},
          {"ServiceID", check.service_id},
          {"ServiceName", check.service_name},
          {"ServiceTags", array_of(check.service_tags)},
          {"Type", to_string(check.definition.kind)},
          {"Definition", Json::object()},
          {"CreateIndex", number(check.create_index)},
          {"ModifyIndex", number(check.modify_index)}};
}

Json checks_json(const std::vector<Check>& checks) {
  Json out = Json::array();
  for (const auto& check : checks) out.push_back(check_json(check));
  return out;
}

Json event_json(const Event& event) {
  Json payload;
  if (!event.payload.empty()) {
    std::string text;
    append_base64(text, event.payload);
    payload = std::move(text);
  }
  return {{"ID", event.id},
          {"Name", event.name},
          {"Payload", payload},
          {"NodeFilter", event.node_filter},
          {"ServiceFilter", event.service_filter},
          {"TagFilter", event.tag_filter},
          {"Version", 1},
          {"LTime", number(event.index)}};
}

}  // namespace agent::api
