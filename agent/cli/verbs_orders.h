#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "agent/cli/session.h"

/// What the verbs of orders share. Private to cli.
namespace agent::cli {

/// One decision about every order that is unknown now.
struct AllUnknown {
  std::string service;  ///< empty: that of the agent
  std::string verdict;  ///< "done", "not_sent"
  std::string body, who, reason;
  int status = 0;                         ///< done: what repetitions get; 0 = nobody knows it
  std::optional<std::uint64_t> before_ms; ///< only those that were reserved before that, by the wall clock of their agent
  bool yes = false;                       ///< nobody is asked
};

/// "2026-11-22T10:00:00Z". @return ms since 1970; nullopt: it is no such time
[[nodiscard]] std::optional<std::uint64_t> parse_utc(const std::string& text);

/// Shows how many there are, asks, and decides about one after the other, each with its own fence: what changes meanwhile, or is unknown
/// only since the question, is left as it is. Tells after every page how far it is. May be run again after a failure.
/// @return exit code
int resolve_all_unknown(Session& session, const AllUnknown& wanted);

}  // namespace agent::cli
