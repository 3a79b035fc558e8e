#pragma once
/// What the API can tell about the last failover, and the switch that breaks the network on purpose: part of the Backend
/// (backend.h). Thread: the control loop, in both directions.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

/// One thing that an agent of the cluster has noted.
struct FlightEventInfo {
  std::string node;         ///< who noted it
  std::int64_t wall_ms = 0; ///< hybrid clock: near the wall clock, and in order
  std::uint32_t count = 0;
  std::string what;         ///< as in the log: "lease", "promoted"
  std::uint64_t epoch = 0;  ///< 0 = none
  std::string about;        ///< node; may be empty
  std::string text;
};

struct IncidentPhaseInfo {
  std::string name;          ///< "detect", "fence", "elect", "reconcile", "arm"
  bool happened = false;
  std::int64_t at_ms = 0;    ///< since the beginning
  std::int64_t took_ms = 0;  ///< since the phase before
  std::string node, text;
};

/// From the first sign of trouble with one primary to the first order at the next.
struct IncidentInfo {
  std::string from, to;
  std::uint64_t from_epoch = 0, epoch = 0;
  std::int64_t began_ms = 0, total_ms = 0;
  bool over = false;
  std::vector<IncidentPhaseInfo> phases;
  std::vector<FlightEventInfo> events;
};

class FlightBackend {
 public:
  virtual ~FlightBackend() = default;
  [[nodiscard]] virtual std::optional<IncidentInfo> last_incident() const = 0;  ///< none: no epoch has followed another yet
  [[nodiscard]] virtual std::vector<FlightEventInfo> events() const = 0;        ///< in order, of all agents

  /// Drops what goes to and comes from these members, until the next call; empty = heals. For demonstrations.
  /// Errors: kForbidden (the settings do not allow it), kNotFound (a name that no member has), kBadRequest (this agent itself).
  virtual Result<std::vector<std::string>> partition(const std::vector<std::string>& peers) = 0;
  [[nodiscard]] virtual const std::vector<std::string>& partitioned() const = 0;
};

}  // namespace agent::api
