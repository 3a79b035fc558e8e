#pragma once
/// The flight recorder behind the API: notes what happens here, tells the peers, keeps what they tell, and makes the story of
/// the last failover out of it.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/flight_backend.h"
#include "agent/flight.h"

namespace agent {

struct FlightParts {
  std::string node;
  std::function<void(const std::string& frame)> tell;  ///< to every peer that the mesh reaches
  /// What POST /outrigger/v1/faults/partition does; empty: the settings do not allow it.
  std::function<api::Result<std::vector<std::string>>(const std::vector<std::string>&)> partition{};
};

/// Ownership: of the agent; what its parts use outlives it. Thread: the control loop.
class AgentFlight final : public api::FlightBackend {
 public:
  explicit AgentFlight(FlightParts parts);

  /// Something happened here. Tells the peers at once, ahead of whatever this turn sends them after it.
  void note(std::string_view what, std::uint64_t epoch, std::string_view about, std::string_view text);
  /// @param node  who spoke; empty = nobody whom we know, which is ignored and counted
  void on_frame(const std::string& node, std::string_view frame);
  /// For a peer to which the mesh has just come up; empty = nothing has happened.
  [[nodiscard]] std::string introduction() const;

  [[nodiscard]] std::optional<api::IncidentInfo> last_incident() const override;
  [[nodiscard]] std::vector<api::FlightEventInfo> events() const override;
  api::Result<std::vector<std::string>> partition(const std::vector<std::string>& peers) override;
  [[nodiscard]] const std::vector<std::string>& partitioned() const override { return partitioned_; }
  [[nodiscard]] const FlightRecorder::Counters& counters() const { return recorder_.counters(); }
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }

 private:
  FlightParts parts_;
  FlightRecorder recorder_;
  std::vector<std::string> partitioned_;
  std::uint64_t malformed_ = 0;
};

}  // namespace agent
