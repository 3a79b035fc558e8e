#pragma once
/// Spans that applications send, read from the two forms of OTLP over HTTP: binary protobuf and JSON. Pure functions over bytes
/// from anyone; only what is shown to people is taken.
///
/// Source: opentelemetry-proto: collector/trace/v1/trace_service.proto, trace/v1/trace.proto, common/v1/common.proto,
///         resource/v1/resource.proto (v1.3); docs/specification.md, "JSON Protobuf Encoding"; protobuf.dev, "Encoding".
/// Rules:  unknown fields are skipped, groups (wire types 3 and 4) are refused, the last value of a field counts. A span without
///         the ids of trace and span is refused, and so is the whole request: half of it would be a trace with holes.
/// Bound:  kSpansMax spans, kAttributesMax attributes and kEventsMax events of each, texts of kTextMax bytes; what is beyond them is
///         left away, but spans: more are refused.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "agent/drivers/otlp.h"
#include "proxy/trace.h"

namespace agent::drivers {

enum class OtlpForm : std::uint8_t { kProtobuf, kJson };

/// Lists and maps are shown as what they are, not with what is in them.
using AppValue = std::variant<std::string, std::int64_t, double, bool>;

/// One span of an application.
struct AppSpan {
  proxy::TraceId trace{};
  proxy::SpanId span{}, parent{};  ///< parent all NUL = none
  std::string name;
  int kind = 0;                    ///< as trace.proto numbers them; 0 = not said
  std::int64_t start_ns = 0, end_ns = 0;  ///< Unix time, end_ns >= start_ns
  bool failed = false;             ///< its status is an error
  std::string message;             ///< of the status
  std::vector<std::pair<std::string, AppValue>> attributes;
  std::vector<std::pair<std::int64_t, std::string>> events;
};
/// What one resource tells.
struct AppSpans {
  static constexpr std::size_t kSpansMax = 4096, kAttributesMax = 64, kEventsMax = 32, kTextMax = 1024;
  std::string service;             ///< service.name; empty = it has none
  std::vector<AppSpan> spans;
};

/// @return the spans, by resource in order; else where and what is wrong: "byte 17: a field ends behind the end"
[[nodiscard]] tl::expected<std::vector<AppSpans>, std::string> read_otlp(OtlpForm form, std::string_view body);

/// Appends one span in the form in which append_otlp_spans writes ours.
void append_app_span(std::string& out, const AppSpan& span);

/// read_otlp_answer for a collector that was spoken to in protobuf.
[[nodiscard]] OtlpRejection read_otlp_protobuf_answer(std::string_view body);

}  // namespace agent::drivers
