#include <nlohmann/json.hpp>
#include <string>

#include "agent/drivers/json_assert.h"
#include "tests/fuzz/fuzz.h"

/// The first line is a condition, the rest the body that an instance has answered. A condition is taken or refused with the column
/// where it went wrong; on whatever body it is decided the same way twice, and its contrary differs where it compares.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using agent::drivers::JsonAssert;
  const std::string_view text = fuzz::text_of(data, size);
  const std::string_view line = text.substr(0, text.find('\n'));
  const std::string_view body = line.size() < text.size() ? text.substr(line.size() + 1) : std::string_view();
  const auto condition = JsonAssert::parse(line);
  if (!condition) {
    fuzz::require(condition.error().detail.find("column ") != std::string::npos, "the place is named");
    return 0;
  }
  fuzz::require(condition->text() == line, "told as it was written");
  const nlohmann::json document = nlohmann::json::parse(body, nullptr, false);
  if (document.is_discarded()) return 0;
  const bool holds = condition->holds(document);
  fuzz::require(condition->holds(document) == holds, "decided the same way twice");
  const std::size_t equal = line.find("==");
  if (equal == std::string_view::npos || line.find('\'') < equal || line.find('"') < equal) return 0;
  std::string contrary(line);
  contrary[equal] = '!';
  const auto other = JsonAssert::parse(contrary);
  fuzz::require(other.has_value() && other->holds(document) != holds, "either it is equal or it is not");
  return 0;
}
