#include <optional>
#include <string>

#include "proxy/http1/writer.h"
#include "proxy/proxy_header.h"
#include "tests/fuzz/fuzz.h"

namespace {

/// What the parser says when the bytes come one after the other: the first word that is not "more".
struct Said {
  bool refused = false;
  std::optional<proxy::ProxyHeader> header;
};

Said say(proxy::Bytes bytes, std::size_t step) {
  for (std::size_t size = 0; size <= bytes.size(); size += step) {
    const auto parsed = proxy::parse_proxy_header(bytes.first(size));
    if (!parsed) return {true, {}};
    if (!*parsed) continue;
    fuzz::require((*parsed)->bytes <= size, "no more is consumed than was there");
    fuzz::require((*parsed)->bytes <= proxy::kProxyHeaderBytesMax, "a header is bounded");
    return {false, **parsed};
  }
  fuzz::require(bytes.size() < proxy::kProxyHeaderBytesMax || step > 1, "a header that is never complete is refused in time");
  return {};
}

}  // namespace

/// A header is the same however the network cuts it, and what names a client can be written again and means the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 2 * proxy::kProxyHeaderBytesMax) return 0;
  const auto bytes = fuzz::bytes_of(data, size);
  const Said slowly = say(bytes, 1);
  const auto whole = proxy::parse_proxy_header(bytes);
  fuzz::require(whole.has_value() == !slowly.refused, "refused however it is cut");
  if (!whole) return 0;
  fuzz::require(whole->has_value() == slowly.header.has_value(), "complete however it is cut");
  if (!*whole) return 0;
  fuzz::require((*whole)->bytes == slowly.header->bytes, "as long however it is cut");
  if (!(*whole)->ends) return 0;
  for (const std::uint8_t version : {std::uint8_t{1}, std::uint8_t{2}}) {
    const std::string again = proxy::make_proxy_header((*whole)->ends, version);
    const auto read = proxy::parse_proxy_header(proxy::http1::bytes_of(again));
    fuzz::require(read && *read && (*read)->ends, "what we write we read");
    fuzz::require((*read)->ends->source_port == (*whole)->ends->source_port, "the ports stay");
  }
  return 0;
}
