#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/discovery.h"
#include "agent/api/metrics_text.h"

/// /v1/agent and /v1/status: our members and store as Consul's clients expect to see them. Derived, never the reverse.
namespace agent::api {
namespace {

/// Serf's numbers, as in Consul's answers.
int status_of(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
    case MemberState::kSuspect:  // Consul shows a suspect as alive too
      return 1;
    case MemberState::kLeaving:
      return 2;
    case MemberState::kLeft:
      return 3;
    case MemberState::kDead:
      return 4;
  }
  return 0;
}

Json member_json(const MemberInfo& member, const SelfInfo& self) {
  Json tags = Json::object();
  for (const auto& [key, value] : member.tags) tags[key] = value;
  if (const auto role = member.tags.find("role"); role != member.tags.end()) tags["outrigger_role"] = role->second;
  // Clients look for these; ours win over tags of the same name, so that they cannot be misled.
  tags["role"] = "consul";
  tags["dc"] = datacenter_of(self);
  tags["id"] = uuid_of(member.id);
  tags["port"] = std::to_string(member.mesh_port);
  tags["build"] = self.version;
  tags["vsn"] = "2";
  return {{"Name", member.name},
          {"Addr", member.address},
          {"Port", member.gossip_port},
          {"Tags", tags},
          {"Status", status_of(member.state)},
          {"ProtocolMin", 1},
          {"ProtocolMax", 5},
          {"ProtocolCur", 2},
          {"DelegateMin", 2},
          {"DelegateMax", 5},
          {"DelegateCur", 4}};
}

void get_self(Api& api, const Call& call) {
  const SelfInfo self = api.backend().self();
  const RaftInfo raft = api.backend().raft();
  Json member = Json::object();
  for (const auto& info : api.backend().members())
    if (info.name == self.name) member = member_json(info, self);
  const Json stats = {{"raft",
                       {{"state", raft.role},
                        {"term", std::to_string(raft.term)},
                        {"commit_index", std::to_string(raft.commit_index)},
                        {"applied_index", std::to_string(raft.applied_index)},
                        {"last_log_index", std::to_string(raft.last_index)},
                        {"num_peers", std::to_string(raft.peers.empty() ? 0 : raft.peers.size() - 1)}}},
                      {"consul",
                       {{"leader", raft.self == raft.leader ? "true" : "false"},
                        {"leader_addr", raft.leader_address},
                        {"server", "true"}}}};
  api.reply_json(call.id, {{"Config",
                            {{"Datacenter", datacenter_of(self)},
                             {"NodeName", self.name},
                             {"NodeID", uuid_of(self.id)},
                             {"Server", true},
                             {"Revision", "outrigger"},
                             {"Version", self.version}}},
                           {"DebugConfig", Json::object()},
                           {"Coord", nullptr},
                           {"Member", member},
                           {"Stats", stats},
                           {"Meta", Json::object()}});
}

void get_members(Api& api, const Call& call) {
  Json list = Json::array();
  const SelfInfo self = api.backend().self();
  // There is one mesh and no wide-area one, where Consul shows its servers under their full names.
  const bool wan = !call.query.get("wan").empty();
  for (const auto& member : api.backend().members()) {
    list.push_back(member_json(member, self));
    if (wan) list.back()["Name"] = member.name + "." + datacenter_of(self);
  }
  api.reply_json(call.id, list);
}

Response empty_ok() { return {200, {}, {}, {}}; }

void put_join(Api& api, const Call& call) {
  if (!may_change(api, call)) return;
  api.backend().join({call.parameters.at(0)},
                     api.answer<std::size_t>(call.id, [](const std::size_t&) { return empty_ok(); }));
}

void put_leave(Api& api, const Call& call) {
  api.backend().leave(api.answer<std::monostate>(call.id, [](const std::monostate&) { return empty_ok(); }));
}

void put_force_leave(Api& api, const Call& call) {
  if (!may_change(api, call)) return;
  if (CatalogBackend* catalog = catalog_of(api, call))
    catalog->force_leave(call.parameters.at(0), empty_answer(api, call));
}

/// Consul answers nothing; ours says what came of it, which its clients do not look at.
void put_reload(Api& api, const Call& call) {
  CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  catalog->reload(api.answer<ReloadReport>(call.id, [](const ReloadReport& report) {
    const Json body = {{"ok", report.problems.empty()},
                       {"applied", report.applied},
                       {"needs_restart", report.needs_restart},
                       {"problems", report.problems}};
    return Response{report.problems.empty() ? 200 : 500, "application/json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
  }));
}

void get_leader(Api& api, const Call& call) { api.reply_json(call.id, Json(api.backend().raft().leader_address)); }

void get_peers(Api& api, const Call& call) {
  Json list = Json::array();
  for (const auto& peer : api.backend().raft().peers)
    if (peer.is_voter && !peer.address.empty()) list.push_back(peer.address);
  api.reply_json(call.id, list);
}

}  // namespace

void add_consul_routes(Router& router) {
  router.add("GET", "/v1/agent/self", get_self);
  router.add("GET", "/v1/agent/members", get_members);
  router.add("PUT", "/v1/agent/join/:address", put_join);
  router.add("GET", "/v1/agent/join/:address", put_join);
  router.add("PUT", "/v1/agent/leave", put_leave);
  router.add("PUT", "/v1/agent/force-leave/:name", put_force_leave);
  router.add("GET", "/v1/agent/force-leave/:name", put_force_leave);
  router.add("PUT", "/v1/agent/reload", put_reload);
  router.add("PUT", "/outrigger/v1/reload", put_reload);
  router.add("GET", "/v1/agent/metrics", get_consul_metrics);
  router.add("GET", "/v1/status/leader", get_leader);
  router.add("GET", "/v1/status/peers", get_peers);
}

}  // namespace agent::api
