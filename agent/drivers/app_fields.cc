#include "agent/drivers/app_fields.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace agent::drivers {
namespace {

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

// nlohmann's objects are sorted by name, so the bound cuts at the same place whatever order the application writes in.
void gather(const nlohmann::json& object, const std::string& above, std::size_t depth, AppFields& out) {
  for (const auto& [name, value] : object.items()) {
    const std::string path = above.empty() ? name : above + "." + name;
    if (out.size() == kAppFieldsMax) return;
    if (!is_name(name) || path.size() > kAppFieldNameBytesMax) continue;
    if (value.is_boolean()) out.emplace_back(path, value.get<bool>() ? 1.0 : 0.0);
    else if (value.is_number() && std::isfinite(value.get<double>())) out.emplace_back(path, value.get<double>());
    else if (value.is_object() && depth < kAppFieldDepthMax) gather(value, path, depth + 1, out);
  }
}

}  // namespace

AppFields app_fields_of(std::string_view body) {
  AppFields out;
  if (body.find('{') == std::string_view::npos) return out;
  const nlohmann::json document = nlohmann::json::parse(body, nullptr, false);
  if (document.is_object()) gather(document, {}, 1, out);
  return out;
}

}  // namespace agent::drivers
