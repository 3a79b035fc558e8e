#include "agent/config_sheet.h"

#include <algorithm>
#include <iterator>

namespace agent {
namespace {

/// "route[3].timeouts" -> "route[].timeouts".
std::string without_numbers(const std::string& key) {
  std::string out;
  std::copy_if(key.begin(), key.end(), std::back_inserter(out), [inside = false](char c) mutable {
    if (c == ']') inside = false;
    const bool kept = !inside;
    if (c == '[') inside = true;
    return kept;
  });
  return out;
}

}  // namespace

bool config_table_is_always_there(std::string_view pattern) {
  static constexpr std::string_view kTables[] = {
      "node", "api", "catalog", "dns", "mesh", "raft", "proxy", "proxy.h2", "proxy.request_id", "outlier", "access_log", "demo", "tracing", "halt",
      "service.health", "service.hooks", "route[].timeouts", "route[].queue", "route[].request_headers", "route[].response_headers",
      "egress[].timeouts", "egress[].queue"};
  return std::find(std::begin(kTables), std::end(kTables), pattern) != std::end(kTables);
}

std::string config_sheet_text(const ConfigSheet& sheet) {
  std::string out;
  const auto add = [&out](const std::string& text) {
    out += std::to_string(text.size()) + ":";
    out += text;
  };
  for (const auto& [key, setting] : sheet) {
    const bool says_nothing = setting.is_table ? config_table_is_always_there(without_numbers(key)) : setting.text == setting.otherwise && !setting.by_others;
    if (says_nothing) continue;
    add(key);
    add(setting.text);
  }
  return out;
}

}  // namespace agent
