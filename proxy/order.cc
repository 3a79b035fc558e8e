#include "proxy/order.h"

#include <algorithm>

namespace proxy {
namespace {

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

bool fits(std::string_view key) { return !key.empty() && key.size() <= OrderRule::kKeyBytesMax; }

}  // namespace

std::string order_identity(const OrderRule& rule) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = rule.zone;
  out += rule.from == OrderKeyFrom::kHeader ? "/header:" : rule.from == OrderKeyFrom::kQuery ? "/query:" : "/json:";
  for (const char c : rule.name) {
    // Names of fields have no case. A pointer may hold any byte, a field may not.
    if (rule.from == OrderKeyFrom::kHeader && c >= 'A' && c <= 'Z') {
      out += static_cast<char>(c - 'A' + 'a');
    } else if (is_visible(c) && c != '%') {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::optional<std::string> order_key_of(std::string_view value) {
  if (!value.starts_with('"')) {
    if (!fits(value) || !std::all_of(value.begin(), value.end(), is_visible)) return std::nullopt;
    return std::string(value);
  }
  std::string key;
  for (std::size_t i = 1; i < value.size(); ++i) {
    char c = value[i];
    if (c == '"') {
      // Parameters may follow; they mean nothing here.
      const bool ends = i + 1 == value.size() || value[i + 1] == ';';
      return ends && fits(key) ? std::optional(key) : std::nullopt;
    }
    if (c == '\\') {
      if (++i == value.size() || (value[i] != '"' && value[i] != '\\')) return std::nullopt;
      c = value[i];
    }
    if (!is_visible(c) && c != ' ') return std::nullopt;
    key += c;
  }
  return std::nullopt;
}

std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const auto equals = std::min(part.find('='), part.size());
    if (part.substr(0, equals) == name) return part.substr(std::min(equals + 1, part.size()));
  }
  return std::nullopt;
}

}  // namespace proxy
