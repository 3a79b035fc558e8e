#pragma once
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "agent/config.h"

/// What a single text of the settings may look like: names, addresses, keys.
/// Private to config.cc. Every function is total: any bytes in, an answer out.
namespace agent {

inline bool config_is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  });
}
inline bool config_is_ip(const std::string& text) {
  if (text.find('\0') != std::string::npos) return false;
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}
inline bool config_is_any_ip(const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; }

/// Standard Base64 of exactly 32 bytes.
inline std::optional<std::vector<std::byte>> config_gossip_key(std::string_view text) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() != 44 || text.back() != '=') return std::nullopt;
  std::vector<std::byte> out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text.substr(0, 43)) {
    const auto value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    if ((count += 6) >= 8) out.push_back(static_cast<std::byte>((bits >> (count -= 8)) & 0xffU));
  }
  if (out.size() != 32) return std::nullopt;
  return out;
}

/// A URL or a request's path as people may see it who may not see secrets: without user and query, where passwords and tokens stand.
/// Any text is taken, sound or not, with or without quotes around it.
inline std::string config_url_shown(std::string_view text) {
  const bool quoted = text.size() > 1 && text.front() == '"' && text.back() == '"';
  if (quoted) return "\"" + config_url_shown(text.substr(1, text.size() - 2)) + "\"";
  const std::size_t query = text.find('?'), user = text.rfind('@');
  std::string out(text.substr(0, query));
  // Up to the last '@', wherever it stands: a password may hold a '/' or a '?' that nobody escaped.
  if (user != std::string_view::npos) {
    const std::size_t scheme = text.find("//");
    out = std::string(text.substr(0, scheme < user ? scheme + 2 : 0)) + "(hidden)";
    if (query == std::string_view::npos || user < query) out += text.substr(user, query == std::string_view::npos ? query : query - user);
  }
  return query == std::string_view::npos ? out : out + "?(hidden)";
}

/// The name that a line "Name: value" seems to begin with: nothing behind it is said in messages, it may be a secret.
inline std::string config_field_shown(std::string_view line) { return std::string(line.substr(0, std::min(line.find_first_of(": \t"), std::size_t{64}))); }

inline bool config_is_cidr(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return config_is_ip(text);
  unsigned bits = 0;
  const auto [stop, code] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), bits);
  const std::string ip = text.substr(0, slash);
  return code == std::errc{} && stop == text.data() + text.size() && config_is_ip(ip) &&
         bits <= (ip.find(':') == std::string::npos ? 32U : 128U);
}

}  // namespace agent
