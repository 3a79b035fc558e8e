#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/metrics_text.h"

/// /outrigger/v1: what is ours alone. JSON in snake_case; ids of nodes are 16 hex digits, since JavaScript's numbers
/// end at 2^53; epochs and indexes are numbers, which take centuries to get there.
namespace agent::api {
namespace {

constexpr std::size_t kNameBytesMax = 64;
constexpr Milliseconds kLeaseMin{100}, kLeaseMax{60000};

std::string text_of(NodeId id) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(16, '0');
  auto rest = static_cast<std::uint64_t>(id);
  for (std::size_t i = 16; i-- > 0; rest >>= 4) out[i] = kDigits[rest & 15];
  return out;
}
Json id_json(NodeId id) { return id == NodeId{} ? Json(nullptr) : Json(text_of(id)); }
std::uint64_t number(Index index) { return static_cast<std::uint64_t>(index); }
std::uint64_t number(Epoch epoch) { return static_cast<std::uint64_t>(epoch); }
Json name_json(const std::string& name) { return name.empty() ? Json(nullptr) : Json(name); }

Response json_response(const Json& body, int status = 200) {
  return {status, "application/json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
}

// ---------------------------------------------------------------- role

Json role_json(const RoleInfo& role) {
  return {{"service", role.service},
          {"role", role.role},
          {"serving", role.serving},
          {"epoch", number(role.epoch)},
          {"holder", name_json(role.holder_name)},
          {"holder_id", id_json(role.holder)},
          {"self", role.self_name},
          {"instance", role.instance},
          {"draining", role.draining},
          {"since_ms", role.since_ms},
          {"valid_for_ms", role.valid_for.count()},
          {"index", number(role.index)}};
}

void get_role(Api& api, const Call& call) {
  Read read;
  read.topic = Topic{};
  read.needs_barrier = false;  // the question is what this agent does now
  read.render = [&backend = api.backend()](const ReadInfo& info) {
    const RoleInfo role = backend.role();
    Response response = json_response(role_json(role));
    add_consul_headers(response, role.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

void watch_role(Api& api, const Call& call) {
  api.stream(call, Topic{}, "role", [&backend = api.backend()] {
    return role_json(backend.role()).dump(-1, ' ', false, Json::error_handler_t::replace);
  });
}

// ---------------------------------------------------------------- elections

Json election_json(const ElectionInfo& election) {
  return {{"name", election.name},
          {"holder", name_json(election.holder_name)},
          {"holder_id", id_json(election.holder)},
          {"epoch", number(election.epoch)},
          {"preferred_id", id_json(election.preferred)},
          {"lease_ms", election.lease.count()},
          {"index", number(election.index)}};
}

void get_election(Api& api, const Call& call) {
  const std::string name = call.parameters.at(0);
  Read read;
  read.topic = Topic{Topic::Kind::kElection, name};
  read.render = [&backend = api.backend(), name](const ReadInfo& info) {
    const auto election = backend.election(name);
    const Json missing = {{"code", "not_found"},
                          {"message", "nobody has ever stood for \"" + name + "\""},
                          {"hint", "check the name"},
                          {"retry_after_ms", 0}};
    Response response = election ? json_response(election_json(*election)) : json_response(missing, 404);
    if (!election) response.content_type = "application/problem+json";
    add_consul_headers(response, election ? election->index : Index{1}, info);
    return response;
  };
  api.read(call, std::move(read));
}

/// Fields of a command: parameters of the query, or of a JSON object in the body when the query lacks them.
class Fields {
 public:
  explicit Fields(const Call& call) : call_(call) {
    if (!call.request.body.empty()) body_ = Json::parse(call.request.body, nullptr, false);
  }
  [[nodiscard]] bool ok() const { return body_.is_null() || body_.is_object(); }
  [[nodiscard]] std::string text(const std::string& name) const {
    if (const auto* value = call_.query.find(name)) return *value;
    const auto it = body_.is_object() ? body_.find(name) : body_.end();
    if (!body_.is_object() || it == body_.end()) return {};
    return it->is_string() ? it->get<std::string>() : it->is_null() ? std::string() : it->dump();
  }
  [[nodiscard]] const Json& body() const { return body_; }

 private:
  const Call& call_;
  Json body_;
};

/// What is wrong with a command's fields, for the kind that needs them; empty = nothing.
std::string fault_of(const ElectionCommand& command, bool has_epoch) {
  using Kind = ElectionCommand::Kind;
  const bool of_client =
      command.kind == Kind::kCampaign || command.kind == Kind::kRenew || command.kind == Kind::kResign;
  if (command.name.size() > kNameBytesMax) return "the election's name is longer than 64 bytes";
  if (command.target.size() > kNameBytesMax || command.holder.size() > kNameBytesMax)
    return "a name is longer than 64 bytes";
  if (of_client && command.holder.empty()) return "\"holder\" is missing: the name under which you stand";
  if ((command.kind == Kind::kRenew || command.kind == Kind::kResign) && !has_epoch)
    return "\"epoch\" is missing: the one that campaign answered";
  if (command.kind == Kind::kCampaign && (command.lease < kLeaseMin || command.lease > kLeaseMax))
    return "\"lease_ms\" must be 100 to 60000";
  return {};
}

void command_election(Api& api, const Call& call, std::string name, ElectionCommand::Kind kind) {
  const Fields fields(call);
  if (!fields.ok()) return api.fail(call.id, {Errc::kBadRequest, "the body is no JSON object", {}});
  ElectionCommand command;
  command.kind = kind;
  command.name = std::move(name);
  command.target = fields.text("target");
  command.holder = fields.text("holder");
  const std::string epoch_text = fields.text("epoch"), lease_text = fields.text("lease_ms");
  const auto epoch = parse_u64(epoch_text), lease = parse_u64(lease_text);
  if ((!epoch_text.empty() && !epoch) || (!lease_text.empty() && !lease))
    return api.fail(call.id, {Errc::kBadRequest, "\"epoch\" and \"lease_ms\" are numbers", {}});
  command.epoch = Epoch{epoch.value_or(0)};
  command.lease = Milliseconds(static_cast<std::int64_t>(std::min<std::uint64_t>(lease.value_or(0), 1U << 30)));
  if (const auto fault = fault_of(command, epoch.has_value()); !fault.empty())
    return api.fail(call.id, {Errc::kBadRequest, fault, {}});
  api.backend().election_command(
      std::move(command), api.answer<ElectionInfo>(call.id, [](const ElectionInfo& election) {
        Response response = json_response(election_json(election));
        response.headers.emplace_back("X-Consul-Index",
                                      std::to_string(std::max<std::uint64_t>(1, number(election.index))));
        return response;
      }));
}

template <ElectionCommand::Kind kKind>
void put_election(Api& api, const Call& call) {
  command_election(api, call, call.parameters.at(0), kKind);
}

/// The election of this agent's own service.
void put_switchover(Api& api, const Call& call) {
  std::string service = api.backend().role().service;
  if (service.empty()) return api.fail(call.id, {Errc::kUnavailable, "this agent has no service", {}});
  command_election(api, call, std::move(service), ElectionCommand::Kind::kSwitchover);
}

// ---------------------------------------------------------------- mesh, store, proxy

std::string_view text_of(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
      return "alive";
    case MemberState::kSuspect:
      return "suspect";
    case MemberState::kLeaving:
      return "leaving";
    case MemberState::kLeft:
      return "left";
    case MemberState::kDead:
      return "dead";
  }
  return "unknown";
}

void get_peers(Api& api, const Call& call) {
  Json list = Json::array();
  for (const auto& member : api.backend().members()) {
    Json tags = Json::object();
    for (const auto& [key, value] : member.tags) tags[key] = value;
    list.push_back({{"name", member.name},
                    {"id", member.id},
                    {"raft_id", id_json(member.raft_id)},
                    {"address", member.address},
                    {"gossip_port", member.gossip_port},
                    {"mesh_port", member.mesh_port},
                    {"api_address", member.api_address},
                    {"state", text_of(member.state)},
                    {"incarnation", member.incarnation},
                    {"accusers", member.accusers},
                    {"rtt_ms", member.rtt ? Json(member.rtt->count()) : Json(nullptr)},
                    {"mesh_connected", member.mesh_connected},
                    {"tags", tags}});
  }
  api.reply_json(call.id, {{"self", api.backend().self().name}, {"peers", list}});
}

void get_raft(Api& api, const Call& call) {
  const RaftInfo raft = api.backend().raft();
  Json peers = Json::array();
  Json leader_name = nullptr;
  for (const auto& peer : raft.peers) {
    if (peer.id == raft.leader && raft.leader != NodeId{}) leader_name = name_json(peer.name);
    peers.push_back({{"name", name_json(peer.name)},
                     {"id", id_json(peer.id)},
                     {"address", peer.address},
                     {"is_voter", peer.is_voter},
                     {"is_leader", peer.is_leader},
                     {"match_index", peer.match_index ? Json(*peer.match_index) : Json(nullptr)},
                     {"last_contact_ms", peer.last_contact ? Json(peer.last_contact->count()) : Json(nullptr)}});
  }
  const ReadInfo info = api.backend().read_info();
  api.reply_json(call.id, {{"self", id_json(raft.self)},
                           {"cluster_id", name_json(api.backend().self().cluster_id)},
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
                           {"peers", peers},
                           {"missing", raft.missing}});
}

Json endpoint_json(const EndpointInfo& endpoint) {
  return {{"name", endpoint.name},
          {"address", endpoint.address},
          {"is_local", endpoint.is_local},
          {"is_backup", endpoint.is_backup},
          {"is_draining", endpoint.draining},
          {"health", endpoint.health},
          {"reason", endpoint.reason},
          {"weight", endpoint.weight},
          {"ejected_for_ms", endpoint.ejected_for.count()},
          {"in_flight", endpoint.in_flight},
          {"requests", endpoint.requests},
          {"failures", endpoint.failures}};
}

void get_upstreams(Api& api, const Call& call) {
  using List = std::vector<UpstreamInfo>;
  api.backend().upstreams(api.answer<List>(call.id, [](const List& upstreams) {
    Json list = Json::array();
    for (const auto& upstream : upstreams) {
      Json endpoints = Json::array();
      for (const auto& endpoint : upstream.endpoints) endpoints.push_back(endpoint_json(endpoint));
      list.push_back({{"service", upstream.service}, {"held", upstream.held}, {"endpoints", endpoints}});
    }
    return json_response({{"upstreams", list}});
  }));
}

/// Targets for Prometheus' http_sd: every agent whose API others can reach.
void get_prometheus_targets(Api& api, const Call& call) {
  Json list = Json::array();
  for (const auto& member : api.backend().members()) {
    if (member.api_address.empty() || member.state == MemberState::kLeft) continue;
    Json labels = {{"node", member.name}};
    if (const auto zone = member.tags.find("zone"); zone != member.tags.end()) labels["zone"] = zone->second;
    list.push_back({{"targets", Json::array({member.api_address})}, {"labels", labels}});
  }
  api.reply_json(call.id, list);
}

// ---------------------------------------------------------------- health and actions

void reply_health(Api& api, const Call& call, const std::vector<HealthItem>& items) {
  const bool fine = std::all_of(items.begin(), items.end(), [](const HealthItem& item) { return item.ok; });
  Json checks = Json::array();
  for (const auto& item : items) checks.push_back({{"name", item.name}, {"ok", item.ok}, {"detail", item.detail}});
  api.reply_json(call.id, {{"status", fine ? "ok" : "failing"}, {"checks", checks}}, fine ? 200 : 503);
}

void get_live(Api& api, const Call& call) { reply_health(api, call, api.backend().live()); }
void get_ready(Api& api, const Call& call) { reply_health(api, call, api.backend().ready()); }

void put_drain(Api& api, const Call& call) {
  const Fields fields(call);
  const std::string enable = fields.ok() ? fields.text("enable") : "?";
  if (!enable.empty() && enable != "true" && enable != "false")
    return api.fail(call.id, {Errc::kBadRequest, "\"enable\" is true or false", {}});
  const bool drains = enable != "false";
  api.backend().drain(drains, api.answer<std::monostate>(call.id, [drains](const std::monostate&) {
    return json_response({{"draining", drains}});
  }));
}

void put_join(Api& api, const Call& call) {
  const Fields fields(call);
  std::vector<std::string> addresses;
  if (fields.body().is_object() && fields.body().contains("addresses") && fields.body().at("addresses").is_array())
    for (const auto& address : fields.body().at("addresses"))
      if (address.is_string() && addresses.size() < 64) addresses.push_back(address.get<std::string>());
  if (const auto* address = call.query.find("address")) addresses.push_back(*address);
  if (addresses.empty())
    return api.fail(call.id, {Errc::kBadRequest, "\"addresses\" is missing: a list of ip:port", {}});
  api.backend().join(std::move(addresses), api.answer<std::size_t>(call.id, [](const std::size_t& joined) {
    return json_response({{"joined", joined}});
  }));
}

void put_leave(Api& api, const Call& call) {
  api.backend().leave(api.answer<std::monostate>(call.id, [](const std::monostate&) {
    return json_response({{"left", true}});
  }));
}

}  // namespace

void add_own_routes(Router& router) {
  using Kind = ElectionCommand::Kind;
  router.add("GET", "/outrigger/v1/role", get_role);
  router.add("GET", "/outrigger/v1/role/watch", watch_role);
  router.add("GET", "/outrigger/v1/election/:name", get_election);
  for (const auto* method : {"PUT", "POST"}) {
    router.add(method, "/outrigger/v1/election/:name/switchover", put_election<Kind::kSwitchover>);
    router.add(method, "/outrigger/v1/election/:name/release", put_election<Kind::kRelease>);
    router.add(method, "/outrigger/v1/election/:name/campaign", put_election<Kind::kCampaign>);
    router.add(method, "/outrigger/v1/election/:name/renew", put_election<Kind::kRenew>);
    router.add(method, "/outrigger/v1/election/:name/resign", put_election<Kind::kResign>);
    router.add(method, "/outrigger/v1/switchover", put_switchover);
    router.add(method, "/outrigger/v1/drain", put_drain);
    router.add(method, "/outrigger/v1/join", put_join);
    router.add(method, "/outrigger/v1/leave", put_leave);
  }
  router.add("GET", "/outrigger/v1/upstreams", get_upstreams);
  router.add("GET", "/outrigger/v1/peers", get_peers);
  router.add("GET", "/outrigger/v1/raft", get_raft);
  router.add("GET", "/outrigger/v1/health/live", get_live);
  router.add("GET", "/outrigger/v1/health/ready", get_ready);
  router.add("GET", "/outrigger/v1/sd/prometheus/agents", get_prometheus_targets);
  router.add("GET", "/outrigger/v1/metrics", get_metrics);
  router.add("GET", "/metrics", get_metrics);
}

}  // namespace agent::api
