#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "agent/api/catalog_json.h"
#include "agent/api/consul.h"
#include "agent/api/discovery.h"

/// /v1/event: user events. In Consul they are gossip: doubled, unordered, replayed. Here they are entries of the log, so
/// every agent has the same last kEventsMax in the same order, and LTime, the index of the entry, only grows.
namespace agent::api {
namespace {

constexpr std::size_t kEventNameBytesMax = 128;
constexpr std::size_t kFilterBytesMax = 128;
constexpr std::size_t kPayloadBytesMax = 8192;

/// A pattern of a client, in time that grows with pattern times text and never worse (hence __polynomial, which has no
/// back references). nullopt: no regular expression.
std::optional<std::regex> compile(const std::string& pattern) {
  if (pattern.size() > kFilterBytesMax) return std::nullopt;
  try {
    return std::regex(pattern, std::regex::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error&) {
    return std::nullopt;
  }
}

bool matches(const std::string& pattern, const std::string& text) {
  if (pattern.empty()) return true;
  const auto compiled = compile(pattern);
  if (!compiled) return false;
  try {
    return std::regex_search(text.substr(0, 512), *compiled);
  } catch (const std::regex_error&) {
    return false;  // too complex to decide: nobody is meant by it
  }
}

/// true if the event is meant for this agent: its node, and a service here with the tag.
bool is_meant(const Event& event, const std::string& node, const NodeServices& local) {
  if (!matches(event.node_filter, node)) return false;
  if (event.service_filter.empty()) return true;
  return std::any_of(local.services.begin(), local.services.end(), [&event](const Service& service) {
    if (!matches(event.service_filter, service.name)) return false;
    return event.tag_filter.empty() || std::any_of(service.tags.begin(), service.tags.end(), [&event](const std::string& tag) {
      return matches(event.tag_filter, tag);
    });
  });
}

/// What is wrong with an event, as Consul says it; nullopt = nothing.
std::optional<Error> fault_of(const EventFire& event) {
  const auto bad = [](std::string why) { return Error{Errc::kBadRequest, std::move(why), {}}; };
  if (event.name.empty()) return bad("Missing name");
  if (event.name.size() > kEventNameBytesMax) return bad("the event's name is longer than 128 bytes");
  if (event.payload.size() > kPayloadBytesMax) return Error{Errc::kTooLarge, "the payload is larger than 8192 bytes", {}};
  if (!event.tag_filter.empty() && event.service_filter.empty())
    return Error{Errc::kRefused, "Cannot provide tag filter without service filter", {}};
  const std::pair<const char*, const std::string*> filters[] = {
      {"Invalid node filter", &event.node_filter}, {"Invalid service filter", &event.service_filter}, {"Invalid tag filter", &event.tag_filter}};
  for (const auto& [text, filter] : filters)
    if (!filter->empty() && !compile(*filter))
      return Error{Errc::kRefused, std::string(text) + ": it is no regular expression of at most 128 bytes", {}};
  return std::nullopt;
}

void put_event(Api& api, const Call& call) {
  EventFire event;
  event.name = call.parameters.at(0);
  event.payload = call.request.body;
  event.node_filter = call.query.get("node");
  event.service_filter = call.query.get("service");
  event.tag_filter = call.query.get("tag");
  if (const auto fault = fault_of(event)) return api.fail(call.id, *fault);
  CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  catalog->fire_event(std::move(event), api.answer<Event>(call.id, [](const Event& fired) {
    Json body = event_json(fired);
    body["LTime"] = 0;  // Consul does not know it yet when it answers; clients take what they know from event/list
    return Response{200, "application/json", {}, body.dump(-1, ' ', false, Json::error_handler_t::replace)};
  }));
}

/// The last events that are meant for this agent. The index is the LTime of the newest of them.
void get_events(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  Read read;
  read.topic = Topic{Topic::Kind::kEvents, {}};
  read.needs_barrier = false;  // this agent's own list, as in Consul
  read.render = [catalog, name = call.query.get("name"), self = api.backend().self().name](const ReadInfo& info) {
    const NodeServices local = catalog->local();
    const auto events = catalog->events();
    Json out = Json::array();
    for (const Event& event : events.value)
      if ((name.empty() || event.name == name) && is_meant(event, self, local)) out.push_back(event_json(event));
    Response response{200, "application/json", {}, out.dump(-1, ' ', false, Json::error_handler_t::replace)};
    add_consul_headers(response, events.index, info);
    return response;
  };
  api.read(call, std::move(read));
}

// ---------------------------------------------------------------- our own: a stream

/// One event as text/event-stream has it; its id is its index, with which a client comes back.
void append_sse(std::string& out, std::string_view kind, Index id, const Json& data) {
  out += "id: " + std::to_string(static_cast<std::uint64_t>(id)) + "\nevent: ";
  out.append(kind).append("\ndata: ").append(data.dump(-1, ' ', false, Json::error_handler_t::replace)).append("\n\n");
}

/// Events behind `after`. `gap` goes ahead when events between are not remembered any more: they are lost to the client.
StreamPiece pull_events(const CatalogView& catalog, const std::string& name, Index after, bool resumes) {
  StreamPiece piece;
  const auto events = catalog.events();
  piece.upto = std::max(after, events.index);
  const bool forgotten = resumes && events.value.size() >= Event::kEventsMax && !events.value.empty() && events.value.front().index > after;
  if (forgotten) append_sse(piece.text, "gap", after, {{"after", static_cast<std::uint64_t>(after)}});
  for (const Event& event : events.value) {
    if (event.index <= after || (!name.empty() && event.name != name)) continue;
    std::string payload;
    append_base64(payload, event.payload);
    append_sse(piece.text, "event", event.index,
               {{"id", event.id}, {"name", event.name}, {"payload", payload}, {"index", static_cast<std::uint64_t>(event.index)},
                {"node_filter", event.node_filter}, {"service_filter", event.service_filter}, {"tag_filter", event.tag_filter}});
  }
  return piece;
}

/// GET /outrigger/v1/events?name=&index=: every event in the order of the log, for all agents the same, whomever it is
/// meant for. Begins behind Last-Event-ID, or behind `index` (0 = with the oldest that is kept), else with the next one.
void stream_events(Api& api, const Call& call) {
  const CatalogBackend* catalog = catalog_of(api, call);
  if (catalog == nullptr) return;
  const std::string* given = call.query.find("index");
  const std::string text = !call.request.last_event_id.empty() ? call.request.last_event_id : given != nullptr ? *given : std::string();
  const auto index = parse_u64(text);
  if (!text.empty() && !index)
    return api.fail(call.id, {Errc::kBadRequest, "\"index\" (or Last-Event-ID) must be the number of an event seen before", {}});
  api.permit(call, [&api, catalog, id = call.id, now = call.now, name = call.query.get("name"), index](const ReadInfo&) {
    Stream stream;
    stream.topic = Topic{Topic::Kind::kEvents, {}};
    stream.after = index ? Index{*index} : catalog->events().index;
    const bool resumes = index.value_or(0) != 0;
    stream.pull = [catalog, name, resumes](Index after) { return pull_events(*catalog, name, after, resumes); };
    api.stream(id, now, std::move(stream));
  });
}

}  // namespace

void add_event_routes(Router& router) {
  router.add("PUT", "/v1/event/fire/*", put_event);
  router.add("GET", "/v1/event/list", get_events);
  router.add("GET", "/outrigger/v1/events", stream_events);
}

}  // namespace agent::api
