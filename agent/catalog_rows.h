#pragma once
/// Rows of the replicated catalog in the words of the API, and back. Pure functions.

#include <string>
#include <vector>

#include "agent/api/catalog_backend.h"
#include "agent/drivers/check_schedule.h"
#include "store/kv/catalog_rows.h"
#include "store/kv/state_machine.h"

namespace agent {

/// Who owns a registration, kept in the row's `definition`: what a settings file named goes when the file stops naming
/// it, and the instance of [service] belongs to its agent.
inline constexpr const char* kFromFile = "file";
inline constexpr const char* kOwnInstance = "instance";
inline constexpr const char* kServer = "server";  ///< an agent of ours in the service of our own agents

[[nodiscard]] api::CheckStatus to_api(store::kv::CheckStatus status);
[[nodiscard]] store::kv::CheckStatus to_store(api::CheckStatus status);
[[nodiscard]] api::CheckStatus to_api(drivers::CheckState state);
[[nodiscard]] drivers::CheckState to_driver(api::CheckStatus status);

[[nodiscard]] api::Node to_api(const store::kv::Node& node);
/// @param state  for the derived tags: "primary" or "replica" once an election of the service's name has been held
[[nodiscard]] api::Service to_api(const store::kv::ServiceInstance& instance, const store::kv::StateMachine& state);
/// @param tags  of the instance it belongs to, as registered
[[nodiscard]] api::Check to_api(const store::kv::Check& check, const std::vector<std::string>& tags);
[[nodiscard]] api::Event to_api(const store::kv::UserEvent& event);

/// @param owner  kFromFile, kOwnInstance or ""
[[nodiscard]] store::kv::ServiceInstance to_store(const api::Service& service, const std::string& node, const std::string& owner);
[[nodiscard]] store::kv::Check to_store(const api::CheckRegistration& check, const std::string& node);
[[nodiscard]] store::kv::Check to_store(const api::Check& check);

/// How the check of a row is run; nullopt: nobody runs it (serfHealth, maintenance, somebody else's status).
[[nodiscard]] std::optional<drivers::CheckPlan> plan_of(const api::Check& check);

}  // namespace agent
