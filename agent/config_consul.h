#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config_document.h"

/// Settings files as Consul has them, JSON, turned into ours. Private to config*.cc.
namespace agent {

/// Keys that we have are mapped, keys that change nothing are named in `warnings`, keys that ask for what we do not do
/// (ACL, service mesh) and keys that nobody knows become problems.
/// @return nullopt when the text is no JSON object; why is in `findings`
std::optional<ConfigNode> config_parse_consul(std::string_view text, const std::string& source, std::size_t rank,
                                              ConfigFindings& findings, std::vector<std::string>& warnings);

}  // namespace agent
