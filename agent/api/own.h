#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "agent/api/api.h"

/// What the handlers of our own API share: JSON in snake_case; ids of nodes are 16 hex digits, since JavaScript's
/// numbers end at 2^53; epochs and indexes are numbers, which take centuries to get there. Private to agent/api.
namespace agent::api {

[[nodiscard]] std::string text_of(NodeId id);
[[nodiscard]] Json id_json(NodeId id);                  ///< null for nobody
[[nodiscard]] Json name_json(const std::string& name);  ///< null for none
[[nodiscard]] inline std::uint64_t number(Index index) { return static_cast<std::uint64_t>(index); }
[[nodiscard]] inline std::uint64_t number(Epoch epoch) { return static_cast<std::uint64_t>(epoch); }

[[nodiscard]] std::string dump(const Json& body);  ///< without blanks; bytes that are no UTF-8 become U+FFFD
[[nodiscard]] Response json_response(const Json& body, int status = 200);
/// A failure as Api::fail would tell it, with more fields behind the four that every failure has.
[[nodiscard]] Response problem_response(Errc code, const std::string& message, const Json& more = Json::object());

/// Fields of a command: parameters of the query, or of a JSON object in the body when the query lacks them.
class Fields {
 public:
  explicit Fields(const Call& call);
  [[nodiscard]] bool ok() const { return body_.is_null() || body_.is_object(); }  ///< false: a body that is no object
  [[nodiscard]] std::string text(const std::string& name) const;                  ///< empty when missing
  [[nodiscard]] const Json& body() const { return body_; }

 private:
  const Call& call_;
  Json body_;
};

}  // namespace agent::api
