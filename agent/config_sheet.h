#pragma once
/// What was set, key by key, as the readers of the settings have met it: for telling two sets of settings apart in the words
/// of whoever wrote them. Nothing is applied from here.
#include <map>
#include <string>

namespace agent {

/// One key that a file, a variable or a flag sets, or one table that is there.
struct ConfigSetting {
  std::string text;        ///< the value as TOML would have it, units made uniform: "60s", "64KiB", ["a", "b"]; empty for a table
  std::string otherwise;   ///< the same of the value without this key; empty = there would be none, or a table
  bool is_table = false;   ///< a table by itself means something: [guard] without a key is a guard
  friend bool operator==(const ConfigSetting&, const ConfigSetting&) = default;
};
/// By dotted name as in problems: "route[0].timeouts.total". Elements of lists count from 0 in the order of all files.
/// Secrets stand here as they were written: whoever shows it hides them (config_plan.h).
using ConfigSheet = std::map<std::string, ConfigSetting>;

/// All of it as one text: the same text means the same settings, whatever their order, comments and way of writing.
[[nodiscard]] std::string config_sheet_text(const ConfigSheet& sheet);

}  // namespace agent
