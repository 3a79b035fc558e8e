#pragma once
/// The program: builds every part from the settings, wires them, runs the control loop, and stops in good order.

#include <optional>
#include <string>
#include <string_view>

#include "agent/config.h"

namespace agent {

/// Runs one agent until SIGTERM, SIGINT, `leave` over the API, or a fault of the store. Blocks.
/// Start: identity, sockets, store, then everything that talks. Stop: no new requests, the lease released, leadership
/// handed over, the rest closed; bounded by kStopSecondsMax, a second signal ends it at once. Parts that hang are waited for
/// kTakeDownSecondsMax, then the process ends without them, with 1.
/// @return exit code: 0 stopped as asked, 1 could not start or met a fault (said on stderr and in the log)
/// @param source  where `config` came from: read again on SIGHUP and PUT /v1/agent/reload
int run_agent(const Config& config, const ConfigSource& source);

/// What is wrong with a condition of a health check, for ConfigSource::check_assert; nullopt = nothing.
[[nodiscard]] std::optional<std::string> check_condition(std::string_view text);

inline constexpr int kStopSecondsMax = 8;
inline constexpr int kTakeDownSecondsMax = 5;

/// What is wrong with one of [[services]] or [[checks]], as JSON with names in snake_case; nullopt = nothing.
[[nodiscard]] std::optional<std::string> check_registration(std::string_view json, RegistrationKind kind);

}  // namespace agent
