#include "agent/drivers/json_text.h"

#include <nlohmann/json.hpp>

namespace agent::drivers {

std::optional<std::string> json_text(std::string_view document, std::string_view pointer) {
  const auto parsed = nlohmann::json::parse(document, nullptr, false);
  if (parsed.is_discarded()) return std::nullopt;
  try {
    const nlohmann::json::json_pointer place{std::string(pointer)};
    if (!parsed.contains(place)) return std::nullopt;
    const auto& value = parsed.at(place);
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_unsigned()) return std::to_string(value.get<std::uint64_t>());
    if (value.is_number_integer()) return std::to_string(value.get<std::int64_t>());
  } catch (const nlohmann::json::exception&) {  // a pointer that is none
  }
  return std::nullopt;
}

}  // namespace agent::drivers
