#pragma once
/// What the first message of a TLS client says in the clear: for which name it comes. Nothing is decrypted or answered.
/// Source: RFC 8446, sections 4.1.2 and 5.1 (ClientHello, records); RFC 6066, section 3 (server_name); RFC 9849 says what an
///         encrypted hello leaves visible: the public name, which is what we see.
/// Bounds: kClientHelloBytesMax bytes with record heads, kClientHelloRecordsMax records.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/stream.h"

namespace proxy {

/// Clients of today send 300 bytes to 2 KiB; keys that resist quantum computers and tickets can make it a few more.
inline constexpr std::size_t kClientHelloBytesMax = 16'384;
/// A hello may be cut into records at any byte; clients that do so make two or three of it.
inline constexpr std::size_t kClientHelloRecordsMax = 16;

/// What was found. The bytes themselves stay as they are: whoever serves the connection reads them again.
struct ClientHello {
  enum class State : std::uint8_t {
    kMore,     ///< so far nothing is wrong
    kRead,     ///< understood to its end
    kRefused,  ///< no hello, or one that says two things
  };
  State state = State::kMore;
  /// In lower case; 1..255 letters, digits, '.', '-' and '_', no empty label. Empty = the client did not say one.
  std::string server_name;
  std::string_view fault;       ///< kRefused: what is wrong, static text
  std::size_t bytes_needed = 0; ///< kMore: it is no use to ask before so many bytes are there
};

/// Looks at what has arrived so far, from the first byte of the connection on. Strict where it is read (lengths fill their
/// vectors exactly, one server_name with one host name), blind to all else: ciphers, keys and unknown extensions are the
/// business of who terminates. The same bytes give the same answer however they were cut.
[[nodiscard]] ClientHello parse_client_hello(Bytes so_far);

/// Whether `name` (in lower case) is meant by `pattern`: the same, or a pattern "*.rest" and one label before ".rest".
[[nodiscard]] bool server_name_matches(std::string_view pattern, std::string_view name);

}  // namespace proxy
