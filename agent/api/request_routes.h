#pragma once
#include <string>

#include "agent/api/request_backend.h"

namespace agent::api {

/// "503", "5xx", "400-499". @return false: none of these
[[nodiscard]] bool read_status(const std::string& text, FeedQuery& out);

}  // namespace agent::api
