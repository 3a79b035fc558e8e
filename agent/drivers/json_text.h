#pragma once
/// One text out of a JSON document, by JSON Pointer (RFC 6901).
#include <string_view>

#include "proxy/order.h"

namespace agent::drivers {

/// @param pointer  "/a/0/b"; "~0" and "~1" stand for '~' and '/'
/// @return the string there, or the digits of an integer; what is neither, and no JSON, is unusable
[[nodiscard]] proxy::JsonText json_text(std::string_view document, std::string_view pointer);

}  // namespace agent::drivers
