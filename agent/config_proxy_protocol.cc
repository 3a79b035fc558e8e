#include "agent/config_proxy_protocol.h"

#include "agent/config_values.h"

namespace agent {

void config_read_proxy_protocol(ConfigReader reader, const std::set<std::string>& all_keys, ListenConfig& listen) {
  ProxyProtocolConfig protocol;
  reader.list("from", protocol.from, 64);
  reader.duration("timeout", protocol.timeout, Milliseconds(100), std::chrono::seconds(60));
  for (const auto& block : protocol.from) {
    if (block == "unix" && !listen.address.is_unix() && !listen.address.text().empty())
      reader.problem("from", "\"unix\" stands for whoever reaches a unix socket, and this listener is none", "name the balancer's address");
    else if (block != "unix" && !config_is_cidr(block))
      reader.problem("from", "\"" + block + "\" is no IP address or range", "write \"10.0.0.5\", \"10.0.0.0/8\", or \"unix\" for a listener on a unix socket");
  }
  if (reader.present() && protocol.from.empty())
    reader.problem("from", "nobody is named who may say for whom he connects", "add from = [\"10.0.0.5\"], the addresses of your load balancer");
  reader.finish(all_keys);
  if (reader.present()) listen.proxy_protocol = std::move(protocol);
}

}  // namespace agent
