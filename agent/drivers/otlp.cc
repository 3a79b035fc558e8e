#include "agent/drivers/otlp.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "agent/drivers/request_record.h"
#include "proxy/http_date.h"
#include "proxy/span.h"

namespace agent::drivers {
namespace {

using proxy::AccessRecord;
using proxy::ChildSpan;

// trace.proto: SpanKind, StatusCode, SpanFlags.
constexpr int kInternal = 1, kServer = 2, kClient = 3, kError = 2;
constexpr unsigned kRemoteKnown = 0x100, kRemote = 0x200;

/// A list of attributes while it is written.
class Attributes {
 public:
  explicit Attributes(std::string& out) : out_(out) { out_ += ",\"attributes\":["; }
  void text(std::string_view key, std::string_view value) {
    begin(key);
    out_ += "\"stringValue\":";
    append_json_text(out_, value);
    out_ += "}}";
  }
  /// Nothing when `value` is empty.
  void text_if(std::string_view key, std::string_view value) {
    if (!value.empty()) text(key, value);
  }
  void number(std::string_view key, std::uint64_t value) {
    begin(key);
    out_ += "\"intValue\":\"" + std::to_string(value) + "\"}}";
  }
  void flag(std::string_view key, bool value) {
    begin(key);
    out_ += value ? "\"boolValue\":true}}" : "\"boolValue\":false}}";
  }
  void end() { out_ += ']'; }

