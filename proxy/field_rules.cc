#include "proxy/field_rules.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"

namespace proxy {

using http1::HeaderId;
using http1::same_text;

namespace {

constexpr std::pair<std::string_view, FieldVariable> kVariables[] = {
    {"client", FieldVariable::kClient}, {"request_id", FieldVariable::kRequestId}, {"node", FieldVariable::kNode},
    {"epoch", FieldVariable::kEpoch},   {"route", FieldVariable::kRoute},          {"host", FieldVariable::kHost},
    {"path", FieldVariable::kPath},     {"scheme", FieldVariable::kScheme},        {"method", FieldVariable::kMethod}};

constexpr std::size_t kFieldBytesMax = 4096;  // of one rule's text

// What says how the bytes of a body are to be read: a rule that changes it would make the body a lie.
constexpr std::string_view kBodyFields[] = {"Content-Encoding", "Content-Range", "Content-Length", "Transfer-Encoding"};

// What an answer of ours says for itself, or must not say at all.
constexpr std::string_view kOwnFields[] = {"Cache-Control", "Expires", "ETag", "Last-Modified", "Vary", "Age", "Location",
                                           "Retry-After", "Allow", "WWW-Authenticate", "Accept-Ranges"};

template <class Names>
bool is_among(const Names& names, std::string_view name) {
  return std::any_of(std::begin(names), std::end(names), [&](std::string_view one) { return same_text(one, name); });
}

/// What a line that is none seems to begin with. The rest is in no message: it may be a secret.
std::string seeming_name(std::string_view line) {
  const auto end = std::find_if_not(line.begin(), line.end(), [](char c) { return http1::is_token_byte(c); });
  return "\"" + std::string(line.begin(), std::min(end, line.begin() + std::min<std::ptrdiff_t>(64, std::ssize(line)))) + "\"";
}

std::string why_not(FieldSide side, std::string_view name) {
  if (name.empty() || !http1::all_token_bytes(name)) return seeming_name(name) + (name.empty() ? "" : " and what follows it") + " is no field name";
  const HeaderId id = http1::header_id_of(name);
  const bool told = side == FieldSide::kResponse && id == HeaderId::kRequestId;
  if ((id != HeaderId::kOther && !told) || same_text(name, "Via") || is_among(kBodyFields, name)) {
    return "\"" + std::string(name) + "\" frames the message, belongs to one hop, or is written by the proxy itself";
  }
  if (http1::is_lookalike(name)) return "\"" + std::string(name) + "\" reads like a field that the proxy writes itself";
  return {};
}

std::string_view text_of(FieldVariable variable, const FieldFacts& facts) {
  switch (variable) {
    case FieldVariable::kClient: return facts.client;
    case FieldVariable::kRequestId: return facts.request_id;
    case FieldVariable::kNode: return facts.node;
    case FieldVariable::kRoute: return facts.route;
    case FieldVariable::kHost: return facts.host;
    case FieldVariable::kPath: return facts.path;
    case FieldVariable::kScheme: return facts.scheme;
    case FieldVariable::kMethod: return facts.method;
    case FieldVariable::kEpoch:
    case FieldVariable::kNone: return {};
  }
  return {};
}

bool is_of_own_answers(std::string_view name) {
  return !is_among(kOwnFields, name) && !(name.size() > 8 && same_text(name.substr(0, 8), "Content-") &&
                                           !same_text(name, "Content-Security-Policy"));
}

void append_rule(std::string& out, const FieldRule& rule, const FieldFacts& facts) {
  out += rule.name;
  out += ": ";
  rule.value.append(out, facts);
  out += "\r\n";
}

}  // namespace

tl::expected<FieldTemplate, std::string> FieldTemplate::parse(std::string_view text) {
  if (!http1::all_value_bytes(text)) return tl::make_unexpected("the value holds a line end or another byte that no field may hold");
  FieldTemplate made;
  Piece piece;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool doubled = at + 1 < text.size() && text[at + 1] == text[at];
    if (text[at] == '}' || (text[at] == '{' && doubled)) {
      piece.text += text[at];
      if (doubled) ++at;
      continue;
    }
    if (text[at] != '{') {
      piece.text += text[at];
      continue;
    }
    const std::size_t close = text.find('}', at);
    if (close == std::string_view::npos) return tl::make_unexpected("a \"{\" is not closed (\"{{\" writes one)");
    const std::string_view name = text.substr(at + 1, close - at - 1);
    const auto* found = std::find_if(std::begin(kVariables), std::end(kVariables), [&](const auto& one) { return one.first == name; });
    if (found == std::end(kVariables)) {
      std::string known;
      for (const auto& [one, variable] : kVariables) known += (known.empty() ? "{" : ", {") + std::string(one) + "}";
      return tl::make_unexpected("a variable in {} is not known (\"{{\" writes a brace); there are " + known);
    }
    piece.variable = found->second;
    made.pieces_.push_back(std::exchange(piece, Piece{}));
    at = close;
  }
  if (!piece.text.empty()) made.pieces_.push_back(std::move(piece));
  return made;
}

