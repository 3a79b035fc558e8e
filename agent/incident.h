#pragma once
/// The story of a failover, out of the events that agents have noted (flight.h): from the first sign of trouble with the old
/// primary to the first order under the new epoch. A pure function over events.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/flight.h"

namespace agent {

/// One step of the way. Steps follow each other: `at_ms` never falls.
struct IncidentPhase {
  std::string name;         ///< "detect", "fence", "elect", "reconcile", "arm"
  bool happened = false;    ///< false: not yet, or there was nothing of the kind; the rest says why
  std::int64_t at_ms = 0;   ///< since the beginning
  std::int64_t took_ms = 0; ///< since the phase before
  std::string node;         ///< who noted it
  std::string text;         ///< for people
};

struct Incident {
  std::string from, to;               ///< nodes: the old primary and the new one
  std::uint64_t from_epoch = 0, epoch = 0;
  std::int64_t began_ms = 0;          ///< wall clock of the first sign
  std::int64_t total_ms = 0;          ///< to the last phase that happened
  bool over = false;                  ///< the new primary takes orders
  std::vector<IncidentPhase> phases;  ///< always the five, in this order
  std::vector<FlightEvent> events;    ///< from kBefore before the first sign on; at most kEventsMax, the first of them
};

inline constexpr std::int64_t kIncidentSearchMs = 120'000;  ///< how long before an election its cause is looked for
inline constexpr std::int64_t kIncidentBeforeMs = 1'000, kIncidentAfterMs = 10'000;
inline constexpr std::size_t kIncidentEventsMax = 200;

/// @param events  as FlightRecorder::merged() orders them
/// @return the last change from one epoch to a later one; nullopt: there was none
[[nodiscard]] std::optional<Incident> last_incident(std::span<const FlightEvent> events);

}  // namespace agent
