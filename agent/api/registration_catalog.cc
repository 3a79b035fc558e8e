// Registrations of external nodes, names of fields in files, and the text that a check's row carries.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/json_body.h"
#include "agent/api/registration.h"

namespace agent::api {
namespace {

using Kind = CheckDefinition::Kind;

tl::unexpected<Error> bad(std::string why) {
  return tl::make_unexpected(Error{Errc::kBadRequest, std::move(why), {}});
}

/// Status and texts as they are given: for an external node nobody here runs anything.
std::string read_status(const Json& body, const CatalogRegistration& registration, Check& check) {
  JsonFields fields(body, "Check.");
  for (const std::string& name :
       fields.unknown({"Node", "CheckID", "Name", "Status", "Notes", "Output", "ServiceID", "ServiceName", "ServiceTags", "Type", "Definition",
                       "Namespace", "Partition", "PeerName", "CreateIndex", "ModifyIndex", "Interval", "Timeout", "ExposedPort"}))
    return "Request decode failed: json: unknown field \"" + name.substr(0, 100) + "\"";
  check.node = registration.node.name;
  check.name = fields.text("Name");
  check.id = fields.text("CheckID", check.name);
  check.notes = fields.text("Notes");
  check.output = fields.text("Output").substr(0, 4096);
  check.service_id = fields.text("ServiceID");
  const std::string status = fields.text("Status", "critical");
  const auto parsed = parse_check_status(status);
  if (!fields.fault().empty()) return "Request decode failed: json: " + fields.fault();
  if (!parsed) return "Status for checks must 'passing', 'warning', 'critical'";
  check.status = *parsed;
  if (check.id.empty()) return "Missing check name";
  return check.id.size() > kIdBytesMax || check.name.size() > kIdBytesMax ? "the check's name is too long" : std::string();
}

/// The service below "Service": its fields are those of an agent's registration, without checks.
Result<Service> read_external_service(const Json& body, const std::string& node, std::vector<std::string>& warnings) {
  auto service = read_service(body);
  if (!service) return tl::make_unexpected(service.error());
  if (!service->value.checks.empty()) return bad("checks belong beside the service here: \"Check\" or \"Checks\"");
  for (auto& warning : service->warnings) warnings.push_back("Service." + warning);
  service->value.service.node = node;
  return std::move(service->value.service);
}

}  // namespace

Result<Reading<CatalogRegistration>> read_catalog_registration(const Json& body) {
  Reading<CatalogRegistration> out;
  CatalogRegistration& registration = out.value;
  JsonFields fields(body);
  for (const std::string& name : fields.unknown({"ID", "Node", "Address", "Datacenter", "TaggedAddresses", "NodeMeta", "Service", "Check", "Checks",
                                                 "SkipNodeUpdate", "Namespace", "Partition", "PeerName", "Locality", "Token"}))
    return bad("Request decode failed: json: unknown field \"" + name.substr(0, 100) + "\"");
  registration.node.name = fields.text("Node");
  registration.node.id = fields.text("ID");
  registration.node.address = fields.text("Address");
  registration.node.tagged_addresses = fields.text_map("TaggedAddresses");
  registration.node.meta = fields.text_map("NodeMeta");
  registration.skip_node_update = fields.flag("SkipNodeUpdate");
  std::vector<const Json*> checks;
  if (const Json* one = fields.object("Check"); one != nullptr && !one->empty()) checks.push_back(one);
  if (const Json* list = fields.array("Checks"))
    for (const Json& one : *list) checks.push_back(&one);
  const Json* service = fields.object("Service");
  if (!fields.fault().empty()) return bad("Request decode failed: json: " + fields.fault());
  if (registration.node.name.empty()) return tl::make_unexpected(Error{Errc::kRefused, "Must provide node", {}});
  if (registration.node.address.empty() && !registration.skip_node_update)
    return tl::make_unexpected(Error{Errc::kRefused, "Must provide address if SkipNodeUpdate is not set", {}});
  if (registration.node.name.size() > kIdBytesMax || registration.node.address.size() > kIdBytesMax || registration.node.id.size() > kIdBytesMax ||
      registration.node.meta.size() > kMetaPairsMax || registration.node.tagged_addresses.size() > kMetaPairsMax)
    return bad("the node's name, address or meta is too long");
  if (service != nullptr) {
    auto read = read_external_service(*service, registration.node.name, out.warnings);
    if (!read) return tl::make_unexpected(read.error());
    registration.service = std::move(*read);
  }
  if (checks.size() > kChecksPerServiceMax) return bad("more than " + std::to_string(kChecksPerServiceMax) + " checks");
  for (const Json* one : checks) {
    if (auto fault = read_status(*one, registration, registration.checks.emplace_back()); !fault.empty()) return bad(fault);
  }
  return out;
}

Result<CatalogDeregistration> read_catalog_deregistration(const Json& body) {
  JsonFields fields(body);
  for (const std::string& name : fields.unknown({"Node", "ServiceID", "CheckID", "Datacenter", "Address", "Namespace", "Partition", "PeerName", "Token"}))
    return bad("Request decode failed: json: unknown field \"" + name.substr(0, 100) + "\"");
  CatalogDeregistration out{fields.text("Node"), fields.text("ServiceID"), fields.text("CheckID")};
  if (!fields.fault().empty()) return bad("Request decode failed: json: " + fields.fault());
  if (out.node.empty()) return tl::make_unexpected(Error{Errc::kRefused, "Must provide node", {}});
  return out;
}

Json from_snake_case(const Json& registration) {
  if (!registration.is_object()) return registration;
  Json out = Json::object();
  for (auto it = registration.begin(); it != registration.end(); ++it) {
    std::string name = it.key();
    std::erase(name, '_');
    if (same_name(name, "check") || same_name(name, "weights")) {
      out[name] = from_snake_case(it.value());
    } else if (same_name(name, "checks") && it.value().is_array()) {
      Json list = Json::array();
      for (const Json& one : it.value()) list.push_back(from_snake_case(one));
      out[name] = std::move(list);
    } else {
      out[name] = it.value();
    }
  }
  return out;
}

// ---------------------------------------------------------------- the text of a definition

std::string definition_text(const CheckDefinition& check) {
  if (check == CheckDefinition{}) return {};
  Json out = {{"kind", to_string(check.kind)}};
  const auto put = [&out](const char* name, const auto& value, bool wanted) {
    if (wanted) out[name] = value;
  };
  put("ttl_ms", check.ttl.count(), check.ttl.count() != 0);
  put("target", check.target, !check.target.empty());
  put("method", check.method, !check.method.empty());
  put("body", check.body, !check.body.empty());
  put("header", check.header, !check.header.empty());
  put("tls_skip_verify", true, check.tls_skip_verify);
  put("tls_server_name", check.tls_server_name, !check.tls_server_name.empty());
  put("disable_redirects", true, check.disable_redirects);
  put("args", check.args, !check.args.empty());
  put("interval_ms", check.interval.count(), check.interval.count() != 0);
  put("timeout_ms", check.timeout.count(), check.timeout.count() != 0);
  put("success", check.success_before_passing, check.success_before_passing != 0);
  put("failures", check.failures_before_critical, check.failures_before_critical != 0);
  put("deregister_ms", check.deregister_after.count(), check.deregister_after.count() != 0);
  put("file", true, check.from_file);
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<CheckDefinition> parse_definition(std::string_view text) {
  CheckDefinition check;
  if (text.empty()) return check;
  const auto broken = [] { return tl::make_unexpected(Error{Errc::kInternal, "the definition of a check cannot be read", {}}); };
  std::string fault;
  const auto parsed = parse_json(text, fault);
  if (!parsed) return broken();
  JsonFields fields(*parsed);
  const std::string kind = fields.text("kind");
  bool known = false;
  for (const Kind one : {Kind::kNone, Kind::kTtl, Kind::kHttp, Kind::kTcp, Kind::kExec, Kind::kMaintenance}) {
    if (to_string(one) != kind) continue;
    check.kind = one;
    known = true;
  }
  const auto time = [&fields](std::string_view name) { return Milliseconds(std::max<std::int64_t>(0, fields.integer(name))); };
  check.ttl = time("ttl_ms");
  check.target = fields.text("target");
  check.method = fields.text("method");
  check.body = fields.text("body");
  check.tls_skip_verify = fields.flag("tls_skip_verify");
  check.tls_server_name = fields.text("tls_server_name");
  check.disable_redirects = fields.flag("disable_redirects");
  check.args = fields.texts("args");
  check.interval = time("interval_ms");
  check.timeout = time("timeout_ms");
  check.success_before_passing = static_cast<std::uint32_t>(fields.number("success"));
  check.failures_before_critical = static_cast<std::uint32_t>(fields.number("failures"));
  check.deregister_after = time("deregister_ms");
  check.from_file = fields.flag("file");
  if (const Json* header = fields.object("header")) {
    for (auto it = header->begin(); it != header->end(); ++it) {
      const Json wrapped = {{"v", it.value()}};
      JsonFields values(wrapped);
      check.header[it.key()] = values.texts("v");
    }
  }
  if (!known || !fields.fault().empty()) return broken();
  return check;
}

}  // namespace agent::api
