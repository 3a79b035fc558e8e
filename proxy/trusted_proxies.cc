#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "proxy/trusted_proxies.h"

namespace proxy {

// inet_pton only reads text: no resolver, no socket.
std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.empty() || text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  char terminated[INET6_ADDRSTRLEN] = {};
  std::memcpy(terminated, text.data(), text.size());
  IpAddress address;
  if (inet_pton(AF_INET, terminated, address.bytes + 12) == 1) {
    address.bytes[10] = address.bytes[11] = 0xff;
    address.is_v4 = true;
    return address;
  }
  if (inet_pton(AF_INET6, terminated, address.bytes) == 1) return address;
  return std::nullopt;
}

Result<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& blocks) {
  TrustedProxies trusted;
  if (blocks.size() > 64) return fail(Errc::kBadAddress, "more than 64 blocks of trusted proxies");
  for (const std::string& text : blocks) {
    const std::string_view view(text);
    const std::size_t slash = view.find('/');
    const auto address = parse_ip(view.substr(0, slash));
    if (!address) return fail(Errc::kBadAddress, "\"" + text + "\" is not an IP address or CIDR block");
    unsigned bits = address->is_v4 ? 32 : 128;
    if (slash != std::string_view::npos) {
      const std::string_view digits = view.substr(slash + 1);
      unsigned wanted = 0;
      const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), wanted);
      if (code != std::errc() || end != digits.data() + digits.size() || wanted > bits) {
        return fail(Errc::kBadAddress, "\"" + text + "\" has a prefix length out of range");
      }
      bits = wanted;
    }
    Block block{};
    std::memcpy(block.bytes, address->bytes, sizeof block.bytes);
    block.prefix_bits = static_cast<std::uint8_t>(address->is_v4 ? bits + 96 : bits);
    trusted.blocks_.push_back(block);
  }
  return trusted;
}

bool TrustedProxies::trusts(std::string_view text) const {
  if (blocks_.empty()) return false;
  const auto address = parse_ip(text);
  if (!address) return false;
  for (const Block& block : blocks_) {
    const std::size_t whole = block.prefix_bits / 8;
    if (std::memcmp(block.bytes, address->bytes, whole) != 0) continue;
    const unsigned rest = block.prefix_bits % 8U;
    if (rest == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
    if ((block.bytes[whole] & mask) == (address->bytes[whole] & mask)) return true;
  }
  return false;
}

}  // namespace proxy
