#include "agent/config_content.h"

#include "agent/config_values.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

std::string_view header_name(std::string_view line) { return line.substr(0, line.find(':')); }

bool same_header(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

void read_route_headers(const RouteChecks& checks, ConfigReader& reader, HeadersConfig& headers, bool response) {
  const std::pair<const char*, std::vector<std::string>*> lists[] = {{"set", &headers.set}, {"add", &headers.add}, {"del", &headers.del}};
  for (std::size_t i = 0; i < std::size(lists); ++i) {
    const auto [key, lines] = lists[i];
    reader.list(key, *lines, 32);
    for (const auto& line : *lines) {
      const auto change = static_cast<HeaderChange>(i + (response ? 3 : 0));
      if (const auto fault = checks.check_header ? checks.check_header(line, change) : std::nullopt)
        reader.problem(key, *fault, "write \"Name: value\" with plain text and {variables}; del takes names alone");
    }
  }
  for (std::size_t i = 0; i < headers.set.size(); ++i) {
    const std::string_view name = header_name(headers.set[i]);
    if (name.size() == headers.set[i].size()) continue;  // it has no name: that is told already, and what it has may be a secret
    for (std::size_t j = 0; j < i; ++j)
      if (same_header(name, header_name(headers.set[j])))
        reader.problem("set", "\"" + std::string(name) + "\" is set twice", "keep one of the two, or put the other into add");
    for (const auto& gone : headers.del)
      if (same_header(name, gone)) reader.problem("del", "\"" + gone + "\" is set and deleted", "remove one of the two: set replaces what was there");
  }
}

bool is_media_type(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == 0 || slash == std::string_view::npos || slash + 1 == text.size() || text.size() > 127) return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || std::string_view("/+-._").find(static_cast<char>(c)) != std::string_view::npos; }) &&
         text.find('/', slash + 1) == std::string_view::npos;
}

// Beneath the root, as a plain relative name.
bool is_inner_name(std::string_view text) {
  return !text.empty() && text.front() != '/' && text.back() != '/' && text.find("..") == std::string_view::npos &&
         text.find("//") == std::string_view::npos && std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= ' ' && c != 0x7f; });
}

void read_static(const std::set<std::string>& all_keys, const RouteChecks& checks, ConfigReader reader, RouteConfig& route) {
  StaticConfig absent;
  if (reader.present()) route.files.emplace();
  StaticConfig& files = route.files ? *route.files : absent;
  const bool rooted = reader.path("root", files.root, true) && !files.root.empty();
  if (reader.present() && !rooted) reader.problem("root", "static does not say which folder", "add root = \"/srv/www\"");
  std::error_code code;
  if (rooted && checks.opens_files && !std::filesystem::is_directory(files.root, code))
    reader.problem("root", files.root.string() + " is no folder: No such file or directory", "make it, or correct the path");
  if (reader.text("index", files.index, 255) && !files.index.empty() && (!is_inner_name(files.index) || files.index.find('/') != std::string::npos))
    reader.problem("index", "\"" + files.index + "\" is no name of a file", "write \"index.html\", or \"\" for none");
  if (reader.text("spa", files.spa, 1024) && !files.spa.empty() && !is_inner_name(files.spa))
    reader.problem("spa", "\"" + files.spa + "\" is no name beneath root", "write \"index.html\"");
  reader.duration("cache", files.cache, Milliseconds(0), hours(24 * 3660));
  if (files.cache.count() % 1000 != 0) reader.problem("cache", "a max-age is told in whole seconds", "round it");
  reader.text("cache_control", files.cache_control, 255);
  for (const unsigned char c : files.cache_control)
    if (c < ' ' || c > '~') {
      reader.problem("cache_control", "the value holds a byte that is not printable", "write \"public, no-transform\"");
      break;
    }
  if (files.cache.count() > 0 && files.cache_control.find("max-age") != std::string::npos)
    reader.problem("cache_control", "max-age stands here and in cache", "keep one of the two");
  reader.boolean("precompressed", files.precompressed);
  reader.finish(all_keys);
}

void read_compress(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  CompressConfig absent;
  if (reader.present()) route.compress.emplace();
  CompressConfig& compress = route.compress ? *route.compress : absent;
  reader.number("level", compress.level, 1, 9);
  reader.size("min", compress.min, 0, 1ULL << 30);
  reader.list("types", compress.types, 64);
  for (auto& type : compress.types) {
    for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!is_media_type(type)) reader.problem("types", "\"" + type + "\" is no media type", "write \"text/html\", without parameters");
    if (type == "text/event-stream")
      reader.problem("types", "a stream of events is never compressed", "remove it: each event has to leave at once");
  }
  reader.note_meaning("types", config_quoted(compress.types));
  if (compress.types.empty()) reader.problem("types", "nothing would be compressed", "name some types, or remove compress");
  reader.finish(all_keys);
}

void read_cache(const std::set<std::string>& all_keys, ConfigReader reader, RouteConfig& route) {
  CacheConfig absent;
  if (reader.present()) route.cache.emplace();
  CacheConfig& cache = route.cache ? *route.cache : absent;
  reader.duration("ttl", cache.ttl, Milliseconds(0), hours(24 * 365));
  reader.duration("stale_while_revalidate", cache.stale_while_revalidate, Milliseconds(0), hours(24));
  reader.duration("stale_if_error", cache.stale_if_error, Milliseconds(0), hours(24));
  reader.size("object_max", cache.object_max, 1024, 64ULL << 20);
  reader.duration("wait", cache.wait, Milliseconds(0), minutes(5));
  reader.finish(all_keys);
}

void check_together(ConfigReader& reader, const RouteConfig& route) {
  if (route.files && reader.has("sticky"))
    reader.problem("sticky", "files are the same at every agent", "remove sticky, or static");
  if (route.files && reader.has("pool"))
    reader.problem("pool", "files are served by this agent itself, and by no pool", "remove pool, or static");
  if (route.cache && route.pool == Pool::kPrimary)
    reader.problem("cache", "what the primary says is true for one moment only", "remove cache, or write pool = \"all\"");
  if (route.cache && route.files)
    reader.problem("cache", "files are in the memory of the system already", "remove cache: static needs none");
}

}  // namespace

void config_read_content(const std::set<std::string>& all_keys, const RouteChecks& checks, ConfigReader& reader, RouteConfig& route) {
  reader.size("body_max", route.body_max, 0, 1ULL << 40);
  auto request = reader.section("request_headers");
  read_route_headers(checks, request, route.request_headers, false);
  request.finish(all_keys);
  auto response = reader.section("response_headers");
  read_route_headers(checks, response, route.response_headers, true);
  response.choice("preset", route.response_headers.security, {{"security", true}});
  if (response.text("csp", route.response_headers.csp) && !route.response_headers.security)
    response.problem("csp", "it is a part of the preset, and there is none", "add preset = \"security\", or remove csp");
  for (const unsigned char c : route.response_headers.csp)
    if (c < ' ' || c > '~') {
      response.problem("csp", "the policy holds a byte that is not printable", "write it in one line of plain text");
      break;
    }
  response.finish(all_keys);
  read_static(all_keys, checks, reader.section("static"), route);
  read_compress(all_keys, reader.section("compress"), route);
  read_cache(all_keys, reader.section("cache"), route);
  check_together(reader, route);
}

}  // namespace agent
