// The flight recorder's wires: what is noted, who is told; and the switch that cuts this agent off from peers on purpose.
#include <algorithm>
#include <map>
#include <utility>

#include "agent/flight_wire.h"
#include "agent/log.h"
#include "agent/parts.h"
#include "agent/running.h"

namespace agent {

void Agent::start_flight() {
  FlightParts parts;
  parts.node = config_.node.name;
  parts.tell = [this](const std::string& frame) {
    for (const store::NodeId peer : mesh_up_) send_to_peer(peer, frame, drivers::Lane::kUrgent);
  };
  if (config_.faults_allowed) {
    log_line(LogLevel::kWarn, "faults_allowed", "[demo] faults is on: whoever reaches the API can cut this agent off from its peers");
    parts.partition = [this](const std::vector<std::string>& peers) { return partition(peers); };
  }
  flight_ = std::make_unique<AgentFlight>(std::move(parts));
}

/// Who looks for a trace at one agent finds what all of them know.
void Agent::start_traces() {
  TraceParts parts;
  parts.node = config_.node.name;
  parts.spans = proxy_->spans();
  parts.peers = [this] {
    std::map<store::NodeId, std::string> peers;
    for (const gossip::Member& member : gossip_->core().members()) {
      const bool there = member.state == gossip::MemberState::kAlive || member.state == gossip::MemberState::kSuspect;
      if (there && member.id != identity_.id) peers.emplace(raft_id_of(member.id), member.name);
    }
    return peers;
  };
  parts.send = [this](store::NodeId to, std::string frame) { return send_to_peer(to, std::move(frame), drivers::Lane::kBulk); };
  traces_ = std::make_unique<AgentTraces>(*loop_, std::move(parts));
  requests_->set_traces(traces_->keeps() ? traces_.get() : nullptr);
}

void Agent::note(std::string_view what, std::uint64_t epoch, std::string_view about, std::string_view text) {
  flight_->note(what, epoch, about, text);
}

void Agent::note_role(std::string_view what, const std::string& detail) {
  note(what, primary_ ? static_cast<std::uint64_t>(primary_->role_state().epoch) : 0, config_.node.name, detail);
}

void Agent::note_gossip(const gossip::Event& event) {
  switch (event.kind) {
    case gossip::EventKind::kJoined:
    case gossip::EventKind::kRestarted:
    case gossip::EventKind::kAlive:
    case gossip::EventKind::kSuspect:
    case gossip::EventKind::kStalled:
    case gossip::EventKind::kDead:
    case gossip::EventKind::kLeft:
    case gossip::EventKind::kUnreachable:
    case gossip::EventKind::kReachable:
    case gossip::EventKind::kPaused: break;
    default: return;  // of the rest nothing happens to a primary
  }
  note("gossip_" + std::string(gossip::to_string(event.kind)), 0, event.name, event.detail);
  // It may have been deaf for a while, also where the mesh's streams outlived that.
  if (event.kind == gossip::EventKind::kAlive || event.kind == gossip::EventKind::kReachable) {
    introduce_to(raft_id_of(event.subject));
    if (halts_) halts_->on_connected(raft_id_of(event.subject));
  }
}

void Agent::on_flight_frame(store::NodeId from, std::string_view frame) {
  const gossip::Member* member = gossip_ ? member_with(from) : nullptr;
  flight_->on_frame(member != nullptr ? member->name : std::string(), frame);
}

bool Agent::send_to_peer(store::NodeId peer, std::string frame, drivers::Lane lane) {
  // Lost on the way, as a network loses it: who sends must not learn of it.
  return cut_off_.peers.contains(peer) || (mesh_ != nullptr && mesh_->send(peer, std::move(frame), lane));
}

// --- faults on purpose ---------------------------------------------------------------------------------------------

api::Result<std::vector<std::string>> Agent::partition(const std::vector<std::string>& names) {
  CutOff wanted;
  for (const std::string& name : names) {
    if (name == config_.node.name) return tl::unexpected(api::Error{api::Errc::kBadRequest, "an agent cannot be cut off from itself", {}});
    const auto members = gossip_->core().members();
    const auto member = std::find_if(members.begin(), members.end(), [&name](const gossip::Member& one) { return one.name == name; });
    if (member == members.end()) return tl::unexpected(api::Error{api::Errc::kNotFound, "no member is called \"" + name + "\"", {}});
    wanted.names.insert(name);
    wanted.peers.insert(raft_id_of(member->id));
    wanted.addresses.push_back(member->address);
  }
  cut_off_ = std::move(wanted);
  std::string text;
  for (const std::string& name : cut_off_.names) text += (text.empty() ? "" : ", ") + name;
  log_line(LogLevel::kWarn, "partition", text.empty() ? "healed" : "cut off from " + text);
  note("partition", 0, {}, text.empty() ? "healed" : "cut off from " + text);
  publish_endpoints();
  publish_primary();
  if (cut_off_.names.empty()) introduce_to_all();
  return std::vector<std::string>(cut_off_.names.begin(), cut_off_.names.end());
}

bool Agent::is_cut_off(const gossip::Address& address) const {
  return std::find(cut_off_.addresses.begin(), cut_off_.addresses.end(), address) != cut_off_.addresses.end();
}

void Agent::introduce_to(store::NodeId peer) {
  if (std::string frame = flight_->introduction(); !frame.empty()) send_to_peer(peer, std::move(frame), drivers::Lane::kUrgent);
}

/// What was said while nobody heard it is said again.
void Agent::introduce_to_all() {
  for (const store::NodeId peer : mesh_up_) introduce_to(peer);
}

}  // namespace agent
