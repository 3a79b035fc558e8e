#include "agent/incident.h"

#include <algorithm>

namespace agent {
namespace {

using Events = std::span<const FlightEvent>;

bool is_grant(const FlightEvent& event) { return event.what == "lease" && event.epoch != 0 && !event.about.empty(); }

/// The last grant of the newest epoch's predecessor, and the first of the newest itself, whoever noted it.
struct Change {
  const FlightEvent* before = nullptr;
  const FlightEvent* grant = nullptr;
};
Change last_change(Events events) {
  Change change;
  std::uint64_t newest = 0, older = 0;
  for (const FlightEvent& event : events)
    if (is_grant(event)) newest = std::max(newest, event.epoch);
  for (const FlightEvent& event : events)
    if (is_grant(event) && event.epoch < newest) older = std::max(older, event.epoch);
  for (const FlightEvent& event : events) {
    if (!is_grant(event)) continue;
    if (event.epoch == newest && change.grant == nullptr) change.grant = &event;
    if (event.epoch == older) change.before = &event;
  }
  return change;
}

/// Somebody noticed that the old primary is in trouble, or it said so itself.
bool is_sign(const FlightEvent& event, const std::string& old, std::uint64_t old_epoch) {
  if (event.what == "instance") return event.node == old && !event.text.starts_with("passing");
  if (event.what == "gossip_suspect" || event.what == "gossip_stalled" || event.what == "gossip_dead") return event.about == old;
  if (event.what == "yielding" || event.what == "demoted") return event.node == old;
  return event.what == "lease" && event.about.empty() && event.epoch == old_epoch;
}

/// The old epoch cannot be used any more, by the word of its holder or of the cluster.
bool is_fence(const FlightEvent& event, const std::string& old, std::uint64_t old_epoch) {
  if (event.what == "demoted") return event.node == old;
  return event.what == "lease" && event.about.empty() && event.epoch == old_epoch;
}

/// Appends a phase that happened with `event`; never earlier than the one before it, whatever the clocks say.
void add(Incident& incident, const char* name, const FlightEvent& event, std::string text) {
  const std::int64_t before = incident.total_ms;
  const std::int64_t at = std::max(before, event.at.wall_ms - incident.began_ms);
  incident.phases.push_back({name, true, at, at - before, event.node, std::move(text)});
  incident.total_ms = at;
}
void add_none(Incident& incident, const char* name, std::string text) {
  incident.phases.push_back({name, false, incident.total_ms, 0, {}, std::move(text)});
}

const FlightEvent* find_after(Events events, const FlightEvent& grant, std::initializer_list<std::string_view> names) {
  const auto found = std::find_if(events.begin(), events.end(), [&](const FlightEvent& event) {
    return event.node == grant.about && event.epoch == grant.epoch && std::find(names.begin(), names.end(), event.what) != names.end();
  });
  return found == events.end() ? nullptr : &*found;
}

std::string sentence(const FlightEvent& event) {
  std::string out = event.what;
  if (!event.about.empty()) out += " " + event.about;
  return event.text.empty() ? out : out + ": " + event.text;
}

void tell_end(Incident& incident, Events events, const FlightEvent& grant) {
  if (const FlightEvent* done = find_after(events, grant, {"reconciled"})) add(incident, "reconcile", *done, sentence(*done));
  else if (const FlightEvent* failed = find_after(events, grant, {"reconcile_failed"})) add_none(incident, "reconcile", sentence(*failed));
  else add_none(incident, "reconcile", "nothing was reconciled");
  // Where orders wait to be armed, being promoted is not yet serving them.
  const FlightEvent* armed = find_after(events, grant, {"armed"});
  const FlightEvent* waits = find_after(events, grant, {"arming"});
  if (armed == nullptr && waits == nullptr) armed = find_after(events, grant, {"promoted"});
  incident.over = armed != nullptr;
  if (armed != nullptr) add(incident, "arm", *armed, incident.to + " takes orders under epoch " + std::to_string(incident.epoch));
  else add_none(incident, "arm", "no order is taken under epoch " + std::to_string(incident.epoch) + " yet");
}

}  // namespace

std::optional<Incident> last_incident(Events events) {
  const auto [before, grant] = last_change(events);
  if (before == nullptr || grant == nullptr) return std::nullopt;
  Incident incident;
  incident.from = before->about;
  incident.to = grant->about;
  incident.from_epoch = before->epoch;
  incident.epoch = grant->epoch;
  // The old primary's own beginning is no trouble of it.
  const FlightEvent* since = find_after(events, *before, {"promoted", "armed"});
  const HybridTime from = std::max(since != nullptr ? since->at : HybridTime{}, HybridTime{grant->at.wall_ms - kIncidentSearchMs, 0});
  const FlightEvent* sign = nullptr;
  const FlightEvent* fence = nullptr;
  for (const FlightEvent& event : events) {
    if (event.at <= from || event.at >= grant->at) continue;
    if (sign == nullptr && is_sign(event, incident.from, incident.from_epoch)) sign = &event;
    if (fence == nullptr && is_fence(event, incident.from, incident.from_epoch)) fence = &event;
  }
  incident.began_ms = (sign != nullptr ? sign : grant)->at.wall_ms;
  if (sign != nullptr) add(incident, "detect", *sign, sentence(*sign));
  else add_none(incident, "detect", "nobody noted a sign of trouble before the election");
  if (fence != nullptr) add(incident, "fence", *fence, sentence(*fence));
  else add(incident, "fence", *grant, "no word of " + incident.from + "; its lease and the margin were over before the next was granted");
  add(incident, "elect", *grant, incident.to + " was granted epoch " + std::to_string(incident.epoch));
  tell_end(incident, events, *grant);
  for (const FlightEvent& event : events) {
    const std::int64_t at = event.at.wall_ms - incident.began_ms;
    if (at >= -kIncidentBeforeMs && at <= incident.total_ms + kIncidentAfterMs && incident.events.size() < kIncidentEventsMax)
      incident.events.push_back(event);
  }
  return incident;
}

}  // namespace agent
