#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// What the settings say about the PROXY protocol: [[listen]] proxy_protocol. Private to config*.cc.
namespace agent {

/// Reads and checks the section; whatever is wrong becomes a problem of the reader. `listen.address` has been read.
/// @param all_keys  every key that the file may hold, for the hints to unknown ones
void config_read_proxy_protocol(ConfigReader reader, const std::set<std::string>& all_keys, ListenConfig& listen);

}  // namespace agent
