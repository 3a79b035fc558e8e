#include <string>

#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"
#include "tests/fuzz/fuzz.h"

namespace http1 = proxy::http1;

namespace {

constexpr http1::Limits kLimits{
    .target_bytes_max = 512, .head_bytes_max = 4096, .header_count_max = 32, .body_bytes_max = 4096};

/// Everything a parser said, as text; bodies without their cuts.
class Transcript final : public http1::RequestSink {
 public:
  http1::Flow on_head(const http1::RequestHead& head) override {
    text += "\nhead ";
    text.append(head.method_text).append(" ").append(head.target).append(" ").append(head.host);
    text += " " + std::to_string(static_cast<int>(head.framing)) + " " + std::to_string(head.keep_alive) +
            std::to_string(head.upgrade) + std::to_string(head.expect_continue) + std::to_string(head.minor);
    fuzz::require(head.target.size() <= kLimits.target_bytes_max, "the target is bounded");
    fuzz::require(head.headers.size() <= kLimits.header_count_max, "fields are bounded");
    for (const auto& field : head.headers) {
      fuzz::require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos,
                    "no split in a value");
      fuzz::require(!field.name.empty() && field.name.find_first_of(" \t:\r\n") == std::string_view::npos,
                    "names are tokens");
      text.append("\n").append(field.name).append("=").append(field.value);
    }
    body_bytes = 0;
    text += "\nbody ";
    return http1::Flow::kContinue;
  }
  void on_body(http1::Bytes bytes) override {
    text += http1::text_of(bytes);
    body_bytes += bytes.size();
    fuzz::require(body_bytes <= kLimits.body_bytes_max, "the body is bounded");
  }
  void on_end(std::span<const http1::Header> trailers) override {
    for (const auto& field : trailers) text.append("\ntrailer ").append(field.name).append("=").append(field.value);
    text += "\nend";
  }

  std::string text;
  std::size_t body_bytes = 0;
};

/// @param piece  bytes per feed
std::string run(http1::Bytes bytes, std::size_t piece) {
  Transcript transcript;
  http1::RequestParser parser(kLimits);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    const auto taken = parser.feed(part, transcript);
    // Which of several faults is named may depend on the cut: a bound may be passed before the bad byte comes.
    if (!taken) return transcript.text + "\nrefused";
    fuzz::require(*taken <= part.size(), "no more is consumed than was given");
    bytes = bytes.subspan(*taken);
    if (*taken == 0 && !parser.in_message()) parser.reset();  // behind an upgrade
    if (*taken == 0) break;
  }
  return transcript.text;
}

}  // namespace

/// How the network cuts the bytes must not change what they mean: that difference is how requests are smuggled.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const std::string whole = run(bytes, size == 0 ? 1 : size);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}})
    fuzz::require(run(bytes, piece) == whole, "the same bytes mean the same however they are cut");
  return 0;
}
