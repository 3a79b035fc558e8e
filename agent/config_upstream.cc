#include "agent/config_upstream.h"

#include <algorithm>
#include <charconv>

#include "agent/config_values.h"

namespace agent {
namespace {

constexpr std::size_t kUpstreamsMax = 64, kEndpointsMax = 64, kChecksMax = 8;
constexpr std::size_t kRunsMax = 1024;  // checks times endpoints, of all upstreams: each has a timer and perhaps a connection

/// "204" or "200-299".
std::optional<std::pair<int, int>> parse_statuses(std::string_view text) {
  const auto status = [](std::string_view digits) -> std::optional<int> {
    int value = 0;
    const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = code == std::errc() && stop == digits.data() + digits.size() && digits.size() == 3;
    return whole && value >= 200 && value <= 599 ? std::optional(value) : std::nullopt;
  };
  const auto dash = text.find('-');
  const auto first = status(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : status(text.substr(dash + 1));
  if (!first || !last || *first > *last) return std::nullopt;
  return std::pair(*first, *last);
}

std::vector<std::string> status_words(const std::vector<std::pair<int, int>>& ranges) {
  std::vector<std::string> out;
  for (const auto& [first, last] : ranges) out.push_back(std::to_string(first) + (first == last ? "" : "-" + std::to_string(last)));
  return out;
}

void read_http_part(ConfigReader& reader, const AssertCheck& check, CheckConfig& out) {
  if (reader.text("http", out.http, 1024) && (!out.http.starts_with('/') || out.http.find_first_of(" \t\r\n#") != std::string::npos))
    reader.problem("http", "\"" + config_url_shown(out.http) + "\" is no request path", "it starts with '/' and holds no blanks; the place is the endpoint's address");
  std::vector<std::string> expect = status_words(out.expect);
  if (reader.list("expect", expect, 16)) {
    out.expect.clear();
    for (const std::string& one : expect) {
      if (const auto range = parse_statuses(one)) out.expect.push_back(*range);
      else reader.problem("expect", "\"" + one + "\" is no status from 200 to 599", "write [\"200\"], [\"200-299\", \"401\"]");
    }
    reader.note_meaning("expect", config_quoted(status_words(out.expect)));
    if (expect.empty()) reader.problem("expect", "no status would be good", "name some, or remove the key");
  }
  out.asserts = config_read_asserts(check, reader, "assert");
  out.critical_asserts = config_read_asserts(check, reader, "critical_assert");
}

CheckConfig read_check(ConfigReader& reader, const std::set<std::string>& all_keys, const AssertCheck& check, CheckScripts scripts) {
  CheckConfig out;
  read_http_part(reader, check, out);
  reader.boolean("tcp", out.tcp);
  reader.list("exec", out.exec, 64);
  if (reader.address("address", out.address)) {
    if (!out.address->is_unix() && out.address->port == 0) reader.problem("address", "port 0 is nowhere to connect to", "give the real port");
  }
  reader.duration("every", out.every, Milliseconds(50), std::chrono::hours(1));
  reader.duration("timeout", out.timeout, Milliseconds(10), std::chrono::minutes(5));
  if (out.timeout > out.every) reader.problem("timeout", "longer than every: runs would overlap", "set it to at most every");
  reader.number("fall", out.fall, 1, 100);
  reader.number("rise", out.rise, 1, 100);
  const int kinds = (out.http.empty() ? 0 : 1) + (out.tcp ? 1 : 0) + (out.exec.empty() ? 0 : 1);
  if (reader.present() && kinds != 1)
    reader.problem(kinds == 0 ? "http" : out.tcp ? "tcp" : "exec", kinds == 0 ? "a check that does not say what it checks" : "one check is made in one way",
                   "write http = \"/health\", tcp = true, or exec = [\"/path/program\"]");
  for (const char* key : {"expect", "assert", "critical_assert"}) {
    if (reader.has(key) && out.http.empty()) reader.problem(key, "only a check over http has an answer to look at", "remove it, or add http = \"/health\"");
  }
  if (out.address && !out.exec.empty()) reader.problem("address", "a program finds the endpoint in OUTRIGGER_ADDRESS", "remove it");
  if (!out.exec.empty() && out.exec.front().empty()) reader.problem("exec", "the program's name is empty", "write exec = [\"/path/program\"]");
  if (!out.exec.empty() && scripts == CheckScripts::kNone)
    reader.problem("exec", "catalog.check_scripts = \"none\" lets no check run a program", "write \"files\" there, or check over http or tcp");
  reader.finish(all_keys);
  return out;
}

/// A host name by RFC 1123, with '_' as service records have it; the last label is no number, or it would be a broken address.
bool is_host_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  if (text.ends_with('.')) text.remove_suffix(1);
  bool digits_only = true;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t dot = std::min(text.find('.', from), text.size());
    const std::string_view label = text.substr(from, dot - from);
    const bool plain = std::all_of(label.begin(), label.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
    if (label.empty() || label.size() > 63 || !plain || label.front() == '-' || label.back() == '-') return false;
    digits_only = std::all_of(label.begin(), label.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    from = dot + 1;
  }
  return !digits_only;
}

/// An address, or "name:port" whose name is looked up while the agent runs. @return false: neither, which is reported
bool read_place(ConfigReader& reader, UpstreamEndpointConfig& out) {
  std::string value;
  if (!reader.text("address", value)) return false;
  const auto colon = value.rfind(':');
  const std::string_view host = std::string_view(value).substr(0, std::min(colon, value.size()));
  if (const auto parsed = parse_host_port(value)) {
    out.address = *parsed;
    return true;
  }
  const auto port = colon == std::string::npos ? std::nullopt : parse_host_port("127.0.0.1" + value.substr(colon));
  if (!port || !is_host_name(host)) {
    reader.problem("address", "\"" + value + "\" is no address", "write \"10.0.2.1:9000\", \"[2001:db8::1]:9000\", \"broker.example.com:443\" or \"unix:/path\"");
    return false;
  }
  out.name = std::string(host);
  std::transform(out.name.begin(), out.name.end(), out.name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  out.address.port = port->port;
  return true;
}

void read_endpoints(ConfigReader& reader, const std::set<std::string>& all_keys, const Config& config, UpstreamConfig& out) {
  for (auto& one : reader.tables("endpoints", kEndpointsMax)) {
    UpstreamEndpointConfig endpoint;
    const bool placed = read_place(one, endpoint);
    one.note_meaning("address", config_quoted(endpoint.text()));
    if (!placed) {
      if (one.present() && !one.has("address")) one.problem("address", "an endpoint without an address", "add address = \"10.0.2.1:9000\"");
    } else if (!endpoint.address.is_unix() && endpoint.address.port == 0) {
      one.problem("address", "port 0 is nowhere to connect to", "give the real port");
    }
    one.number("weight", endpoint.weight, 0, 1000);
    one.choice("tier", endpoint.tier, {{"active", Tier::kActive}, {"backup", Tier::kBackup}});
    one.text("zone", endpoint.zone, 64);
    for (const auto& other : out.endpoints)
      if (other.address == endpoint.address && other.name == endpoint.name && (!endpoint.name.empty() || !endpoint.address.text().empty()))
        one.problem("address", endpoint.text() + " is listed twice", "give it a larger weight instead");
    for (const auto& listen : config.listeners)
      if (endpoint.name.empty() && listen.address == endpoint.address && (endpoint.address.is_unix() || endpoint.address.port != 0))
        one.problem("address", endpoint.address.text() + " is a [[listen]] of this agent: the proxy would call itself", "give the real server");
    one.finish(all_keys);
    out.endpoints.push_back(std::move(endpoint));
  }
  if (reader.present() && out.endpoints.empty())
    reader.problem("endpoints", "an upstream without endpoints answers nothing", "add endpoints = [{ address = \"10.0.2.1:9000\" }]");
  const bool any = std::any_of(out.endpoints.begin(), out.endpoints.end(), [](const auto& e) { return e.weight > 0; });
  if (!out.endpoints.empty() && !any) reader.problem("endpoints", "all weights are 0: nobody would get requests", "give one a weight");
}

}  // namespace

std::vector<std::string> config_read_asserts(const AssertCheck& check, ConfigReader& reader, const std::string& key) {
  std::vector<std::string> texts;
  reader.list(key, texts, 32);
  for (const auto& text : texts)
    if (const auto fault = check ? check(text) : std::nullopt)
      reader.problem(key, "cannot read \"" + text + "\": " + *fault, "write it like \"$.status=='healthy'\"");
  return texts;
}

std::vector<CheckConfig> config_read_checks(ConfigReader& above, const std::set<std::string>& all_keys, const AssertCheck& check, CheckScripts scripts) {
  std::vector<CheckConfig> out;
  for (auto& reader : above.tables("check", kChecksMax)) out.push_back(read_check(reader, all_keys, check, scripts));
  return out;
}

std::string UpstreamEndpointConfig::text() const { return name.empty() ? address.text() : name + ":" + std::to_string(address.port); }

/// [upstream.tls] and `resolve`, which belong to all endpoints.
void read_reach(ConfigReader& reader, const TlsReading& tls, UpstreamConfig& upstream) {
  // Each endpoint's certificate carries its own name, unless one is given for all.
  const auto first = std::find_if(upstream.endpoints.begin(), upstream.endpoints.end(), [](const auto& e) { return !e.address.is_unix(); });
  config_read_client_tls(reader, tls, first == upstream.endpoints.end() ? "" : first->name.empty() ? first->address.host : first->name, upstream.tls);
  ConfigReader table = reader.section("tls");
  if (upstream.tls && !table.has("server_name")) upstream.tls->server_name.clear();
  table.note_by_others("server_name", {});  // each its own
  const auto named = std::count_if(upstream.endpoints.begin(), upstream.endpoints.end(), [](const auto& e) { return !e.name.empty(); });
  const bool on_socket = std::any_of(upstream.endpoints.begin(), upstream.endpoints.end(), [](const auto& e) { return e.address.is_unix(); });
  if (upstream.tls && upstream.tls->verify && upstream.tls->server_name.empty() && on_socket)
    reader.problem("tls", "an endpoint on a unix socket has no name that its certificate could carry", "add server_name = \"broker.example.com\"");
  if (reader.duration("resolve", upstream.resolve, Milliseconds(1000), std::chrono::hours(24)) && named == 0)
    reader.problem("resolve", "no endpoint of this upstream has a host name", "remove it");
}

void config_read_upstreams(ConfigReader& root, const std::set<std::string>& all_keys, const AssertCheck& check, const TlsReading& tls, Config& config) {
  std::size_t runs = 0;
  for (auto& reader : root.tables("upstream", kUpstreamsMax)) {
    UpstreamConfig upstream;
    if (reader.text("name", upstream.name)) {
      if (!config_is_name(upstream.name))
        reader.problem("name", "\"" + upstream.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
      else if (upstream.name == "primary" || upstream.name == "all" || upstream.name == (config.service ? config.service->name : ServiceConfig().name))
        reader.problem("name", "\"" + upstream.name + "\" means something else already", "choose another name");
    } else if (reader.present() && !reader.has("name")) {
      reader.problem("name", "[[upstream]] without a name", "add name = \"broker\"; routes then say pool = \"broker\"");
    }
    for (const auto& other : config.upstreams)
      if (!upstream.name.empty() && other.name == upstream.name) reader.problem("name", "another upstream is named \"" + upstream.name + "\" too", "put all endpoints into one");
    read_endpoints(reader, all_keys, config, upstream);
    reader.choice("balance", upstream.balance,
                  {{"least_request", BalanceKind::kLeastRequest}, {"round_robin", BalanceKind::kRoundRobin},
                   {"peak_ewma", BalanceKind::kPeakEwma}, {"ring_hash", BalanceKind::kRingHash}});
    reader.number("max_conns", upstream.max_conns, 0, 1'000'000);
    read_reach(reader, tls, upstream);
    upstream.checks = config_read_checks(reader, all_keys, check, config.catalog.check_scripts);
    runs += upstream.checks.size() * upstream.endpoints.size();
    if (runs > kRunsMax) reader.problem("check", "more than " + std::to_string(kRunsMax) + " checks of endpoints in all", "check less, or name fewer endpoints");
    reader.finish(all_keys);
    config.upstreams.push_back(std::move(upstream));
  }
}

bool config_read_pool(ConfigReader& reader, const std::vector<UpstreamConfig>& upstreams, RouteConfig& route) {
  std::vector<std::pair<std::string, int>> words{{"primary", -2}, {"all", -1}};
  for (std::size_t i = 0; i < upstreams.size(); ++i) words.emplace_back(upstreams[i].name, static_cast<int>(i));
  int chosen = -1;
  if (!reader.choice("pool", chosen, words)) return false;
  route.pool = chosen == -2 ? Pool::kPrimary : Pool::kAll;
  if (chosen < 0) return true;
  const UpstreamConfig& upstream = upstreams[static_cast<std::size_t>(chosen)];
  route.upstream = upstream.name;
  route.balance = upstream.balance;
  route.max_conns = upstream.max_conns;
  return true;
}

}  // namespace agent
