#pragma once
/// The PROXY protocol: a load balancer before us says at the beginning of a connection for whom it is, and we say so to
/// an instance. Versions 1 (a line of text) and 2 (binary).
/// Source: "The PROXY protocol", HAProxy Technologies, revision of 2020/03/05; CRC32c: RFC 3720, appendix B.4.
/// Bounds: kProxyHeaderBytesMax; a version 1 line has at most 107 bytes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "proxy/error.h"
#include "proxy/stream.h"
#include "proxy/trusted_proxies.h"

namespace proxy {

/// Longest header that is taken; the addresses are 36 bytes, the rest is for extensions.
inline constexpr std::size_t kProxyHeaderBytesMax = 4096;

/// Whose connection it is.
struct ProxyHeader {
  /// Absent: the sender's own connection (LOCAL, UNKNOWN, a unix socket behind it): the connection's address stands.
  struct Ends {
    IpAddress source, destination;
    std::uint16_t source_port = 0, destination_port = 0;
  };
  std::optional<Ends> ends;
  std::uint8_t version = 1;
  std::size_t bytes = 0;  ///< of the header; what follows belongs to the connection
};

/// Looks at what has arrived so far. Strict: one spelling for each header, everything counted, nothing skipped unseen; an
/// extension with a CRC32c is verified, a length that runs over its header is refused.
/// @return the header; nullopt while more bytes can still make it one. Errors: kBadProxyHeader, saying what is wrong.
[[nodiscard]] Result<std::optional<ProxyHeader>> parse_proxy_header(Bytes so_far);

/// A header for a connection of ours. Version 2 carries a CRC32c.
/// @param ends     absent = the connection is our own (health checks, connections that serve many clients)
/// @param version  1 or 2
[[nodiscard]] std::string make_proxy_header(const std::optional<ProxyHeader::Ends>& ends, std::uint8_t version);

/// "192.0.2.7" or "2001:db8::1" (RFC 5952), as parse_ip takes it.
[[nodiscard]] std::string text_of(const IpAddress& address);

/// CRC-32C (Castagnoli), reflected, as iSCSI has it.
[[nodiscard]] std::uint32_t crc32c(Bytes bytes);

}  // namespace proxy
