#include "agent/config_egress.h"

#include <algorithm>

#include "agent/config_route.h"
#include "agent/config_values.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && text.find("..") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; });
}

bool is_field_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
}

// Fields that frame a message, belong to one hop or are ours: what the broker reads of them is not for settings to say.
bool is_own_field(std::string_view name) {
  static constexpr std::string_view kOwn[] = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect",
                                              "keep-alive", "proxy-authorization", "proxy-connection"};
  std::string lower(name);
  for (char& c : lower) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.starts_with("x-outrigger-") || std::find(std::begin(kOwn), std::end(kOwn), lower) != std::end(kOwn);
}

void read_url(ConfigReader& reader, const TlsReading& reading, EgressConfig& out) {
  if (!reader.text("url", out.url, 1024)) return;
  const bool https = out.url.starts_with("https://");
  const auto bad = [&](const std::string& hint) { reader.problem("url", "\"" + config_url_shown(out.url) + "\" is no address of a broker", hint); };
  if (!https && !out.url.starts_with("http://")) return bad("write \"https://api.broker\" or \"https://api.broker:8443/v2\"");
  const std::string rest = out.url.substr(https ? 8 : 7);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string place = rest.substr(0, slash);
  out.base = rest.substr(slash);
  while (out.base.ends_with('/')) out.base.pop_back();
  if (out.base.find_first_of(" \t\r\n?#%\\") != std::string::npos || out.base.find("/.") != std::string::npos || out.base.find("//") != std::string::npos)
    return bad("its path is a plain prefix such as \"/v2\"");
  const bool has_port = place.ends_with(']') ? false : place.rfind(':') != std::string::npos;
  if (!has_port) place += https ? ":443" : ":80";
  const auto target = config_target(place);
  if (!target) return bad("name a host, and a port from 1 to 65535 where it is not the usual one");
  out.host = target->first;
  out.port = target->second;
  config_read_client_tls(reader, reading, out.host, out.tls);
  if (out.tls && !https) reader.problem("tls", "http has no TLS", "write https:// in url, or remove tls");
  if (!out.tls && https) out.tls = config_default_client_tls(out.host);
  if (!https && !config_is_ip(out.host) && out.host != "localhost")
    reader.problem("url", "orders and credentials would cross the network in the clear", "write https://, or the address of this machine");
}

void read_fields(ConfigReader& reader, EgressConfig& out) {
  if (reader.text("epoch_header", out.epoch_header, 64) && (!is_field_name(out.epoch_header) || is_own_field(out.epoch_header)))
    reader.problem("epoch_header", "\"" + out.epoch_header + "\" cannot be told to a broker", "write a name of its own, such as \"X-Epoch\"");
  reader.list("inject", out.inject, 16);
  std::set<std::string> names;
  for (const std::string& line : out.inject) {
    const auto parsed = config_inject(line);
    if (!parsed) {
      // Not repeated: it may be the secret itself.
      reader.problem("inject", "a line is not \"Name: kv:KEY\" or \"Name: file:/path\"", "write \"Authorization: Bearer kv:secret/broker/token\"; the value itself does not belong here");
      continue;
    }
    if (!is_field_name(parsed->field) || is_own_field(parsed->field))
      reader.problem("inject", "\"" + config_field_shown(line) + "\" is no field that can be added", "name one that the broker reads a credential from");
    else if (!names.insert(parsed->field).second)
      reader.problem("inject", "\"" + parsed->field + "\" is added twice", "remove one");
  }
}

void read_listen(ConfigReader& reader, const Config& config, EgressConfig& out) {
  if (!reader.address("listen", out.listen)) {
    if (reader.present() && !reader.has("listen")) reader.problem("listen", "[[egress]] does not say where the service connects", "add listen = \"127.0.0.1:9100\"");
    return;
  }
  reader.boolean("insecure", out.insecure);
  if (!out.listen.is_local() && !out.insecure)
    reader.problem("listen", out.listen.text() + " can be reached from other machines: whoever gets there trades", "use 127.0.0.1 or unix:/path, or set insecure = true");
  const auto clashes = [&](const HostPort& other) { return out.listen == other && (other.is_unix() || other.port != 0) && !other.text().empty(); };
  if (clashes(config.api.listen) || (config.service && clashes(config.service->address)) ||
      std::any_of(config.listeners.begin(), config.listeners.end(), [&](const ListenConfig& one) { return clashes(one.address); }))
    reader.problem("listen", out.listen.text() + " is taken by another section", "use another port");
  for (const EgressConfig& other : config.egress)
    if (clashes(other.listen) && (other.url.empty() || out.url.empty()))
      reader.problem("listen", out.listen.text() + " is taken by egress \"" + other.name + "\"", "only entries with url can share one: their paths tell them apart");
}

