#include "agent/config_tcp.h"

#include "agent/config_values.h"

namespace agent {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

void config_read_tcp(ConfigReader reader, ConfigReader& above, const std::set<std::string>& all_keys, const std::vector<ListenConfig>& others,
                     ListenConfig& listen) {
  TcpConfig tcp;
  if (reader.text("name", tcp.name, 64) && !config_is_name(tcp.name))
    reader.problem("name", "\"" + tcp.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
  if (reader.present() && !reader.has("name"))
    reader.problem("name", "a TCP route needs a name, by which the other agents know it", "add name = \"db\", the same on all agents");
  HostPort to;
  if (reader.address("to", to)) {
    tcp.to = to;
    if (!to.is_unix() && to.port == 0) reader.problem("to", "port 0 is nowhere to connect to", "give the service's own port");
    if (to == listen.address) reader.problem("to", "the route would lead to itself", "give the service's own address");
  }
  reader.choice("pool", tcp.pool, {{"primary", Pool::kPrimary}, {"all", Pool::kAll}});
  const bool held = reader.duration("hold", tcp.hold, Milliseconds(0), minutes(5));
  if (held && tcp.pool != Pool::kPrimary) reader.problem("hold", "only connections to the primary wait for one", "remove it, or write pool = \"primary\"");
  reader.duration("connect", tcp.connect_timeout, Milliseconds(1), seconds(60));
  reader.duration("idle", tcp.idle_timeout, Milliseconds(0), hours(24 * 7));
  reader.number("connections_max", tcp.connections_max, 1, 1'000'000);
  reader.choice("proxy_protocol", tcp.proxy_protocol, {{"off", std::uint8_t{0}}, {"v1", std::uint8_t{1}}, {"v2", std::uint8_t{2}}});
  reader.finish(all_keys);
  if (!reader.present()) return;
  for (const ListenConfig& other : others)
    if (other.tcp && other.tcp->name == tcp.name && !tcp.name.empty())
      reader.problem("name", "\"" + tcp.name + "\" is the name of another TCP route", "give each its own");
  const std::pair<const char*, bool> of_http[] = {{"redirect_https", listen.redirect_https}, {"hsts", listen.hsts.count() > 0},
                                                  {"trusted_proxies", !listen.trusted_proxies.empty()}};
  for (const auto& [key, is_set] : of_http)
    if (is_set) above.problem(key, "only HTTP has it, and this listener passes bytes on", "remove it, or remove tcp");
  listen.tcp = std::move(tcp);
}

}  // namespace agent
