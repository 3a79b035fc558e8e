#include "agent/api/registration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/json_body.h"
#include "agent/drivers/service_checks.h"
#include "agent/io/address.h"

namespace agent::api {
namespace {

using Kind = CheckDefinition::Kind;

tl::unexpected<Error> bad(std::string why) {
  return tl::make_unexpected(Error{Errc::kBadRequest, std::move(why), {}});
}

/// Fields of newer versions that change nothing that we do.
constexpr std::string_view kPassedOver[] = {"Namespace", "NS",   "Partition", "Peer",           "Datacenter",       "Token",
                                            "Locality",  "Ports", "SocketPath", "OutputMaxSize", "FailuresBeforeWarning",
                                            "EnterpriseMeta", "Shell"};

/// Refuses unknown fields as Consul does, notes those that are passed over.
bool sift(const JsonFields& fields, std::initializer_list<std::string_view> known, std::string_view where,
          std::vector<std::string>& warnings, std::string& fault) {
  for (const std::string& name : fields.unknown(known)) {
    const bool passed = std::any_of(std::begin(kPassedOver), std::end(kPassedOver),
                                    [&](std::string_view other) { return same_name(other, name); });
    if (!passed) return fault = "Request decode failed: json: unknown field \"" + name.substr(0, 100) + "\"", false;
    if (fields.has(name)) warnings.push_back(std::string(where) + name + " is ignored");
  }
  return true;
}

/// Prefix of every fault that a reader of fields has found.
std::string decode_fault(const JsonFields& fields) { return "Request decode failed: json: " + fields.fault(); }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::string id_fault(std::string_view what, const std::string& id) {
  if (id.size() > kIdBytesMax) return std::string(what) + " is longer than " + std::to_string(kIdBytesMax) + " bytes";
  return has_control(id) ? std::string(what) + " holds control characters" : std::string();
}

std::string meta_fault(const std::map<std::string, std::string>& meta) {
  if (meta.size() > kMetaPairsMax) return "Invalid Service Meta: more than " + std::to_string(kMetaPairsMax) + " pairs";
  for (const auto& [key, value] : meta) {
    const bool good_key = !key.empty() && key.size() <= kMetaKeyBytesMax &&
                          std::all_of(key.begin(), key.end(), [](char c) {
                            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
                          });
    if (!good_key) return "Invalid Service Meta: the key \"" + key.substr(0, 64) + "\" is not 1 to 128 letters, digits, '_', '-'";
    if (value.size() > kMetaValueBytesMax) return "Invalid Service Meta: the value of \"" + key + "\" is longer than 512 bytes";
  }
  return {};
}

// ---------------------------------------------------------------- checks

std::map<std::string, std::vector<std::string>> read_header(JsonFields& fields) {
  std::map<std::string, std::vector<std::string>> out;
  const Json* header = fields.object("Header");
  if (header == nullptr) return out;
  for (auto it = header->begin(); it != header->end(); ++it) {
    std::vector<std::string> values;
    if (it.value().is_string()) values.push_back(it.value().get<std::string>());
    if (it.value().is_array()) {
      for (const Json& value : it.value())
        value.is_string() ? values.push_back(value.get<std::string>()) : fields.refuse("Header", "must be an object of arrays of strings");
    }
    const bool token = !it.key().empty() && it.key().find_first_of(" \t:\"(),/;<=>?@[]{}\\") == std::string::npos && !has_control(it.key());
    if (!token || std::any_of(values.begin(), values.end(), has_control))
      fields.refuse("Header", "holds a name or value that no header may have");
    out[it.key()] = std::move(values);
  }
  return out;
}

/// What the kind of check needs; empty = nothing is missing.
std::string definition_fault(const CheckDefinition& check, bool has_ttl, bool has_interval, std::size_t kinds) {
  if (kinds > 1) return "Invalid check: it is of several kinds; use one of TTL, HTTP, TCP, Args";
  if (has_ttl && has_interval) return "Invalid check: Interval and TTL cannot both be specified";
  if (kinds == 0 && has_interval) return "Invalid check: Interval is given, but none of HTTP, TCP, Args";
  if (kinds == 0 && !has_ttl) return "Invalid check: TTL must be > 0 for TTL checks";
  if (kinds == 1 && check.interval.count() == 0) return "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks";
  if (check.kind == Kind::kHttp) {
    if (const auto url = drivers::parse_check_url(check.target); !url) return "Invalid check: " + url.error().detail;
    if (check.method.size() > 16 || has_control(check.method) || check.method.find(' ') != std::string::npos)
      return "Invalid check: Method is none";
    if (check.tls_server_name.size() > 253 || has_control(check.tls_server_name) || check.tls_server_name.find(' ') != std::string::npos)
      return "Invalid check: TLSServerName is no name of a host";
  }
  if (check.kind == Kind::kTcp) {
    const auto to = io::parse_host_port(check.target, 0);
    if (!to || to->port == 0) return "Invalid check: TCP must be \"host:port\", found \"" + check.target.substr(0, 200) + "\"";
  }
  for (const std::string& argument : check.args)
    if (argument.find('\0') != std::string::npos) return "Invalid check: Args holds a NUL";
  return {};
}

/// Kinds that we do not run, by the field that asks for them.
std::string foreign_kind(JsonFields& fields) {
  for (const char* name : {"Script", "DockerContainerID", "GRPC", "GRPCUseTLS", "AliasNode", "AliasService", "H2PING", "H2PingUseTLS", "UDP", "OSService"}) {
    const Json* value = fields.find(name);
    if (value == nullptr || (value->is_string() && value->get_ref<const std::string&>().empty()) || (value->is_boolean() && !value->get<bool>())) continue;
    return std::string("Invalid check: ") + name + " checks are not supported; use TTL, HTTP, TCP or Args";
  }
  return {};
}

const std::initializer_list<std::string_view> kCheckFields = {
    "ID", "CheckID", "Name", "Notes", "ServiceID", "Status", "TTL", "HTTP", "Interval", "TCP", "Args", "ScriptArgs", "Timeout", "Method",
    "Header", "Body", "TLSSkipVerify", "TLSServerName", "DisableRedirects", "SuccessBeforePassing", "FailuresBeforeCritical",
    "DeregisterCriticalServiceAfter", "Script", "DockerContainerID", "GRPC", "GRPCUseTLS", "AliasNode", "AliasService", "H2PING", "H2PingUseTLS", "UDP", "OSService"};

CheckDefinition read_definition(JsonFields& fields, std::string& fault) {
  CheckDefinition check;
  const std::string http = fields.text("HTTP"), tcp = fields.text("TCP");
  check.args = fields.texts("Args");
  if (check.args.empty()) check.args = fields.texts("ScriptArgs");
  check.ttl = fields.duration("TTL").value_or(Milliseconds(0));
  check.interval = fields.duration("Interval").value_or(Milliseconds(0));
  check.timeout = fields.duration("Timeout").value_or(Milliseconds(0));
  check.method = fields.text("Method");
  check.body = fields.text("Body");
  check.header = read_header(fields);
  check.tls_skip_verify = fields.flag("TLSSkipVerify");
  check.tls_server_name = fields.text("TLSServerName");
  check.disable_redirects = fields.flag("DisableRedirects");
  const auto count = [&fields](std::string_view name) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(fields.number(name), 1000));
  };
  check.success_before_passing = count("SuccessBeforePassing");
  check.failures_before_critical = count("FailuresBeforeCritical");
  check.deregister_after = fields.duration("DeregisterCriticalServiceAfter").value_or(Milliseconds(0));
  const std::size_t kinds = static_cast<std::size_t>(!http.empty()) + static_cast<std::size_t>(!tcp.empty()) + static_cast<std::size_t>(!check.args.empty());
  check.kind = !http.empty() ? Kind::kHttp : !tcp.empty() ? Kind::kTcp : !check.args.empty() ? Kind::kExec : Kind::kTtl;
  check.target = check.kind == Kind::kHttp ? http : tcp;
  fault = foreign_kind(fields);
  if (fault.empty()) fault = definition_fault(check, check.ttl.count() != 0, check.interval.count() != 0, kinds);
  if (fault.empty() && definition_text(check).size() > kCheckTextBytesMax)
    fault = "Invalid check: it is longer than " + std::to_string(kCheckTextBytesMax) + " bytes";
  return check;
}

