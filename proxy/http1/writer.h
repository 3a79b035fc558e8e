#pragma once
/// HTTP/1 messages into bytes. Appends to a string that the caller owns and recycles; allocates only when that grows.
/// Callers hand in valid text: names and values come from our own code or from a message that the codec accepted.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/http1/message.h"

namespace proxy::http1 {

/// Standard reason phrase; "Unknown" for numbers without one.
[[nodiscard]] std::string_view reason_of(int status);

void append_request_line(std::string& out, std::string_view method, std::string_view target);  ///< HTTP/1.1
void append_status_line(std::string& out, int status, std::string_view reason);                ///< HTTP/1.1
void append_header(std::string& out, std::string_view name, std::string_view value);
void append_header(std::string& out, std::string_view name, std::uint64_t value);  ///< decimal
void append_decimal(std::string& out, std::uint64_t value);
inline void append_end_of_head(std::string& out) { out += "\r\n"; }

/// "1a\r\n": what goes before `bytes` payload bytes, which must be followed by "\r\n". @param bytes > 0
void append_chunk_size(std::string& out, std::uint64_t bytes);
/// Ends a chunked body: "0\r\n", the trailers, "\r\n".
void append_last_chunk(std::string& out, std::span<const Header> trailers);

struct TextHeader {
  std::string_view name, value;
};
enum class BodyPart : std::uint8_t { kSend, kOmit };
/// A whole response with its body: status line, Content-Length, the fields, the body. For small, finished answers.
/// @param part  kOmit announces the length of the body but leaves it out (answer to HEAD)
void append_response(std::string& out, int status, std::span<const TextHeader> headers, std::string_view body,
                     BodyPart part = BodyPart::kSend);
/// A whole request; Content-Length is set for every non-empty body and for POST, PUT and PATCH.
void append_request(std::string& out, std::string_view method, std::string_view target, std::string_view host,
                    std::span<const TextHeader> headers, std::string_view body);

/// Text as bytes for Stream::write.
[[nodiscard]] inline Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}
[[nodiscard]] inline std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace proxy::http1
