#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// The section [demo] of the settings: what only a demonstration may have. Private to config*.cc.
namespace agent {

/// Call it when [mesh] and [api] have been read: faults are refused wherever another machine could be hit by them.
void config_read_demo(ConfigReader reader, const std::set<std::string>& all_keys, Config& config);

}  // namespace agent
