#pragma once
/// One condition on a JSON document, as health checks use it: `$.status == 'healthy'`, `$.db.connected==true`,
/// `$.queues[0].depth < 100`, `$.maintenance` (present and neither false nor null).
///
/// Grammar: path [ operator literal ]; path = `$` { `.name` | `['name']` | `[index]` };
/// operator = `==` `!=` `<` `<=` `>` `>=`; literal = number, 'text', "text", true, false, null.
/// Path syntax after RFC 9535, the subset that names one place. Order is defined between two numbers and
/// between two texts only; a comparison of unlike types is false, except `!=`, which is then true.
/// Ownership: values; parse once, evaluate often. Thread: any, immutable after parse.

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/io/error.h"

namespace agent::drivers {

class JsonAssert {
 public:
  enum class Operator { kPresent, kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
  using Literal = std::variant<std::nullptr_t, bool, double, std::string>;
  using Step = std::variant<std::string, std::size_t>;  ///< an object's member or an array's index

  /// @param text  at most 1 KiB
  /// @return io::Errc::kInvalidArgument with the column and what was expected there
  static io::Result<JsonAssert> parse(std::string_view text);

  /// @return true when the condition holds; a path that leads nowhere holds for nothing but `!=`.
  [[nodiscard]] bool holds(const nlohmann::json& document) const;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<Step> path_;
  Operator operator_ = Operator::kPresent;
  Literal literal_ = nullptr;
};

}  // namespace agent::drivers