/// A check of a service or of the node. @param fault  empty afterwards: all is well
CheckRegistration read_check_fields(const Json& body, std::vector<std::string>& warnings, std::string& fault) {
  JsonFields fields(body);
  CheckRegistration check;
  if (!sift(fields, kCheckFields, "Check.", warnings, fault)) return check;
  check.id = fields.text("CheckID");
  if (check.id.empty()) check.id = fields.text("ID");
  check.name = fields.text("Name");
  check.notes = fields.text("Notes");
  check.service_id = fields.text("ServiceID");
  const std::string status = fields.text("Status");
  check.definition = read_definition(fields, fault);
  if (!fields.fault().empty()) fault = decode_fault(fields);
  if (!status.empty()) {
    check.status = parse_check_status(status);
    if (!check.status && fault.empty()) fault = "Status for checks must 'passing', 'warning', 'critical'";
  }
  if (fault.empty()) fault = id_fault("CheckID", check.id);
  if (fault.empty()) fault = id_fault("Name", check.name);
  if (fault.empty() && check.notes.size() > kCheckTextBytesMax) fault = "Notes is too long";
  return check;
}

// ---------------------------------------------------------------- services

void read_tagged_addresses(JsonFields& fields, Service& service) {
  const Json* map = fields.object("TaggedAddresses");
  if (map == nullptr) return;
  for (auto it = map->begin(); it != map->end() && service.tagged_addresses.size() < kMetaPairsMax; ++it) {
    JsonFields entry(it.value(), "TaggedAddresses.");
    const auto port = entry.integer("Port");
    service.tagged_addresses[it.key()] = {entry.text("Address"), static_cast<std::uint16_t>(std::clamp<std::int64_t>(port, 0, 65535))};
    if (!entry.fault().empty()) fields.refuse("TaggedAddresses", "must be an object of {Address, Port}");
  }
}

