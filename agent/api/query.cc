#include "agent/api/query.h"

#include <charconv>
#include <cmath>

namespace agent::api {
namespace {

constexpr std::size_t kParametersMax = 64;
constexpr double kDurationMaxMs = 100.0 * 365 * 24 * 3600 * 1000;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::optional<std::string> decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_blank) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    out += c;
  }
  return out;
}

/// Milliseconds of one unit; 0 = no such unit.
double unit_ms(std::string_view unit) {
  if (unit == "ms") return 1;
  if (unit == "s") return 1000;
  if (unit == "m") return 60000;
  if (unit == "h") return 3600000;
  if (unit == "us" || unit == "\u00b5s" || unit == "\u03bcs") return 0.001;
  return unit == "ns" ? 0.000001 : 0;
}

}  // namespace

std::optional<std::string> decode_path(std::string_view text) { return decode(text, false); }

std::optional<std::uint64_t> parse_u64(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty() || text.size() > 64) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    double number = 0;
    const auto digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto [stop, code] = std::from_chars(text.data(), text.data() + digits, number);
    if (code != std::errc{} || stop != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    const auto letters = std::min(text.find_first_of("0123456789."), text.size());
    const double scale = unit_ms(text.substr(0, letters));
    if (scale == 0) return std::nullopt;
    total += number * scale;
    text.remove_prefix(letters);
  }
  if (!(total <= kDurationMaxMs)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::floor(total + 1e-6)));
}

std::optional<Query> Query::parse(std::string_view text) {
  Query out;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty()) continue;
    const auto equals = std::min(part.find('='), part.size());
    auto name = decode(part.substr(0, equals), true);
    auto value = decode(part.substr(std::min(equals + 1, part.size())), true);
    if (!name || !value || out.parameters_.size() == kParametersMax) return std::nullopt;
    out.parameters_.emplace_back(std::move(*name), std::move(*value));
  }
  return out;
}

std::string Query::get(std::string_view name) const {
  const auto* value = find(name);
  return value == nullptr ? std::string() : *value;
}

const std::string* Query::find(std::string_view name) const {
  for (const auto& [key, value] : parameters_)
    if (key == name) return &value;
  return nullptr;
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : parameters_)
    if (key == name) out.push_back(value);
  return out;
}

}  // namespace agent::api
