#pragma once
#include "agent/cli/session.h"

namespace agent::cli {

// As the other verbs of session.h.
void add_halt_verbs(CLI::App& app, Session& session);   ///< halt halts resume
void add_audit_verbs(CLI::App& app, Session& session);  ///< audit verify|witness|export

}  // namespace agent::cli
