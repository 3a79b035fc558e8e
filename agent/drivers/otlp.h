#pragma once
/// Requests as spans in the JSON form of the OpenTelemetry protocol. Text in, text out; no clock, no socket.
///
/// Source: opentelemetry-proto, docs/specification.md, sections "JSON Protobuf Encoding" and "OTLP/HTTP Response", and
///         trace/v1/trace.proto; names of attributes from the semantic conventions for HTTP spans (stable since 1.23).
/// Rules:  keys are lowerCamelCase; trace and span ids are hex, not base64; enums are numbers; 64-bit integers are decimal
///         strings; a span without parent has no parentSpanId.
/// Secrets stay out: of a request nothing is told but what stands below. Query strings and header fields never are.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/io/clock.h"
#include "proxy/observe.h"

namespace agent::drivers {

/// Who tells: resource attributes service.name, service.instance.id, service.version.
struct OtlpResource {
  std::string service = "outrigger";
  std::string instance;  ///< node.name
  std::string version;   ///< of this program
};

/// Wall clock and boot time read together: what turns the times of records into dates.
struct SpanClock {
  std::int64_t wall_ns = 0;
  io::TimePoint boot{};
  [[nodiscard]] std::int64_t unix_ns(io::TimePoint at) const { return wall_ns + std::chrono::nanoseconds(at - boot).count(); }
};

/// What endpoints are spoken to over, for url.full.
struct SpanSchemes {
  bool instance_https = false, peer_https = false;
};

/// The whole of an ExportTraceServiceRequest but its spans: these, separated by commas, stand between head and kOtlpTail.
[[nodiscard]] std::string otlp_head(const OtlpResource& resource);
inline constexpr std::string_view kOtlpTail = "]}]}]}";

/// Appends one span of kind server for the request and, for each part in record.spans, one of kind client for an attempt and one of
/// kind internal for what the ledger took, separated by commas. Times are what the record says; an attempt never begins before its request nor ends after it by more than that.
/// @param record  traced; with `spans` as read_record gives it
/// @return how many spans
std::size_t append_otlp_spans(std::string& out, const proxy::AccessRecord& record, const SpanClock& clock, SpanSchemes schemes);

/// Name of the request's span: "POST /orders".
[[nodiscard]] std::string otlp_name(const proxy::AccessRecord& record);
/// Whether the request's span is one of an error.
[[nodiscard]] bool has_failed(const proxy::AccessRecord& record);

/// What the collector says in an answer with 2xx: spans that it has not taken, and why. Whatever is no such message means
/// that all were taken; numbers may be written as numbers or as strings.
struct OtlpRejection {
  std::uint64_t spans = 0;
  std::string message;  ///< at most 256 bytes, of anything
};
[[nodiscard]] OtlpRejection read_otlp_answer(std::string_view body);

/// Retry-After, both forms (RFC 9110, section 10.2.3). @return nullopt: none, or neither form; a date in the past is 0 ms
[[nodiscard]] std::optional<io::Milliseconds> read_retry_after(std::string_view text, std::int64_t wall_ms);

}  // namespace agent::drivers
