#include "proxy/connect_head.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

/// An answer is the same however the network cuts the bytes; what is read is a place that reads as itself.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using State = proxy::ConnectHead::State;
  if (size > proxy::kConnectHeadBytesMax + 64) return 0;
  const auto bytes = fuzz::bytes_of(data, size);
  const proxy::ConnectHead whole = proxy::parse_connect_head(bytes);
  proxy::ConnectHead slowly;
  const std::size_t step = size > 512 ? 97 : 1;
  for (std::size_t at = 0; at < size + step; at += step) {
    slowly = proxy::parse_connect_head(bytes.first(std::min(at, size)));
    if (slowly.state != State::kMore) break;
  }
  fuzz::require(whole.state == slowly.state && whole.target == slowly.target && whole.status == slowly.status, "the same answer however it is cut");
  fuzz::require(whole.state != State::kMore || size < proxy::kConnectHeadBytesMax, "it comes within the bound");
  if (whole.state == State::kRefused) fuzz::require(whole.status >= 400 && !whole.code.empty() && whole.target.empty(), "a refusal says why");
  if (whole.state != State::kRead) return 0;
  fuzz::require(whole.bytes <= size && whole.bytes > 0, "the head is a part of what came");
  fuzz::require(proxy::canonical_target(whole.target) == whole.target, "a place reads as itself");
  return 0;
}
