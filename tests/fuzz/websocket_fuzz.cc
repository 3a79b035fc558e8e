#include <algorithm>

#include "proxy/websocket.h"
#include "tests/fuzz/fuzz.h"

/// Frames of anybody: how the bytes are cut makes no difference, and a border is never inside of what was announced.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  proxy::FrameTrack whole, cut;
  whole.feed(bytes);
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t step = std::min<std::size_t>(bytes.size() - at, 1 + std::to_integer<std::size_t>(bytes[at]) % 7);
    cut.feed(bytes.subspan(at, step));
    at += step;
  }
  fuzz::require(whole.at_border() == cut.at_border() && whole.closing() == cut.closing(), "cuts make no difference");
  fuzz::require(size != 1 || !whole.at_border(), "no frame has one byte");
  return 0;
}
