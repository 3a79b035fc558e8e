#include <cmath>
#include <string>

#include "agent/api/query.h"
#include "agent/config_document.h"
#include "agent/config_route.h"
#include "tests/fuzz/fuzz.h"

/// Durations, rates and amounts as people write them: in settings, in URLs and in JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto duration = agent::api::parse_duration(text)) {
    fuzz::require(duration->count() >= 0, "no time runs backwards");
    fuzz::require(agent::api::parse_duration(std::to_string(duration->count()) + "ms") == duration, "the same in milliseconds");
    fuzz::require(text.find_first_of("-+ eE\n") == std::string_view::npos, "digits, dots and units only");
  }
  if (const auto quantity = agent::config_quantity(text)) {
    fuzz::require(std::isfinite(quantity->number) && quantity->number >= 0, "an amount is a number");
    fuzz::require(text.ends_with(quantity->unit), "the unit closes the text");
  }
  if (const auto rate = agent::config_rate(text)) {
    fuzz::require(rate->second.count() >= 1, "a period is at least a millisecond");
    fuzz::require(agent::config_rate(std::to_string(rate->first) + "/" + std::to_string(rate->second.count()) + "ms") == rate, "a rate comes back");
  }
  return 0;
}
