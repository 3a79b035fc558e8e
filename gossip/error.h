#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace gossip {

/// Everything that can go wrong with input from outside. Closed: a new case is a new enumerator with a test.
enum class Errc : std::uint8_t {
  kTruncated,        ///< the bytes end before the value they announce
  kMalformed,        ///< not the structure the wire format asks for (type, nesting, range, trailing bytes)
  kTooBig,           ///< a length, count or size above its stated bound
  kUnknownVersion,   ///< a wire or snapshot version this build does not speak
  kPlaintextMixed,   ///< plaintext in a sealed cluster, or a sealed packet in a plaintext one
  kUnknownKey,       ///< the key id in the header is not in our keyring
  kNotAuthentic,     ///< the seal does not open: wrong key, wrong cluster label, or altered bytes
  kReplayed,         ///< this session and counter were seen already, or lie behind the window
  kThrottled,        ///< the source sent too many packets that do not open; dropped before any decryption
  kChecksum,         ///< a snapshot whose CRC does not fit
  kInvalidArgument,  ///< a caller's value outside its documented range (name, tag, seed, config)
};

/// Name of the enumerator without the k, in snake_case; stable, used as metric label. Never empty.
[[nodiscard]] std::string_view to_string(Errc code) noexcept;

/// One failure. `detail` is for people: no bytes from outside are copied into it.
struct Error {
  Errc code{};
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

}  // namespace gossip
