#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/api.h"
#include "agent/api/consul.h"
#include "agent/api/operator_backend.h"
#include "agent/api/own.h"

/// Snapshots and the hand on the voters: /v1/snapshot, /v1/operator, and our own words for the same.
namespace agent::api {
namespace {

OperatorBackend* operators(Api& api, const Call& call) {
  OperatorBackend* found = api.backend().operators();
  if (found == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent does not offer it", {}});
  return found;
}

// --- snapshots ------------------------------------------------------------------------------------------------------

void get_snapshot(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend == nullptr) return;
  const ReadMode mode = call.query.has("stale") ? ReadMode::kStale : ReadMode::kConsistent;
  backend->snapshot_save(mode, api.answer<SnapshotSaved>(call.id, [](const SnapshotSaved& saved) {
    Response response;
    response.content_type = "application/x-gzip";
    response.file = saved.archive;
    add_consul_headers(response, saved.info.applied, saved.info);
    return response;
  }));
}

void put_snapshot(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend == nullptr) return;
  if (!call.request.file) {
    return api.fail(call.id, {Errc::kInternal, "the body of a restore is a snapshot; it is missing, or there was no room to "
                                               "receive it", {}});
  }
  const bool force = call.query.has("force");
  auto done = api.answer<SnapshotRestored>(call.id, [](const SnapshotRestored& restored) {
    Response response;
    add_consul_headers(response, restored.index, {restored.index, true, Milliseconds(0)});
    if (!restored.halted.empty()) response.headers.emplace_back("X-Outrigger-Halted", restored.halted);
    return response;
  });
  backend->snapshot_restore(call.request.file, force, [done = std::move(done)](Result<SnapshotRestored> result) {
    // Consul's tools know one status for a snapshot that is no good, and print its text.
    if (!result && result.error().code == Errc::kBadRequest) result.error().code = Errc::kInternal;
    done(std::move(result));
  });
}

// --- Consul's operator endpoints ------------------------------------------------------------------------------------

void get_configuration(Api& api, const Call& call) {
  const RaftInfo raft = api.backend().raft();
  Json servers = Json::array();
  for (const RaftPeer& peer : raft.peers) {
    servers.push_back({{"ID", std::to_string(static_cast<std::uint64_t>(peer.id))},
                       {"Node", peer.name},
                       {"Address", peer.address},
                       {"Leader", peer.is_leader},
                       {"ProtocolVersion", "3"},
                       {"Voter", peer.is_voter}});
  }
  api.reply_json(call.id, {{"Servers", servers}, {"Index", raft.commit_index}});
}

void delete_peer(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend == nullptr) return;
  const std::string id = call.query.get("id"), address = call.query.get("address");
  if (id.empty() == address.empty())
    return api.fail(call.id, {Errc::kBadRequest, "Must specify either ?id with the server's ID or ?address", {}});
  std::string server = id;
  if (server.empty()) {
    for (const RaftPeer& peer : api.backend().raft().peers)
      if (peer.address == address) server = std::to_string(static_cast<std::uint64_t>(peer.id));
    if (server.empty())
      return api.fail(call.id, {Errc::kInternal, "address \"" + address + "\" was not found in the Raft configuration", {}});
  }
  backend->raft_remove(server, api.answer<std::monostate>(call.id, [](const std::monostate&) { return Response{}; }));
}

Json health_of(const RaftInfo& raft, const RaftPeer& peer) {
  const bool self = peer.id == raft.self;
  const bool missing = std::find(raft.missing.begin(), raft.missing.end(), peer.name) != raft.missing.end();
  const std::uint64_t match = peer.match_index.value_or(self ? raft.last_index : 0);
  return {{"ID", std::to_string(static_cast<std::uint64_t>(peer.id))},
          {"Name", peer.name},
          {"Address", peer.address},
          {"SerfStatus", missing ? "failed" : "alive"},
          {"Version", ""},
          {"Leader", peer.is_leader},
          {"LastContact", std::to_string(peer.last_contact.value_or(Milliseconds(0)).count()) + "ms"},
          {"LastTerm", raft.term},
          {"LastIndex", match},
          {"Healthy", !missing},
          {"Voter", peer.is_voter}};
}

