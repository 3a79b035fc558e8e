#pragma once
#include <string>

#include "agent/cli/session.h"

/// A failover as a picture: what /outrigger/v1/incident/last answers, drawn. Private to cli.
namespace agent::cli {

/// One row per phase on an axis of milliseconds, the events as a table below it. No script, no font of its own, light and
/// dark by the viewer's wish. Whatever is missing in `incident` is left out; texts are escaped.
[[nodiscard]] std::string incident_svg(const Json& incident);

/// "1,682 ms"
[[nodiscard]] std::string milliseconds_text(const Json& number);
/// A number of milliseconds since 1970 as "2026-01-31 12:00:00.123" in UTC; "-" for anything else.
[[nodiscard]] std::string moment_text(const Json& number);

}  // namespace agent::cli
