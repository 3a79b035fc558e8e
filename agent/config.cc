#include "agent/config.h"

#include "agent/config_sources.h"
#include "agent/config_arming.h"
#include "agent/config_catalog.h"
#include "agent/config_consul.h"
#include "agent/config_demo.h"
#include "agent/config_dns.h"
#include "agent/config_egress.h"
#include "agent/config_guard_read.h"
#include "agent/config_load.h"
#include "agent/config_observe.h"
#include "agent/config_order.h"
#include "agent/config_proxy_protocol.h"
#include "agent/config_route.h"
#include "agent/config_tcp.h"
#include "agent/config_tls.h"
#include "agent/config_upstream.h"
#include "agent/config_values.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// ---------------------------------------------------------------- checks of single values

void check_name(ConfigReader& reader, const std::string& key, const std::string& value) {
  if (!config_is_name(value))
    reader.problem(key, "\"" + value + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
}
void check_ip(ConfigReader& reader, const std::string& key, const std::string& value) {
  if (!config_is_ip(value))
    reader.problem(key, "\"" + value + "\" is no IP address", "write a literal such as \"10.0.0.1\"");
}

/// Everything that the section readers share.
struct Reading {
  ConfigFindings& findings;
  Config& config;
  const std::set<std::string>& all_keys;
  bool opens_files;  ///< false for text that nobody vouches for
  std::function<std::optional<std::string>(std::string_view)> check_assert;
  std::function<std::optional<std::string>(std::string_view, RegistrationKind)> check_registration;
  std::function<std::optional<std::string>(const ListenTlsConfig&)> check_listen_tls;
  std::function<std::optional<std::string>(const InstanceTlsConfig&)> check_instance_tls;
  RouteChecks routes{};

  [[nodiscard]] TlsReading tls() const { return {all_keys, opens_files, check_listen_tls, check_instance_tls}; }
};

/// A file that must be readable now, so that the fault is found here with its line and not at the first connection.
void check_file(Reading& reading, ConfigReader& reader, const std::string& key, const std::filesystem::path& path) {
  if (!reading.opens_files || path.empty()) return;
  if (const auto text = config_read_file(path, kConfigFileBytesMax); !text)
    reader.problem(key, "cannot read " + path.string() + ": " + text.error(),
                   "check the path and that the agent's user may read it, or make one with \"outrigger init\"");
}

// ---------------------------------------------------------------- sections

void read_node(Reading& reading, ConfigReader reader, const std::string& host_name) {
  NodeConfig& node = reading.config.node;
  for (const char c : host_name.substr(0, 64)) node.name += config_is_name({&c, 1}) ? c : '-';
  if (node.name.empty()) node.name = "localhost";
  const std::string by_machine = config_quoted(node.name);
  if (reader.text("name", node.name)) {
    check_name(reader, "name", node.name);
    reader.note_by_others("name", by_machine);
  }
  if (reader.path("data_dir", node.data_dir, false) && node.data_dir.empty())
    reader.problem("data_dir", "the path is empty", "leave the key out for ./outrigger-data");
  reader.path("pid_file", node.pid_file, false);
  reader.text("zone", node.zone, 64);
  reader.choice("log_level", node.log_level,
                {{"trace", LogLevel::kTrace},
                 {"debug", LogLevel::kDebug},
                 {"info", LogLevel::kInfo},
                 {"warn", LogLevel::kWarn},
                 {"error", LogLevel::kError}});
  reader.finish(reading.all_keys);
}

void read_api(Reading& reading, ConfigReader reader) {
  ApiConfig& api = reading.config.api;
  reader.address("listen", api.listen);
  reader.boolean("insecure", api.insecure);
  reader.duration("session_ttl_min", api.session_ttl_min, Milliseconds(100), std::chrono::hours(24));
  if (!api.listen.is_local() && !api.insecure)
    reader.problem("listen",
                   api.listen.text() + " can be reached from other machines, and the API asks nobody who they are",
                   "listen on 127.0.0.1 or unix:/path, or set api.insecure = true on a network that you trust");
  reader.finish(reading.all_keys);
}

void read_mesh_seeds(ConfigReader& reader, MeshConfig& mesh) {
  std::vector<std::string> seeds;
  reader.list("seeds", seeds, 64);
  for (const auto& seed : seeds) {
    auto parsed = parse_host_port(seed);
    if (!parsed && seed.find_first_of(" /:[]") == std::string::npos && !seed.empty()) parsed = HostPort{seed, 0, {}};
    if (!parsed && config_is_ip(seed)) parsed = HostPort{seed, 0, {}};
    const auto colon = seed.rfind(':');
    if (!parsed && colon != std::string::npos && colon > 0) {
      parsed = parse_host_port("127.0.0.1" + seed.substr(colon));
      if (parsed && seed.substr(0, colon).find_first_of(" /:[]") == std::string::npos)
        parsed->host = seed.substr(0, colon);
      else
        parsed.reset();
    }
    if (!parsed || parsed->is_unix()) {
      reader.problem("seeds", "\"" + seed + "\" is no seed address", "write \"10.0.0.1:7946\" or \"name:7946\"");
      continue;
    }
    if (parsed->port == 0) parsed->port = mesh.gossip_port;
    mesh.seeds.push_back(*parsed);
  }
}

void read_mesh_secrets(Reading& reading, ConfigReader& reader, MeshConfig& mesh, bool& has_key) {
  reader.path("ca", mesh.ca, true);
  reader.path("cert", mesh.cert, true);
  reader.path("key", mesh.key, true);
  const int given = !mesh.ca.empty() + !mesh.cert.empty() + !mesh.key.empty();
  if (given != 0 && given != 3)
    reader.problem(mesh.ca.empty()     ? "ca"
                   : mesh.cert.empty() ? "cert"
                                       : "key",
                   "ca, cert and key belong together", "give all three or none; \"outrigger init\" makes them");
  check_file(reading, reader, "ca", mesh.ca);
  check_file(reading, reader, "cert", mesh.cert);
  check_file(reading, reader, "key", mesh.key);
  std::string text;
  std::filesystem::path file;
  const bool inline_key = reader.text("gossip_key", text), key_file = reader.path("gossip_key_file", file, true);
  has_key = inline_key || key_file;
  if (inline_key && key_file) {
    reader.problem("gossip_key_file", "gossip_key is set as well", "keep one of the two");
    return;
  }
  const std::string key = inline_key ? "gossip_key" : "gossip_key_file";
  if (key_file) {
    if (!reading.opens_files) return;
    auto read = config_read_file(file, 4096);
    if (!read) {
      reader.problem(key, "cannot read " + file.string() + ": " + read.error(),
                     "check the path and that the agent's user may read it, or make one with \"outrigger keygen\"");
      return;
    }
    text = std::move(*read);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  }
  if (!has_key) return;
  mesh.gossip_key = config_gossip_key(text);
  if (!mesh.gossip_key)
    reader.problem(key, "the key is not the Base64 of 32 bytes", "make one with \"outrigger keygen\"");
}

void read_mesh(Reading& reading, ConfigReader reader) {
  MeshConfig& mesh = reading.config.mesh;
  if (reader.text("bind", mesh.bind)) check_ip(reader, "bind", mesh.bind);
  if (reader.text("advertise", mesh.advertise)) {
    check_ip(reader, "advertise", mesh.advertise);
    if (config_is_any_ip(mesh.advertise))
      reader.problem("advertise", mesh.advertise + " is nowhere to connect to", "give this machine's own address");
    reader.note_by_others("advertise", config_is_any_ip(mesh.bind) ? std::string() : config_quoted(mesh.bind));
  } else if (config_is_any_ip(mesh.bind)) {
    reader.problem("bind", mesh.bind + " does not say where others reach this agent", "set mesh.advertise as well");
  } else {
    mesh.advertise = mesh.bind;
  }
  reader.number("gossip_port", mesh.gossip_port, 0, 65535);
  reader.number("port", mesh.port, 0, 65535);
  if (mesh.port != 0 && mesh.port == mesh.gossip_port)
    reader.problem("port", "mesh.port and mesh.gossip_port are both " + std::to_string(mesh.port) + ", both TCP",
                   "use two ports; usual are 7947 and 7946");
  read_mesh_seeds(reader, mesh);
  bool has_key = false;
  read_mesh_secrets(reading, reader, mesh, has_key);
  if (reader.text("cluster", mesh.cluster) && !mesh.cluster.empty()) check_name(reader, "cluster", mesh.cluster);
  reader.boolean("insecure", mesh.insecure);
  if (config_is_ip(mesh.bind) && !HostPort{mesh.bind, 0, {}}.is_local() && !mesh.insecure &&
      (!mesh.has_tls() || !has_key))
    reader.problem("bind",
                   mesh.bind + " can be reached from other machines, but there is no " +
                       (mesh.has_tls() ? "gossip_key"
                        : has_key      ? "ca, cert and key"
                                       : "ca, cert, key or gossip_key"),
                   "make them with \"outrigger init\", or set mesh.insecure = true on a network that you trust");
  reader.finish(reading.all_keys);
}

void read_raft(Reading& reading, ConfigReader reader) {
  RaftConfig& raft = reading.config.raft;
  reader.number("bootstrap_expect", raft.bootstrap_expect, 1, 9);
  const bool alone = raft.bootstrap_expect == 1 || (reading.config.mesh.seeds.empty() && raft.bootstrap_expect == 0);
  raft.bootstrap = alone;
  const bool asked = reader.boolean("bootstrap", raft.bootstrap);
  reader.note_by_others("bootstrap", alone ? "true" : "false");
  if (asked && raft.bootstrap && raft.bootstrap_expect > 1)
    reader.problem("bootstrap", "bootstrap = true starts a cluster alone, bootstrap_expect waits for others",
                   "keep bootstrap_expect on the first agents, or bootstrap on exactly one");
  if (raft.bootstrap) raft.bootstrap_expect = 0;
  const bool counted = reader.number("voters", raft.voters, 1, 9);
  if (raft.bootstrap_expect > raft.voters && counted)
    reader.problem("voters", "fewer voters than bootstrap_expect",
                   "set voters to at least " + std::to_string(raft.bootstrap_expect));
  raft.voters = std::max(raft.voters, raft.bootstrap_expect);
  reader.duration("heartbeat", raft.heartbeat, Milliseconds(5), seconds(5));
  reader.duration("election_min", raft.election_min, Milliseconds(20), seconds(60));
  reader.duration("election_max", raft.election_max, Milliseconds(30), seconds(120));
  if (raft.election_min < 3 * raft.heartbeat)
    reader.problem("election_min", "less than three heartbeats: one late packet would depose the leader",
                   "set it to at least " + std::to_string(3 * raft.heartbeat.count()) + "ms");
  if (raft.election_max <= raft.election_min)
    reader.problem("election_max", "not above election_min: candidates would split the vote again and again",
                   "twice election_min is usual");
  reader.duration("write_timeout", raft.write_timeout, Milliseconds(100), seconds(60));
  reader.duration("replace_after", raft.replace_after, seconds(1), hours(24 * 7));
  reader.size("disk_reserve", raft.disk_reserve_bytes, 0, 64ULL << 30);
  reader.finish(reading.all_keys);
}

void read_path(ConfigReader& reader, const char* key, std::string& path) {
  if (reader.text(key, path) && (!path.starts_with('/') || path.find_first_of(" \r\n\t#") != std::string::npos))
    reader.problem(key, "\"" + config_url_shown(path) + "\" is no request path", "it starts with '/' and holds no blanks");
}

void read_health(Reading& reading, ConfigReader reader) {
  HealthConfig& health = reading.config.service->health;
  read_path(reader, "path", health.path);
  reader.duration("every", health.every, Milliseconds(50), hours(1));
  reader.duration("timeout", health.timeout, Milliseconds(10), minutes(5));
  if (health.timeout > health.every)
    reader.problem("timeout", "longer than health.every: checks would overlap", "set it to at most every");
  reader.number("fall", health.fall, 1, 100);
  reader.number("rise", health.rise, 1, 100);
  health.asserts = config_read_asserts(reading.check_assert, reader, "assert");
  health.critical_asserts = config_read_asserts(reading.check_assert, reader, "critical_assert");
  reader.finish(reading.all_keys);
}

void read_service(Reading& reading, ConfigReader reader) {
  if (reader.present()) reading.config.service.emplace();
  ServiceConfig absent;
  ServiceConfig& service = reading.config.service ? *reading.config.service : absent;
  if (reader.text("name", service.name)) check_name(reader, "name", service.name);
  if (!reader.address("address", service.address)) {
    if (reader.present() && !reader.has("address"))
      reader.problem("address", "[service] does not say where the instance listens",
                     "add address = \"127.0.0.1:9001\"");
  } else if (!service.address.is_unix() && service.address.port == 0) {
    reader.problem("address", "port 0 is nowhere to connect to", "give the instance's own port");
  }
  reader.number("weight", service.weight, 0, 1000);
  reader.choice("tier", service.tier, {{"active", Tier::kActive}, {"backup", Tier::kBackup}});
  reader.boolean("eligible", service.eligible);
  reader.duration("lease", service.lease, Milliseconds(100), seconds(60));
  reader.duration("margin", service.margin, Milliseconds(1), seconds(60));
  if (service.margin > service.lease || service.margin < service.lease / 100)
    reader.problem("margin",
                   "must lie between a hundredth of the lease and the lease: it is what clock drift may use up",
                   "a third of the lease is usual");
  reader.duration("order_wait", service.order_wait, Milliseconds(0), seconds(10));
  reader.path("role_file", service.role_file, false);
  read_path(reader, "metrics", service.metrics);
  config_read_instance_tls(reader, reading.tls(), service);
  reader.choice("proxy_protocol", service.proxy_protocol, {{"off", std::uint8_t{0}}, {"v1", std::uint8_t{1}}, {"v2", std::uint8_t{2}}});
  auto health = reader.section("health");
  auto hooks = reader.section("hooks");
  if (reader.present()) {
    read_health(reading, std::move(health));
    service.checks = config_read_checks(reader, reading.all_keys, reading.check_assert, reading.config.catalog.check_scripts);
    service.hooks.promote = config_read_hook(reading.all_keys, hooks.section("promote"), hooks, "promote");
    service.hooks.demote = config_read_hook(reading.all_keys, hooks.section("demote"), hooks, "demote");
    hooks.duration("timeout", service.hooks.timeout, Milliseconds(50), minutes(5));
    hooks.finish(reading.all_keys);
  }
  reader.finish(reading.all_keys);
}

void read_listeners(Reading& reading, ConfigReader& root) {
  Config& config = reading.config;
  for (auto& reader : root.tables("listen", 64)) {
    ListenConfig listen;
    if (!reader.address("address", listen.address) && reader.present() && !reader.has("address"))
      reader.problem("address", "[[listen]] without an address", "add address = \"127.0.0.1:8080\"");
    config_read_listen_tls(reader, reading.tls(), listen);
    config_read_proxy_protocol(reader.section("proxy_protocol"), reading.all_keys, listen);
    reader.list("trusted_proxies", listen.trusted_proxies, 64);
    for (const auto& proxy : listen.trusted_proxies)
      if (!config_is_cidr(proxy))
        reader.problem("trusted_proxies", "\"" + proxy + "\" is no IP address or range", "write \"10.0.0.0/8\"");
    config_read_tcp(reader, reading.all_keys, config.listeners, listen);
    const auto clashes = [&](const HostPort& other) {
      return listen.address == other && (other.is_unix() || other.port != 0) && !other.text().empty();
    };
    if (clashes(config.api.listen))
      reader.problem("address", listen.address.text() + " is taken by api.listen", "use another port");
    if (config.service && clashes(config.service->address))
      reader.problem("address", listen.address.text() + " is service.address: the proxy would call itself",
                     "use another port for clients");
    for (const auto& other : config.listeners)
      if (clashes(other.address)) reader.problem("address", listen.address.text() + " is listed twice", "remove one");
    reader.finish(reading.all_keys);
    config.listeners.push_back(std::move(listen));
  }
}

void read_proxy(Reading& reading, ConfigReader reader) {
  ProxyConfig& proxy = reading.config.proxy;
  reader.number("threads", proxy.threads, 0, 256);
  reader.size("header_bytes_max", proxy.header_bytes_max, 1024, 1 << 20);
  reader.size("body_bytes_max", proxy.body_bytes_max, 0, 1ULL << 40);
  reader.number("compress_streams_max", proxy.compress_streams_max, 1, 100'000);
  reader.size("cache_bytes_max", proxy.cache_bytes_max, 1ULL << 20, 1ULL << 40);
  reader.number("cache_entries_max", proxy.cache_entries_max, 1, 10'000'000);
  reader.number("upstream_requests_max", proxy.upstream_requests_max, 0, 1'000'000'000);
  reader.number("client_requests_max", proxy.client_requests_max, 0, 1'000'000'000);
  reader.number("connections_max", proxy.connections_max, 1, 1000000);
  reader.duration("head_timeout", proxy.head_timeout, Milliseconds(100), minutes(5));
  reader.size("client_rate_min", proxy.client_rate_min, 0, 1ULL << 30);
  reader.duration("client_rate_window", proxy.client_rate_window, Milliseconds(100), minutes(10));
  reader.duration("retire_timeout", proxy.retire_timeout, Milliseconds(0), hours(24));
  auto h2 = reader.section("h2");
  h2.number("streams", proxy.h2.streams, 1, 1000);
  h2.size("stream_window", proxy.h2.stream_window, 65535, 16U << 20);
  h2.size("connection_window", proxy.h2.connection_window, 65535, 64U << 20);
  h2.number("resets", proxy.h2.resets, 1, 1000000);
  h2.number("control_frames", proxy.h2.control_frames, 10, 1000000);
  if (proxy.h2.connection_window < proxy.h2.stream_window)
    h2.problem("connection_window", "smaller than stream_window: no body could use its own", "raise it, or lower stream_window");
  h2.finish(reading.all_keys);
  config_read_request_id(reader.section("request_id"), reading.all_keys, proxy.request_id);
  config_check_order_fields(reader.section("request_id"), reading.config);
  if (reader.size("trails", proxy.trail_bytes, 0, 64 << 20) && proxy.trail_bytes != 0 && proxy.trail_bytes < (16 << 10))
    reader.problem("trails", "less than 16KiB holds the trails of a few requests only", "256KiB is usual; \"0B\" = none");
  reader.finish(reading.all_keys);
}

void read_outlier(Reading& reading, ConfigReader reader) {
  OutlierConfig& outlier = reading.config.outlier;
  reader.number("consecutive", outlier.consecutive, 0, 1000);
  reader.duration("window", outlier.window, Milliseconds(100), hours(1));
  reader.duration("eject", outlier.eject, Milliseconds(100), hours(1));
  reader.number("max_ejected_percent", outlier.max_ejected_percent, 0, 100);
  reader.finish(reading.all_keys);
}

void read_all(Reading& reading, const ConfigNode& tree, const std::string& host_name) {
  ConfigReader root(&tree, {}, {}, reading.findings);
  read_node(reading, root.section("node"), host_name);
  read_api(reading, root.section("api"));
  config_read_catalog(root, reading.all_keys, reading.check_registration, reading.config);
  config_read_dns(root.section("dns"), reading.all_keys, reading.config.dns);
  read_mesh(reading, root.section("mesh"));
  read_raft(reading, root.section("raft"));
  read_service(reading, root.section("service"));
  config_read_arming(reading.all_keys, root.section("arming"), reading.config);
  read_listeners(reading, root);
  config_read_upstreams(root, reading.all_keys, reading.check_assert, reading.tls(), reading.config);
  config_read_routes(root, reading.all_keys, reading.routes, reading.config);
  config_read_egress(root, reading.tls(), reading.config);
  config_read_breakers(root, reading.all_keys, reading.config);
  config_read_guard(root, reading.all_keys, reading.config);
  read_proxy(reading, root.section("proxy"));
  read_outlier(reading, root.section("outlier"));
  config_read_access_log(root.section("access_log"), reading.all_keys, reading.config.node.data_dir, reading.config.access_log);
  config_read_demo(root.section("demo"), reading.all_keys, reading.config);
  config_read_tracing(root.section("tracing"), reading.tls(), reading.config.tracing);
  config_read_halt(root.section("halt"), reading.all_keys, reading.config.halt);
  root.finish(reading.all_keys);
}

tl::expected<ReadSettings, std::vector<ConfigProblem>> finish_reading(ReadSettings&& settings, ConfigFindings& findings) {
  settings.sheet = std::move(findings.sheet);
  if (findings.problems.empty()) return std::move(settings);
  std::stable_sort(findings.problems.begin(), findings.problems.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.line, a.second.column) < std::tie(b.first, b.second.line, b.second.column);
  });
  std::vector<ConfigProblem> out;
  for (auto& [rank, problem] : findings.problems) out.push_back(std::move(problem));
  return tl::unexpected(std::move(out));
}

}  // namespace

bool HostPort::is_local() const {
  return is_unix() || host == "::1" || host == "localhost" || (host.starts_with("127.") && config_is_ip(host));
}

std::string HostPort::text() const {
  if (is_unix()) return "unix:" + unix_path;
  if (host.empty()) return {};
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    if (!text.starts_with('/') || text.size() > 107 || text.find('\0') != std::string_view::npos) return std::nullopt;
    return HostPort{{}, 0, std::string(text)};
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  HostPort out;
  const auto digits = text.substr(colon + 1);
  const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (digits.empty() || code != std::errc{} || stop != digits.data() + digits.size()) return std::nullopt;
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  out.host = host.empty() ? "127.0.0.1" : host == "localhost" ? "127.0.0.1" : std::string(host);
  if (!config_is_ip(out.host) || (out.host.find(':') != std::string::npos) != bracketed) return std::nullopt;
  return out;
}

std::string ConfigProblem::text() const {
  std::string out = source;
  if (line != 0) out += ":" + std::to_string(line) + (column == 0 ? "" : ":" + std::to_string(column));
  if (!key.empty()) out += ": " + key;
  out += ": " + message;
  return hint.empty() ? out : out + "; " + hint;
}

std::string nearest_word(std::string_view word, std::span<const std::string> candidates) {
  if (word.size() > 64) return {};
  std::string best;
  std::size_t best_cost = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    // Edit distance with swaps of neighbours (optimal string alignment), three rows.
    std::vector<std::size_t> before, last(candidate.size() + 1), row(candidate.size() + 1);
    for (std::size_t j = 0; j <= candidate.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const bool same = word[i - 1] == candidate[j - 1];
        row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
        if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1])
          row[j] = std::min(row[j], before[j - 2] + 1);
      }
      before = std::exchange(last, row);
    }
    // A distance that replaces every letter says nothing, so short words need a letter in common.
    if (last.back() < best_cost && last.back() < std::max(word.size(), candidate.size())) {
      best_cost = last.back();
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> config_keys() {
  Config config;
  ConfigFindings findings;
  const std::set<std::string> none;
  Reading reading{findings, config, none, false, {}, {}, {}, {}};
  ConfigNode tree;
  auto& tables = std::get<ConfigNode::Table>(tree.value);
  ConfigNode upstream, service;
  for (const auto* name : {"endpoints", "check"}) std::get<ConfigNode::Table>(upstream.value)[name].value = ConfigNode::List{ConfigNode{}};
  std::get<ConfigNode::Table>(service.value)["check"].value = ConfigNode::List{ConfigNode{}};
  tables["upstream"].value = ConfigNode::List{std::move(upstream)};
  for (const auto* name : {"listen", "route", "egress", "breaker"}) tables[name].value = ConfigNode::List{ConfigNode{}};
  tables["service"] = std::move(service);
  ConfigNode tls;
  std::get<ConfigNode::Table>(tls.value)["certificates"].value = ConfigNode::List{ConfigNode{}};
  std::get<ConfigNode::Table>(std::get<ConfigNode::List>(tables["listen"].value)[0].value)["tls"] = std::move(tls);
  read_all(reading, tree, "localhost");
  return {findings.keys.begin(), findings.keys.end()};
}

namespace {

/// The files of a source, or the texts that stand in their place, as one tree. Every fault is in `findings`.
std::size_t read_files(const ConfigSource& source, const SettingsTexts* texts, ConfigNode& tree, Config& config, ConfigFindings& findings) {
  std::vector<std::pair<std::filesystem::path, std::optional<std::string>>> all;
  std::vector<std::filesystem::path> files;
  if (texts != nullptr) all.assign(texts->begin(), texts->end());
  else if (source.file) files = config_files(*source.file, findings);
  if (source.folder) config_folder_files(*source.folder, {".toml", ".json"}, files, findings);
  for (auto& file : files) all.emplace_back(std::move(file), std::nullopt);
  std::size_t rank = 0;
  for (const auto& [file, given] : all) {
    ++rank;
    const auto text = given ? tl::expected<std::string, std::string>(*given) : config_read_file(file, kConfigFileBytesMax);
    if (!text) {
      findings.add({file.string(), 0, 0, {}, rank}, {}, "cannot read the file: " + text.error(),
                   "check the path given with --config and that the agent's user may read it");
      continue;
    }
    config.files.push_back(file);
    auto parsed = file.extension() == ".json" ? config_parse_consul(*text, file.string(), rank, findings, config.warnings)
                                              : config_parse_toml(*text, file.string(), rank, findings);
    if (parsed) config_merge(tree, std::move(*parsed), true);
  }
  return rank;
}

/// ReadSettings::files_text. What is wrong with the files is found where they are read with everything else.
std::string files_text(const ConfigNode& tree, const std::set<std::string>& all_keys) {
  Config config;
  ConfigFindings findings;
  Reading reading{findings, config, all_keys, false, {}, {}, {}, {}};
  read_all(reading, tree, {});
  return config_sheet_text(findings.sheet);
}

}  // namespace

tl::expected<ReadSettings, std::vector<ConfigProblem>> read_settings(const ConfigSource& source, const SettingsTexts* texts) {
  ReadSettings settings;
  Config& config = settings.config;
  ConfigFindings findings;
  ConfigNode tree;
  const std::size_t rank = read_files(source, texts, tree, config, findings);
  // A file that could not be understood would only bring forth false alarms about what it did not set.
  if (!findings.problems.empty()) return finish_reading(std::move(settings), findings);
  const auto keys = config_keys();
  const std::set<std::string> all_keys(keys.begin(), keys.end());
  const ConfigNode of_files = tree;
  ConfigNode above;
  config_read_environment(source.environment, rank + 1, above, findings);
  config_merge(tree, std::move(above), true);
  ConfigNode flags;
  for (const auto& [key, text] : source.flags) {
    const auto name = source.flag_names.find(key);
    config_put_text(flags, key, text,
                    {"command line", 0, 0, name == source.flag_names.end() ? key : name->second, rank + 2});
  }
  config_merge(tree, std::move(flags), true);
  Reading reading{findings, config, all_keys, true, source.check_assert, source.check_registration,
                  source.check_listen_tls, source.check_instance_tls, {source.check_header, true}};
  read_all(reading, tree, source.host_name);
  if (findings.problems.empty()) settings.files_text = files_text(of_files, all_keys);
  return finish_reading(std::move(settings), findings);
}

tl::expected<ReadSettings, std::vector<ConfigProblem>> parse_settings(std::string_view toml, std::string_view name) {
  ReadSettings settings;
  Config& config = settings.config;
  ConfigFindings findings;
  auto tree = name.ends_with(".json") ? config_parse_consul(toml, std::string(name), 1, findings, config.warnings)
                                      : config_parse_toml(toml, std::string(name), 1, findings);
  if (!tree) return finish_reading(std::move(settings), findings);
  const auto keys = config_keys();
  const std::set<std::string> all_keys(keys.begin(), keys.end());
  Reading reading{findings, config, all_keys, false, {}, {}, {}, {}};
  read_all(reading, *tree, "localhost");
  settings.files_text = config_sheet_text(findings.sheet);
  return finish_reading(std::move(settings), findings);
}

tl::expected<SettingsTexts, std::vector<ConfigProblem>> read_settings_texts(const std::filesystem::path& file) {
  ReadSettings nothing;
  ConfigFindings findings;
  SettingsTexts texts;
  for (const auto& one : config_files(file, findings)) {
    auto text = config_read_file(one, kConfigFileBytesMax);
    if (text) texts.emplace_back(one, std::move(*text));
    else findings.add({one.string(), 0, 0, {}, 1}, {}, "cannot read the file: " + text.error(), "check the path, and that you may read it");
  }
  if (findings.problems.empty()) return texts;
  return tl::unexpected(finish_reading(std::move(nothing), findings).error());
}

tl::expected<Config, std::vector<ConfigProblem>> load_config(const ConfigSource& source) {
  auto read = read_settings(source);
  if (!read) return tl::unexpected(std::move(read.error()));
  return std::move(read->config);
}

tl::expected<Config, std::vector<ConfigProblem>> parse_config(std::string_view toml, std::string_view name) {
  auto read = parse_settings(toml, name);
  if (!read) return tl::unexpected(std::move(read.error()));
  return std::move(read->config);
}

}  // namespace agent
