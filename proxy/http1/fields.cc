#include "proxy/http1/fields.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>

namespace proxy::http1 {

namespace {

// Every byte of every field is looked up: tables, in loops that call nothing.
using ByteTable = std::array<bool, 256>;

constexpr ByteTable kTokenBytes = [] {
  ByteTable table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

constexpr ByteTable kValueBytes = [] {
  ByteTable table{};
  for (std::size_t c = 0x20; c < table.size(); ++c) table[c] = c != 0x7f;
  table['\t'] = true;
  return table;
}();

}  // namespace

bool is_token_byte(char c) { return kTokenBytes[static_cast<unsigned char>(c)]; }
bool is_value_byte(char c) { return kValueBytes[static_cast<unsigned char>(c)]; }
bool all_token_bytes(std::string_view text) { return std::all_of(text.begin(), text.end(), [](char c) { return is_token_byte(c); }); }
bool all_value_bytes(std::string_view text) { return std::all_of(text.begin(), text.end(), [](char c) { return is_value_byte(c); }); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_authority(std::string_view text) {
  static constexpr std::string_view kMarks = "-._~!$&'()*+;=";
  if (text.size() > 255 + 6) return false;
  const bool literal = text.starts_with('[');
  const std::size_t host_end = literal ? text.find(']') : std::min(text.find(':'), text.size());
  if (host_end == std::string_view::npos || host_end < (literal ? 3 : 1)) return false;
  const std::string_view host = literal ? text.substr(1, host_end - 1) : text.substr(0, host_end);
  const bool named = std::all_of(host.begin(), host.end(), [&](char c) {
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (literal) return hex || c == ':' || c == '.';
    return hex || (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || kMarks.find(c) != std::string_view::npos;
  });
  std::string_view rest = text.substr(literal ? host_end + 1 : host_end);
  if (!named || rest.empty()) return named;
  if (rest.front() != ':') return false;
  rest.remove_prefix(1);
  if (rest.empty()) return true;  // "h:" is "h" (RFC 3986, section 3.2.3)
  const auto port = parse_length(rest);
  return port && *port <= 65535;
}

std::optional<std::uint64_t> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::uint64_t length = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return length;
}

bool is_trailer_field(const Header& header) {
  static constexpr std::string_view kHeadOnly[] = {
      "authorization", "cookie",        "set-cookie",       "content-type", "content-encoding",  "content-range",
      "cache-control", "max-forwards",  "range",            "location",     "date",              "age",
      "expires",       "vary",          "www-authenticate", "pragma",       "retry-after",       "warning",
      "if-match",      "if-none-match", "if-range",         "if-modified-since", "if-unmodified-since"};
  if (header.id != HeaderId::kOther || is_lookalike(header.name)) return false;
  return std::none_of(std::begin(kHeadOnly), std::end(kHeadOnly),
                      [&](std::string_view name) { return same_text(name, header.name); });
}

void Fields::clear() {
  spans_.clear();
  in_value_ = true;
}

void Fields::add_name(std::uint32_t at, std::uint32_t size) {
  if (in_value_) {
    spans_.push_back({{at, 0}, {at, 0}});
    in_value_ = false;
  }
  spans_.back().name.extend(at, size);
}

void Fields::add_value(std::uint32_t at, std::uint32_t size) {
  assert(!spans_.empty());
  in_value_ = true;
  spans_.back().value.extend(at, size);
}

bool Fields::view(const char* base, std::vector<Header>& headers) const {
  headers.clear();
  for (const FieldSpan& span : spans_) {
    Header header;
    header.name = {base + span.name.at, span.name.size};
    header.value = trim({base + span.value.at, span.value.size});
    if (header.name.empty() || !all_token_bytes(header.name) || !all_value_bytes(header.value)) return false;
    header.id = header_id_of(header.name);
    headers.push_back(header);
  }
  return true;
}

}  // namespace proxy::http1
