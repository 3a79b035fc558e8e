#pragma once
/// The head of a CONNECT request (RFC 9110, section 9.3.6): which place a client of HTTPS_PROXY wants a tunnel to.
/// Bytes from anyone; strict: what could be read in two ways is refused.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/stream.h"

namespace proxy {

inline constexpr std::size_t kConnectHeadBytesMax = 8192;  ///< clients send their address and a few fields

struct ConnectHead {
  enum class State : std::uint8_t {
    kMore,     ///< not complete yet
    kRead,
    kRefused,  ///< `status` and `code` say why
  };
  State state = State::kMore;
  std::string target;       ///< kRead: "api.broker:443", host in lower case, IPv6 in brackets; port without leading zeros
  std::size_t bytes = 0;    ///< kRead: of the head, blank line included; what follows is for the tunnel
  int status = 0;           ///< kRefused: 400, 405 or 431
  std::string_view code;    ///< kRefused: literal, snake_case
};

/// @param bytes  everything received so far
[[nodiscard]] ConnectHead parse_connect_head(Bytes bytes);
/// "API.broker:0443" as ConnectHead::target has it; empty = it is no host with a port from 1 to 65535.
[[nodiscard]] std::string canonical_target(std::string_view text);

}  // namespace proxy
