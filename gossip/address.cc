#include "gossip/address.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>

namespace gossip {
namespace {

Error invalid(const char* what) { return {Errc::kInvalidArgument, what}; }

bool is_mapped_ipv4(std::span<const std::uint8_t> ip) {
  return std::all_of(ip.begin(), ip.begin() + 10, [](std::uint8_t b) { return b == 0; }) && ip[10] == 0xff &&
         ip[11] == 0xff;
}

std::optional<std::uint16_t> parse_number(std::string_view text, int base, std::uint32_t max) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value > max) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

std::optional<std::array<std::uint8_t, 4>> parse_ipv4(std::string_view text) {
  std::array<std::uint8_t, 4> ip{};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return std::nullopt;
    const auto part = parse_number(text.substr(0, dot), 10, 255);
    if (!part) return std::nullopt;
    ip[i] = static_cast<std::uint8_t>(*part);
    text.remove_prefix(i == 3 ? text.size() : dot + 1);
  }
  return ip;
}

/// Reads groups separated by ':' into `out`, at most 8 bytes pairs. An IPv4 tail is allowed in the last place.
std::optional<std::size_t> parse_groups(std::string_view text, std::array<std::uint8_t, 16>& out) {
  std::size_t used = 0;
  while (!text.empty()) {
    const auto colon = text.find(':');
    const auto group = text.substr(0, colon);
    if (colon == std::string_view::npos && group.find('.') != std::string_view::npos) {
      const auto tail = parse_ipv4(group);
      if (!tail || used > 12) return std::nullopt;
      std::copy(tail->begin(), tail->end(), out.begin() + static_cast<std::ptrdiff_t>(used));
      return used + 4;
    }
    const auto value = group.size() <= 4 ? parse_number(group, 16, 0xffff) : std::nullopt;
    if (!value || used + 2 > 16) return std::nullopt;
    out[used++] = static_cast<std::uint8_t>(*value >> 8);
    out[used++] = static_cast<std::uint8_t>(*value & 0xff);
    if (colon == std::string_view::npos) return used;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;
  }
  return used;
}

std::optional<std::array<std::uint8_t, 16>> parse_ipv6(std::string_view text) {
  std::array<std::uint8_t, 16> head{};
  const auto gap = text.find("::");
  const auto used = parse_groups(text.substr(0, gap), head);
  if (!used) return std::nullopt;
  if (gap == std::string_view::npos) return *used == 16 ? std::optional(head) : std::nullopt;
  std::array<std::uint8_t, 16> tail{};
  const auto tail_used = parse_groups(text.substr(gap + 2), tail);
  if (!tail_used || *used + *tail_used > 14) return std::nullopt;
  std::copy_n(tail.begin(), *tail_used, head.end() - static_cast<std::ptrdiff_t>(*tail_used));
  return head;
}

}  // namespace

Result<Address> Address::from_bytes(std::span<const std::uint8_t> ip, std::uint16_t port) {
  if (ip.size() != 4 && ip.size() != 16) return tl::unexpected(invalid("an IP address has 4 or 16 bytes"));
  Address address;
  if (ip.size() == 16 && is_mapped_ipv4(ip)) ip = ip.subspan(12);
  std::copy(ip.begin(), ip.end(), address.ip_.begin());
  address.length_ = static_cast<std::uint8_t>(ip.size());
  address.port_ = port;
  return address;
}

Result<Address> Address::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return tl::unexpected(invalid("an address needs a port, as in 10.0.0.1:7946"));
  const auto port = parse_number(text.substr(colon + 1), 10, 65535);
  if (!port) return tl::unexpected(invalid("the port is not a number from 0 to 65535"));
  const auto host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    const auto ip = parse_ipv6(host.substr(1, host.size() - 2));
    if (!ip) return tl::unexpected(invalid("not an IPv6 address"));
    return from_bytes(*ip, *port);
  }
  const auto ip = parse_ipv4(host);
  if (!ip) return tl::unexpected(invalid("not a numeric address; IPv6 goes into brackets, as in [::1]:7946"));
  return from_bytes(*ip, *port);
}

Address Address::ipv4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  Address address;
  address.ip_ = {a, b, c, d};
  address.port_ = port;
  return address;
}

Address Address::without_port() const {
  Address host = *this;
  host.port_ = 0;
  return host;
}

std::string Address::to_string() const {
  char text[64];
  if (!is_ipv6()) {
    std::snprintf(text, sizeof text, "%u.%u.%u.%u:%u", ip_[0], ip_[1], ip_[2], ip_[3], port_);
    return text;
  }
  // RFC 5952: the longest run of two or more zero groups becomes "::".
  std::size_t best = 8, best_length = 1;
  const auto group = [this](std::size_t i) { return (ip_[2 * i] << 8) | ip_[2 * i + 1]; };
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t length = 0;
    while (i + length < 8 && group(i + length) == 0) ++length;
    if (length > best_length) best = i, best_length = length;
  }
  std::string out = "[";
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (out.back() != ':' && out.back() != '[') out += ':';
    std::snprintf(text, sizeof text, "%x", group(i));
    out += text;
  }
  std::snprintf(text, sizeof text, "]:%u", port_);
  return out + text;
}

std::size_t AddressHash::operator()(const Address& address) const noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const auto byte : address.bytes()) hash = (hash ^ byte) * 0x100000001b3u;
  hash = (hash ^ address.port()) * 0x100000001b3u;
  return static_cast<std::size_t>(hash ^ (hash >> 32));
}

}  // namespace gossip
