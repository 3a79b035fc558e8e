#include "agent/backend_flight.h"

#include <utility>

#include "agent/flight_wire.h"
#include "agent/incident.h"
#include "agent/io/clock.h"

namespace agent {
namespace {

api::FlightEventInfo info_of(const FlightEvent& event) {
  return {event.node, event.at.wall_ms, event.at.count, event.what, event.epoch, event.about, event.text};
}

}  // namespace

AgentFlight::AgentFlight(FlightParts parts)
    : parts_(std::move(parts)), recorder_(parts_.node, static_cast<std::uint64_t>(io::wall_ms())) {}

void AgentFlight::note(std::string_view what, std::uint64_t epoch, std::string_view about, std::string_view text) {
  const FlightEvent& event = recorder_.note(io::wall_ms(), what, epoch, about, text);
  parts_.tell(encode_flight({&event, 1}));
}

void AgentFlight::on_frame(const std::string& node, std::string_view frame) {
  auto events = node.empty() ? std::nullopt : decode_flight(frame, node);
  if (!events) {
    ++malformed_;
    return;
  }
  for (FlightEvent& event : *events) static_cast<void>(recorder_.hear(io::wall_ms(), std::move(event)));
}

std::string AgentFlight::introduction() const {
  const auto events = recorder_.own_last(kFlightItemsMax);
  return events.empty() ? std::string() : encode_flight(events);
}

std::optional<api::IncidentInfo> AgentFlight::last_incident() const {
  const auto incident = agent::last_incident(recorder_.merged());
  if (!incident) return std::nullopt;
  api::IncidentInfo info;
  info.from = incident->from;
  info.to = incident->to;
  info.from_epoch = incident->from_epoch;
  info.epoch = incident->epoch;
  info.began_ms = incident->began_ms;
  info.total_ms = incident->total_ms;
  info.over = incident->over;
  for (const IncidentPhase& phase : incident->phases)
    info.phases.push_back({phase.name, phase.happened, phase.at_ms, phase.took_ms, phase.node, phase.text});
  for (const FlightEvent& event : incident->events) info.events.push_back(info_of(event));
  return info;
}

std::vector<api::FlightEventInfo> AgentFlight::events() const {
  std::vector<api::FlightEventInfo> infos;
  for (const FlightEvent& event : recorder_.merged()) infos.push_back(info_of(event));
  return infos;
}

api::Result<std::vector<std::string>> AgentFlight::partition(const std::vector<std::string>& peers) {
  if (!parts_.partition) {
    return tl::unexpected(api::Error{api::Errc::kForbidden,
                                     "the settings of this agent do not allow faults; [demo] faults = true does, on loopback only", {}});
  }
  auto done = parts_.partition(peers);
  if (done) partitioned_ = *done;
  return done;
}

}  // namespace agent
