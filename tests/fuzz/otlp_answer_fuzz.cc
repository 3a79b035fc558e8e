#include <string>

#include "agent/drivers/otlp.h"
#include "agent/drivers/span_exporter.h"
#include "tests/fuzz/fuzz.h"

/// What a collector says, and what a person writes down about it: an answer's body, a Retry-After, the URL of a collector.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent::drivers;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::require(read_otlp_answer(text).message.size() <= 256, "a message is short");
  const auto pause = read_retry_after(text, 1'767'225'600'000);
  fuzz::require(!pause || pause->count() >= 0, "no pause ends before it begins");
  if (const auto to = parse_collector_url(text)) {
    fuzz::require(!to->host.empty() && to->port != 0 && to->path.starts_with('/'), "an address that can be used");
    fuzz::require((to->authority + to->path).find_first_of("\r\n @") == std::string::npos, "nothing that could begin another line");
  }
  return 0;
}
