#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// What the settings say about TCP routes: tcp and sni of [[listen]]. Private to config*.cc.
namespace agent {

/// Reads and checks both; whatever is wrong becomes a problem of the reader. All else of the listener has been read, so that
/// contradictions with its other keys are seen.
/// @param above  of the listener  @param others  the listeners before it
void config_read_tcp(ConfigReader& above, const std::set<std::string>& all_keys, const std::vector<ListenConfig>& others, ListenConfig& listen);

}  // namespace agent
