#pragma once
/// What the API can tell about traces, and what applications may add to them: part of the Backend (backend.h), for agents that
/// keep traces. Thread: the control loop, in both directions.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

/// Which traces are wanted, newest first; what is empty or zero lets all pass.
struct TraceQuery {
  Milliseconds min{0};     ///< they took at least so long
  int status_min = 0, status_max = 999;
  std::string route;
  std::vector<std::string> orders;  ///< any of these hashes of an order's key: 16 hexadecimal digits
  std::size_t limit = 100;
};

/// One trace as far as this agent knows it.
struct TraceInfo {
  std::string id, name, route, order;  ///< of its first request here; route and order may be empty
  int status = 0;                      ///< the same; 0 = no request, or no answer
  std::int64_t start_us = 0, duration_us = 0;  ///< Unix time
  std::uint32_t spans = 0, left_out = 0;
  bool failed = false;
};
struct TraceListInfo {
  std::vector<TraceInfo> traces;
  std::size_t kept = 0;    ///< of this agent, whatever was asked for
};

/// What one agent has of a trace, or all of them.
struct TraceSpansInfo {
  /// Objects {"service", "node", "spans": [...]} with spans as OTLP has them in JSON, separated by commas.
  std::string chunks;
  std::uint32_t left_out = 0;        ///< spans that there was no room for
  std::vector<std::string> nodes;    ///< that know it
  std::vector<std::string> silent;   ///< that were asked and have not answered, or cannot be asked now
};

/// How an application's spans are written.
enum class SpanForm : std::uint8_t { kJson, kProtobuf };

class TraceBackend {
 public:
  virtual ~TraceBackend() = default;
  virtual void list(TraceQuery query, Completion<TraceListInfo> done) = 0;
  /// Asks all agents. Errors: kNotFound (none of those that answered knows it), kBusy (this agent is behind itself).
  virtual void find(std::string id, Completion<TraceSpansInfo> done) = 0;
  /// Spans of an application beside this agent. Completes with how many there were. Errors: kBadRequest (they cannot be
  /// read; says where), kBusy (more than may come in a second, or wait).
  virtual void receive(SpanForm form, std::string body, Completion<std::size_t> done) = 0;
};

}  // namespace agent::api
