#pragma once
/// Names and values of one head or trailer while it is being read, and the byte rules of RFC 9110, section 5.
/// Private to the codec.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "proxy/http1/message.h"

namespace proxy::http1 {

/// A piece of a buffer that may move: offset and length in bytes.
struct Span {
  std::uint32_t at = 0;
  std::uint32_t size = 0;
  /// Takes in the next piece [from, from + count); the first one sets the beginning.
  void extend(std::uint32_t from, std::uint32_t count) {
    if (size == 0) at = from;
    size = from + count - at;
  }
};

/// Fields by position. The parser below hands names and values over in pieces; the pieces of one head lie side by side in
/// one buffer, so that a field is two Spans.
/// Invariant: memory is recycled; nothing is allocated for a head with no more fields than an earlier one.
class Fields {
 public:
  void clear();
  [[nodiscard]] std::size_t size() const { return spans_.size(); }
  void add_name(std::uint32_t at, std::uint32_t size);
  /// Must follow a name.
  void add_value(std::uint32_t at, std::uint32_t size);
  /// The value is complete; an empty one has no piece of its own, yet the next name begins a new field.
  void end_value() { in_value_ = true; }
  /// Fills `headers` with views into `base`. @return false if a name or value holds a forbidden byte.
  [[nodiscard]] bool view(const char* base, std::vector<Header>& headers) const;

 private:
  struct FieldSpan {
    Span name, value;
  };
  std::vector<FieldSpan> spans_;
  bool in_value_ = true;
};

[[nodiscard]] bool is_token_byte(char c);   ///< RFC 9110, section 5.6.2
[[nodiscard]] bool is_value_byte(char c);   ///< visible, blank, tab or above 0x7f (RFC 9110, section 5.5)
[[nodiscard]] bool all_token_bytes(std::string_view text);  ///< true for an empty one, too
[[nodiscard]] bool all_value_bytes(std::string_view text);  ///< true for an empty one, too
[[nodiscard]] std::string_view trim(std::string_view text);  ///< without blanks and tabs at either end
/// A name, an IPv4 literal or a bracketed IPv6 literal, perhaps with a port of 0 to 65535 (RFC 3986, section 3.2.2, without
/// %-escapes and commas: a comma is what two joined Host fields have between them).
[[nodiscard]] bool is_authority(std::string_view text);
/// 1 to 18 decimal digits and nothing else; nullopt otherwise. (A longer number cannot be a length that anyone sends.)
[[nodiscard]] std::optional<std::uint64_t> parse_length(std::string_view text);
/// False for fields that must not be taken from a trailer (RFC 9110, section 6.5.1).
[[nodiscard]] bool is_trailer_field(const Header& header);

}  // namespace proxy::http1
