#include "agent/config_consul.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace agent {
namespace {

using Json = nlohmann::ordered_json;

/// Keys whose value is taken over as it is.
constexpr std::pair<std::string_view, std::string_view> kSame[] = {
    {"node_name", "node.name"},         {"data_dir", "node.data_dir"},       {"bind_addr", "mesh.bind"},
    {"advertise_addr", "mesh.advertise"}, {"bootstrap", "raft.bootstrap"},   {"bootstrap_expect", "raft.bootstrap_expect"},
    {"retry_join", "mesh.seeds"},       {"start_join", "mesh.seeds"},        {"encrypt", "mesh.gossip_key"},
    {"ca_file", "mesh.ca"},             {"cert_file", "mesh.cert"},          {"key_file", "mesh.key"},
    {"domain", "dns.domain"},           {"pid_file", "node.pid_file"}};

/// Keys that nothing here depends on: said once and passed over.
constexpr std::string_view kPassedOver[] = {
    "server", "performance", "telemetry", "ui", "ui_config", "ui_dir", "disable_update_check", "leave_on_terminate", "rejoin_after_leave",
    "skip_leave_on_interrupt", "raft_protocol", "protocol", "enable_syslog", "log_json", "log_file", "log_rotate_bytes",
    "retry_interval", "retry_max", "retry_join_wan", "start_join_wan", "advertise_addr_wan", "serf_wan", "serf_lan", "node_id", "node_meta",
    "disable_host_node_id", "disable_anonymous_signature", "disable_remote_exec", "enable_debug", "autopilot", "limits", "dns_config",
    "recursors", "recursor", "primary_datacenter", "verify_incoming", "verify_outgoing", "verify_server_hostname", "tls", "tls_min_version",
    "reconnect_timeout", "reconnect_timeout_wan", "session_ttl_min", "check_update_interval", "discard_check_output", "translate_wan_addrs",
    "gossip_lan", "gossip_wan", "raft_snapshot_threshold", "raft_snapshot_interval", "raft_trailing_logs", "watches", "http_config",
    "enable_central_service_config", "use_streaming_backend", "rpc", "non_voting_server", "read_replica", "auto_reload_config"};

/// Keys that would change what is promised.
constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
    {"acl_datacenter", "there are no access lists; keep the API on loopback"},
    {"acl_master_token", "there are no access lists; keep the API on loopback"},
    {"segments", "there is one mesh; give clusters that must not meet different mesh.cluster labels"},
    {"config_entries", "there is no service mesh here"}};

ConfigNode node_of(const Json& value, const ConfigOrigin& at) {
  ConfigNode out;
  out.at = out.key_at = at;
  if (value.is_boolean()) out.value = value.get<bool>();
  else if (value.is_number_integer()) out.value = value.get<std::int64_t>();
  else if (value.is_number()) out.value = value.get<double>();
  else if (value.is_string()) out.value = value.get<std::string>();
  else if (value.is_array()) {
    ConfigNode::List list;
    for (const Json& one : value) list.push_back(node_of(one, at));
    out.value = std::move(list);
  } else if (value.is_object()) {
    ConfigNode::Table table;
    for (auto it = value.begin(); it != value.end(); ++it) table[it.key()] = node_of(it.value(), at);
    out.value = std::move(table);
  } else {
    out.value = ConfigNode::Foreign{"null"};
  }
  return out;
}

/// One file on its way into our tree.
class ConsulFile {
 public:
  ConsulFile(ConfigOrigin at, ConfigFindings& findings, std::vector<std::string>& warnings)
      : at_(std::move(at)), findings_(findings), warnings_(warnings) {
    tree_.at = at_;
  }

  void read(const std::string& key, const Json& value) {
    if (value.is_null()) return;
    for (const auto& [theirs, ours] : kSame)
      if (key == theirs) return put(std::string(ours), listed(key, value));
    if (key == "datacenter") return read_datacenter(value);
    if (key == "log_level") return read_log_level(value);
    if (key == "client_addr") return void(client_ = text_of(key, value));
    if (key == "addresses") return read_table(key, value, {"http", "dns"}, addresses_);
    if (key == "ports") return read_table(key, value, {"http", "dns", "serf_lan", "server", "https", "grpc", "serf_wan"}, ports_);
    if (key == "services" || key == "checks") return append(key, value);
    if (key == "service" || key == "check") return append(key + "s", Json::array({value}));
    if (key == "enable_script_checks" && value == true) return put("catalog.check_scripts", "local");
    if (key == "enable_local_script_checks" || key == "enable_script_checks") return;  // settings files are the default
    if (key == "acl" || key == "connect") return refuse_if_enabled(key, value);
    for (const auto& [theirs, why] : kRefused)
      if (key == theirs) return problem(key, "it is not supported", std::string(why));
    if (std::find(std::begin(kPassedOver), std::end(kPassedOver), key) != std::end(kPassedOver))
      return warnings_.push_back(at_.source + ": " + key + " is ignored");
    if (findings_.full()) return;
    ++findings_.hints;
    std::vector<std::string> known(std::begin(kPassedOver), std::end(kPassedOver));
    for (const auto& [theirs, ours] : kSame) known.emplace_back(theirs);
    const std::string near = nearest_word(key, known);
    problem(key, "unknown key", near.empty() ? "see the table in the guide for clients of Consul" : "did you mean \"" + near + "\"?");
  }

