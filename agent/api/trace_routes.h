#pragma once
#include <string_view>

#include "agent/api/router.h"

namespace agent::api {

void add_trace_routes(Router& router);  ///< /outrigger/v1/traces, /v1/traces (OTLP over HTTP), /ui/traces

/// The page at /ui/traces: one document that needs nothing but this API.
[[nodiscard]] std::string_view traces_page();

}  // namespace agent::api
