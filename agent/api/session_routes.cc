#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/json_body.h"
#include "agent/api/session_backend.h"

/// /v1/session in Consul's dialect (docs: api.md sections 3 and 5).
namespace agent::api {
namespace {

constexpr Milliseconds kLockDelayMax{60000};
constexpr std::size_t kNameBytesMax = 256, kChecksMax = 64;
constexpr std::string_view kDefaultCheck = "serfHealth";

/// The backend's sessions, or nullptr after an answer that says that there are none.
SessionBackend* sessions_of(Api& api, const Call& call) {
  if (auto* sessions = api.backend().sessions()) return sessions;
  return api.fail(call.id, {Errc::kUnsupported, "this agent keeps no sessions", {}}), nullptr;
}

/// Go's notation of a duration, as short as it gets: "10s", "1500ms", "24h0m0s" is "86400s" here.
std::string go_text(Milliseconds duration) {
  const auto count = duration.count();
  return count % 1000 == 0 ? std::to_string(count / 1000) + "s" : std::to_string(count) + "ms";
}

std::string ns_text(Milliseconds duration) { return std::to_string(duration.count()) + "000000"; }

// ---------------------------------------------------------------- answers

void append_texts(std::string& out, const std::vector<std::string>& texts) {
  out += '[';
  for (const auto& text : texts) {
    if (out.back() != '[') out += ',';
    append_json_string(out, text);
  }
  out += ']';
}

/// By hand like KV entries: nanoseconds and indexes are u64.
void append_session(std::string& out, const SessionInfo& session) {
  const SessionSpec& spec = session.spec;
  out += "{\"ID\":";
  append_json_string(out, session.id);
  out += ",\"Name\":";
  append_json_string(out, spec.name);
  out += ",\"Node\":";
  append_json_string(out, spec.node);
  out += ",\"LockDelay\":" + (spec.lock_delay.count() == 0 ? std::string("0") : ns_text(spec.lock_delay));
  out += std::string(",\"Behavior\":\"") + (spec.behavior == SessionBehavior::kDelete ? "delete" : "release") + "\"";
  out += ",\"TTL\":\"" + (spec.ttl.count() == 0 ? std::string() : go_text(spec.ttl)) + "\"";
  out += ",\"NodeChecks\":";
  append_texts(out, spec.node_checks);
  out += ",\"ServiceChecks\":";
  if (spec.service_checks.empty()) {
    out += "null";
  } else {
    out += '[';
    for (const auto& check : spec.service_checks) {
      if (out.back() != '[') out += ',';
      out += "{\"ID\":";
      append_json_string(out, check);
      out += ",\"Namespace\":\"\"}";
    }
    out += ']';
  }
  out += ",\"CreateIndex\":" + std::to_string(static_cast<std::uint64_t>(session.create_index));
  out += ",\"ModifyIndex\":" + std::to_string(static_cast<std::uint64_t>(session.modify_index)) + '}';
}

Response sessions_response(const std::vector<SessionInfo>& sessions) {
  Response response{200, "application/json", {}, "["};
  for (const auto& session : sessions) {
    if (response.body.size() > 1) response.body += ',';
    append_session(response.body, session);
  }
  response.body += ']';
  return response;
}

// ---------------------------------------------------------------- creation

/// Consul takes a small bare number for seconds, since nobody means nanoseconds by 5. @return false after noting why
/// not
bool read_lock_delay(JsonFields& fields, Milliseconds& out) {
  const auto* value = fields.find("LockDelay");
  if (value == nullptr) return true;
  const auto parsed = value->is_number_unsigned() && value->get<std::uint64_t>() < 1000
                          ? std::optional(Milliseconds(static_cast<std::int64_t>(value->get<std::uint64_t>() * 1000)))
                          : fields.duration("LockDelay");
  if (parsed) out = std::min(*parsed, kLockDelayMax);
  return fields.fault().empty();
}

/// Ids of checks: strings, or objects with an ID (service checks of newer clients).
std::vector<std::string> check_ids(JsonFields& fields, std::string_view name) {
  std::vector<std::string> out;
  const auto* list = fields.array(name);
  if (list == nullptr) return out;
  for (const auto& value : *list) {
    if (value.is_string()) {
      out.push_back(value.get<std::string>());
    } else {
      JsonFields check(value);
      out.push_back(check.text("ID"));
      if (!check.fault().empty() || out.back().empty()) fields.refuse(name, "must be an array of check ids");
    }
  }
  if (out.size() > kChecksMax) fields.refuse(name, "has more than 64 checks");
  return out;
}

/// `Checks` is the older name of `NodeChecks`; without either the session follows its node's health, with an empty one
/// it does not.
void read_checks(JsonFields& fields, SessionSpec& spec) {
  const bool given = fields.has("Checks") || fields.has("NodeChecks");
  spec.node_checks = check_ids(fields, "NodeChecks");
  for (auto& check : check_ids(fields, "Checks"))
    if (std::find(spec.node_checks.begin(), spec.node_checks.end(), check) == spec.node_checks.end())
      spec.node_checks.push_back(std::move(check));
  if (!given) spec.node_checks.emplace_back(kDefaultCheck);
  spec.service_checks = check_ids(fields, "ServiceChecks");
}

/// What a session's TTL may be, in Consul's words, whose beginning clients parse.
std::optional<Error> read_ttl(const Limits& limits, JsonFields& fields, Milliseconds& out) {
  const auto* value = fields.find("TTL");
  if (value == nullptr || *value == "") return std::nullopt;
  const auto parsed = duration_of(*value);
  if (!parsed)
    return Error{Errc::kRefused, "Session TTL '" + value->dump() + "' invalid: it is no duration such as 10s", {}};
  out = *parsed;
  if (out.count() == 0 || (out >= limits.session_ttl_min && out <= limits.session_ttl_max)) return std::nullopt;
  return Error{Errc::kRefused,
               "Invalid Session TTL '" + ns_text(out) + "', must be between [" + go_text(limits.session_ttl_min) + "=" +
                   (limits.session_ttl_max == Milliseconds(86400000) ? "24h0m0s" : go_text(limits.session_ttl_max)) +
                   "]",
               {}};
}

std::optional<Error> read_spec(const Limits& limits, const Json& body, SessionSpec& spec) {
  JsonFields fields(body);
  spec.name = fields.text("Name");
  spec.node = fields.text("Node");
  if (spec.name.size() > kNameBytesMax) fields.refuse("Name", "is longer than 256 bytes");
  if (spec.node.size() > kNameBytesMax) fields.refuse("Node", "is longer than 256 bytes");
  read_lock_delay(fields, spec.lock_delay);
  read_checks(fields, spec);
  const std::string behavior = fields.text("Behavior");
  if (!fields.fault().empty()) return Error{Errc::kBadRequest, "Request decode failed: " + fields.fault(), {}};
  if (auto error = read_ttl(limits, fields, spec.ttl)) return error;
  if (!behavior.empty() && behavior != "release" && behavior != "delete")
    return Error{Errc::kRefused, "Invalid Behavior setting '" + behavior.substr(0, 100) + "'", {}};
  if (behavior == "delete") spec.behavior = SessionBehavior::kDelete;
  return std::nullopt;
}

void put_create(Api& api, const Call& call) {
  SessionBackend* sessions = sessions_of(api, call);
  if (sessions == nullptr) return;
  std::string fault;
  const bool empty = call.request.body.find_first_not_of(" \t\r\n") == std::string::npos;
  const auto body = empty ? std::optional<Json>(Json::object()) : parse_json(call.request.body, fault);
  if (!body) return api.fail(call.id, {Errc::kBadRequest, "Request decode failed: " + fault, {}});
  SessionSpec spec;
  if (const auto error = read_spec(api.limits(), *body, spec)) return api.fail(call.id, *error);
  sessions->session_create(std::move(spec), api.answer<SessionCreated>(call.id, [](const SessionCreated& created) {
    Response response{200, "application/json", {}, R"({"ID":")" + created.id + R"("})"};
    add_write_index(response, created.index);
    return response;
  }));
}

// ---------------------------------------------------------------- the others

/// The id of the path, or nothing after an answer.
bool id_of(Api& api, const Call& call, const char* missing, std::string& id) {
  id = call.parameters.at(0);
  if (id.empty()) return api.fail(call.id, {Errc::kBadRequest, missing, {}}), false;
  if (id.size() > kNameBytesMax)
    return api.fail(call.id, {Errc::kBadRequest, "the name is longer than 256 bytes", {}}), false;
  return true;
}

void put_renew(Api& api, const Call& call) {
  std::string id;
  SessionBackend* sessions = sessions_of(api, call);
  if (sessions == nullptr || !id_of(api, call, "Missing session", id)) return;
  auto answer = api.answer<SessionInfo>(call.id, [](const SessionInfo& session) {
    Response response = sessions_response({session});
    add_write_index(response, session.modify_index);
    return response;
  });
  sessions->session_renew(id, [id, done = std::move(answer)](Result<SessionInfo> session) {
    if (!session && session.error().code == Errc::kNotFound)
      session = tl::unexpected(Error{Errc::kNotFound, "Session id '" + id + "' not found", {}});
    done(std::move(session));
  });
}

void put_destroy(Api& api, const Call& call) {
  std::string id;
  SessionBackend* sessions = sessions_of(api, call);
  if (sessions == nullptr || !id_of(api, call, "Missing session", id)) return;
  sessions->session_destroy(std::move(id), api.answer<Index>(call.id, [](const Index& index) {
    Response response{200, "application/json", {}, "true"};
    add_write_index(response, index);
    return response;
  }));
}

/// A list that can block.
void read_sessions(Api& api, const Call& call, Topic topic, std::function<SessionsAnswer()> find) {
  Read read;
  read.topic = std::move(topic);
  read.render = [find = std::move(find)](const ReadInfo& info) {
    const SessionsAnswer found = find();
    Response response = sessions_response(found.sessions);
    add_consul_headers(response, found.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

void get_info(Api& api, const Call& call) {
  std::string id;
  SessionBackend* sessions = sessions_of(api, call);
  if (sessions == nullptr || !id_of(api, call, "Missing session", id)) return;
  read_sessions(api, call, {Topic::Kind::kSession, id}, [sessions, id] { return sessions->session_info(id); });
}

void get_of_node(Api& api, const Call& call) {
  std::string node;
  SessionBackend* sessions = sessions_of(api, call);
  if (sessions == nullptr || !id_of(api, call, "Missing node name", node)) return;
  read_sessions(api, call, {Topic::Kind::kNodeSessions, node},
                [sessions, node] { return sessions->sessions_of_node(node); });
}

void get_list(Api& api, const Call& call) {
  if (SessionBackend* sessions = sessions_of(api, call))
    read_sessions(api, call, {Topic::Kind::kSessions, {}}, [sessions] { return sessions->session_list(); });
}

}  // namespace

void add_session_routes(Router& router) {
  router.add("PUT", "/v1/session/create", put_create);
  router.add("PUT", "/v1/session/renew/*", put_renew);
  router.add("PUT", "/v1/session/destroy/*", put_destroy);
  router.add("GET", "/v1/session/info/*", get_info);
  router.add("GET", "/v1/session/node/*", get_of_node);
  router.add("GET", "/v1/session/list", get_list);
}

}  // namespace agent::api