void FieldTemplate::append(std::string& out, const FieldFacts& facts) const {
  for (const Piece& piece : pieces_) {
    out += piece.text;
    if (piece.variable == FieldVariable::kEpoch) http1::append_decimal(out, static_cast<std::uint64_t>(facts.epoch));
    for (const char c : text_of(piece.variable, facts)) out += http1::is_value_byte(c) ? c : '_';
  }
}

tl::expected<FieldRule, std::string> FieldRule::parse(FieldVerb verb, FieldSide side, std::string_view text) {
  if (text.size() > kFieldBytesMax) return tl::make_unexpected("the field is longer than 4096 bytes");
  const std::size_t colon = verb == FieldVerb::kDel ? text.size() : text.find(':');
  if (colon == std::string_view::npos) {
    const bool one_word = http1::all_token_bytes(text);  // which may be the secret itself
    return tl::make_unexpected((one_word ? "a line" : "the line that begins with " + seeming_name(text)) + " has no colon; write \"Name: value\"");
  }
  FieldRule rule;
  rule.verb = verb;
  rule.name = text.substr(0, colon);
  if (std::string fault = why_not(side, rule.name); !fault.empty()) return tl::make_unexpected(std::move(fault));
  if (verb == FieldVerb::kDel) return rule;
  auto value = FieldTemplate::parse(http1::trim(text.substr(colon + 1)));
  if (!value) return tl::make_unexpected(value.error());
  rule.value = std::move(*value);
  return rule;
}

bool FieldRules::drops(std::string_view name) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const FieldRule& rule) { return rule.verb != FieldVerb::kAdd && same_text(rule.name, name); });
}

void FieldRules::append(std::string& out, const FieldFacts& facts) const {
  for (const FieldRule& rule : rules_) {
    if (rule.verb != FieldVerb::kDel) append_rule(out, rule, facts);
  }
}

void FieldRules::append_to_own(std::string& out, const FieldFacts& facts) const {
  for (const FieldRule& rule : rules_) {
    // What the proxy says itself in such an answer stays: its request id is there already.
    const bool said = http1::header_id_of(rule.name) != HeaderId::kOther || !is_of_own_answers(rule.name);
    if (rule.verb != FieldVerb::kDel && !said) append_rule(out, rule, facts);
  }
}

void add_security_preset(FieldRules& rules, std::string_view csp) {
  constexpr std::string_view kLines[] = {"X-Frame-Options: DENY", "X-Content-Type-Options: nosniff",
                                         "Referrer-Policy: strict-origin-when-cross-origin", "X-XSS-Protection: 1; mode=block"};
  std::vector<std::string> lines(std::begin(kLines), std::end(kLines));
  if (!csp.empty()) {
    // Braces are rare in a policy, and a literal there.
    std::string line = "Content-Security-Policy: ";
    for (const char c : csp) line.append(c == '{' ? 2 : 1, c);
    lines.push_back(std::move(line));
  }
  for (const std::string& line : lines) {
    auto rule = FieldRule::parse(FieldVerb::kSet, FieldSide::kResponse, line);
    if (rule && !rules.drops(rule->name)) rules.add(std::move(*rule));
  }
}

}  // namespace proxy
