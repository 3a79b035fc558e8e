#include "agent/api/trace_routes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/own.h"
#include "agent/api/request_routes.h"
#include "agent/api/trace_backend.h"
#include "agent/io/crypto.h"

/// Traces for people, and the door for spans of applications.
namespace agent::api {
namespace {

constexpr std::size_t kListMax = 1000;

TraceBackend* traces_of(Api& api, const Call& call) {
  RequestBackend* requests = api.backend().requests();
  TraceBackend* traces = requests == nullptr ? nullptr : requests->traces();
  if (traces == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent keeps no traces; set enabled = true in [tracing]", {}});
  return traces;
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// ---------------------------------------------------------------- the list

/// Spans name an order by the first 16 digits of the SHA-256 of its key.
std::string hash_of_order(const std::string& key) {
  static constexpr char kDigits[] = "0123456789abcdef";
  const auto digest = io::sha256(std::as_bytes(std::span<const char>(key.data(), key.size())));
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    const auto byte = static_cast<unsigned>(digest[i]);
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

Json summary_json(const TraceInfo& trace) {
  return {{"trace_id", trace.id}, {"name", trace.name}, {"route", name_json(trace.route)}, {"status", trace.status == 0 ? Json(nullptr) : Json(trace.status)},
          {"start_us", trace.start_us}, {"duration_us", trace.duration_us}, {"spans", trace.spans}, {"left_out", trace.left_out},
          {"order", name_json(trace.order)}, {"failed", trace.failed}};
}

void get_list(Api& api, const Call& call) {
  TraceBackend* traces = traces_of(api, call);
  if (traces == nullptr) return;
  TraceQuery query;
  if (const auto* min = call.query.find("min"); min != nullptr) {
    const auto parsed = parse_duration(*min);
    if (!parsed) return api.fail(call.id, {Errc::kBadRequest, "\"min\" is a duration such as 100ms", {}});
    query.min = *parsed;
  }
  FeedQuery range;
  if (const auto* status = call.query.find("status"); status != nullptr && !read_status(*status, range))
    return api.fail(call.id, {Errc::kBadRequest, "\"status\" is a code, a class or a range: 503, 5xx, 400-499", {}});
  query.status_min = range.status_min, query.status_max = range.status_max;
  query.route = call.query.get("route");
  if (const std::string key = call.query.get("order"); !key.empty()) {
    query.orders.push_back(hash_of_order(key));
    if (is_hex(key, 16)) query.orders.push_back(key);  // a hash, or a key that was drawn at random and looks like one
  }
  if (const auto* limit = call.query.find("limit"); limit != nullptr) {
    const auto parsed = parse_u64(*limit);
    if (!parsed || *parsed == 0 || *parsed > kListMax) return api.fail(call.id, {Errc::kBadRequest, "\"limit\" is a number from 1 to 1000", {}});
    query.limit = *parsed;
  }
  traces->list(std::move(query), api.answer<TraceListInfo>(call.id, [node = api.backend().self().name](const TraceListInfo& found) {
    Json list = Json::array();
    for (const TraceInfo& trace : found.traces) list.push_back(summary_json(trace));
    return json_response({{"node", node}, {"kept", found.kept}, {"traces", list}});
  }));
}

// ---------------------------------------------------------------- one trace

using Plain = nlohmann::json;

const Plain& child(const Plain& object, const char* key) {
  static const Plain kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}
Json text_json(const Plain& value) { return value.is_string() ? Json(value.get<std::string>()) : Json(nullptr); }
std::int64_t time_us(const Plain& value) {
  const auto ns = value.is_string() ? parse_u64(value.get_ref<const std::string&>()) : std::nullopt;
  return ns && *ns <= INT64_MAX ? static_cast<std::int64_t>(*ns / 1000) : 0;
}

/// {"stringValue": "x"} -> "x". 64-bit numbers stay text when JavaScript could not hold them.
Json value_json(const Plain& value) {
  if (!value.is_object() || value.empty()) return nullptr;
  const Plain& inner = value.begin().value();
  if (value.begin().key() == "intValue" && inner.is_string()) {
    const auto number = parse_u64(inner.get_ref<const std::string&>());
    if (number && *number < (std::uint64_t{1} << 53U)) return *number;
  }
  if (inner.is_string()) return inner.get<std::string>();
  if (inner.is_boolean()) return inner.get<bool>();
  if (inner.is_number()) return inner.get<double>();
  return nullptr;
}

std::string_view kind_name(const Plain& kind) {
  static constexpr std::string_view kNames[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
  const auto number = kind.is_number_unsigned() ? kind.get<std::uint64_t>() : 0;
  return kNames[number < std::size(kNames) ? number : 0];
}

Json span_json(const Plain& span, const Plain& chunk) {
  Json attributes = Json::object(), events = Json::array();
  for (const Plain& one : child(span, "attributes")) {
    if (child(one, "key").is_string()) attributes[child(one, "key").get<std::string>()] = value_json(child(one, "value"));
  }
  for (const Plain& one : child(span, "events")) events.push_back({{"at_us", time_us(child(one, "timeUnixNano"))}, {"name", text_json(child(one, "name"))}});
  const std::int64_t start = time_us(child(span, "startTimeUnixNano")), end = time_us(child(span, "endTimeUnixNano"));
  const Plain& code = child(child(span, "status"), "code");
  return {{"span_id", text_json(child(span, "spanId"))}, {"parent_id", text_json(child(span, "parentSpanId"))}, {"name", text_json(child(span, "name"))},
          {"kind", kind_name(child(span, "kind"))}, {"node", text_json(child(chunk, "node"))}, {"service", text_json(child(chunk, "service"))},
          {"start_us", start}, {"duration_us", std::max<std::int64_t>(end - start, 0)}, {"failed", code.is_number() && code.get<int>() == 2},
          {"attributes", attributes}, {"events", events}};
}

Response trace_response(const std::string& id, const TraceSpansInfo& found) {
  std::vector<Json> spans;
  for (const Plain& chunk : Plain::parse("[" + found.chunks + "]", nullptr, false)) {
    if (child(chunk, "spans").is_array()) {
      for (const Plain& span : child(chunk, "spans")) spans.push_back(span_json(span, chunk));
    }
  }
  std::stable_sort(spans.begin(), spans.end(), [](const Json& a, const Json& b) { return a["start_us"].get<std::int64_t>() < b["start_us"].get<std::int64_t>(); });
  return json_response({{"trace_id", id}, {"nodes", found.nodes}, {"silent", found.silent}, {"left_out", found.left_out}, {"spans", spans}});
}

void get_trace(Api& api, const Call& call) {
  TraceBackend* traces = traces_of(api, call);
  if (traces == nullptr) return;
  const std::string id = call.parameters.at(0);
  if (!is_hex(id, 32)) return api.fail(call.id, {Errc::kBadRequest, "a trace has an id of 32 hexadecimal digits, in lower case", {}});
  traces->find(id, api.answer<TraceSpansInfo>(call.id, [id](const TraceSpansInfo& found) { return trace_response(id, found); }));
}

// ---------------------------------------------------------------- spans of applications

/// Content-Type tells, and where it does not the first byte: no message of protobuf begins with '{' or the mark of UTF-8, which would be
/// fields of kinds that are none. Blanks in front it may begin with.
SpanForm form_of(const Request& request) {
  std::string type = request.content_type.substr(0, request.content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const bool json = type == "application/json" || request.body.starts_with('{') || request.body.starts_with("\xef\xbb\xbf");
  return json ? SpanForm::kJson : SpanForm::kProtobuf;
}

void post_spans(Api& api, const Call& call) {
  TraceBackend* traces = traces_of(api, call);
  if (traces == nullptr) return;
  const std::string& body = call.request.body;
  if (body.starts_with("\x1f\x8b"))
    return api.fail(call.id, {Errc::kBadRequest, "the spans are compressed; leave OTEL_EXPORTER_OTLP_COMPRESSION out, the way is short", {}});
  const SpanForm form = form_of(call.request);
  traces->receive(form, body, api.answer<std::size_t>(call.id, [form](std::size_t) {
    // An ExportTraceServiceResponse that says nothing: all were taken.
    Response response;
    response.content_type = form == SpanForm::kJson ? "application/json" : "application/x-protobuf";
    response.body = form == SpanForm::kJson ? "{}" : "";
    return response;
  }));
}

// ---------------------------------------------------------------- the page

void get_page(Api& api, const Call& call) {
  Response response;
  response.content_type = "text/html; charset=utf-8";
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("Cache-Control", "no-store");
  response.body = traces_page();
  api.reply(call.id, std::move(response));
}

}  // namespace

void add_trace_routes(Router& router) {
  router.add("GET", "/outrigger/v1/traces", get_list);
  router.add("GET", "/outrigger/v1/traces/:id", get_trace);
  router.add("POST", "/v1/traces", post_spans);
  router.add("GET", "/ui/traces", get_page);
}

}  // namespace agent::api
