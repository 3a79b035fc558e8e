#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// [guard] and [[breaker]] read and checked. Private to the settings (config.cc calls it).
namespace agent {

/// Reads [guard] of `root` into config.guard.
void config_read_guard(ConfigReader& root, const std::set<std::string>& all_keys, Config& config);
/// Reads every [[breaker]] of `root` into config.breakers. config.routes have been read: names must not clash with theirs.
void config_read_breakers(ConfigReader& root, const std::set<std::string>& all_keys, Config& config);

}  // namespace agent
