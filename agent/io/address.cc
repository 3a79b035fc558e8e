#include "agent/io/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <charconv>
#include <cstddef>

namespace agent::io {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::array<std::byte, 12> kMappedPrefix = {std::byte{0}, std::byte{0}, std::byte{0},    std::byte{0},
                                                     std::byte{0}, std::byte{0}, std::byte{0},    std::byte{0},
                                                     std::byte{0}, std::byte{0}, std::byte{0xff}, std::byte{0xff}};

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  unsigned value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value > 65535 || text.empty()) {
    return fail(Errc::kInvalidArgument, "'" + std::string(whole) + "': the port must be a number from 0 to 65535");
  }
  return static_cast<std::uint16_t>(value);
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  if (text.substr(0, kUnixPrefix.size()) == kUnixPrefix) return unix_path(text.substr(kUnixPrefix.size()));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(Errc::kInvalidArgument, "'" + std::string(text) + "': expected IP:PORT, [IPV6]:PORT or unix:PATH");
  }
  std::string_view host = text.substr(0, colon);
  const auto port = parse_port(text.substr(colon + 1), text);
  if (!port) return tl::unexpected(port.error());
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(Errc::kInvalidArgument, "'" + std::string(text) + "': write an IPv6 address as [ADDRESS]:PORT");
  }
  return ip(host, *port);
}

Result<Address> Address::ip(std::string_view ip_text, std::uint16_t port) {
  const std::string text(ip_text);
  std::array<std::byte, 16> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return from_bytes(std::span(bytes).first(4), port);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return from_bytes(bytes, port);
  return fail(Errc::kInvalidArgument, "'" + text + "' is no IPv4 or IPv6 address");
}

Result<Address> Address::from_bytes(std::span<const std::byte> bytes, std::uint16_t port) {
  if (bytes.size() == 16 && std::memcmp(bytes.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0) {
    bytes = bytes.subspan(kMappedPrefix.size());
  }
  Address result;
  if (bytes.size() == 4) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, bytes.data(), 4);
    std::memcpy(&result.storage_, &v4, sizeof v4);
    result.length_ = sizeof v4;
    return result;
  }
  if (bytes.size() == 16) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, bytes.data(), 16);
    std::memcpy(&result.storage_, &v6, sizeof v6);
    result.length_ = sizeof v6;
    return result;
  }
  return fail(Errc::kInvalidArgument, "an IP address has 4 or 16 bytes, not " + std::to_string(bytes.size()));
}

Result<Address> Address::unix_path(std::string_view path) {
  sockaddr_un un{};
  if (path.empty() || path.size() >= sizeof un.sun_path || path.find('\0') != std::string_view::npos) {
    return fail(Errc::kInvalidArgument, "a unix socket path has 1 to 107 characters: '" + std::string(path) + "'");
  }
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  Address result;
  std::memcpy(&result.storage_, &un, sizeof un);
  result.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return result;
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t length) {
  if (address == nullptr || length < sizeof(sa_family_t)) return {};
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof v4);
    return *from_bytes(std::as_bytes(std::span(&v4.sin_addr, 1)), ntohs(v4.sin_port));
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    Address result = *from_bytes(std::as_bytes(std::span(&v6.sin6_addr, 1)), ntohs(v6.sin6_port));
    // Link-local addresses mean something only together with their interface.
    if (result.is_ipv6()) std::memcpy(reinterpret_cast<char*>(&result.storage_) + offsetof(sockaddr_in6, sin6_scope_id),
                                      &v6.sin6_scope_id, sizeof v6.sin6_scope_id);
    return result;
  }
  if (address->sa_family == AF_UNIX && length > offsetof(sockaddr_un, sun_path)) {
    const char* path = reinterpret_cast<const char*>(address) + offsetof(sockaddr_un, sun_path);
    return unix_path(std::string_view(path, ::strnlen(path, length - offsetof(sockaddr_un, sun_path)))).value_or(Address{});
  }
  return {};
}

Address Address::loopback(std::uint16_t port) { return *ip("127.0.0.1", port); }

bool Address::is_loopback() const {
  if (is_unix()) return true;
  const auto raw_bytes = bytes();
  if (raw_bytes.size() == 4) return raw_bytes[0] == std::byte{127};
  if (raw_bytes.size() != 16) return false;
  return std::memcmp(raw_bytes.data(), &in6addr_loopback, 16) == 0;
}

bool Address::is_any() const {
  const auto raw_bytes = bytes();
  if (raw_bytes.empty()) return false;
  for (const std::byte byte : raw_bytes) {
    if (byte != std::byte{0}) return false;
  }
  return true;
}

std::uint16_t Address::port() const {
  // sin_port and sin6_port lie at the same place.
  if (bytes().empty()) return 0;
  in_port_t port = 0;
  std::memcpy(&port, reinterpret_cast<const char*>(&storage_) + offsetof(sockaddr_in, sin_port), sizeof port);
  return ntohs(port);
}

void Address::set_port(std::uint16_t port) {
  if (bytes().empty()) return;
  const in_port_t network = htons(port);
  std::memcpy(reinterpret_cast<char*>(&storage_) + offsetof(sockaddr_in, sin_port), &network, sizeof network);
}

std::string Address::host() const {
  if (empty()) return {};
  if (is_unix()) return reinterpret_cast<const char*>(&storage_) + offsetof(sockaddr_un, sun_path);
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(storage_.ss_family, bytes().data(), text.data(), text.size());
  return text.data();
}

std::string Address::to_string() const {
  if (empty()) return "-";
  if (is_unix()) return std::string(kUnixPrefix) + host();
  const std::string name = is_ipv6() ? "[" + host() + "]" : host();
  return name + ":" + std::to_string(port());
}

std::span<const std::byte> Address::bytes() const {
  const auto* base = reinterpret_cast<const std::byte*>(&storage_);
  if (storage_.ss_family == AF_INET) return {base + offsetof(sockaddr_in, sin_addr), 4};
  if (storage_.ss_family == AF_INET6) return {base + offsetof(sockaddr_in6, sin6_addr), 16};
  return {};
}

const sockaddr* Address::raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }

std::size_t Address::hash() const {
  return std::hash<std::string_view>{}(std::string_view(reinterpret_cast<const char*>(&storage_), length_));
}

Result<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port) {
  HostPort result{std::string(text), default_port};
  std::string_view port_text;
  const std::size_t colon = text.rfind(':');
  const bool several_colons = colon != std::string_view::npos && text.find(':') != colon;
  if (!text.empty() && text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || (close + 1 < text.size() && text[close + 1] != ':')) {
      return fail(Errc::kInvalidArgument, "'" + std::string(text) + "': expected [IPV6] or [IPV6]:PORT");
    }
    result.host = text.substr(1, close - 1);
    if (close + 1 < text.size()) port_text = text.substr(close + 1);
  } else if (colon != std::string_view::npos && !several_colons) {
    result.host = text.substr(0, colon);
    port_text = text.substr(colon);
  }
  if (!port_text.empty()) {
    const auto port = parse_port(port_text.substr(1), text);
    if (!port) return tl::unexpected(port.error());
    result.port = *port;
  }
  if (result.host.empty() || result.host.size() > 253) {
    return fail(Errc::kInvalidArgument, "'" + std::string(text) + "': expected HOST or HOST:PORT");
  }
  return result;
}

}  // namespace agent::io
