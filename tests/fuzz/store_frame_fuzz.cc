#include <string>

#include "store/frames.h"
#include "tests/fuzz/fuzz.h"

/// Frames between the stores of a cluster.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  if (const auto frame = store::decode_frame(bytes)) {
    const std::string form = store::encode_frame(frame->cluster, frame->body);
    const auto again = store::decode_frame(form);
    fuzz::require(again.has_value(), "what was decoded can be encoded and decoded again");
    fuzz::require(store::encode_frame(again->cluster, again->body) == form, "a frame has one form");
  }
  return 0;
}
