#pragma once
/// One text out of a JSON document, by JSON Pointer (RFC 6901).
#include <optional>
#include <string>
#include <string_view>

namespace agent::drivers {

/// @param pointer  "/a/0/b"; "~0" and "~1" stand for '~' and '/'
/// @return the string there, or the digits of an integer; nullopt: no such place, something else, or no JSON
[[nodiscard]] std::optional<std::string> json_text(std::string_view document, std::string_view pointer);

}  // namespace agent::drivers
