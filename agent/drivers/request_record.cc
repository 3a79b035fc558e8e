#include "agent/drivers/request_record.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace agent::drivers {
namespace {

using proxy::AccessRecord;

// Every text of a record, in the order in which they lie behind it.
constexpr std::string_view AccessRecord::* kTexts[] = {
    &AccessRecord::method, &AccessRecord::target, &AccessRecord::host, &AccessRecord::route, &AccessRecord::request_id,
    &AccessRecord::client, &AccessRecord::peer, &AccessRecord::endpoint, &AccessRecord::endpoint_node, &AccessRecord::hedge_endpoint,
    &AccessRecord::reason, &AccessRecord::trail, &AccessRecord::route_path, &AccessRecord::spans, &AccessRecord::order_state};

struct Packed {
  AccessRecord record;
  std::uint64_t target_bytes = 0;
};

template <class Number>
void append_number(std::string& out, Number value) {
  char text[24];
  const auto [end, code] = std::to_chars(text, text + sizeof text, value);
  out.append(text, code == std::errc{} ? static_cast<std::size_t>(end - text) : 0);
}

// Seconds with six digits behind the point, or null.
void append_seconds(std::string& out, std::chrono::nanoseconds value) {
  if (value == proxy::kNotMeasured) {
    out += "null";
    return;
  }
  const std::int64_t us = std::max<std::int64_t>(value.count(), 0) / 1000;
  append_number(out, us / 1'000'000);
  char digits[16];
  std::snprintf(digits, sizeof digits, ".%06d", static_cast<int>(us % 1'000'000));
  out += digits;
}

void append_field(std::string& out, std::string_view name, std::string_view text) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_text(out, text);
}
void append_field(std::string& out, std::string_view name, std::uint64_t value) {
  out += ",\"";
  out += name;
  out += "\":";
  append_number(out, value);
}
void append_field(std::string& out, std::string_view name, std::chrono::nanoseconds value) {
  out += ",\"";
  out += name;
  out += "\":";
  append_seconds(out, value);
}

void append_trace(std::string& out, const AccessRecord& record) {
  if (!record.traced) return;
  append_field(out, "trace_id", {record.trace.trace.data(), record.trace.trace.size()});
  append_field(out, "span_id", {record.trace.span.data(), record.trace.span.size()});
  if (record.parent.front() != '\0') append_field(out, "parent_span_id", {record.parent.data(), record.parent.size()});
  out += record.trace.sampled() ? ",\"sampled\":true" : ",\"sampled\":false";
}

}  // namespace

void append_record(std::string& out, const AccessRecord& record, const RecordRules& rules) {
  Packed packed{record, record.target.size()};
  if (!rules.trail) packed.record.trail = {};
  if (!rules.spans) {
    packed.record.spans = packed.record.route_path = packed.record.order_state = {};
    packed.record.span_count = 0;
  }
  if (!rules.query) packed.record.target = record.target.substr(0, record.target.find('?'));
  packed.target_bytes = packed.record.target.size();
  packed.record.target = packed.record.target.substr(0, rules.target_bytes_max);
  const std::size_t at = out.size();
  out.resize(at + sizeof packed);
  std::memcpy(out.data() + at, &packed, sizeof packed);
  for (const auto text : kTexts) out += packed.record.*text;
}

AccessRecord read_record(std::string_view bytes, std::uint64_t& target_bytes) {
  Packed packed;
  std::memcpy(&packed, bytes.data(), sizeof packed);
  std::size_t at = sizeof packed;
  for (const auto text : kTexts) {
    std::string_view& view = packed.record.*text;
    view = bytes.substr(at, view.size());
    at += view.size();
  }
  target_bytes = packed.target_bytes;
  return packed.record;
}

void append_json_text(std::string& out, std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\u00";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_utc(std::string& out, std::int64_t unix_ms) {
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  out.append(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts));
  std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>(unix_ms % 1000));
  out += text;
}

void append_access_json(std::string& out, const AccessRecord& record, std::uint64_t target_bytes, std::string_view node_json,
                        const ClockPair& clocks) {
  out += "{\"ts\":\"";
  append_utc(out, clocks.wall_of(record.started + record.total));
  out += "\",\"node\":";
  out += node_json;
  append_field(out, "request_id", record.request_id);
  append_field(out, "client", record.client);
  if (record.peer != record.client) append_field(out, "peer", record.peer);
  append_field(out, "host", record.host);
  append_field(out, "method", record.method);
  append_field(out, "path", record.target);
  if (target_bytes > record.target.size()) append_field(out, "path_bytes", target_bytes);
  append_field(out, "route", record.route);
  append_field(out, "status", static_cast<std::uint64_t>(record.status));
  append_field(out, "outcome", proxy::name_of(record.outcome));
  append_field(out, "reason", record.reason);
  append_field(out, "bytes_in", record.request_body_bytes);
  append_field(out, "bytes_out", record.response_body_bytes);
  append_field(out, "rt", record.total);
  append_field(out, "uct", record.connected);
  append_field(out, "uht", record.upstream_head);
  append_field(out, "urt", record.upstream_total);
  append_field(out, "endpoint", record.endpoint);
  append_field(out, "endpoint_node", record.endpoint_node);
  append_field(out, "attempts", std::uint64_t{record.attempt_count});
  if (!record.hedge_endpoint.empty()) {
    append_field(out, "hedge_endpoint", record.hedge_endpoint);
    out += record.hedge_won ? ",\"hedge_won\":true" : ",\"hedge_won\":false";
  }
  append_field(out, "epoch", static_cast<std::uint64_t>(record.epoch));
  append_field(out, "held", record.held);
  if (record.from_peer) out += ",\"from_peer\":true";
  append_trace(out, record);
  out += '}';
}

}  // namespace agent::drivers
