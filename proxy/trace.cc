#include "proxy/trace.h"

#include <algorithm>

#include "proxy/http1/fields.h"

namespace proxy {
namespace {

constexpr std::size_t kMembersMax = 32;
constexpr std::size_t kValueBytesMax = 256;

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

std::uint8_t byte_of(std::string_view two) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  return static_cast<std::uint8_t>(digit(two[0]) * 16 + digit(two[1]));
}

// Letters are lower case; `first_may_be_digit` holds for the tenant part (before '@').
bool is_key_part(std::string_view text, std::size_t bytes_max, bool first_may_be_digit) {
  if (text.empty() || text.size() > bytes_max) return false;
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (!lower(text[0]) && !(first_may_be_digit && digit(text[0]))) return false;
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return lower(c) || digit(c) || c == '_' || c == '-' || c == '*' || c == '/'; });
}

bool is_member_key(std::string_view key) {
  const std::size_t at = key.find('@');
  if (at == std::string_view::npos) return is_key_part(key, 256, false);
  return is_key_part(key.substr(0, at), 241, true) && is_key_part(key.substr(at + 1), 14, false);
}

bool is_member_value(std::string_view value) {
  if (value.empty() || value.size() > kValueBytesMax || value.back() == ' ') return false;
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

// On the stack: a request with a trace allocates no more than one without.
struct Keys {
  std::array<std::string_view, kMembersMax> names;
  std::size_t count = 0;
  [[nodiscard]] bool add(std::string_view key) {
    const auto end = names.begin() + static_cast<std::ptrdiff_t>(count);
    if (count == names.size() || std::find(names.begin(), end, key) != end) return false;
    names[count++] = key;
    return true;
  }
};

// Checks one field's list; keys of earlier fields are in `keys`.
bool read_members(std::string_view list, Keys& keys) {
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view member = http1::trim(list.substr(0, comma));
    if (!member.empty()) {  // empty members are allowed and mean nothing
      const std::size_t equals = member.find('=');
      if (equals == std::string_view::npos) return false;
      const std::string_view key = member.substr(0, equals);
      if (!is_member_key(key) || !is_member_value(member.substr(equals + 1))) return false;
      if (!keys.add(key)) return false;
    }
    if (comma == std::string_view::npos) return true;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view value) {
  constexpr std::size_t kBytes = 55;  // of version 00
  if (value.size() < kBytes) return std::nullopt;
  const std::string_view version = value.substr(0, 2);
  if (!is_hex(version) || version == "ff") return std::nullopt;
  if (version == "00" ? value.size() != kBytes : value.size() > kBytes && value[kBytes] != '-') return std::nullopt;
  if (value[2] != '-' || value[35] != '-' || value[52] != '-') return std::nullopt;
  const std::string_view trace = value.substr(3, 32), span = value.substr(36, 16), flags = value.substr(53, 2);
  if (!is_hex(trace) || !is_hex(span) || !is_hex(flags) || is_zero(trace) || is_zero(span)) return std::nullopt;
  TraceContext context;
  std::copy(trace.begin(), trace.end(), context.trace.begin());
  std::copy(span.begin(), span.end(), context.span.begin());
  // What the bits of a later version mean is not known, but for the one that it must share.
  context.flags = byte_of(flags) & (version == "00" ? kSampled | kRandom : kSampled);
  return context;
}

std::optional<TraceContext> traceparent_of(std::span<const http1::Header> headers) {
  std::optional<TraceContext> found;
  bool seen = false;
  for (const http1::Header& header : headers) {
    if (!http1::same_text(header.name, kTraceparent)) continue;
    if (seen) return std::nullopt;
    seen = true;
    found = parse_traceparent(header.value);
  }
  return found;
}

bool append_tracestate_of(std::string& out, std::span<const http1::Header> headers) {
  Keys keys;
  const std::size_t before = out.size();
  for (const http1::Header& header : headers) {
    if (!http1::same_text(header.name, kTracestate)) continue;
    if (!read_members(header.value, keys)) {
      out.resize(before);
      return false;
    }
    if (header.value.empty()) continue;
    if (out.size() > before) out += ',';
    out += header.value;
  }
  return true;
}

void append_traceparent(std::string& out, const TraceContext& context) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += "00-";
  out.append(context.trace.data(), context.trace.size());
  out += '-';
  out.append(context.span.data(), context.span.size());
  out += "-0";
  out += kDigits[context.flags & 15];
}

}  // namespace proxy
