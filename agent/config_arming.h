#pragma once
#include "agent/config_document.h"

/// [arming] and the hooks, read and checked. Private to the settings.
namespace agent {

/// One hook. Faults are reported against `key` of the table above. @return nullopt: absent
[[nodiscard]] std::optional<HookConfig> config_read_hook(const std::set<std::string>& all_keys, ConfigReader reader, ConfigReader& above, const std::string& key);
/// After [service] was read: what is there without an instance is refused.
void config_read_arming(const std::set<std::string>& all_keys, ConfigReader reader, Config& config);

}  // namespace agent
