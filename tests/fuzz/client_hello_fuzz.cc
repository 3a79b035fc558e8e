#include "proxy/client_hello.h"
#include "tests/fuzz/fuzz.h"

/// Another answer than "more" is the same however the network cuts the bytes, and comes within the bound.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using State = proxy::ClientHello::State;
  if (size > 2 * proxy::kClientHelloBytesMax) return 0;
  const auto bytes = fuzz::bytes_of(data, size);
  const proxy::ClientHello whole = proxy::parse_client_hello(bytes);
  proxy::ClientHello slowly;
  for (std::size_t at = 0, asked = 0; at <= size; ++at) {
    if (at < asked && at != size && size > 600) continue;  // long inputs are asked about only when it is said to be of use
    slowly = proxy::parse_client_hello(bytes.first(at));
    if (slowly.state != State::kMore) break;
    fuzz::require(slowly.bytes_needed > at, "more is needed when more is asked for");
    fuzz::require(slowly.bytes_needed <= proxy::kClientHelloBytesMax + 5, "never more than the bound");
    asked = slowly.bytes_needed;
  }
  fuzz::require(whole.state == slowly.state, "the same answer however it is cut");
  fuzz::require(whole.server_name == slowly.server_name, "the same name however it is cut");
  fuzz::require(whole.state == State::kRefused || whole.fault.empty(), "no fault without a refusal");
  fuzz::require(whole.server_name.size() <= 255, "a name is bounded");
  return 0;
}
