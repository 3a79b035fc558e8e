#pragma once
/// Header fields that a route sets, adds or deletes, on requests and on responses: "X-Client: {client}".
/// Source: RFC 9110, sections 5.1, 5.5 (names, values) and 7.6.1 (what belongs to one hop).
/// Invariant: what is written is always one valid field. Names and literal text are checked when a rule is made; values
/// of variables come from heads that the codec accepted, and a byte that no field may hold becomes '_' all the same.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/http1/message.h"
#include "proxy/upstream.h"

namespace proxy {

/// What a value may refer to as "{name}"; "{{" is a brace.
enum class FieldVariable : std::uint8_t {
  kNone,
  kClient,     ///< {client}: address of the client, behind trusted proxies the one that they name
  kRequestId,  ///< {request_id}
  kNode,       ///< {node}: the agent that the client has met
  kEpoch,      ///< {epoch}: of the route's service; 0 = never held
  kRoute,      ///< {route}: its name
  kHost,       ///< {host}: as the client wrote it
  kPath,       ///< {path}: as received, without the query
  kScheme,     ///< {scheme}: "http" or "https"
  kMethod,     ///< {method}
};

/// Values of the variables for one exchange. Views are read during one call only.
struct FieldFacts {
  std::string_view client, request_id, node, route, host, path, scheme, method;
  Epoch epoch{};   ///< of the service of the route, as this agent knows it now
};

/// Text with variables.
class FieldTemplate {
 public:
  /// @return what is wrong otherwise, for people: a brace that is not closed, an unknown variable, a forbidden byte
  [[nodiscard]] static tl::expected<FieldTemplate, std::string> parse(std::string_view text);
  void append(std::string& out, const FieldFacts& facts) const;
  friend bool operator==(const FieldTemplate&, const FieldTemplate&) = default;

 private:
  struct Piece {
    std::string text;   ///< before the variable
    FieldVariable variable = FieldVariable::kNone;
    friend bool operator==(const Piece&, const Piece&) = default;
  };
  std::vector<Piece> pieces_;
};

/// Which way a rule's field goes; each way has names that no rule may touch.
enum class FieldSide : std::uint8_t { kRequest, kResponse };
enum class FieldVerb : std::uint8_t {
  kSet,  ///< takes the place of every field of that name
  kAdd,  ///< goes beside those that are there
  kDel,
};

struct FieldRule {
  FieldVerb verb = FieldVerb::kSet;
  std::string name;
  FieldTemplate value;  ///< not for kDel
  /// @param text  "Name: value", for kDel "Name"
  /// @return what is wrong otherwise. Refused are names that frame a message or belong to one hop, and those that the
  ///         proxy writes itself (X-Forwarded-*, X-Outrigger-*, Via; on responses also what describes the body's coding).
  [[nodiscard]] static tl::expected<FieldRule, std::string> parse(FieldVerb verb, FieldSide side, std::string_view text);
  friend bool operator==(const FieldRule&, const FieldRule&) = default;
};

/// The rules of one route for one way. At most kRulesMax.
class FieldRules {
 public:
  static constexpr std::size_t kRulesMax = 128;
  void add(FieldRule rule) { rules_.push_back(std::move(rule)); }
  [[nodiscard]] bool empty() const { return rules_.empty(); }
  [[nodiscard]] std::size_t size() const { return rules_.size(); }
  /// True if a field of that name, as it came, does not go on: it is deleted or another takes its place.
  [[nodiscard]] bool drops(std::string_view name) const;
  /// Appends the fields that are set or added, as whole lines.
  void append(std::string& out, const FieldFacts& facts) const;
  /// The same for an answer that the proxy makes itself: without fields that speak of a representation of the instance
  /// (Content-*, Cache-Control, Expires, ETag, Last-Modified, Vary, Age, Location, Retry-After, Allow, WWW-Authenticate).
  /// A refusal must not be remembered for as long as a picture.
  void append_to_own(std::string& out, const FieldFacts& facts) const;

 private:
  std::vector<FieldRule> rules_;
};

/// Fields that browsers obey, as the deployment guides name them: X-Frame-Options, X-Content-Type-Options, Referrer-Policy,
/// X-XSS-Protection. Not Strict-Transport-Security: it is a matter of the listener (RFC 6797, section 7.2).
/// @param csp  value of Content-Security-Policy; empty = none. Must be a valid literal.
/// A rule of the route for one of the names wins, also one that deletes it: call this when those are in.
void add_security_preset(FieldRules& rules, std::string_view csp);

}  // namespace proxy
