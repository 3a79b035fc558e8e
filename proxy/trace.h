#pragma once
/// Traces across systems: who asked us as part of what, and what we tell the next one. Text in, text out.
/// Source: W3C Trace Context (Recommendation of 2021-11-23, and the random flag of Level 2), sections 3.2 and 3.3.
/// Rules:  an invalid `traceparent` begins a new trace and takes its `tracestate` with it; an invalid `tracestate` is left
///         out alone. Every hop has a span id of its own. The sampled flag is the caller's decision and is passed on.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "proxy/http1/message.h"

namespace proxy {

using TraceId = std::array<char, 32>;  ///< lower-case hex digits, not all '0'
using SpanId = std::array<char, 16>;   ///< the same

inline constexpr std::string_view kTraceparent = "traceparent";
inline constexpr std::string_view kTracestate = "tracestate";
inline constexpr std::uint8_t kSampled = 1;  ///< trace flag: the caller records this trace
inline constexpr std::uint8_t kRandom = 2;   ///< trace flag: the trace id is random, at least its last 7 bytes

/// One span of a trace.
struct TraceContext {
  TraceId trace{};
  SpanId span{};
  std::uint8_t flags = 0;  ///< kSampled, kRandom; other bits are not passed on
  [[nodiscard]] bool sampled() const { return (flags & kSampled) != 0; }
};

/// The value of one traceparent field. Versions above 00 are read as far as 00 goes (section 3.2.4); nullopt = invalid.
[[nodiscard]] std::optional<TraceContext> parse_traceparent(std::string_view value);
/// The same for a request: exactly one such field, or nullopt.
[[nodiscard]] std::optional<TraceContext> traceparent_of(std::span<const http1::Header> headers);
/// Appends the value of all tracestate fields together to `out`. @return false, `out` as it was: one is malformed, names a key
/// twice, or there are more than 32 members.
bool append_tracestate_of(std::string& out, std::span<const http1::Header> headers);
/// Appends "00-TRACE-SPAN-FLAGS".
void append_traceparent(std::string& out, const TraceContext& context);

}  // namespace proxy
