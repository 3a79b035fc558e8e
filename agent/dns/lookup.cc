#include "agent/dns/lookup.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace agent::dns {
namespace {

using Labels = std::span<const std::string_view>;

bool ends_with(Labels labels, Labels suffix) {
  return labels.size() >= suffix.size() && std::equal(suffix.rbegin(), suffix.rend(), labels.rbegin());
}

std::string joined(Labels labels) {
  std::string out;
  for (const auto label : labels) {
    if (!out.empty()) out += '.';
    out += label;
  }
  return out;
}

std::optional<std::uint8_t> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  return std::nullopt;
}

/// 8 or 32 digits; kUnusable for everything else.
Place ip_of_hex(std::string_view digits) {
  std::array<std::uint8_t, 16> bytes{};
  const auto unusable = Place::of_bytes({});
  if (digits.size() != 8 && digits.size() != 32) return unusable;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const auto digit = hex_digit(digits[i]);
    if (!digit) return unusable;
    bytes[i / 2] = static_cast<std::uint8_t>(bytes[i / 2] << 4 | *digit);
  }
  return Place::of_bytes(std::span(bytes).first(digits.size() / 2));
}

/// One label of in-addr.arpa: 0..255 without leading zeros.
std::optional<std::uint8_t> decimal_byte(std::string_view label) {
  if (label.empty() || label.size() > 3 || (label.size() > 1 && label[0] == '0')) return std::nullopt;
  unsigned value = 0;
  for (const char c : label) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value > 255 ? std::nullopt : std::optional(static_cast<std::uint8_t>(value));
}

/// The address whose reversed form this is (RFC 1035 section 3.5, RFC 3596 section 2.5); kUnusable if none.
Place ip_of_reverse(Labels labels) {
  static constexpr std::array<std::string_view, 2> kIpv4{"in-addr", "arpa"}, kIpv6{"ip6", "arpa"};
  const auto unusable = Place::of_bytes({});
  if (labels.size() == 6 && ends_with(labels, kIpv4)) {
    std::array<std::uint8_t, 4> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto byte = decimal_byte(labels[3 - i]);
      if (!byte) return unusable;
      bytes[i] = *byte;
    }
    return Place::of_bytes(bytes);
  }
  if (labels.size() != 34 || !ends_with(labels, kIpv6)) return unusable;
  std::string digits;
  for (std::size_t i = 32; i-- > 0;) {
    if (labels[i].size() != 1) return unusable;
    digits += labels[i];
  }
  return ip_of_hex(digits);
}

void read_service(Labels parts, Lookup& out) {
  out.kind = Lookup::Kind::kService;
  if (parts.size() == 2 && parts[0].starts_with('_') && parts[1].starts_with('_')) {  // RFC 2782
    out.name = parts[0].substr(1);
    out.tag = parts[1].substr(1);
    if (out.tag == "tcp") out.tag.clear();
    if (out.name.empty() || parts[1].size() == 1) out.kind = Lookup::Kind::kNothing;
    return;
  }
  out.name = parts.back();
  out.tag = joined(parts.first(parts.size() - 1));
  out.may_be_branch = parts.size() == 1 && parts[0].starts_with('_');
}

void read_parts(std::string_view word, Labels parts, Lookup& out) {
  if (parts.empty()) {
    out.kind = Lookup::Kind::kBranch;
  } else if (word == "service") {
    read_service(parts, out);
  } else if (word == "node") {
    out.kind = Lookup::Kind::kNode;
    out.name = joined(parts);
  } else if (parts.size() == 1) {
    out.ip = ip_of_hex(parts[0]);
    if (out.ip.is_ip()) out.kind = Lookup::Kind::kAddress;
  }
}

/// @param labels in front of the domain, lower case
void read_inside(Labels labels, Type type, const ResolverSettings& settings, Lookup& out) {
  const auto is_word = [](std::string_view label) { return label == "service" || label == "node" || label == "addr"; };
  out.kind = Lookup::Kind::kNothing;
  if (labels.empty()) {
    out.kind = Lookup::Kind::kApex;
    return;
  }
  if (labels.size() == 1 && labels[0] == "ns") {
    out.kind = Lookup::Kind::kService;
    out.name = lower_case(settings.server_service);
    return;
  }
  const Name datacenter = Name::parse(lower_case(settings.datacenter)).value_or(Name());
  const auto suffix = datacenter.labels();
  if (!is_word(labels.back()) && ends_with(labels, suffix)) labels = labels.first(labels.size() - suffix.size());
  if (labels.empty()) {
    out.kind = Lookup::Kind::kBranch;
    return;
  }
  if (is_word(labels.back())) return read_parts(labels.back(), labels.first(labels.size() - 1), out);
  // RFC 2782 form without the word, as Consul's clients have it.
  if (type == Type::kSrv && labels.size() == 2 && labels[0].starts_with('_') && labels[1].starts_with('_'))
    read_service(labels, out);
}

}  // namespace

Lookup look_up(const Name& asked, Type type, const ResolverSettings& settings) {
  Lookup out;
  const Name lower = asked.lower_case();
  const auto labels = lower.labels();
  for (const Name* domain : {&settings.domain, &settings.alt_domain}) {
    if (domain->is_root()) continue;
    const Name lower_domain = domain->lower_case();
    const auto suffix = lower_domain.labels();
    if (!ends_with(labels, suffix)) continue;
    out.domain = *domain;
    read_inside(Labels(labels).first(labels.size() - suffix.size()), type, settings, out);
    return out;
  }
  out.ip = ip_of_reverse(labels);
  if (out.ip.is_ip()) out.kind = Lookup::Kind::kReverse;
  return out;
}

}  // namespace agent::dns
