#pragma once
#include <string>
#include <string_view>
#include <vector>

/// From method and path to a handler. Free of HTTP beyond that, and immutable once the API is built.
namespace agent::api {

class Api;
struct Call;
using Handler = void (*)(Api& api, const Call& call);

/// Paths in the order in which they were added; the first whose shape fits decides, whatever the method.
class Router {
 public:
  enum class Outcome { kFound, kNoPath, kNoMethod, kBadPath };
  struct Match {
    Outcome outcome = Outcome::kNoPath;
    Handler handler = nullptr;
    std::vector<std::string> parameters;  ///< decoded; one per ":x" and "*" of the pattern, in order
    std::string allow;                    ///< for kNoMethod and OPTIONS: "OPTIONS,GET,PUT"
  };

  /// @param pattern  "/a/:x/b" or "/a/*". ":x" takes one non-empty segment, "*" the rest of the path, slashes included,
  ///                 which may be empty ("/a" and "/a/" fit as well). A segment of a pattern is compared undecoded.
  void add(std::string_view method, std::string_view pattern, Handler handler);

  /// @param path  as received. kBadPath: a broken escape or a NUL in a parameter.
  [[nodiscard]] Match find(std::string_view method, std::string_view path) const;

 private:
  struct Route {
    std::string method, pattern;
    Handler handler;
  };
  std::vector<Route> routes_;
};

}  // namespace agent::api
