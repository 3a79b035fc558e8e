#pragma once
/// What was set, key by key, as the readers of the settings have met it: for telling two sets of settings apart in the words
/// of whoever wrote them. Nothing is applied from here.
#include <map>
#include <string>
#include <string_view>

namespace agent {

/// One key that a file, a variable or a flag sets, or one table that is there.
struct ConfigSetting {
  std::string text;        ///< the value as TOML would have it, units made uniform: "60s", "64KiB", ["a", "b"]; empty for a table
  std::string otherwise;   ///< the same of the value without this key; empty = there would be none, or a table
  bool is_table = false;   ///< a table by itself may mean something: [guard] without a key is a guard
  bool by_others = false;  ///< `otherwise` follows from other keys or from the machine: saying the same is no default written out
  friend bool operator==(const ConfigSetting&, const ConfigSetting&) = default;
};
/// By dotted name as in problems: "route[0].timeouts.total". Elements of lists count from 0 in the order of all files.
/// Secrets stand here as they were written: whoever shows it hides them (config_plan.h).
using ConfigSheet = std::map<std::string, ConfigSetting>;

/// Without a table of that name its keys have their defaults, so that it says nothing by itself; of others nothing is there, or
/// a part is. @param pattern  without numbers: "route[].timeouts"
[[nodiscard]] bool config_table_is_always_there(std::string_view pattern);
/// All of it as one text: the same text means the same settings, whatever their order, comments and way of writing. Of a default
/// that is written out it knows nothing, unless that is one that others decide about (environment and flags stand above files).
[[nodiscard]] std::string config_sheet_text(const ConfigSheet& sheet);

}  // namespace agent