void read_targets(ConfigReader& reader, EgressConfig& out) {
  reader.list("connect", out.connect, 64);
  for (const std::string& target : out.connect)
    if (!config_target(target))
      reader.problem("connect", "\"" + target + "\" is no host with a port", "write \"api.broker:443\"; each place is listed, there are no patterns");
  if (reader.text("to", out.to, 300) && !config_target(out.to))
    reader.problem("to", "\"" + out.to + "\" is no host with a port", "write \"fix.broker:4001\"");
  const bool tunnels = !out.connect.empty() || !out.to.empty();
  const bool set[] = {reader.duration("timeout", out.connect_timeout, Milliseconds(10), minutes(1)),
                      reader.duration("idle", out.idle_timeout, Milliseconds(0), hours(24 * 7)),
                      reader.number("connections_max", out.connections_max, 1, 1'000'000)};
  static constexpr const char* kNames[] = {"timeout", "idle", "connections_max"};
  for (std::size_t i = 0; i < std::size(set); ++i)
    if (set[i] && !tunnels) reader.problem(kNames[i], "only connect and to have it", "remove it; requests have timeouts and concurrency");
  const int modes = (out.url.empty() ? 0 : 1) + (reader.has("connect") ? 1 : 0) + (out.to.empty() ? 0 : 1);
  if (reader.present() && modes != 1)
    reader.problem(modes == 0 ? "url" : out.to.empty() ? "connect" : "to", modes == 0 ? "[[egress]] does not say where it leads" : "one egress has one way to be used",
                   "write url = \"https://api.broker\", connect = [\"api.broker:443\"] or to = \"fix.broker:4001\"");
  if (reader.has("connect") && out.connect.empty()) reader.problem("connect", "no place is allowed", "list the broker's, or remove the entry");
  if (!tunnels) return;
  for (const char* key : {"tls", "epoch_header", "inject", "timeouts", "rate", "concurrency", "max_conns", "queue", "breaker", "retry", "body_max"})
    if (reader.has(key)) reader.problem(key, "a tunnel is bytes: only requests of a url have it", "remove it, or use url");
}

void read_kernel_permit(ConfigReader reader, const std::set<std::string>& all_keys, Config& config) {
  KernelPermitConfig permit;
  reader.list("exec", permit.exec, 64);
  reader.duration("timeout", permit.timeout, Milliseconds(50), seconds(10));
  reader.finish(all_keys);
  if (!reader.present()) return;
  if (permit.exec.empty() || permit.exec.front().empty())
    reader.problem("exec", "the program that tells the kernel is not named", "add exec = [\"/usr/share/outrigger/kernel-permit\"]");
  if (!config.service) reader.problem("exec", "without [service] this agent is never primary, so nothing would ever pass", "remove [kernel_permit]");
  if (config.service && permit.timeout > config.service->lease)
    reader.problem("timeout", "longer than service.lease: the permit could not be renewed in time", "set it to a third of the lease");
  config.kernel_permit = std::move(permit);
}

}  // namespace

std::optional<InjectPlace> config_inject(std::string_view line) {
  InjectPlace out;
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  out.field = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const std::size_t word = value.rfind(' ') == std::string_view::npos ? 0 : value.rfind(' ') + 1;
  out.prefix = value.substr(0, word);
  value.remove_prefix(word);
  out.from_file = value.starts_with("file:");
  if (!out.from_file && !value.starts_with("kv:")) return std::nullopt;
  out.place = value.substr(out.from_file ? 5 : 3);
  const bool plain = std::all_of(line.begin(), line.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (out.place.empty() || !plain || (out.from_file && !out.place.starts_with('/'))) return std::nullopt;
  return out;
}

std::optional<std::pair<std::string, std::uint16_t>> config_target(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::uint16_t port = 0;
  const auto digits = text.substr(colon + 1);
  const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || code != std::errc{} || stop != digits.data() + digits.size() || port == 0) return std::nullopt;
  std::string host(text.substr(0, colon));
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed ? !config_is_ip(host) || host.find(':') == std::string::npos : !is_host_name(host)) return std::nullopt;
  for (char& c : host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::pair(std::move(host), port);
}

void config_read_egress(ConfigReader& root, const TlsReading& reading, Config& config) {
  for (ConfigReader& reader : root.tables("egress", 64)) {
    EgressConfig egress;
    if (reader.text("name", egress.name, 64) && !config_is_name(egress.name))
      reader.problem("name", "\"" + egress.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
    if (reader.present() && !reader.has("name")) reader.problem("name", "[[egress]] without a name", "add name = \"broker\"; the service then calls /egress/broker/...");
    for (const EgressConfig& other : config.egress)
      if (!egress.name.empty() && other.name == egress.name) reader.problem("name", "another egress is named \"" + egress.name + "\" too", "names stand in paths and metrics and must differ");
    if (config.service) egress.service = config.service->name;
    if (reader.text("service", egress.service, 64) && config.service && egress.service != config.service->name)
      reader.problem("service", "the service of this agent is \"" + config.service->name + "\", and it holds no other lease", "remove the key");
    if (reader.present() && !config.service) reader.problem("service", "an agent without [service] is never primary, so nothing would ever go out", "add [service], or remove [[egress]]");
    read_url(reader, reading, egress);
    config_read_limits(reader, reading.all_keys, egress.limits);
    if (egress.limits.rate && egress.limits.rate->scope == RateScope::kCluster)
      reader.problem("rate", "only the primary sends, so there is nobody to count with", "remove scope");
    read_fields(reader, egress);
    read_targets(reader, egress);
    read_listen(reader, config, egress);
    reader.duration("resolve_every", egress.resolve_every, seconds(1), hours(1));
    reader.boolean("access_log", egress.access_log);
    reader.finish(reading.all_keys);
    config.egress.push_back(std::move(egress));
  }
  read_kernel_permit(root.section("kernel_permit"), reading.all_keys, config);
}

}  // namespace agent
