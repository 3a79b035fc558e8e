#include <string>

#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"
#include "tests/fuzz/fuzz.h"

namespace http1 = proxy::http1;

namespace {

constexpr http1::Limits kLimits{
    .target_bytes_max = 512, .head_bytes_max = 4096, .header_count_max = 32, .body_bytes_max = 4096};

class Transcript final : public http1::ResponseSink {
 public:
  http1::Flow on_head(const http1::ResponseHead& head) override {
    fuzz::require(head.status >= 100 && head.status <= 599, "status in range");
    text += "\nhead " + std::to_string(head.status) + " " + std::to_string(static_cast<int>(head.framing)) +
            std::to_string(head.keep_alive) + std::to_string(head.minor);
    for (const auto& field : head.headers) {
      fuzz::require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos,
                    "no split in a value");
      text.append("\n").append(field.name).append("=").append(field.value);
    }
    text += "\nbody ";
    return http1::Flow::kContinue;
  }
  void on_body(http1::Bytes bytes) override { text += http1::text_of(bytes); }
  void on_end(std::span<const http1::Header> trailers) override {
    for (const auto& field : trailers) text.append("\ntrailer ").append(field.name).append("=").append(field.value);
    text += "\nend";
    ended = true;
  }
  std::string text;
  bool ended = false;
};

/// One response to `method`, then the end of the stream.
std::string run(http1::Bytes bytes, std::size_t piece, http1::Method method) {
  Transcript transcript;
  http1::ResponseParser parser(kLimits);
  parser.expect(method);
  while (!bytes.empty() && !transcript.ended) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    const auto taken = parser.feed(part, transcript);
    if (!taken) return transcript.text + "\nerror";
    fuzz::require(*taken <= part.size(), "no more is consumed than was given");
    bytes = bytes.subspan(*taken);
    if (*taken == 0) break;
  }
  if (!transcript.ended && !parser.finish(transcript)) return transcript.text + "\ncut";
  return transcript.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const auto method : {http1::Method::kGet, http1::Method::kHead}) {
    const std::string whole = run(bytes, size == 0 ? 1 : size, method);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}})
      fuzz::require(run(bytes, piece, method) == whole, "the same bytes mean the same however they are cut");
  }
  return 0;
}
