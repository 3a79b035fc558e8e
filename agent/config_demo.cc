#include "agent/config_demo.h"

namespace agent {

void config_read_demo(ConfigReader reader, const std::set<std::string>& all_keys, Config& config) {
  reader.boolean("faults", config.faults_allowed);
  // Whoever reaches the API could cut an agent off from its peers. Real clusters do not live on one machine's loopback.
  if (config.faults_allowed && !HostPort{config.mesh.bind, 0, {}}.is_local())
    reader.problem("faults", "mesh.bind is " + config.mesh.bind + ": this agent has peers on other machines, and faults are for demonstrations",
                   "remove [demo] faults, or set mesh.bind = \"127.0.0.1\"");
  if (config.faults_allowed && !config.api.listen.is_local())
    reader.problem("faults", "api.listen is " + config.api.listen.text() + ": anybody on the network could break this cluster",
                   "remove [demo] faults, or let the API listen on 127.0.0.1");
  reader.finish(all_keys);
}

}  // namespace agent