 private:
  void begin(std::string_view key) {
    if (!std::exchange(first_, false)) out_ += ',';
    out_ += "{\"key\":\"";
    out_ += key;  // our own words
    out_ += "\",\"value\":{";
  }
  std::string& out_;
  bool first_ = true;
};

// The conventions know these; any other is "_OTHER", so that nobody can make a million kinds of span.
bool is_known_method(std::string_view method) {
  static constexpr std::array<std::string_view, 9> kKnown = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"};
  return std::find(kKnown.begin(), kKnown.end(), method) != kKnown.end();
}

void add_method(Attributes& list, std::string_view method) {
  const bool known = is_known_method(method);
  list.text("http.request.method", known ? method : "_OTHER");
  if (!known) list.text_if("http.request.method_original", method);
}

struct Place {
  std::string_view host;
  std::uint64_t port = 0;  ///< 0 = none
  bool is_unix = false;
};
// "h", "h:8080", "[::1]:8080", "unix:/path".
Place place_of(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) return {text.substr(kUnix.size()), 0, true};
  Place place{text};
  const std::size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  if (colon != std::string_view::npos && (!bracketed || (colon > 0 && text[colon - 1] == ']'))) {
    place.host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    if (std::from_chars(digits.data(), digits.data() + digits.size(), place.port).ec != std::errc{}) place.port = 0;
  }
  if (place.host.size() >= 2 && place.host.front() == '[' && place.host.back() == ']') place.host = place.host.substr(1, place.host.size() - 2);
  return place;
}

std::string_view path_of(const AccessRecord& record) { return record.target.substr(0, record.target.find('?')); }

void append_ids(std::string& out, const AccessRecord& record, const proxy::SpanId& span, const proxy::SpanId& parent, bool remote_parent) {
  out += "{\"traceId\":\"";
  out.append(record.trace.trace.data(), record.trace.trace.size());
  out += "\",\"spanId\":\"";
  out.append(span.data(), span.size());
  if (parent.front() != '\0') {
    out += "\",\"parentSpanId\":\"";
    out.append(parent.data(), parent.size());
  }
  const unsigned flags = record.trace.flags | kRemoteKnown | (remote_parent ? kRemote : 0);
  out += "\",\"flags\":" + std::to_string(flags);
}

void append_times(std::string& out, int kind, std::int64_t from_ns, std::int64_t to_ns) {
  out += ",\"kind\":" + std::to_string(kind) + ",\"startTimeUnixNano\":\"" + std::to_string(from_ns) + "\",\"endTimeUnixNano\":\"" +
         std::to_string(std::max(from_ns, to_ns)) + '"';
}

void append_event(std::string& out, bool& first, std::string_view name, std::int64_t at_ns) {
  out += std::exchange(first, false) ? ",\"events\":[" : ",";
  out += "{\"timeUnixNano\":\"" + std::to_string(at_ns) + "\",\"name\":\"";
  out += name;
  out += "\"}";
}

void append_status(std::string& out, bool is_error) {
  if (is_error) out += ",\"status\":{\"code\":" + std::to_string(kError) + '}';
  out += '}';
}

void add_order(Attributes& list, const AccessRecord& record) {
  if (record.order.front() == '\0') return;
  list.text("outrigger.order.key_hash", {record.order.data(), record.order.size()});
}

void append_server_span(std::string& out, const AccessRecord& record, const SpanClock& clock) {
  const bool rooted = record.parent.front() == '\0';
  append_ids(out, record, record.trace.span, record.parent, !rooted);
  out += ",\"name\":";
  append_json_text(out, otlp_name(record));
  const std::int64_t begun = clock.unix_ns(record.started);
  append_times(out, kServer, begun, begun + record.total.count());
  Attributes list(out);
  add_method(list, record.method);
  list.text("url.scheme", record.https ? "https" : "http");
  list.text("url.path", path_of(record));
  list.text_if("http.route", record.route_path);
  if (record.status != 0) list.number("http.response.status_code", static_cast<std::uint64_t>(record.status));
  const bool failed = has_failed(record);
  if (failed) list.text("error.type", !record.reason.empty() ? std::string(record.reason) : record.status == 0 ? "client_gone" : std::to_string(record.status));
  const Place host = place_of(record.host);
  list.text_if("server.address", host.host);
  if (host.port != 0) list.number("server.port", host.port);
  list.text_if("client.address", record.client);
  list.text_if("network.peer.address", record.peer);
  list.text("network.protocol.version", record.http_version == 20 ? "2" : record.http_version == 10 ? "1.0" : "1.1");
  list.number("http.request.body.size", record.request_body_bytes);
  list.number("http.response.body.size", record.response_body_bytes);
  list.text_if("outrigger.route", record.route);
  list.text_if("outrigger.request_id", record.request_id);
  list.text("outrigger.outcome", proxy::name_of(record.outcome));
  if (static_cast<std::uint64_t>(record.epoch) != 0) list.number("outrigger.epoch", static_cast<std::uint64_t>(record.epoch));
  add_order(list, record);
  list.text_if("outrigger.order.state", record.order_state);
  if (record.egress) list.flag("outrigger.egress", true);
  if (record.held.count() > 0) list.number("outrigger.held_us", static_cast<std::uint64_t>(record.held.count() / 1000));
  list.end();
  append_status(out, failed);
}

void append_client_span(std::string& out, const AccessRecord& record, const ChildSpan& span, const SpanClock& clock, SpanSchemes schemes) {
  append_ids(out, record, span.span, record.trace.span, false);
  out += ",\"name\":";
  append_json_text(out, is_known_method(record.method) ? record.method : "HTTP");
  const std::int64_t begun = clock.unix_ns(record.started + span.begun);
  append_times(out, kClient, begun, begun + span.total.count());
  Attributes list(out);
  add_method(list, record.method);
  const Place place = place_of(span.address);
  const bool https = span.at_peer ? schemes.peer_https : schemes.instance_https;
  list.text("url.full", (https ? "https://" : "http://") + std::string(place.is_unix ? "localhost" : span.address) + std::string(path_of(record)));
  list.text("server.address", place.host);
  if (place.port != 0) list.number("server.port", place.port);
  if (place.is_unix) list.text("network.transport", "unix");
  else list.text("network.peer.address", place.host);
  if (place.port != 0) list.number("network.peer.port", place.port);
  list.text("network.protocol.version", "1.1");
  if (span.status != 0) list.number("http.response.status_code", static_cast<std::uint64_t>(span.status));
  const bool failed = span.status >= 400 || !span.failure.empty();
  if (failed) list.text("error.type", !span.failure.empty() ? std::string(span.failure) : std::to_string(span.status));
  if (span.number > 1) list.number("http.request.resend_count", span.number - 1);
  list.text_if("outrigger.endpoint_node", span.node);
  list.flag("outrigger.connection_reused", span.reused);
  list.end();
  bool first = true;
  if (span.connected != proxy::kNotMeasured && !span.reused) append_event(out, first, "connected", begun + span.connected.count());
  if (span.head != proxy::kNotMeasured) append_event(out, first, "response_head", begun + span.head.count());
  if (!first) out += ']';
  append_status(out, failed);
}

std::string_view ledger_name(proxy::SpanOf of) {
  switch (of) {
    case proxy::SpanOf::kAttempt: break;
    case proxy::SpanOf::kReserve: return "ledger reserve";
    case proxy::SpanOf::kRecord: return "ledger record";
    case proxy::SpanOf::kCommit: return "ledger commit";
  }
  return "ledger";
}

// What an order waited for between its head and its answer that is not the instance's time.
void append_ledger_span(std::string& out, const AccessRecord& record, const ChildSpan& span, const SpanClock& clock) {
  append_ids(out, record, span.span, span.parent.front() == '\0' ? record.trace.span : span.parent, false);
  out += ",\"name\":\"";
  out += ledger_name(span.of);
  out += '"';
  const std::int64_t begun = clock.unix_ns(record.started + span.begun);
  append_times(out, kInternal, begun, begun + span.total.count());
  Attributes list(out);
  add_order(list, record);
  list.text_if("outrigger.order.state", span.state);
  if (static_cast<std::uint64_t>(record.epoch) != 0) list.number("outrigger.epoch", static_cast<std::uint64_t>(record.epoch));
  if (span.index != 0) list.number("outrigger.raft.index", span.index);
  list.end();
  out += '}';
}

}  // namespace

