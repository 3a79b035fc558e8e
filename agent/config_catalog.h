#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "agent/config_document.h"

/// The section [catalog] of the settings, and what [[services]] and [[checks]] register. Private to config*.cc.
namespace agent {

/// @param check  as ConfigSource::check_registration; may be empty
void config_read_catalog(ConfigReader& root, const std::set<std::string>& all_keys,
                         const std::function<std::optional<std::string>(std::string_view, RegistrationKind)>& check,
                         Config& config);

}  // namespace agent
