#include <nlohmann/json.hpp>

#include "agent/api/flight_backend.h"
#include "agent/api/own.h"

/// /outrigger/v1/incident and faults: what happened, and making it happen.
namespace agent::api {
namespace {

constexpr std::size_t kPeersMax = 64;

FlightBackend* flight_of(Api& api, const Call& call) {
  FlightBackend* flight = api.backend().flight();
  if (flight == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent records no events", {}});
  return flight;
}

Json events_json(const std::vector<FlightEventInfo>& events) {
  Json out = Json::array();
  for (const FlightEventInfo& event : events) {
    out.push_back({{"at_ms", event.wall_ms}, {"count", event.count}, {"node", event.node}, {"what", event.what},
                   {"epoch", event.epoch == 0 ? Json(nullptr) : Json(event.epoch)}, {"about", name_json(event.about)}, {"text", event.text}});
  }
  return out;
}

Json incident_json(const IncidentInfo& incident) {
  Json phases = Json::array();
  for (const IncidentPhaseInfo& phase : incident.phases) {
    phases.push_back({{"name", phase.name}, {"happened", phase.happened}, {"at_ms", phase.at_ms}, {"took_ms", phase.took_ms},
                      {"node", name_json(phase.node)}, {"text", phase.text}});
  }
  return {{"from", incident.from}, {"to", incident.to}, {"from_epoch", incident.from_epoch}, {"epoch", incident.epoch},
          {"began_ms", incident.began_ms}, {"total_ms", incident.total_ms}, {"over", incident.over}, {"phases", phases},
          {"events", events_json(incident.events)}};
}

void get_incident(Api& api, const Call& call) {
  const FlightBackend* flight = flight_of(api, call);
  if (flight == nullptr) return;
  const auto incident = flight->last_incident();
  if (!incident) return api.fail(call.id, {Errc::kNotFound, "no primary has followed another since these agents were started", {}});
  api.reply(call.id, json_response(incident_json(*incident)));
}

void get_flight_events(Api& api, const Call& call) {
  const FlightBackend* flight = flight_of(api, call);
  if (flight == nullptr) return;
  api.reply(call.id, json_response({{"node", api.backend().self().name}, {"events", events_json(flight->events())}}));
}

// ---------------------------------------------------------------- faults

void answer_partition(Api& api, const Call& call, const std::vector<std::string>& peers) {
  Json names = Json::array();
  for (const std::string& peer : peers) names.push_back(peer);
  api.reply(call.id, json_response({{"node", api.backend().self().name}, {"partitioned", names}}));
}

void get_partition(Api& api, const Call& call) {
  const FlightBackend* flight = flight_of(api, call);
  if (flight != nullptr) answer_partition(api, call, flight->partitioned());
}

void post_partition(Api& api, const Call& call) {
  FlightBackend* flight = flight_of(api, call);
  if (flight == nullptr) return;
  const Json body = Json::parse(call.request.body, nullptr, false);
  const auto list = body.is_object() ? body.find("peers") : body.end();
  const bool is_list = body.is_object() && list != body.end() && list->is_array() && list->size() <= kPeersMax;
  if (!is_list) return api.fail(call.id, {Errc::kBadRequest, R"(the body is {"peers": ["NAME", ...]}, at most 64 of them; [] heals)", {}});
  std::vector<std::string> peers;
  for (const Json& peer : *list) {
    if (!peer.is_string()) return api.fail(call.id, {Errc::kBadRequest, "\"peers\" holds names of members", {}});
    peers.push_back(peer.get<std::string>());
  }
  const auto done = flight->partition(peers);
  if (!done) return api.fail(call.id, done.error());
  answer_partition(api, call, *done);
}

}  // namespace

void add_flight_routes(Router& router) {
  router.add("GET", "/outrigger/v1/incident/last", get_incident);
  router.add("GET", "/outrigger/v1/incident/events", get_flight_events);
  router.add("GET", "/outrigger/v1/faults/partition", get_partition);
  router.add("POST", "/outrigger/v1/faults/partition", post_partition);
}

}  // namespace agent::api
