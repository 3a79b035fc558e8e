#include "store/kv/types.h"

namespace store::kv {

std::string ClusterId::hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 0xfU];
  }
  return text;
}

namespace {

int parse_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

std::optional<ClusterId> parse_cluster_id(std::string_view hex) {
  ClusterId id;
  if (hex.size() != id.bytes.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    const int high = parse_digit(hex[2 * i]);
    const int low = parse_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return id;
}

std::string Uuid::text() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size() + 4);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[bytes[i] >> 4U];
    text += kDigits[bytes[i] & 0xfU];
  }
  return text;
}

std::optional<Uuid> parse_uuid(std::string_view text) {
  constexpr std::size_t kTextBytes = 36;
  if (text.size() != kTextBytes) return std::nullopt;
  Uuid id;
  std::size_t at = 0;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      if (text[at++] != '-') return std::nullopt;
    }
    const auto lower = [](char digit) { return digit >= 'A' && digit <= 'F' ? static_cast<char>(digit + 32) : digit; };
    const int high = parse_digit(lower(text[at]));
    const int low = parse_digit(lower(text[at + 1]));
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    at += 2;
  }
  return id;
}

std::optional<SessionId> parse_session_id(std::string_view text) {
  const auto id = parse_uuid(text);
  if (!id) return std::nullopt;
  return SessionId{*id};
}

}  // namespace store::kv
