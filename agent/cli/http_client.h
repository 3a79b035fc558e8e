#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

/// One HTTP request to the agent, blocking, with its own loop: a command line has nothing else to do meanwhile.
namespace agent::cli {

inline constexpr std::size_t kReplyBytesMax = 64U << 20;  ///< a recursive read of the whole KV; above = an error

struct HttpReply {
  int status = 0;
  std::string index;         ///< X-Consul-Index; empty when absent
  std::string content_type;  ///< empty when absent
  std::string halted;        ///< X-Outrigger-Halted: the halt that a restore gave; empty when absent
  std::string request_id;    ///< X-Request-Id, of answers through a proxy; empty when absent
  std::string body;
};
struct HttpRequest {
  std::string method = "GET";
  std::string target;  ///< path and query, percent-encoded
  std::string body;
  std::chrono::milliseconds timeout{10000};  ///< for everything: name, connection, answer
  /// When set, gets the body piece by piece instead of `HttpReply::body` (event streams); false ends the call.
  std::function<bool(std::string_view)> on_body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< besides those of the client itself
};

/// @param api  "ip:port", "name:port", "http://..." with either, "unix:/path"; the port defaults to 8500
/// @return the reply whatever its status, or one sentence that says what failed and where
[[nodiscard]] tl::expected<HttpReply, std::string> http_call(const std::string& api, const HttpRequest& request);

/// Percent-encodes everything but letters, digits and "-._~/".
[[nodiscard]] std::string url_encode(std::string_view text);
/// The same with '/': a name that is one segment of a path, whatever stands in it.
[[nodiscard]] std::string url_segment(std::string_view text);

}  // namespace agent::cli
