#pragma once
/// Errors of agent/io: what the operating system, the TLS library or the other side can do to us.
/// Every foreign code (errno, libuv, mbedTLS, getaddrinfo) becomes one of these on the line where it arrives.
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace agent::io {

enum class Errc : std::uint8_t {
  kInvalidArgument,  ///< text that is no address, a value out of range, a call the object's state does not allow
  kAddressInUse,     ///< another socket holds this port or socket path
  kAddressMissing,   ///< the address belongs to no interface of this machine
  kPermission,       ///< the operating system says no (port < 1024, file mode)
  kRefused,          ///< nobody listens there: conclusive evidence that the process is gone
  kReset,            ///< the other side cut the connection (RST, EPIPE)
  kUnreachable,      ///< no route, host or network down
  kTimedOut,         ///< the deadline given by the caller (or the kernel's) is over
  kClosed,           ///< our own side is shut down or closed already
  kGateClosed,       ///< the stream's WriteGate said no: nothing was written
  kQueueFull,        ///< a bounded queue would grow over its bound; nothing was taken
  kWouldBlock,       ///< the kernel's buffer is full; a datagram was not sent
  kTooLarge,         ///< datagram, file or output over the stated bound
  kNotFound,         ///< file, directory or host name does not exist
  kExists,           ///< file exists and must not be replaced
  kLocked,           ///< another process holds the lock file
  kDiskFull,         ///< no space left or quota used up
  kLimit,            ///< out of descriptors, threads, processes
  kCertificate,      ///< key or certificate file unreadable, mismatching, expired; says which file and the fix
  kTlsPeer,          ///< the other side's certificate is missing, untrusted or expired, or it rejects ours
  kTlsProtocol,      ///< any other TLS failure: no common version or ALPN, bad record, cut without close_notify
  kAuthentication,   ///< AEAD tag does not fit: wrong key, or bytes were changed
  kIo,               ///< everything else; detail carries the system's own words
};

/// One failure: a closed code for programs, a sentence for people (what, where; never key material).
struct Error {
  Errc code = Errc::kIo;
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

/// Stable snake_case name of `code`, for logs and metrics labels.
[[nodiscard]] std::string_view to_string(Errc code);

/// Translates an errno value (> 0). `what` names the operation and its object, e.g. "bind 0.0.0.0:80".
[[nodiscard]] Error from_errno(int number, std::string_view what);

/// Translates a libuv status (< 0), same rules.
[[nodiscard]] Error from_uv(int status, std::string_view what);

/// Shorthand for `return fail(Errc::kX, "...")`.
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string detail) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}

}  // namespace agent::io
