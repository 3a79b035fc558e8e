#pragma once
/// Where a socket is: IPv4, IPv6 or a unix path.
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/socket.h>

#include "agent/io/error.h"

namespace agent::io {

/// A value without owner. Default-constructed it is empty (`empty()`), which no socket accepts.
/// Text: "192.0.2.7:80", "[2001:db8::1]:80", "unix:/run/x.sock"; to_string and parse are inverse to each other.
class Address {
 public:
  Address() = default;
  /// Numeric addresses only (names go to resolve()). Errors: kInvalidArgument, saying what was expected.
  static Result<Address> parse(std::string_view text);
  /// @param ip    numeric IPv4 or IPv6 without brackets.  @param port 0 lets the system choose when binding.
  static Result<Address> ip(std::string_view ip, std::uint16_t port);
  /// @param bytes 4 (IPv4) or 16 (IPv6) bytes in network order; 16 bytes that map an IPv4 become IPv4.
  static Result<Address> from_bytes(std::span<const std::byte> bytes, std::uint16_t port);
  /// @param path  1..107 bytes. Errors: kInvalidArgument.
  static Result<Address> unix_path(std::string_view path);
  static Address from_sockaddr(const sockaddr* address, socklen_t length);  ///< unknown families give empty()
  static Address loopback(std::uint16_t port);                             ///< 127.0.0.1:port

  [[nodiscard]] bool empty() const { return length_ == 0; }
  [[nodiscard]] bool is_unix() const { return storage_.ss_family == AF_UNIX; }
  [[nodiscard]] bool is_ipv6() const { return storage_.ss_family == AF_INET6; }
  [[nodiscard]] bool is_loopback() const;  ///< 127/8, ::1, or a unix path
  [[nodiscard]] bool is_any() const;       ///< 0.0.0.0 or ::
  [[nodiscard]] std::uint16_t port() const;         ///< 0 for unix
  void set_port(std::uint16_t port);                ///< no effect on unix
  [[nodiscard]] std::string host() const;           ///< without port and brackets; the path of a unix address
  [[nodiscard]] std::string to_string() const;
  /// Network-order address bytes (4 or 16); empty for unix. Valid while this object lives and is unchanged.
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] const sockaddr* raw() const;
  [[nodiscard]] socklen_t raw_length() const { return length_; }
  [[nodiscard]] std::size_t hash() const;

  friend bool operator==(const Address& a, const Address& b) {
    return a.length_ == b.length_ && std::memcmp(&a.storage_, &b.storage_, a.length_) == 0;
  }

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

/// "host:port" with a name or a number, split but not looked up.
struct HostPort {
  std::string host;  ///< name or numeric address, no brackets
  std::uint16_t port = 0;
};
/// Accepts "host", "host:port", "1.2.3.4:5", "[::1]:5", "::1". Errors: kInvalidArgument (empty host, bad port).
/// @param default_port used where the text names none.
Result<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port);

}  // namespace agent::io

template <>
struct std::hash<agent::io::Address> {
  std::size_t operator()(const agent::io::Address& address) const noexcept { return address.hash(); }
};
