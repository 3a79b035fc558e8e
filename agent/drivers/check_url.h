#pragma once
/// Where an HTTP check goes, and where it goes next when it is sent elsewhere. Pure: no socket, no clock.
///
/// Source: RFC 3986, section 5 (references); RFC 9110, section 15.4 (redirection). Which method, body and fields go along
///         follows Go's HTTP client, which runs these checks in Consul: 301, 302 and 303 make a GET without body of
///         everything but HEAD, 307 and 308 repeat the request.
/// Bounds: a Location is at most kLocationBytesMax bytes. How often one is followed is the caller's to count.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/check_schedule.h"
#include "agent/io/error.h"

namespace agent::drivers {

inline constexpr std::size_t kLocationBytesMax = 8192;

struct CheckUrl {
  bool tls = false;
  std::string host;        ///< name or numeric address, no brackets
  std::uint16_t port = 0;  ///< given, or 80 or 443
  std::string authority;   ///< as written: the Host field
  std::string target;      ///< path and query, begins with '/'
  [[nodiscard]] std::string text() const { return (tls ? "https://" : "http://") + authority + target; }
};
/// "http://host[:port][/path][?query]" or https, in any case. Errors: kInvalidArgument (scheme, host, port, blanks, user
/// names).
[[nodiscard]] io::Result<CheckUrl> parse_check_url(std::string_view url);
/// What a Location means to whom asked for `base`: a whole URL or a part of one. Blanks and bytes above 127 are written as
/// %XX, since there are servers that send them bare. Errors: kInvalidArgument (as above, or too long).
[[nodiscard]] io::Result<CheckUrl> resolve_location(const CheckUrl& base, std::string_view location);

/// One request of a run.
struct CheckRequest {
  CheckUrl url;
  std::string method;  ///< never empty
  std::string body;
  std::map<std::string, std::vector<std::string>> header;  ///< without Host
  std::string host;        ///< Host field that the check names itself; empty: the URL's
  std::string first_host;  ///< of the check's own URL: only hosts at or below it are shown its credentials
};
[[nodiscard]] CheckRequest first_request(const CheckPlan& plan, CheckUrl url);
/// 301, 302, 303, 307 and 308.
[[nodiscard]] bool is_redirect(int status);
/// The request that a redirect asks for. Authorization and cookies go along to the first host and hosts below it, and
/// never from https to plain http. @param status  is_redirect. Errors: those of resolve_location.
[[nodiscard]] io::Result<CheckRequest> redirected(CheckRequest request, int status, std::string_view location);

}  // namespace agent::drivers