  /// Listeners are made of several keys, in whatever order those come.
  ConfigNode finish() {
    listener("api.listen", addresses_.contains("http") ? addresses_["http"] : client_, ports_.contains("http") ? ports_["http"] : "8500",
             addresses_.contains("http") || !client_.empty() || ports_.contains("http"));
    listener("dns.listen", addresses_.contains("dns") ? addresses_["dns"] : client_, ports_.contains("dns") ? ports_["dns"] : "8600",
             addresses_.contains("dns") || !client_.empty() || ports_.contains("dns"));
    if (ports_.contains("serf_lan")) put("mesh.gossip_port", std::stoll(ports_["serf_lan"]));
    if (ports_.contains("server")) put("mesh.port", std::stoll(ports_["server"]));
    for (const char* other : {"https", "grpc"})
      if (ports_.contains(other) && ports_[other] != "-1" && ports_[other] != "0") problem(std::string("ports.") + other, "there is no such listener", "leave it out or set -1");
    return std::move(tree_);
  }

 private:
  void problem(const std::string& key, const std::string& message, const std::string& hint) { findings_.add(at_, key, message, hint); }

  void put(const std::string& dotted, const Json& value) {
    const auto dot = dotted.find('.');
    ConfigNode& section = std::get<ConfigNode::Table>(tree_.value)[dotted.substr(0, dot)];
    section.at = section.key_at = at_;
    std::get<ConfigNode::Table>(section.value)[dotted.substr(dot + 1)] = node_of(value, at_);
  }
  /// Consul takes a single address where we want a list.
  static Json listed(const std::string& key, const Json& value) {
    return (key == "retry_join" || key == "start_join") && value.is_string() ? Json::array({value}) : value;
  }
  void append(const std::string& key, const Json& value) {
    if (!value.is_array()) return problem(key, "expected a list of objects", "write " + key + ": [{...}]");
    ConfigNode& node = std::get<ConfigNode::Table>(tree_.value)[key];
    node.at = node.key_at = at_;
    if (!std::holds_alternative<ConfigNode::List>(node.value)) node.value = ConfigNode::List{};
    for (const Json& one : value) std::get<ConfigNode::List>(node.value).push_back(node_of(one, at_));
  }
  std::string text_of(const std::string& key, const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    problem(key, "expected a string", {});
    return {};
  }
  void read_datacenter(const Json& value) {
    // "dc1" is what we answer without a label; a label of its own keeps clusters apart.
    if (const std::string name = text_of("datacenter", value); name != "dc1") put("mesh.cluster", name);
  }
  void read_log_level(const Json& value) {
    std::string level = text_of("log_level", value);
    std::transform(level.begin(), level.end(), level.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    put("node.log_level", level == "err" ? "error" : level == "warning" ? "warn" : level);
  }
  void read_table(const std::string& key, const Json& value, std::initializer_list<std::string_view> known, std::map<std::string, std::string>& out) {
    if (!value.is_object()) return problem(key, "expected an object", {});
    for (auto it = value.begin(); it != value.end(); ++it) {
      const bool good = it.value().is_string() || (it.value().is_number_integer() && it.value() >= -1 && it.value() <= 65535);
      if (!good) problem(key + "." + it.key(), "expected an address or a port", {});
      else if (std::find(known.begin(), known.end(), it.key()) == known.end()) warnings_.push_back(at_.source + ": " + key + "." + it.key() + " is ignored");
      else out[it.key()] = it.value().is_string() ? it.value().get<std::string>() : std::to_string(it.value().get<std::int64_t>());
    }
  }
  void refuse_if_enabled(const std::string& key, const Json& value) {
    const bool enabled = value.is_object() && value.contains("enabled") && value["enabled"] == true;
    if (!enabled) return warnings_.push_back(at_.source + ": " + key + " is ignored");
    problem(key + ".enabled", key == "acl" ? "there are no access lists" : "there is no service mesh",
            key == "acl" ? "set it to false and keep the API on loopback, where it asks nobody who they are" : "set it to false");
  }
  void listener(const std::string& ours, const std::string& host, const std::string& port, bool given) {
    if (!given) return;
    if (port == "-1" && ours == "dns.listen") return put(ours, "off");
    const std::string where = host.empty() ? "127.0.0.1" : host;
    if (where.starts_with("unix:")) return put(ours, where.starts_with("unix://") ? "unix:" + where.substr(7) : where);
    put(ours, (where.find(':') == std::string::npos ? where : "[" + where + "]") + ":" + port);
  }

  ConfigOrigin at_;
  ConfigFindings& findings_;
  std::vector<std::string>& warnings_;
  ConfigNode tree_;
  std::string client_;
  std::map<std::string, std::string> addresses_, ports_;
};

}  // namespace

std::optional<ConfigNode> config_parse_consul(std::string_view text, const std::string& source, std::size_t rank,
                                              ConfigFindings& findings, std::vector<std::string>& warnings) {
  ConfigOrigin at{source, 0, 0, {}, rank};
  Json document;
  try {
    document = Json::parse(text);
  } catch (const Json::parse_error& error) {
    // The byte is all that the parser tells; a line is what people look for.
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    at.line = static_cast<std::uint32_t>(1 + std::count(text.begin(), end, '\n'));
    findings.add(at, {}, "the file is no JSON", "mend it near this line");
    return std::nullopt;
  }
  if (!document.is_object()) {
    findings.add(at, {}, "the file is no JSON object", "write {\"node_name\": ...}");
    return std::nullopt;
  }
  ConsulFile file(at, findings, warnings);
  for (auto it = document.begin(); it != document.end(); ++it) file.read(it.key(), it.value());
  return file.finish();
}

}  // namespace agent
