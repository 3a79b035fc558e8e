#include <string_view>

#include "agent/trace_wire.h"
#include "tests/fuzz/fuzz.h"

/// What other agents ask and answer about traces: read, and written again the same way.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent;
  const std::string_view frame = fuzz::text_of(data, size);
  const auto word = decode_trace_word(frame);
  if (!word) return 0;
  fuzz::require(is_trace_frame(frame), "what can be read is told apart from other frames");
  fuzz::require(word->is_answer || is_trace_id(word->trace), "a question names a trace");
  fuzz::require(encode_trace_word(*word) == frame, "there is one way to write it");
  return 0;
}
