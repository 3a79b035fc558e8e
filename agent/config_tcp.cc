#include "agent/config_tcp.h"

#include <algorithm>

#include "agent/config_values.h"

namespace agent {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

bool is_taken(const ListenConfig& listen, const std::string& name) {
  const auto has = [&](const SniConfig& one) { return one.tcp.name == name; };
  return (listen.tcp && listen.tcp->name == name) || std::any_of(listen.sni.begin(), listen.sni.end(), has);
}

TcpConfig read_route(ConfigReader& reader, const std::vector<ListenConfig>& others, const ListenConfig& listen) {
  TcpConfig tcp;
  if (reader.text("name", tcp.name, 64) && !config_is_name(tcp.name))
    reader.problem("name", "\"" + tcp.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  if (reader.present() && !reader.has("name"))
    reader.problem("name", "a TCP route needs a name, by which the other agents know it", "add name = \"db\", the same on all agents");
  if (reader.address("to", tcp.to)) {
    if (!tcp.to->is_unix() && tcp.to->port == 0) reader.problem("to", "port 0 is nowhere to connect to", "give the service's own port");
    if (*tcp.to == listen.address) reader.problem("to", "the route would lead to itself", "give the service's own address");
  }
  reader.choice("pool", tcp.pool, {{"primary", Pool::kPrimary}, {"all", Pool::kAll}});
  const bool held = reader.duration("hold", tcp.hold, Milliseconds(0), minutes(5));
  if (held && tcp.pool != Pool::kPrimary) reader.problem("hold", "only connections to the primary wait for one", "remove it, or write pool = \"primary\"");
  reader.duration("connect", tcp.connect_timeout, Milliseconds(1), seconds(60));
  reader.duration("idle", tcp.idle_timeout, Milliseconds(0), hours(24 * 7));
  reader.number("connections_max", tcp.connections_max, 1, 1'000'000);
  reader.choice("proxy_protocol", tcp.proxy_protocol, {{"off", std::uint8_t{0}}, {"v1", std::uint8_t{1}}, {"v2", std::uint8_t{2}}});
  reader.boolean("access_log", tcp.access_log);
  const auto taken = [&](const ListenConfig& one) { return is_taken(one, tcp.name); };
  if (!tcp.name.empty() && (taken(listen) || std::any_of(others.begin(), others.end(), taken)))
    reader.problem("name", "\"" + tcp.name + "\" is the name of another TCP route", "give each its own");
  return tcp;
}

/// "db.example.com" or "*.example.com", in lower case.
bool is_server_name(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  char before = '.';
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!letter && (c != '.' || before == '.')) return false;
    before = c;
  }
  return !text.empty() && text.size() <= 253 && before != '.';
}

void read_server_names(ConfigReader& reader, const ListenConfig& listen, SniConfig& sni) {
  reader.list("server_names", sni.server_names, 64);
  if (reader.present() && sni.server_names.empty())
    reader.problem("server_names", "no name is said for which clients come", "add server_names = [\"db.example.com\"]; `tcp` beside it takes all others");
  for (std::size_t i = 0; i < sni.server_names.size(); ++i) {
    const std::string& name = sni.server_names[i];
    if (!is_server_name(name))
      reader.problem("server_names", "\"" + name + "\" is no name of a host", "write it in lower case, as \"db.example.com\" or \"*.example.com\"");
    const auto has = [&](const std::vector<std::string>& names) { return std::find(names.begin(), names.end(), name) != names.end(); };
    const bool twice = has({sni.server_names.begin(), sni.server_names.begin() + static_cast<std::ptrdiff_t>(i)}) ||
                       std::any_of(listen.sni.begin(), listen.sni.end(), [&](const SniConfig& one) { return has(one.server_names); });
    if (twice) reader.problem("server_names", "\"" + name + "\" leads to two routes", "remove one");
  }
}

}  // namespace

void config_read_tcp(ConfigReader& above, const std::set<std::string>& all_keys, const std::vector<ListenConfig>& others, ListenConfig& listen) {
  ConfigReader reader = above.section("tcp");
  TcpConfig tcp = read_route(reader, others, listen);
  reader.finish(all_keys);
  if (reader.present()) listen.tcp = std::move(tcp);
  for (ConfigReader& one : above.tables("sni", 64)) {
    SniConfig sni;
    read_server_names(one, listen, sni);
    sni.tcp = read_route(one, others, listen);
    one.finish(all_keys);
    listen.sni.push_back(std::move(sni));
  }
  if (!listen.sni.empty() && listen.tls)
    above.problem("sni", "this listener ends TLS itself, so there is no first message to pass on", "remove tls: the services behind the routes have the certificates");
  if (!listen.tcp && listen.sni.empty()) return;
  const std::string fix = listen.sni.empty() ? "remove it, or remove tcp" : "remove it, or remove sni";
  const std::pair<const char*, bool> of_http[] = {{"redirect_https", listen.redirect_https}, {"hsts", listen.hsts.count() > 0},
                                                  {"h2c", listen.h2c}, {"trusted_proxies", !listen.trusted_proxies.empty()}};
  for (const auto& [key, is_set] : of_http)
    if (is_set) above.problem(key, "only HTTP has it, and this listener passes bytes on", fix);
}

}  // namespace agent
