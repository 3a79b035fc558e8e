#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// What the settings say about TCP routes: [[listen]] tcp. Private to config*.cc.
namespace agent {

/// Reads and checks the section; whatever is wrong becomes a problem of the reader. All else of the listener has been read.
/// @param above  of the listener, for contradictions with its other keys  @param others  the listeners before it
void config_read_tcp(ConfigReader reader, ConfigReader& above, const std::set<std::string>& all_keys, const std::vector<ListenConfig>& others,
                     ListenConfig& listen);

}  // namespace agent
