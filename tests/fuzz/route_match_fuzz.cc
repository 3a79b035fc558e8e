#include <string>
#include <vector>

#include "proxy/route.h"
#include "tests/fuzz/fuzz.h"

/// Lines: a request "METHOD host path", then up to 16 routes "KIND host path". Whatever the spelling of a path, the rule that was
/// made for it is met; and the table answers what a second, slower reading of the same rules answers.
namespace {

using proxy::http1::Method;

std::string_view line_of(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}
std::string_view word_of(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const auto word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}
Method method_of(std::string_view word) { return word.empty() ? Method::kGet : static_cast<Method>(static_cast<unsigned char>(word.front()) % 10); }

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = std::min(path.find('/'), path.size());
    if (end > 0) out.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}
bool covers(const proxy::Route& route, std::string_view path) {
  if (route.match == proxy::PathMatch::kExact) return route.path == path;
  const auto want = segments_of(route.path), have = segments_of(path);
  if (want.size() > have.size() || !std::equal(want.begin(), want.end(), have.begin())) return false;
  // "/a/" is the folder, not the thing of that name.
  return route.path.back() != '/' || want.size() < have.size() || path.back() == '/';
}

/// Every byte that may be, escaped.
std::string escaped(std::string_view path) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9')) {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

void check_spellings(std::string_view path) {
  std::string again, scratch;
  const auto twice = proxy::canonical_path(path, scratch);
  fuzz::require(twice && *twice == path, "what is canonical stays");
  const std::string walled = std::string(path) + "/";
  fuzz::require(walled.find("/./") == std::string::npos && walled.find("/../") == std::string::npos, "no dot segments");
  fuzz::require(path.find("//") == std::string_view::npos, "no empty segments");
  if (path.find('%') != std::string_view::npos) return;  // its escapes are of bytes that keep theirs
  for (const std::string& other : {escaped(path), "//." + std::string(path), "/x/.." + std::string(path), "/%2e/%2F" + std::string(path)}) {
    const auto same = proxy::canonical_path(other, again);
    fuzz::require(same && *same == path, "another spelling is the same path");
  }
}

std::vector<proxy::Route> routes_of(std::string_view text) {
  std::vector<proxy::Route> routes;
  while (!text.empty() && routes.size() < 16) {
    auto line = line_of(text);
    proxy::Route route;
    route.name = "r" + std::to_string(routes.size());
    route.pool = "p";
    const auto kind = word_of(line);
    if (kind.find('=') != std::string_view::npos) route.match = proxy::PathMatch::kExact;
    if (kind.size() > 1) route.methods = proxy::MethodSet{method_of(kind), method_of(kind.substr(1))};
    route.host = word_of(line);
    if (route.host == "*") route.host.clear();
    route.path = line;
    std::string scratch;
    const auto canonical = proxy::canonical_path(route.path, scratch);
    if (route.path.empty() || route.path.front() != '/' || !canonical || *canonical != route.path) {
      fuzz::require(!proxy::RouteTable::make({route}), "a path that no request can have is refused");
      continue;
    }
    routes.push_back(std::move(route));
  }
  return routes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  auto request = line_of(text);
  const Method method = method_of(word_of(request));
  const auto host = word_of(request);
  std::string scratch;
  const auto path = proxy::canonical_path(request, scratch);
  if (!path || path->empty() || path->front() != '/') return 0;
  check_spellings(*path);

  const auto table = proxy::RouteTable::make(routes_of(text));
  if (!table) return 0;
  const auto match = (*table)->find(method, host, *path);
  const proxy::Route* first = nullptr;
  bool known = false;
  for (const auto& route : (*table)->routes()) {
    const auto name = host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
    if (!covers(route, *path) || !(route.host.empty() || proxy::http1::same_text(route.host, name))) continue;
    if (route.methods.has(method)) {
      first = &route;
      break;
    }
    known = true;
  }
  fuzz::require(match.route == first, "the first route that fits serves");
  fuzz::require(match.route != nullptr || match.path_known == known, "405 only where the path is known");
  return 0;
}
