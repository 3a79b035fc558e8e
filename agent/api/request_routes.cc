#include <nlohmann/json.hpp>

#include "agent/api/own.h"
#include "agent/api/request_backend.h"
#include "agent/api/request_routes.h"

/// /outrigger/v1/why, tap, routes and egress: single requests, what routes count, and what goes out.
namespace agent::api {
namespace {

RequestBackend* requests_of(Api& api, const Call& call) {
  RequestBackend* requests = api.backend().requests();
  if (requests == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent has no proxy", {}});
  return requests;
}

double ms_of(std::chrono::nanoseconds value) { return static_cast<double>(value.count() / 1000) / 1000.0; }

// ---------------------------------------------------------------- routes

Json latency_json(const LatencyInfo& latency) {
  return {{"count", latency.count},      {"mean_ms", ms_of(latency.mean)}, {"p50_ms", ms_of(latency.p50)},
          {"p95_ms", ms_of(latency.p95)}, {"p99_ms", ms_of(latency.p99)},   {"max_ms", ms_of(latency.max)}};
}

void get_routes(Api& api, const Call& call) {
  RequestBackend* requests = requests_of(api, call);
  if (requests == nullptr) return;
  using List = std::vector<RouteInfo>;
  requests->routes(api.answer<List>(call.id, [listeners = requests->listeners()](const List& routes) {
    Json list = Json::array();
    for (const RouteInfo& route : routes) {
      Json counters = Json::object();
      for (const auto& [name, value] : route.counters) counters[name] = value;
      list.push_back({{"name", route.name}, {"counters", counters}, {"latency", latency_json(route.latency)}});
    }
    return json_response({{"routes", list}, {"listeners", listeners}});
  }));
}

// ---------------------------------------------------------------- egress

Json entry_json(const EgressEntry& entry) {
  Json counters = Json::object();
  for (const auto& [name, value] : entry.counters) counters[name] = value;
  return {{"name", entry.name},           {"mode", entry.mode}, {"listen", entry.listen},  {"target", entry.target},
          {"addresses", entry.addresses}, {"fault", entry.fault.empty() ? Json(nullptr) : Json(entry.fault)}, {"counters", counters}};
}

void get_egress(Api& api, const Call& call) {
  RequestBackend* requests = requests_of(api, call);
  if (requests == nullptr) return;
  requests->egress(api.answer<EgressInfo>(call.id, [](const EgressInfo& info) {
    Json levels = Json::array(), entries = Json::array();
    for (const EgressLevel& level : info.levels) levels.push_back({{"level", level.name}, {"on", level.on}, {"text", level.text}});
    for (const EgressEntry& entry : info.entries) entries.push_back(entry_json(entry));
    return json_response({{"service", info.service}, {"epoch", number(info.epoch)}, {"permit", info.permit}, {"levels", levels},
                          {"writes_denied", info.writes_denied}, {"late_writes", info.late_writes}, {"egress", entries}});
  }));
}

// ---------------------------------------------------------------- why

Json why_json(const WhyInfo& why, const Backend& backend) {
  Json steps = Json::array();
  for (const WhyStep& step : why.steps)
    steps.push_back({{"at_ms", static_cast<double>(step.at.count()) / 1000.0}, {"step", step.step}, {"text", step.text}});
  Json out = {{"node", backend.self().name}, {"request", Json::parse(why.request, nullptr, false)}, {"steps", steps}, {"left_out", why.left_out}};
  if (why.node.empty()) return out;
  // The rest of the story is there; this agent tells only where, since the API of another may be closed to it.
  Json next = {{"node", why.node}, {"api_address", nullptr}};
  for (const MemberInfo& member : backend.members())
    if (member.name == why.node && !member.api_address.empty()) next["api_address"] = member.api_address;
  out["continues_at"] = next;
  return out;
}

/// The other agents, for whoever asked the wrong one.
Json others_json(const Backend& backend) {
  Json others = Json::array();
  const std::string self = backend.self().name;
  for (const MemberInfo& member : backend.members()) {
    if (member.name == self || (member.state != MemberState::kAlive && member.state != MemberState::kSuspect)) continue;
    others.push_back({{"node", member.name}, {"api_address", member.api_address.empty() ? Json(nullptr) : Json(member.api_address)}});
  }
  return others;
}

void get_why(Api& api, const Call& call) {
  RequestBackend* requests = requests_of(api, call);
  if (requests == nullptr) return;
  const std::string request_id = call.parameters.at(0);
  if (request_id.empty() || request_id.size() > 128)
    return api.fail(call.id, {Errc::kBadRequest, "a request id has 1 to 128 letters, digits and -_.:/+=@", {}});
  const auto found = api.answer<WhyInfo>(call.id, [&backend = api.backend()](const WhyInfo& why) { return json_response(why_json(why, backend)); });
  const auto missed = api.answer<std::monostate>(call.id, [&backend = api.backend(), request_id](const std::monostate&) {
    return problem_response(Errc::kNotFound, "request " + request_id + " is not among the recent ones of " + backend.self().name,
                            {{"others", others_json(backend)}});
  });
  requests->why(request_id, [found, missed](Result<WhyInfo> why) {
    if (!why && why.error().code == Errc::kNotFound) return missed(std::monostate{});
    found(std::move(why));
  });
}

// ---------------------------------------------------------------- tap

std::string feed_events(RequestFeed& feed) {
  std::string out;
  const std::string lines = feed.take();
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = lines.find('\n', at);
    out += "event: request\ndata: " + lines.substr(at, end - at) + "\n\n";
    at = end == std::string::npos ? lines.size() : end + 1;
  }
  if (const std::uint64_t missed = feed.take_missed(); missed > 0)
    out += "event: missed\ndata: {\"missed\":" + std::to_string(missed) + "}\n\n";
  return out;
}

void get_tap(Api& api, const Call& call) {
  RequestBackend* requests = requests_of(api, call);
  if (requests == nullptr) return;
  FeedQuery query;
  query.route = call.query.get("route");
  query.method = call.query.get("method");
  query.path_prefix = call.query.get("path");
  if (const auto* status = call.query.find("status"); status != nullptr && !read_status(*status, query))
    return api.fail(call.id, {Errc::kBadRequest, "\"status\" is a code, a class or a range: 503, 5xx, 400-499", {}});
  if (const auto* slower = call.query.find("slower"); slower != nullptr) {
    const auto parsed = parse_duration(*slower);
    if (!parsed) return api.fail(call.id, {Errc::kBadRequest, "\"slower\" is a duration such as 100ms", {}});
    query.slower_than = *parsed;
  }
  auto feed = requests->feed(std::move(query));
  if (!feed) return api.fail(call.id, feed.error());
  Stream stream;
  stream.topic = {Topic::Kind::kFeed, (*feed)->name()};
  stream.pull = [feed = *feed](Index after) {
    StreamPiece piece;
    piece.text = feed_events(*feed);
    piece.upto = after;
    return piece;
  };
  api.stream(call.id, call.now, std::move(stream));
}

}  // namespace

bool read_status(const std::string& text, FeedQuery& out) {
  const auto number = [](const std::string& digits) { return digits.size() == 3 ? parse_u64(digits) : std::nullopt; };
  if (text.size() == 3 && text.ends_with("xx") && text[0] >= '1' && text[0] <= '5') {
    out.status_min = (text[0] - '0') * 100;
    out.status_max = out.status_min + 99;
    return true;
  }
  const auto dash = text.find('-');
  const auto from = number(text.substr(0, dash)), to = dash == std::string::npos ? from : number(text.substr(dash + 1));
  if (!from || !to || *from > *to) return false;
  out.status_min = static_cast<int>(*from);
  out.status_max = static_cast<int>(*to);
  return true;
}

void add_request_routes(Router& router) {
  router.add("GET", "/outrigger/v1/egress", get_egress);
  router.add("GET", "/outrigger/v1/routes", get_routes);
  router.add("GET", "/outrigger/v1/why/*", get_why);
  router.add("GET", "/outrigger/v1/tap", get_tap);
}

}  // namespace agent::api
