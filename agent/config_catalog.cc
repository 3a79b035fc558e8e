#include "agent/config_catalog.h"

#include <nlohmann/json.hpp>

namespace agent {
namespace {

constexpr std::size_t kRegistrationsMax = 1024;
constexpr std::size_t kDepthMax = 16;

using Json = nlohmann::ordered_json;

/// A part of the document as JSON; fields keep their names. false: a type that no registration takes, or too deep.
bool to_json(const ConfigNode& node, Json& out, std::size_t depth) {
  if (depth > kDepthMax) return false;
  if (const auto* flag = std::get_if<bool>(&node.value)) return out = *flag, true;
  if (const auto* integer = std::get_if<std::int64_t>(&node.value)) return out = *integer, true;
  if (const auto* number = std::get_if<double>(&node.value)) return out = *number, true;
  if (const auto* text = std::get_if<std::string>(&node.value)) return out = *text, true;
  if (const auto* list = std::get_if<ConfigNode::List>(&node.value)) {
    out = Json::array();
    for (const ConfigNode& one : *list)
      if (!to_json(one, out.emplace_back(), depth + 1)) return false;
    return true;
  }
  const auto* table = std::get_if<ConfigNode::Table>(&node.value);
  if (table == nullptr) return false;
  out = Json::object();
  for (const auto& [key, value] : *table)
    if (!to_json(value, out[key], depth + 1)) return false;
  return true;
}

void read_registrations(ConfigReader& root, const std::string& key, RegistrationKind kind,
                        const std::function<std::optional<std::string>(std::string_view, RegistrationKind)>& check,
                        std::vector<RegistrationText>& out) {
  const ConfigNode* node = root.find(key);
  if (node == nullptr) return;
  const auto* list = std::get_if<ConfigNode::List>(&node->value);
  if (list == nullptr) return root.problem(key, "expected a list of tables, found " + node->type_name(), "write it as [[" + key + "]]");
  if (list->size() > kRegistrationsMax) return root.problem(key, "more than " + std::to_string(kRegistrationsMax) + " entries", "spread them over several agents");
  for (std::size_t i = 0; i < list->size(); ++i) {
    const ConfigNode& one = (*list)[i];
    const std::string name = key + "[" + std::to_string(i) + "]";
    Json json;
    std::optional<std::string> fault;
    if (!std::holds_alternative<ConfigNode::Table>(one.value) || !to_json(one, json, 0))
      fault = "it is no table of strings, numbers, lists and tables";
    const std::string text = fault ? std::string() : json.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (!fault && check) fault = check(text, kind);
    if (!fault) root.note(name, {}, text);
    if (fault) root.findings().add(one.at, name, *fault, "write it as for /v1/agent/" + std::string(kind == RegistrationKind::kService ? "service" : "check") + "/register, with names in snake_case");
    else out.push_back({text, one.at.source + ":" + std::to_string(one.at.line)});
  }
}

}  // namespace

void config_read_catalog(ConfigReader& root, const std::set<std::string>& all_keys,
                         const std::function<std::optional<std::string>(std::string_view, RegistrationKind)>& check, Config& config) {
  ConfigReader reader = root.section("catalog");
  reader.choice("check_scripts", config.catalog.check_scripts,
                {{"none", CheckScripts::kNone}, {"files", CheckScripts::kFiles}, {"local", CheckScripts::kLocal}});
  reader.text("server_service", config.catalog.server_service, 64);
  reader.finish(all_keys);
  read_registrations(root, "services", RegistrationKind::kService, check, config.services);
  read_registrations(root, "checks", RegistrationKind::kCheck, check, config.node_checks);
}

}  // namespace agent
