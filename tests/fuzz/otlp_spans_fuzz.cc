#include <nlohmann/json.hpp>
#include <string>

#include "agent/drivers/otlp_reader.h"
#include "tests/fuzz/fuzz.h"

/// Spans of applications in both forms: whatever comes, what is kept of it is bounded and can be shown.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent::drivers;
  const std::string_view body = fuzz::text_of(data, size);
  for (const OtlpForm form : {OtlpForm::kProtobuf, OtlpForm::kJson}) {
    const auto groups = read_otlp(form, body);
    if (!groups) {
      fuzz::require(!groups.error().empty(), "what is refused is refused with words");
      continue;
    }
    std::size_t count = 0;
    for (const AppSpans& group : *groups) {
      for (const AppSpan& span : group.spans) {
        ++count;
        fuzz::require(span.trace.front() != '\0' && span.span.front() != '\0', "a span has ids");
        fuzz::require(span.start_ns >= 0 && span.end_ns >= span.start_ns, "a span ends behind its beginning");
        fuzz::require(span.attributes.size() <= AppSpans::kAttributesMax && span.events.size() <= AppSpans::kEventsMax, "a span is bounded");
        std::string text;
        append_app_span(text, span);
        fuzz::require(nlohmann::json::parse(text, nullptr, false).is_object(), "a span can be shown");
      }
    }
    fuzz::require(count <= AppSpans::kSpansMax, "a request is bounded");
  }
  fuzz::require(read_otlp_protobuf_answer(body).message.size() <= 256, "a message is short");
  return 0;
}
