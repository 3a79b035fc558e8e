#include "agent/api/catalog_backend.h"

#include <algorithm>

namespace agent::api {

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::kPassing:
      return "passing";
    case CheckStatus::kWarning:
      return "warning";
    case CheckStatus::kCritical:
      return "critical";
  }
  return {};
}

std::optional<CheckStatus> parse_check_status(std::string_view text) {
  for (const auto status : {CheckStatus::kPassing, CheckStatus::kWarning, CheckStatus::kCritical})
    if (to_string(status) == text) return status;
  return std::nullopt;
}

std::string_view to_string(CheckDefinition::Kind kind) {
  switch (kind) {
    case CheckDefinition::Kind::kNone:
      return "";
    case CheckDefinition::Kind::kTtl:
      return "ttl";
    case CheckDefinition::Kind::kHttp:
      return "http";
    case CheckDefinition::Kind::kTcp:
      return "tcp";
    case CheckDefinition::Kind::kExec:
      return "script";  // Consul's word for a program
    case CheckDefinition::Kind::kMaintenance:
      return "maintenance";
  }
  return {};
}

CheckStatus ServiceInstance::status() const {
  CheckStatus worst = CheckStatus::kPassing;
  for (const Check& check : checks) worst = std::max(worst, check.status);
  return worst;
}

bool ServiceInstance::has_tag(std::string_view tag) const {
  return std::find(service.tags.begin(), service.tags.end(), tag) != service.tags.end();
}

}  // namespace agent::api
