#include <string>
#include <vector>

#include "proxy/trace.h"
#include "tests/fuzz/fuzz.h"

/// Lines: the first is a traceparent, the others are tracestate fields. What is taken is written in the form of version 00
/// and read back as the same; a list that is taken stays within its bounds and is taken again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxy;
  std::vector<http1::Header> headers;
  std::string_view text = fuzz::text_of(data, size);
  for (std::string_view name = kTraceparent; !text.empty(); name = kTracestate) {
    const auto line = text.substr(0, text.find('\n'));
    headers.push_back({http1::HeaderId::kOther, name, line});
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  if (const auto context = traceparent_of(headers)) {
    std::string out;
    append_traceparent(out, *context);
    const auto again = parse_traceparent(out);
    fuzz::require(out.size() == 55 && again.has_value(), "what is sent on is of version 00");
    fuzz::require(again->trace == context->trace && again->span == context->span && again->flags == context->flags, "and the same");
    fuzz::require((context->flags & ~(kSampled | kRandom)) == 0, "no flag that nobody knows");
  }
  std::string state = "before";
  if (!append_tracestate_of(state, headers)) {
    fuzz::require(state == "before", "a refused list leaves nothing");
    return 0;
  }
  const std::string taken = state.substr(6);
  const std::vector<http1::Header> one{{http1::HeaderId::kOther, kTracestate, taken}};
  std::string second;
  fuzz::require(append_tracestate_of(second, one) && second == taken, "a list that was taken is taken again");
  fuzz::require(taken.find_first_of("\r\n") == std::string::npos, "and is one line");
  return 0;
}
