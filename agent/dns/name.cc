#include "agent/dns/name.h"

#include <arpa/inet.h>

#include <algorithm>

namespace agent::dns {
namespace {

char lower(char letter) { return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter; }

bool is_host_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/// Somebody's host name, or a mistyped address? The last label of a host name is never a number (RFC 3696 section 2).
bool may_be_host(const Name& name) {
  const auto labels = name.labels();
  if (labels.empty()) return false;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return std::all_of(labels.begin(), labels.end(),
                     [](std::string_view label) { return std::all_of(label.begin(), label.end(), is_host_letter); }) &&
         !std::all_of(labels.back().begin(), labels.back().end(), is_digit);
}

}  // namespace

std::optional<Name> Name::parse(std::string_view text) { return parse(text, Name()); }

std::optional<Name> Name::parse(std::string_view text, const Name& suffix) {
  Name out;
  if (text.ends_with('.')) text.remove_suffix(1);
  for (std::size_t from = 0; from <= text.size() && !text.empty();) {
    const auto dot = std::min(text.find('.', from), text.size());
    if (!out.append(text.substr(from, dot - from))) return std::nullopt;
    from = dot + 1;
  }
  return out.append(suffix) ? std::optional(std::move(out)) : std::nullopt;
}

bool Name::append(const Name& tail) {
  if (wire_bytes() + tail.wire_.size() > kBytesMax) return false;
  wire_ += tail.wire_;
  return true;
}

bool Name::append(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax || wire_bytes() + 1 + label.size() > kBytesMax) return false;
  wire_ += static_cast<char>(label.size());
  wire_ += label;
  return true;
}

std::vector<std::string_view> Name::labels() const {
  std::vector<std::string_view> out;
  const std::string_view all = wire_;
  for (std::size_t at = 0; at < all.size();) {
    const auto length = static_cast<std::size_t>(all[at]);
    out.push_back(all.substr(at + 1, length));
    at += 1 + length;
  }
  return out;
}

Name Name::lower_case() const {
  Name out = *this;
  // Length bytes are at most 63, below every letter, so the whole row can be walked at once.
  for (char& c : out.wire_) c = lower(c);
  return out;
}

std::string Name::text() const {
  std::string out;
  for (const auto label : labels()) {
    for (const char c : label) {
      const auto byte = static_cast<unsigned char>(c);
      if (is_host_letter(c)) {
        out += c;
      } else {
        out += '\\';
        for (const int unit : {100, 10, 1}) out += static_cast<char>('0' + byte / unit % 10);
      }
    }
    out += '.';
  }
  return out.empty() ? "." : out;
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

Place Place::parse(std::string_view text) {
  Place out;
  if (text.empty()) return out;
  const std::string zero_ended(text);
  std::array<std::uint8_t, 16> ip{};
  if (zero_ended.find('\0') == std::string::npos) {
    if (inet_pton(AF_INET, zero_ended.c_str(), ip.data()) == 1) return of_bytes(std::span(ip).first(4));
    if (inet_pton(AF_INET6, zero_ended.c_str(), ip.data()) == 1) return of_bytes(ip);
  }
  const auto host = Name::parse(text);
  out.kind = host && may_be_host(*host) ? Kind::kHostName : Kind::kUnusable;
  if (out.kind == Kind::kHostName) out.host = *host;
  return out;
}

Place Place::of_bytes(std::span<const std::uint8_t> bytes) {
  static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};  // RFC 4291, 2.5.5.2
  Place out;
  if (bytes.size() == 16 && std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) bytes = bytes.subspan(12);
  out.kind = bytes.size() == 4 ? Kind::kIpv4 : bytes.size() == 16 ? Kind::kIpv6 : Kind::kUnusable;
  if (out.is_ip()) std::copy(bytes.begin(), bytes.end(), out.ip.begin());
  return out;
}

std::span<const std::uint8_t> Place::bytes() const {
  return std::span(ip).first(kind == Kind::kIpv4 ? 4 : kind == Kind::kIpv6 ? 16 : 0);
}

}  // namespace agent::dns
