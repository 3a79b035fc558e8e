#pragma once
/// What can go wrong inside the proxy library because of the world outside it.
/// `status_of` is the one place that says which HTTP status a client gets for each of them.

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace proxy {

/// Closed list. Each of the first group ends the client's connection after one error reply.
enum class Errc : std::uint8_t {
  // Requests that we refuse to understand.
  kBadRequestLine,      ///< no method, unknown method, broken target                       -> 400
  kBadVersion,          ///< neither HTTP/1.0 nor HTTP/1.1                                  -> 505
  kBadHeader,           ///< name or value with a forbidden byte, folding, space before ':'  -> 400
  kBadHost,             ///< Host missing, repeated, malformed, or not the target's authority -> 400
  kBadFraming,          ///< Content-Length and Transfer-Encoding that do not say one thing  -> 400
  kBadChunk,            ///< chunk size or chunk end broken                                 -> 400
  kUnknownCoding,       ///< a transfer coding other than chunked                           -> 501
  kTargetTooLong,       ///< request target over its limit                                  -> 414
  kHeadTooLarge,        ///< head or trailer over its limit in bytes or in fields           -> 431
  kBodyTooLarge,        ///< body over its limit                                            -> 413
  kUnknownExpectation,  ///< Expect other than 100-continue                                 -> 417
  kMethodRefused,       ///< CONNECT and TRACE                                              -> 405
  // Responses that we refuse to pass on.
  kBadResponse,         ///< malformed response of an instance                              -> 502
  kTruncated,           ///< connection ended inside a message                              -> 502
  // Connections.
  kBadProxyHeader,      ///< malformed or missing PROXY protocol header: closed without a word -> 400
  // Settings handed in by the host.
  kBadRoute,            ///< route without path, with an unknown method or a negative time
  kBadAddress,          ///< text that is neither an IP address nor a CIDR block
};

/// What happened, and words for people. `detail` never holds bytes of a body.
struct Error {
  Errc code;
  std::string detail;
};
template <class T>
using Result = tl::expected<T, Error>;

/// Shorthand for `return fail(Errc::kBadHost, "no Host header");`
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string_view detail) {
  return tl::unexpected<Error>(Error{code, std::string(detail)});
}

/// The enumerator's name in snake_case ("bad_host"): stable, used in error replies and counters. Never empty.
[[nodiscard]] std::string_view name_of(Errc code);
/// HTTP status for the client, 400..505; 500 for the settings group, which no client can cause.
[[nodiscard]] int status_of(Errc code);

}  // namespace proxy
