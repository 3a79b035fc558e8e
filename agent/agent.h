#pragma once
/// The program: builds every part from the settings, wires them, runs the control loop, and stops in good order.

#include <optional>
#include <string>
#include <string_view>

#include "agent/config.h"

namespace agent {

/// Runs one agent until SIGTERM, SIGINT, `leave` over the API, or a fault of the store. Blocks.
/// Start: identity, sockets, store, then everything that talks. Stop: no new requests, the lease released, leadership
/// handed over, the rest closed, each step with a bound (deploy/docs/operations.md); a second signal skips them.
/// @return exit code: 0 stopped as asked, 1 could not start or met a fault (said on stderr and in the log). Does not return where
///   a part hangs: the process ends without it 5 s behind the last step, with 1
/// @param source  where `config` came from: read again on SIGHUP and PUT /v1/agent/reload
int run_agent(const Config& config, const ConfigSource& source);

/// What is wrong with a condition of a health check, for ConfigSource::check_assert; nullopt = nothing.
[[nodiscard]] std::optional<std::string> check_condition(std::string_view text);

/// What is wrong with one of [[services]] or [[checks]], as JSON with names in snake_case; nullopt = nothing.
[[nodiscard]] std::optional<std::string> check_registration(std::string_view json, RegistrationKind kind);

}  // namespace agent
