#pragma once
#include "agent/cli/session.h"

namespace agent::cli {

// As the other verbs of session.h.
void add_trace_verbs(CLI::App& app, Session& session);  ///< traces

/// One trace of the API as lines: who, what (indented under what asked for it), when, how long, and a bar of `width` for it.
[[nodiscard]] std::vector<std::vector<std::string>> waterfall(const Json& trace, std::size_t width);

}  // namespace agent::cli
