#pragma once
#include <string>
#include <vector>

#include "agent/cli/session.h"
#include "agent/config.h"

namespace agent::cli {

inline constexpr int kExitWouldChange = 2;  ///< "plan": a reload would take something over, or something waits for a restart

void add_plan_verb(CLI::App& app, Session& session);  ///< as the other verbs of session.h

/// What is wrong with settings, one line each, or as a list under -o json. @param then  what became of it, for people
/// @return kExitFailed
int print_problems(Session& session, const std::vector<ConfigProblem>& problems, const std::string& then);
/// The first digits of a digest of ReadSettings::files_text; the same as agents tell.
[[nodiscard]] std::string settings_hash(const std::string& files_text);

}  // namespace agent::cli
