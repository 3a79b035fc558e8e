#include "proxy/connect_head.h"

#include <algorithm>
#include <charconv>

#include "proxy/http1/writer.h"

namespace proxy {
namespace {

ConnectHead refuse(int status, std::string_view code) {
  ConnectHead head;
  head.state = ConnectHead::State::kRefused;
  head.status = status;
  head.code = code;
  return head;
}

bool is_host_byte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }
bool is_v6_byte(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == ':' || c == '.'; }

bool is_field_line(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  static constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  const std::string_view name = line.substr(0, colon), value = line.substr(colon + 1);
  const bool token = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.find(c) != std::string_view::npos;
  });
  return token && std::none_of(value.begin(), value.end(), [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace

std::string canonical_target(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == 0 || colon == std::string_view::npos || text.size() > 300) return {};
  std::string host(text.substr(0, colon));
  for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const bool v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string_view inner = v6 ? std::string_view(host).substr(1, host.size() - 2) : std::string_view(host);
  if (!std::all_of(inner.begin(), inner.end(), v6 ? is_v6_byte : is_host_byte)) return {};
  const std::string_view digits = text.substr(colon + 1);
  std::uint32_t port = 0;
  const auto [stop, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || digits.size() > 5 || code != std::errc() || stop != digits.data() + digits.size() || port == 0 || port > 65535) return {};
  return host + ":" + std::to_string(port);
}

ConnectHead parse_connect_head(Bytes bytes) {
  const std::string_view text = http1::text_of(bytes).substr(0, kConnectHeadBytesMax);
  const std::size_t line_end = text.find("\r\n");
  // A method that is another one is told so at once, however much of the line is still to come.
  static constexpr std::string_view kMethod = "CONNECT ";
  if (text.substr(0, kMethod.size()) != kMethod.substr(0, std::min(kMethod.size(), text.size()))) return refuse(405, "connect_only");
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string_view::npos) return text.size() == kConnectHeadBytesMax ? refuse(431, "head_too_large") : ConnectHead();
  const std::string_view line = text.substr(kMethod.size(), line_end - kMethod.size());
  const std::size_t blank = line.find(' ');
  const std::string_view version = blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refuse(400, "bad_connect");
  for (std::size_t at = line_end + 2; at < end + 2;) {
    const std::size_t stop = text.find("\r\n", at);
    if (!is_field_line(text.substr(at, stop - at))) return refuse(400, "bad_connect");
    at = stop + 2;
  }
  ConnectHead head;
  head.target = canonical_target(line.substr(0, blank));
  if (head.target.empty()) return refuse(400, "bad_target");
  head.state = ConnectHead::State::kRead;
  head.bytes = end + 4;
  return head;
}

}  // namespace proxy
