#include <algorithm>
#include <string>

#include "agent/drivers/check_url.h"
#include "tests/fuzz/fuzz.h"

/// Two lines: the URL of a check, and the Location that its server answers with. Whatever is followed is a URL that a check
/// could have named itself, and a second look at it changes nothing.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace agent::drivers;
  const auto text = fuzz::text_of(data, size);
  const auto line = std::min(text.find('\n'), text.size());
  const auto base = parse_check_url(text.substr(0, line));
  if (!base) return 0;
  fuzz::require(base->port != 0 && !base->host.empty() && base->target.front() == '/', "a URL has a place");
  const std::string_view location = text.substr(std::min(line + 1, text.size()));
  const auto next = resolve_location(*base, location);
  if (!next) return 0;
  const auto again = parse_check_url(next->text());
  fuzz::require(again.has_value(), "what is followed is a URL");
  fuzz::require(again->text() == next->text() && again->host == next->host && again->port == next->port, "and the same one");
  fuzz::require(next->target.size() <= 3 * (base->target.size() + location.size()) + 2, "its length is bounded by what came in");
  for (const int status : {301, 308}) {
    const auto request = redirected(first_request({}, *base), status, location);
    fuzz::require(request && request->url.text() == next->text(), "a redirect leads there");
  }
  return 0;
}
