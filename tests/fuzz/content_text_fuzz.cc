#include <string>

#include "proxy/accept_encoding.h"
#include "proxy/field_rules.h"
#include "proxy/http1/fields.h"
#include "proxy/http_date.h"
#include "proxy/route.h"
#include "proxy/static_site.h"
#include "tests/fuzz/fuzz.h"

/// Three lines: a path, a header value (range, date, list of tags, Accept-Encoding), a rule for a field. What names a file stays
/// beneath the root, a range stays inside of the file, a date comes back, a rule writes one valid line.
namespace {

void check_path(std::string_view path) {
  std::string scratch, name;
  const auto canonical = proxy::canonical_path(path, scratch);
  if (!canonical || !proxy::file_name_of(*canonical, "/", name)) return;
  fuzz::require(name.empty() || name.front() != '/', "a name is relative");
  fuzz::require(name.find('\0') == std::string::npos, "a name holds no NUL");
  const std::string walled = "/" + name + "/";
  fuzz::require(walled.find("/../") == std::string::npos && walled.find("/./") == std::string::npos, "no dots lead elsewhere");
  fuzz::require(name.find("//") == std::string::npos, "no empty segment");
  static_cast<void>(proxy::media_type_of(name));
}

void check_value(std::string_view value) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, UINT64_MAX}) {
    proxy::ByteRange range;
    if (proxy::parse_range(value, size, range) != proxy::RangeVerdict::kSatisfiable) continue;
    fuzz::require(range.length > 0 && range.length <= size && range.first <= size - range.length, "a range lies inside of the file");
  }
  if (const auto seconds = proxy::parse_http_date(value); seconds && *seconds % 60 != 0) {
    std::string text;
    proxy::append_http_date(text, *seconds);
    fuzz::require(proxy::parse_http_date(text) == seconds, "a date comes back");
  }
  const proxy::http1::Header header{proxy::http1::HeaderId::kOther, "Accept-Encoding", value};
  static_cast<void>(proxy::accepts_gzip({&header, 1}));
  fuzz::require(!proxy::matches_strongly(value, "\"a\"") || proxy::matches_weakly(value, "\"a\""), "strong is weak, too");
}

void check_rule(std::string_view line, std::string_view path) {
  for (const auto side : {proxy::FieldSide::kRequest, proxy::FieldSide::kResponse}) {
    auto rule = proxy::FieldRule::parse(proxy::FieldVerb::kSet, side, line);
    if (!rule) continue;
    proxy::FieldRules rules;
    rules.add(std::move(*rule));
    proxy::FieldFacts facts;
    facts.client = facts.request_id = facts.node = facts.route = facts.host = facts.path = facts.scheme = facts.method = path;
    std::string out;
    rules.append(out, facts);
    fuzz::require(out.size() > 3 && out.ends_with("\r\n") && out.find_first_of(std::string_view("\r\n\0", 3)) == out.size() - 2, "one line");
    fuzz::require(rules.drops(out.substr(0, out.find(':'))), "of that name");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const std::size_t first = std::min(text.find('\n'), text.size());
  const std::size_t second = std::min(text.find('\n', std::min(first + 1, text.size())), text.size());
  const std::string_view path = text.substr(0, first);
  check_path(path);
  check_value(text.substr(std::min(first + 1, text.size()), second - std::min(first + 1, second)));
  check_rule(text.substr(std::min(second + 1, text.size())), path);
  return 0;
}
