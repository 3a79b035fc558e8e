#include "proxy/http1/head_rules.h"

#include <algorithm>
#include <optional>

#include "proxy/http1/fields.h"

namespace proxy::http1 {

Result<void> read_target(RequestHead& head) {
  const bool clean = std::all_of(head.target.begin(), head.target.end(),
                                 [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
  if (!clean || head.target.empty()) return fail(Errc::kBadRequestLine, "request target holds a byte that must be escaped");
  if (head.method == Method::kConnect) {
    head.path = head.target;
    return {};
  }
  std::string_view rest = head.target;
  if (rest.front() != '/') {
    const std::size_t scheme_end = rest.find("://");
    const bool known = scheme_end != std::string_view::npos &&
                       (same_text(rest.substr(0, scheme_end), "http") || same_text(rest.substr(0, scheme_end), "https"));
    if (rest == "*" && head.method == Method::kOptions) {
      head.path = rest;
      return {};
    }
    if (!known) return fail(Errc::kBadRequestLine, "request target is neither a path nor an http URL");
    rest.remove_prefix(scheme_end + 3);
    const std::size_t authority_end = std::min(rest.find_first_of("/?"), rest.size());
    head.host = rest.substr(0, authority_end);
    if (!is_authority(head.host)) return fail(Errc::kBadHost, "malformed authority in the request target");
    rest.remove_prefix(authority_end);
  }
  const std::size_t mark = rest.find('?');
  head.path = rest.substr(0, mark);
  // RFC 9112, section 3.2.4: OPTIONS for a bare authority asks about the server, not about its root.
  if (head.path.empty()) head.path = head.method == Method::kOptions && mark == std::string_view::npos ? "*" : "/";
  if (mark != std::string_view::npos) head.query = rest.substr(mark + 1);
  return {};
}

Result<void> read_host(RequestHead& head) {
  std::optional<std::string_view> host;
  for (const Header& header : head.headers) {
    if (header.id != HeaderId::kHost) continue;
    if (host) return fail(Errc::kBadHost, "Host given twice");
    host = header.value;
  }
  if (!host) {
    if (head.minor == 1) return fail(Errc::kBadHost, "HTTP/1.1 request without Host");
    return {};
  }
  if (!is_authority(*host)) return fail(Errc::kBadHost, "malformed Host");
  if (!head.host.empty() && !same_text(head.host, *host)) return fail(Errc::kBadHost, "Host is not the target's authority");
  head.host = *host;
  return {};
}

Result<void> check_coding(std::string_view value) {
  if (same_text(value, "chunked")) return {};
  const std::size_t comma = value.rfind(',');
  const bool ends_chunked = comma != std::string_view::npos && same_text(trim(value.substr(comma + 1)), "chunked");
  const std::string_view before = ends_chunked ? trim(value.substr(0, comma)) : std::string_view();
  if (before.empty() || list_has(before, "chunked") || list_has(before, "")) {
    return fail(Errc::kBadFraming, "Transfer-Encoding must be chunked and nothing else");
  }
  return fail(Errc::kUnknownCoding, "the only transfer coding known here is chunked");
}

}  // namespace proxy::http1
