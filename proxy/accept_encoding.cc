#include "proxy/accept_encoding.h"

#include <algorithm>

#include "proxy/http1/fields.h"

namespace proxy {
namespace {

using http1::same_text;
using http1::trim;

// Thousandths of "1", "0.5", "0.125"; 0 for what is no weight.
int weight_of(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return 0;
  int value = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] != '.') return 0;
  int scale = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (c < '0' || c > '9') return 0;
    value += (c - '0') * scale;
    scale /= 10;
  }
  return std::min(value, 1000);
}

struct Wishes {
  int gzip = -1, identity = -1, any = -1;  // thousandths; -1 = not named

  void add(std::string_view element) {
    const std::size_t semicolon = element.find(';');
    const std::string_view name = trim(element.substr(0, semicolon));
    int weight = 1000;
    if (semicolon != std::string_view::npos) {
      const std::string_view parameter = trim(element.substr(semicolon + 1));
      const bool weighted = parameter.size() > 2 && (parameter[0] == 'q' || parameter[0] == 'Q') && parameter[1] == '=';
      weight = weighted ? weight_of(parameter.substr(2)) : 0;
    }
    if (same_text(name, "gzip") || same_text(name, "x-gzip")) gzip = std::max(gzip, weight);
    if (same_text(name, "identity")) identity = weight;
    if (name == "*") any = weight;
  }
};

std::string_view opaque(std::string_view tag) { return tag.starts_with("W/") ? tag.substr(2) : tag; }

// Calls `visit` with each entity tag; a comma may stand inside of the quotes.
template <class Visit>
bool any_tag(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t open = list.find('"');
    if (open == std::string_view::npos) return false;
    const std::size_t close = list.find('"', open + 1);
    if (close == std::string_view::npos) return false;
    const bool weak = open >= 2 && list.substr(open - 2, 2) == "W/";
    if (visit(list.substr(weak ? open - 2 : open, close + 1 - (weak ? open - 2 : open)))) return true;
    list.remove_prefix(close + 1);
  }
  return false;
}

}  // namespace

bool accepts_gzip(std::span<const http1::Header> headers) {
  Wishes wishes;
  for (const http1::Header& header : headers) {
    if (header.id != http1::HeaderId::kOther || !same_text(header.name, "Accept-Encoding")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      wishes.add(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  const int gzip = wishes.gzip >= 0 ? wishes.gzip : wishes.any;
  // Identity is fine unless it is said otherwise, but nothing is said of how much it is liked.
  return gzip > 0 && gzip >= wishes.identity;
}

bool matches_weakly(std::string_view list, std::string_view tag) {
  if (trim(list) == "*") return true;
  return any_tag(list, [&](std::string_view one) { return opaque(one) == opaque(tag); });
}

bool matches_strongly(std::string_view list, std::string_view tag) {
  if (trim(list) == "*") return true;
  if (tag.starts_with("W/")) return false;
  return any_tag(list, [&](std::string_view one) { return one == tag; });
}

}  // namespace proxy
