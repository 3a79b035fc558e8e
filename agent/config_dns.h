#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// The section [dns] of the settings. Private to config*.cc.
namespace agent {

/// Reads and checks [dns] into `dns`; whatever is wrong becomes a problem of the reader.
/// @param all_keys  every key that the file may hold, for the hints to unknown ones
void config_read_dns(ConfigReader reader, const std::set<std::string>& all_keys, DnsConfig& dns);

}  // namespace agent