Response autopilot_answer(const RaftInfo& raft) {
  Json servers = Json::array();
  std::size_t voters = 0, healthy_voters = 0;
  bool healthy = raft.leader != NodeId{};
  for (const RaftPeer& peer : raft.peers) {
    Json one = health_of(raft, peer);
    voters += peer.is_voter ? 1 : 0;
    healthy_voters += peer.is_voter && one["Healthy"].get<bool>() ? 1 : 0;
    healthy = healthy && one["Healthy"].get<bool>();
    servers.push_back(std::move(one));
  }
  const std::size_t quorum = voters / 2 + 1;
  Response response;
  response.status = healthy ? 200 : 429;  // as Consul answers, so that simple probes work
  response.content_type = "application/json";
  response.body = Json{{"Healthy", healthy},
                       {"FailureTolerance", healthy_voters > quorum ? healthy_voters - quorum : 0},
                       {"Servers", servers}}
                      .dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

void get_autopilot(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend != nullptr) backend->raft_figures(api.answer<RaftInfo>(call.id, autopilot_answer));
}

// --- our own --------------------------------------------------------------------------------------------------------

Json milliseconds(const std::optional<std::chrono::microseconds>& duration) {
  return duration ? Json(static_cast<double>(duration->count()) / 1000.0) : Json(nullptr);
}

Json raft_json(const RaftInfo& raft, const SelfInfo& self, const ReadInfo& info) {
  Json peers = Json::array();
  Json leader_name = nullptr;
  for (const RaftPeer& peer : raft.peers) {
    if (peer.id == raft.leader && raft.leader != NodeId{}) leader_name = name_json(peer.name);
    peers.push_back({{"name", name_json(peer.name)},
                     {"id", id_json(peer.id)},
                     {"address", peer.address},
                     {"is_voter", peer.is_voter},
                     {"is_leader", peer.is_leader},
                     {"match_index", peer.match_index ? Json(*peer.match_index) : Json(nullptr)},
                     {"last_contact_ms", peer.last_contact ? Json(peer.last_contact->count()) : Json(nullptr)},
                     {"fsync_p50_ms", milliseconds(peer.fsync_p50)},
                     {"fsync_p99_ms", milliseconds(peer.fsync_p99)}});
  }
  return {{"self", id_json(raft.self)},
          {"cluster_id", name_json(self.cluster_id)},
          {"role", raft.role},
          {"term", raft.term},
          {"leader", id_json(raft.leader)},
          {"leader_name", leader_name},
          {"leader_address", raft.leader_address},
          {"last_contact_ms", info.last_contact.count()},
          {"first_index", raft.first_index},
          {"last_index", raft.last_index},
          {"commit_index", raft.commit_index},
          {"applied_index", raft.applied_index},
          {"disk_space", raft.disk_space},
          {"peers", peers},
          {"missing", raft.missing}};
}

void get_raft(Api& api, const Call& call) {
  const SelfInfo self = api.backend().self();
  const ReadInfo info = api.backend().read_info();
  OperatorBackend* backend = api.backend().operators();
  if (backend == nullptr) return api.reply_json(call.id, raft_json(api.backend().raft(), self, info));
  backend->raft_figures(api.answer<RaftInfo>(call.id, [self, info](const RaftInfo& raft) {
    Response response;
    response.content_type = "application/json";
    response.body = raft_json(raft, self, info).dump(-1, ' ', false, Json::error_handler_t::replace);
    return response;
  }));
}

Response done_answer(const std::monostate&) {
  Response response;
  response.content_type = "application/json";
  response.body = R"({"ok":true})";
  return response;
}

void put_transfer(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend != nullptr) backend->raft_transfer(call.query.get("to"), api.answer<std::monostate>(call.id, done_answer));
}

void delete_server(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend != nullptr) backend->raft_remove(call.parameters.at(0), api.answer<std::monostate>(call.id, done_answer));
}

void delete_cache(Api& api, const Call& call) {
  OperatorBackend* backend = operators(api, call);
  if (backend == nullptr) return;
  const auto purged = backend->purge_cache(call.query.get("route"), call.query.get("prefix"));
  if (!purged) return api.fail(call.id, purged.error());
  api.reply_json(call.id, {{"ok", true}, {"purged", *purged}});
}

}  // namespace

void add_operator_routes(Router& router) {
  router.add("GET", "/v1/snapshot", get_snapshot);
  router.add("PUT", "/v1/snapshot", put_snapshot);
  router.add("GET", "/v1/operator/raft/configuration", get_configuration);
  router.add("DELETE", "/v1/operator/raft/peer", delete_peer);
  router.add("GET", "/v1/operator/autopilot/health", get_autopilot);
  router.add("GET", "/outrigger/v1/raft", get_raft);
  router.add("PUT", "/outrigger/v1/raft/transfer", put_transfer);
  router.add("DELETE", "/outrigger/v1/raft/servers/:server", delete_server);
  router.add("DELETE", "/outrigger/v1/cache", delete_cache);
}

}  // namespace agent::api
