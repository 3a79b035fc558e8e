#include "agent/drivers/check_url.h"

#include <algorithm>
#include <utility>

#include "agent/io/address.h"

namespace agent::drivers {
namespace {

constexpr std::size_t kShownMax = 200;  // bytes of a bad URL that an error shows

std::string lower_of(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// RFC 3986, section 3.1; empty: the reference has none.
std::string_view scheme_of(std::string_view reference) {
  const auto colon = reference.find_first_of(":/?");
  if (colon == std::string_view::npos || colon == 0 || reference[colon] != ':' || !is_letter(reference.front())) return {};
  const std::string_view scheme = reference.substr(0, colon);
  const bool clean = std::all_of(scheme.begin(), scheme.end(), [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
  return clean ? scheme : std::string_view();
}

/// RFC 3986, section 5.2.4, for a path that begins with '/'.
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  bool folder = false;  // the result ends with '/'
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    const std::string_view segment = path.substr(0, end);
    path.remove_prefix(end);
    folder = segment == "." || segment == "..";
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!folder) kept.push_back(segment);
  }
  std::string out;
  for (const std::string_view segment : kept) (out += '/') += segment;
  return folder || out.empty() ? out + '/' : out;
}

/// Path and query without dot segments in the path.
std::string clean_target(std::string_view target) {
  const auto query = std::min(target.find('?'), target.size());
  return without_dots(target.substr(0, query)) + std::string(target.substr(query));
}

std::string escaped(std::string_view location) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : location) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte != ' ' && byte < 0x80) {
      out += c;
      continue;
    }
    out += '%';
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

bool is_credential(const std::string& name) {
  const std::string lower = lower_of(name);
  return lower == "authorization" || lower == "www-authenticate" || lower == "proxy-authorization" || lower == "cookie" || lower == "cookie2";
}

bool is_at_or_below(std::string_view host, std::string_view first) {
  const std::string low = lower_of(host), wanted = lower_of(first);
  return low == wanted || (low.size() > wanted.size() && low.ends_with("." + wanted));
}

}  // namespace

io::Result<CheckUrl> parse_check_url(std::string_view url) {
  const auto bad = [&url](const std::string& why) {
    return io::fail(io::Errc::kInvalidArgument, "URL \"" + std::string(url.substr(0, kShownMax)) + "\": " + why);
  };
  CheckUrl out;
  std::string_view rest = url;
  const std::string beginning = lower_of(url.substr(0, 8));
  if (beginning == "https://") out.tls = true;
  else if (!beginning.starts_with("http://")) return bad("it must begin with http:// or https://");
  rest.remove_prefix(out.tls ? 8 : 7);
  const bool clean = std::all_of(rest.begin(), rest.end(), [](char c) { return c > ' ' && c != '\x7f'; });
  if (!clean) return bad("it holds blanks or control characters");
  rest = rest.substr(0, rest.find('#'));
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  out.authority = std::string(rest.substr(0, end));
  if (out.authority.find('@') != std::string::npos) return bad("user names are not supported; send a header");
  const auto host = io::parse_host_port(out.authority, out.tls ? 443 : 80);
  if (!host) return bad(host.error().detail);
  if (host->port == 0) return bad("port 0 is none");
  out.host = host->host;
  out.port = host->port;
  out.target = std::string(rest.substr(end));
  if (!out.target.starts_with('/')) out.target.insert(0, "/");
  return out;
}

io::Result<CheckUrl> resolve_location(const CheckUrl& base, std::string_view location) {
  if (location.size() > kLocationBytesMax)
    return io::fail(io::Errc::kInvalidArgument, "a Location of " + std::to_string(location.size()) + " bytes; at most " + std::to_string(kLocationBytesMax) + " are followed");
  std::string reference = escaped(location.substr(0, location.find('#')));
  const std::string scheme = lower_of(scheme_of(reference));
  const bool whole = !scheme.empty() || reference.starts_with("//");
  if (scheme.empty() && whole) reference.insert(0, base.tls ? "https:" : "http:");
  if (whole) {
    auto url = parse_check_url(reference);
    if (url) url->target = clean_target(url->target);
    return url;
  }
  const bool clean = std::all_of(reference.begin(), reference.end(), [](char c) { return c > ' ' && c != '\x7f'; });
  if (!clean) return io::fail(io::Errc::kInvalidArgument, "a Location with control characters");
  CheckUrl out = base;
  const std::string_view path = std::string_view(base.target).substr(0, base.target.find('?'));
  if (reference.empty()) return out;
  if (reference.front() == '/') out.target = reference;
  else if (reference.front() == '?') out.target = std::string(path) + reference;
  else out.target = std::string(path.substr(0, path.rfind('/') + 1)) + reference;
  out.target = clean_target(out.target);
  return out;
}

CheckRequest first_request(const CheckPlan& plan, CheckUrl url) {
  CheckRequest out;
  out.method = plan.method.empty() ? "GET" : plan.method;
  out.body = plan.body;
  for (const auto& [name, values] : plan.header) {
    const std::string lower = lower_of(name);
    if (lower == "host" && !values.empty()) out.host = values.front();
    // These are the connection's, not the check's.
    if (lower == "host" || lower == "content-length" || lower == "connection" || lower == "transfer-encoding") continue;
    out.header.emplace(name, values);
  }
  out.first_host = url.host;
  out.url = std::move(url);
  return out;
}

bool is_redirect(int status) { return (status >= 301 && status <= 303) || status == 307 || status == 308; }

io::Result<CheckRequest> redirected(CheckRequest request, int status, std::string_view location) {
  auto url = resolve_location(request.url, location);
  if (!url) return tl::make_unexpected(url.error());
  const bool repeats = status == 307 || status == 308;
  if (!repeats) {
    request.body.clear();
    if (request.method != "HEAD") request.method = "GET";
    std::erase_if(request.header, [](const auto& field) { return lower_of(field.first).starts_with("content-"); });
  }
  if (!is_at_or_below(url->host, request.first_host) || (request.url.tls && !url->tls))
    std::erase_if(request.header, [](const auto& field) { return is_credential(field.first); });
  if (url->authority != request.url.authority) request.host.clear();
  request.url = std::move(*url);
  return request;
}

}  // namespace agent::drivers
