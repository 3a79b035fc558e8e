#pragma once
/// Dates of HTTP as seconds since 1970, and back. Source: RFC 9110, section 5.6.7. Text in, text out; no clock.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace proxy {

/// Appends "Sun, 06 Nov 1994 08:49:37 GMT". @param seconds  of the years 1 to 9999, else the nearest of these
void append_http_date(std::string& out, std::int64_t seconds);

/// Reads any of the three forms that recipients must accept: IMF-fixdate, RFC 850 and asctime. A year of two digits is
/// one from 1970 to 2069. @return nullopt for everything else; the name of the day is not compared with the date.
[[nodiscard]] std::optional<std::int64_t> parse_http_date(std::string_view text);

}  // namespace proxy
