#pragma once
/// Field lists of HTTP/2 into request heads: the same RequestHead that the HTTP/1 parser makes, under the same rules.
/// Source: RFC 9113, section 8 (8.2 fields, 8.3 pseudo fields, 8.1.1 malformed messages); RFC 8441 (WebSocket).
///
/// nghttp2 has refused most malformed lists before they come here. What decides about routing and framing is checked
/// again, since a request that two programs read in two ways is how requests are smuggled past rules.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/error.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/fields.h"
#include "proxy/http1/message.h"

namespace proxy::http2 {

/// The field list of one head or trailer, copied, because a list comes in pieces.
/// Bound: http1::Limits, bytes counted as in SETTINGS_MAX_HEADER_LIST_SIZE (32 more for each field); what lies beyond is
/// dropped and makes finish() fail.
/// Ownership: a value of its stream, recycled with its buffers.
class HeadBuilder {
 public:
  /// What a field counts beside its text (RFC 9113, section 6.5.2).
  static constexpr std::size_t kFieldBytes = 32;

  void clear();
  void add(std::string_view name, std::string_view value, const http1::Limits& limits);

  /// Fills `head` with views into this object.
  /// @param ends     no body follows
  /// @param web_key  16 random bytes as base64: Sec-WebSocket-Key of a request that RFC 8441 has made an HTTP/2 one
  /// Errors: kBadRequestLine, kBadHeader, kBadHost, kBadFraming, kTargetTooLong, kHeadTooLarge, kUnknownExpectation.
  [[nodiscard]] Result<void> finish(http1::RequestHead& head, bool ends, const http1::Limits& limits, std::string_view web_key);
  /// The fields of a trailer that may be passed on.
  [[nodiscard]] std::span<const http1::Header> trailers();
  /// Some field is called :protocol: finish() will want a web_key.
  [[nodiscard]] bool names_protocol() const { return names_protocol_; }
  /// It asked for a WebSocket by extended CONNECT. Known after finish().
  [[nodiscard]] bool is_tunnel() const { return tunnel_; }

 private:
  struct FieldSpan {
    http1::Span name, value;
  };
  [[nodiscard]] std::string_view view(http1::Span span) const { return {text_.data() + span.at, span.size}; }
  [[nodiscard]] Result<void> read_pseudo(http1::RequestHead& head);
  [[nodiscard]] Result<void> read_fields();
  [[nodiscard]] Result<void> read_target(http1::RequestHead& head, const http1::Limits& limits) const;
  [[nodiscard]] Result<void> read_framing(http1::RequestHead& head, bool ends) const;
  [[nodiscard]] Result<void> begin_tunnel(http1::RequestHead& head, bool ends, std::string_view web_key);

  std::string text_;
  std::vector<FieldSpan> spans_;
  std::vector<http1::Header> headers_;
  std::string cookies_;       ///< crumbs joined (RFC 9113, section 8.2.3)
  std::string key_;
  std::string_view method_, scheme_, authority_, path_, protocol_;
  std::size_t bytes_ = 0;
  bool too_large_ = false, tunnel_ = false, names_protocol_ = false;
};

}  // namespace proxy::http2