/// A numeric address is shown under its family's names too, as Consul does.
void derive_tagged_addresses(Service& service) {
  const auto address = io::Address::ip(service.address, service.port);
  if (!address) return;
  const std::string family = address->is_ipv6() ? "_ipv6" : "_ipv4";
  for (const char* side : {"lan", "wan"}) service.tagged_addresses.try_emplace(side + family, ServiceAddress{service.address, service.port});
}

std::string service_fault(const Service& service) {
  if (service.name.empty()) return "Missing service name";
  for (auto fault : {id_fault("Name", service.name), id_fault("ID", service.id), id_fault("Address", service.address), meta_fault(service.meta)})
    if (!fault.empty()) return fault;
  if (service.tags.size() > kTagsMax) return "more than " + std::to_string(kTagsMax) + " Tags";
  for (const std::string& tag : service.tags)
    if (auto fault = id_fault("a tag", tag); !fault.empty()) return fault;
  if (service.address == "0.0.0.0" || service.address == "::" || service.address == "[::]")
    return "Invalid service address";
  return {};
}

const std::initializer_list<std::string_view> kServiceFields = {
    "ID", "Name", "Service", "Tags", "Port", "Address", "Meta", "TaggedAddresses", "Weights", "EnableTagOverride", "Check", "Checks",
    "Kind", "Proxy", "Connect", "Datacenter", "ContentHash", "CreateIndex", "ModifyIndex"};

