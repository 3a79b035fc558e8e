#include "proxy/http1/message.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/http1/fields.h"

namespace proxy::http1 {
namespace {

constexpr std::array<std::string_view, 9> kMethodNames = {"GET",    "HEAD",    "POST",  "PUT",    "DELETE",
                                                          "OPTIONS", "PATCH", "TRACE", "CONNECT"};

constexpr std::array<std::pair<std::string_view, HeaderId>, 19> kKnownHeaders = {{
    {"host", HeaderId::kHost},
    {"connection", HeaderId::kConnection},
    {"content-length", HeaderId::kContentLength},
    {"transfer-encoding", HeaderId::kTransferEncoding},
    {"te", HeaderId::kTe},
    {"trailer", HeaderId::kTrailer},
    {"upgrade", HeaderId::kUpgrade},
    {"keep-alive", HeaderId::kKeepAlive},
    {"proxy-connection", HeaderId::kProxyConnection},
    {"proxy-authenticate", HeaderId::kProxyAuthenticate},
    {"proxy-authorization", HeaderId::kProxyAuthorization},
    {"expect", HeaderId::kExpect},
    {"forwarded", HeaderId::kForwarded},
    {"x-forwarded-for", HeaderId::kForwardedFor},
    {"x-forwarded-proto", HeaderId::kForwardedProto},
    {"x-forwarded-host", HeaderId::kForwardedHost},
    {"x-forwarded-client-cert", HeaderId::kForwardedClientCert},
    {"x-real-ip", HeaderId::kRealIp},
    {"x-request-id", HeaderId::kRequestId},
}};
constexpr std::string_view kOwnPrefix = "x-outrigger-";

// Which lengths known names have, by their first letter: bit n for a length of n.
constexpr std::array<std::uint32_t, 256> kKnownLengths = [] {
  std::array<std::uint32_t, 256> lengths{};
  for (const auto& [name, id] : kKnownHeaders) lengths[static_cast<unsigned char>(name.front())] |= 1U << name.size();
  return lengths;
}();
static_assert(std::ranges::all_of(kKnownHeaders, [](const auto& known) { return known.first.size() < 32; }));

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::optional<std::string_view> find_named(std::span<const Header> headers, std::string_view name) {
  for (const Header& header : headers) {
    if (same_text(header.name, name)) return header.value;
  }
  return std::nullopt;
}

}  // namespace

Method method_of(std::string_view text) {
  for (std::size_t i = 0; i < kMethodNames.size(); ++i) {
    if (kMethodNames[i] == text) return static_cast<Method>(i);
  }
  return Method::kOther;
}

std::string_view name_of(Method method) {
  const auto index = static_cast<std::size_t>(method);
  return index < kMethodNames.size() ? kMethodNames[index] : "OTHER";
}

bool is_safe(Method method) {
  return method == Method::kGet || method == Method::kHead || method == Method::kOptions;
}

bool same_text(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

HeaderId header_id_of(std::string_view name) {
  // Most fields of a request are none of these: length and first letter sort them out before any comparison.
  if (name.empty()) return HeaderId::kOther;
  const char first = lower(name.front());
  if (name.size() < 32 && (kKnownLengths[static_cast<unsigned char>(first)] >> name.size() & 1U) != 0) {
    for (const auto& [known, id] : kKnownHeaders) {
      if (known.size() == name.size() && known.front() == first && same_text(known, name)) return id;
    }
  }
  if (name.size() > kOwnPrefix.size() && first == 'x' && same_text(name.substr(0, kOwnPrefix.size()), kOwnPrefix)) {
    return HeaderId::kOutrigger;
  }
  return HeaderId::kOther;
}

bool list_has(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (same_text(trim(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

bool any_lists(std::span<const Header> headers, HeaderId id, std::string_view token) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const Header& header) { return header.id == id && list_has(header.value, token); });
}

bool is_lookalike(std::string_view name) {
  static constexpr std::size_t kKnownBytesMax = 64;  // longer than every name known here
  if (name.find('_') == std::string_view::npos || name.size() > kKnownBytesMax) return false;
  std::array<char, kKnownBytesMax> dashed{};
  std::replace_copy(name.begin(), name.end(), dashed.begin(), '_', '-');
  return header_id_of({dashed.data(), name.size()}) != HeaderId::kOther;
}

std::optional<std::string_view> RequestHead::find(HeaderId id) const {
  for (const Header& header : headers) {
    if (header.id == id) return header.value;
  }
  return std::nullopt;
}

std::optional<std::string_view> RequestHead::find(std::string_view name) const { return find_named(headers, name); }

std::optional<std::string_view> ResponseHead::find(std::string_view name) const { return find_named(headers, name); }

}  // namespace proxy::http1
