#include "agent/config_sheet.h"

namespace agent {

std::string config_sheet_text(const ConfigSheet& sheet) {
  std::string out;
  const auto add = [&out](const std::string& text) {
    out += std::to_string(text.size()) + ":";
    out += text;
  };
  for (const auto& [key, setting] : sheet) {
    // What says the default says nothing; the table around it may.
    if (!setting.is_table && setting.text == setting.otherwise) continue;
    add(key);
    add(setting.text);
  }
  return out;
}

}  // namespace agent
