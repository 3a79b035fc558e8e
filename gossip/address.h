#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "gossip/error.h"

namespace gossip {

/// An IP address and a port; a value of 20 bytes with no tie to any socket library.
/// Invariant: `bytes()` has 4 (IPv4) or 16 (IPv6) bytes in network order. An IPv4-mapped IPv6 address
/// (::ffff:a.b.c.d) is stored as IPv4, so that one peer never has two addresses.
/// The default value (0.0.0.0:0) means "none".
class Address {
 public:
  Address() = default;
  /// @param ip   4 or 16 bytes, network order. @param port host order, 0..65535. Errors: kInvalidArgument.
  static Result<Address> from_bytes(std::span<const std::uint8_t> ip, std::uint16_t port);
  /// Reads `127.0.0.1:7946` or `[::1]:7946`: numeric only, a port is required, no zone id. Errors: kInvalidArgument.
  static Result<Address> parse(std::string_view text);
  static Address ipv4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port);

  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {ip_.data(), length_}; }
  [[nodiscard]] bool is_ipv6() const { return length_ == 16; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool is_none() const { return port_ == 0; }
  /// Same host, port 0: the key for limits per source host.
  [[nodiscard]] Address without_port() const;
  /// `a.b.c.d:port` or `[x:x::x]:port`; the inverse of parse().
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const Address&, const Address&) = default;
  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  std::array<std::uint8_t, 16> ip_{};
  std::uint8_t length_ = 4;
  std::uint16_t port_ = 0;
};

/// Hash for unordered containers; the same for equal values in every run (no seed), so iteration order is repeatable.
struct AddressHash {
  std::size_t operator()(const Address& address) const noexcept;
};

}  // namespace gossip
