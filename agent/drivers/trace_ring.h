#pragma once
/// The last traces that this agent has spans of, so that somebody can look at them without a collector. No clock, no socket.
///
/// Bound:     kTracesMax traces and `bytes` of their text, whichever is reached first: the oldest trace makes room. Of one trace
///            kTraceBytesMax are kept; spans that come after that are counted.
/// Invariant: a trace stands where its first span put it; what comes later joins it and does not make it newer.
/// Ownership: a value of its driver.

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/trace.h"

namespace agent::drivers {

/// Spans of one trace that came together: one request with its parts, or what an application has told.
struct TraceChunk {
  proxy::TraceId trace{};
  std::string_view text;      ///< one JSON object; its form is the writer's and the reader's affair
  std::uint32_t spans = 0;    ///< in `text`
  std::uint32_t left_out = 0;  ///< that belong to it, and there was no room for; `text` may then be empty
  std::int64_t start_ns = 0, end_ns = 0;  ///< of them all, Unix time
  // What a list shows and a filter asks.
  std::string_view name;
  std::string_view route;     ///< empty = not of a request
  std::string_view order;     ///< hash of an order's key; empty = none
  int status = 0;             ///< of a request; 0 = none
  bool is_request = false;
  bool failed = false;        ///< one of them says so
};

/// Which traces are wanted; what is empty or zero lets all pass.
struct TraceFilter {
  std::int64_t duration_ns_min = 0;
  int status_min = 0, status_max = 999;
  std::string route;
  std::vector<std::string> orders;  ///< any of these
  std::size_t count_max = 100;
};

/// One trace as a list shows it: as far as this agent knows it.
struct TraceSummary {
  proxy::TraceId trace{};
  std::string name, route, order;  ///< of its earliest request here; without one of the first span
  int status = 0;                  ///< the same
  std::int64_t start_ns = 0, end_ns = 0;
  std::uint32_t spans = 0, left_out = 0;
  bool failed = false;
};

/// All of one trace. Chunks stand in the order in which they came, separated by commas.
struct TraceText {
  std::string chunks;
  std::uint32_t left_out = 0;
};

class TraceRing {
 public:
  static constexpr std::size_t kTracesMax = 1000;
  static constexpr std::size_t kTraceBytesMax = 256U << 10;
  static constexpr std::size_t kOverheadBytes = 512;  ///< counted for a trace besides its text

  explicit TraceRing(std::size_t bytes) : bytes_max_(bytes) {}
  /// The texts of `chunk` are copied.
  void add(const TraceChunk& chunk);
  /// The longest text that a chunk of this trace may have now.
  [[nodiscard]] std::size_t room_for(const proxy::TraceId& trace) const;
  [[nodiscard]] std::vector<TraceSummary> list(const TraceFilter& filter) const;  ///< newest first
  /// What is kept of it, which may be nothing but the number of spans left out. Nullopt: it is not known.
  [[nodiscard]] std::optional<TraceText> find(const proxy::TraceId& trace) const;
  [[nodiscard]] std::size_t size() const { return traces_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Trace {
    TraceSummary summary;
    std::string text;
    std::int64_t named_ns = 0;     ///< begin of the chunk that gave the name
    bool named_by_request = false;
  };
  struct Hash {
    std::size_t operator()(const proxy::TraceId& id) const { return std::hash<std::string_view>{}({id.data(), id.size()}); }
  };
  static std::size_t room_in(const Trace& trace);
  void take_name(Trace& trace, const TraceChunk& chunk);
  void make_room();

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::list<Trace> traces_;  // newest first
  std::unordered_map<proxy::TraceId, std::list<Trace>::iterator, Hash> by_id_;
};

}  // namespace agent::drivers
