#pragma once
/// The parts of one request as spans of its trace, so that somebody can show them or tell them to a collector: its attempts,
/// and what the ledger of orders took.
/// Bound: kCountMax per request, kTextMax bytes of each text; what comes after that is counted.
/// Ownership: of the exchange, recycled with it; nothing is allocated once the buffer has grown.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/observe.h"
#include "proxy/trace.h"

namespace proxy {

/// What of a request a span is about.
enum class SpanOf : std::uint8_t {
  kAttempt,  ///< one try at one endpoint: the instance, another agent, a broker
  kReserve,  ///< the ledger is asked before the first byte leaves
  kRecord,   ///< an outcome is on its way into the ledger
  kCommit,   ///< beneath one of those two: in the log, until it was decided
};

/// One part. Durations are from its beginning; kNotMeasured = did not happen.
struct ChildSpan {
  SpanOf of = SpanOf::kAttempt;
  SpanId span{};                      ///< of an attempt: the endpoint was told that this is its parent
  SpanId parent{};                    ///< all NUL = the request's own
  std::chrono::nanoseconds begun{0};  ///< since the head of the request was received
  std::chrono::nanoseconds total{0};  ///< answer complete, or given up
  std::string_view failure;           ///< code of what ended it early; empty = its answer is complete, or it is a tunnel
  // Of an attempt.
  std::chrono::nanoseconds connected = kNotMeasured;  ///< 0 on a kept connection
  std::chrono::nanoseconds head = kNotMeasured;       ///< final head of the answer
  std::uint32_t number = 0;           ///< of the attempt, from 1
  int status = 0;                     ///< of the endpoint's answer; 0 = none came
  bool at_peer = false;               ///< another agent, which has spans of its own
  bool reused = false;                ///< on a kept connection
  std::string_view address, node;     ///< of the endpoint
  // Of the ledger.
  std::string_view state;             ///< what it said: "reserved", "done", "not_sent", "unknown", or why it did nothing
  std::uint64_t index = 0;            ///< of the entry in the log; 0 = there is none
};

class ChildSpans {
 public:
  static constexpr std::uint32_t kCountMax = 24;
  static constexpr std::size_t kTextMax = 255;

  void clear() { bytes_.clear(); count_ = left_out_ = 0; }
  void add(const ChildSpan& span);
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }        ///< in bytes()
  [[nodiscard]] std::uint32_t left_out() const { return left_out_; }

 private:
  std::string bytes_;
  std::uint32_t count_ = 0, left_out_ = 0;
};

/// The spans in `bytes` of an ChildSpans of this process, in order; their texts are views into it.
[[nodiscard]] std::vector<ChildSpan> read_child_spans(std::string_view bytes);

}  // namespace proxy
