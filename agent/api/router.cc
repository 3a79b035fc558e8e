#include "agent/api/router.h"

#include <algorithm>
#include <optional>

#include "agent/api/query.h"

namespace agent::api {
namespace {

/// Cuts the next segment off `text`, which begins with '/'.
std::string_view next_segment(std::string_view& text) {
  text.remove_prefix(1);
  const auto end = std::min(text.find('/'), text.size());
  const auto segment = text.substr(0, end);
  text.remove_prefix(end);
  return segment;
}

/// The undecoded parameters when `path` has the pattern's shape.
std::optional<std::vector<std::string_view>> fit(std::string_view pattern, std::string_view path) {
  std::vector<std::string_view> out;
  while (!pattern.empty()) {
    if (pattern == "/*") {
      if (!path.empty()) path.remove_prefix(1);
      out.push_back(path);
      return out;
    }
    if (path.empty()) return std::nullopt;
    const auto wanted = next_segment(pattern), found = next_segment(path);
    if (!wanted.starts_with(':')) {
      if (wanted != found) return std::nullopt;
    } else {
      if (found.empty()) return std::nullopt;
      out.push_back(found);
    }
  }
  if (path == "/") path = {};
  return path.empty() ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace

void Router::add(std::string_view method, std::string_view pattern, Handler handler) {
  routes_.push_back({std::string(method), std::string(pattern), handler});
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match out;
  std::string_view shape;
  for (const auto& route : routes_) {
    if (!shape.empty() && route.pattern != shape) continue;
    if (shape.empty()) {
      const auto raw = path.starts_with('/') ? fit(route.pattern, path) : std::nullopt;
      if (!raw) continue;
      shape = route.pattern;
      out.outcome = Outcome::kNoMethod;
      out.allow = "OPTIONS";
      for (const auto& text : *raw) {
        auto decoded = decode_path(text);
        if (!decoded) return {Outcome::kBadPath, nullptr, {}, {}};
        out.parameters.push_back(std::move(*decoded));
      }
    }
    out.allow += "," + route.method;
    if (route.method != method) continue;
    out.outcome = Outcome::kFound;
    out.handler = route.handler;
  }
  return out;
}

}  // namespace agent::api
