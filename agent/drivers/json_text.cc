#include "agent/drivers/json_text.h"

#include <nlohmann/json.hpp>

namespace agent::drivers {

using proxy::JsonText;

JsonText json_text(std::string_view document, std::string_view pointer) {
  if (document.empty()) return {};
  const auto parsed = nlohmann::json::parse(document, nullptr, false);
  if (parsed.is_discarded()) return {JsonText::Is::kUnusable};
  try {
    const nlohmann::json::json_pointer place{std::string(pointer)};
    if (!parsed.contains(place)) return {};
    const auto& value = parsed.at(place);
    if (value.is_string()) return {JsonText::Is::kText, value.get<std::string>()};
    if (value.is_number_unsigned()) return {JsonText::Is::kText, std::to_string(value.get<std::uint64_t>())};
    if (value.is_number_integer()) return {JsonText::Is::kText, std::to_string(value.get<std::int64_t>())};
  } catch (const nlohmann::json::exception&) {  // a pointer that is none
  }
  return {JsonText::Is::kUnusable};
}

}  // namespace agent::drivers
