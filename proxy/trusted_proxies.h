#pragma once
/// Blocks of IP addresses: proxies whose word is believed, clients that may come in. Text in, yes or no out.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/error.h"

namespace proxy {

/// An IP address; IPv4 as ::ffff:a.b.c.d.
struct IpAddress {
  std::uint8_t bytes[16] = {};
  bool is_v4 = false;
};
/// An IPv4 or IPv6 literal without brackets and port; nullopt for anything else.
[[nodiscard]] std::optional<IpAddress> parse_ip(std::string_view text);

/// A set of blocks of addresses: whose X-Forwarded-* fields are believed, or whom a route lets in or keeps out.
class TrustedProxies {
 public:
  /// @param blocks  "10.0.0.0/8", "192.0.2.7", "fd00::/8"; at most 64. Errors: kBadAddress, naming the text.
  [[nodiscard]] static Result<TrustedProxies> parse(const std::vector<std::string>& blocks);
  /// @param address  IPv4 or IPv6 literal without port; anything else is not trusted
  [[nodiscard]] bool trusts(std::string_view address) const;
  [[nodiscard]] bool empty() const { return blocks_.empty(); }

 private:
  struct Block {
    std::uint8_t bytes[16];  ///< IPv4 as ::ffff:a.b.c.d
    std::uint8_t prefix_bits;
  };
  std::vector<Block> blocks_;
};
using AddressBlocks = TrustedProxies;  ///< the same, where it is about clients

}  // namespace proxy