Service read_service_fields(JsonFields& fields, std::string& fault) {
  Service service;
  service.id = fields.text("ID");
  service.name = fields.text("Name");
  if (service.name.empty()) service.name = fields.text("Service");
  service.tags = fields.texts("Tags");
  const auto port = fields.integer("Port");
  service.port = static_cast<std::uint16_t>(std::clamp<std::int64_t>(port, 0, 65535));
  service.address = fields.text("Address");
  service.meta = fields.text_map("Meta");
  read_tagged_addresses(fields, service);
  service.enable_tag_override = fields.flag("EnableTagOverride");
  if (const Json* weights = fields.object("Weights")) {
    JsonFields entry(*weights, "Weights.");
    service.weight_passing = static_cast<std::uint32_t>(std::clamp<std::int64_t>(entry.integer("Passing", 1), 0, 65536));
    service.weight_warning = static_cast<std::uint32_t>(std::clamp<std::int64_t>(entry.integer("Warning", 1), 0, 65536));
    if (!entry.fault().empty()) fault = decode_fault(entry);
    else if (service.weight_passing == 0) fault = "Invalid Weights: Passing must be greater than 0";
    else if (std::max(service.weight_passing, service.weight_warning) > 65535) fault = "Invalid Weights: DNS Weight must be between 0 and 65535";
  }
  if (!fields.text("Kind").empty()) fault = "Kind \"" + fields.text("Kind").substr(0, 64) + "\" is not supported: there is no service mesh here";
  if (!fields.fault().empty()) fault = decode_fault(fields);
  else if (fault.empty() && (port < 0 || port > 65535)) fault = "Invalid Port: it must be 0 to 65535";
  if (fault.empty()) fault = service_fault(service);
  if (service.id.empty()) service.id = service.name;
  derive_tagged_addresses(service);
  return service;
}

/// Gives checks that came without them their ids and names.
void name_checks(ServiceRegistration& registration) {
  const std::string base = "service:" + registration.service.id;
  for (std::size_t i = 0; i < registration.checks.size(); ++i) {
    CheckRegistration& check = registration.checks[i];
    if (check.id.empty()) check.id = registration.checks.size() == 1 ? base : base + ":" + std::to_string(i + 1);
    if (check.name.empty()) check.name = "Service '" + registration.service.name + "' check";
    check.service_id = registration.service.id;
  }
}

}  // namespace

// ---------------------------------------------------------------- the readers

Result<Reading<CheckRegistration>> read_check(const Json& body) {
  Reading<CheckRegistration> out;
  std::string fault;
  out.value = read_check_fields(body, out.warnings, fault);
  // Consul looks at the name first, and clients know its sentence.
  if (out.value.name.empty() && (fault.empty() || fault.starts_with("Invalid check"))) return bad("Missing check name");
  if (!fault.empty()) return bad(fault);
  if (out.value.id.empty()) out.value.id = out.value.name;
  return out;
}

Result<Reading<ServiceRegistration>> read_service(const Json& body) {
  Reading<ServiceRegistration> out;
  JsonFields fields(body);
  std::string fault;
  if (!sift(fields, kServiceFields, "", out.warnings, fault)) return bad(fault);
  out.value.service = read_service_fields(fields, fault);
  if (!fault.empty()) return bad(fault);
  std::vector<const Json*> checks;
  if (const Json* one = fields.object("Check"); one != nullptr && !one->empty()) checks.push_back(one);
  if (const Json* list = fields.array("Checks"))
    for (const Json& one : *list) checks.push_back(&one);
  if (!fields.fault().empty()) return bad(decode_fault(fields));
  if (checks.size() > kChecksPerServiceMax) return bad("more than " + std::to_string(kChecksPerServiceMax) + " checks of one service");
  for (const Json* check : checks) {
    out.value.checks.push_back(read_check_fields(*check, out.warnings, fault));
    if (!fault.empty()) return bad(fault);
  }
  name_checks(out.value);
  for (std::size_t i = 0; i < out.value.checks.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (out.value.checks[i].id == out.value.checks[j].id) return bad("two checks have the id \"" + out.value.checks[i].id + "\"");
  return out;
}

bool runs_programs(const ServiceRegistration& registration) {
  return std::any_of(registration.checks.begin(), registration.checks.end(),
                     [](const CheckRegistration& check) { return check.definition.kind == Kind::kExec; });
}

}  // namespace agent::api