std::string otlp_name(const AccessRecord& record) {
  std::string name(is_known_method(record.method) ? record.method : "HTTP");
  if (!record.route_path.empty()) (name += ' ') += record.route_path;
  return name;
}

// A client that left is no fault of this server, but an answer that nobody got is no success either.
bool has_failed(const AccessRecord& record) { return record.status >= 500 || record.status == 0; }

std::string otlp_head(const OtlpResource& resource) {
  std::string out = R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":)";
  append_json_text(out, resource.service);
  out += R"(}},{"key":"service.instance.id","value":{"stringValue":)";
  append_json_text(out, resource.instance);
  out += R"(}},{"key":"service.version","value":{"stringValue":)";
  append_json_text(out, resource.version);
  out += R"(}}]},"scopeSpans":[{"scope":{"name":"outrigger.proxy","version":)";
  append_json_text(out, resource.version);
  out += "},\"spans\":[";
  return out;
}

std::size_t append_otlp_spans(std::string& out, const AccessRecord& record, const SpanClock& clock, SpanSchemes schemes) {
  append_server_span(out, record, clock);
  std::size_t count = 1;
  for (const ChildSpan& span : proxy::read_child_spans(record.spans)) {
    out += ',';
    span.of == proxy::SpanOf::kAttempt ? append_client_span(out, record, span, clock, schemes) : append_ledger_span(out, record, span, clock);
    ++count;
  }
  return count;
}

OtlpRejection read_otlp_answer(std::string_view body) {
  OtlpRejection out;
  const nlohmann::json answer = nlohmann::json::parse(body, nullptr, false);
  if (!answer.is_object()) return out;
  const auto partial = answer.find("partialSuccess");
  if (partial == answer.end() || !partial->is_object()) return out;
  if (const auto spans = partial->find("rejectedSpans"); spans != partial->end()) {
    if (spans->is_number_unsigned()) out.spans = spans->get<std::uint64_t>();
    if (spans->is_string()) {
      const auto& digits = spans->get_ref<const std::string&>();
      std::uint64_t value = 0;
      const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (code == std::errc{} && end == digits.data() + digits.size()) out.spans = value;
    }
  }
  if (const auto message = partial->find("errorMessage"); message != partial->end() && message->is_string())
    out.message = message->get_ref<const std::string&>().substr(0, 256);
  return out;
}

std::optional<io::Milliseconds> read_retry_after(std::string_view text, std::int64_t wall_ms) {
  if (text.empty()) return std::nullopt;
  constexpr std::int64_t kSecondsMax = 1'000'000'000;
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    std::int64_t seconds = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec != std::errc{}) seconds = kSecondsMax;
    return io::Milliseconds(std::min(seconds, kSecondsMax) * 1000);
  }
  const auto date = proxy::parse_http_date(text);
  if (!date) return std::nullopt;
  return io::Milliseconds(std::clamp<std::int64_t>(*date - wall_ms / 1000, 0, kSecondsMax) * 1000);
}

}  // namespace agent::drivers
