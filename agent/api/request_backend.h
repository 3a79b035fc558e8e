#pragma once
/// What the API can tell about single requests and about routes: part of the Backend (backend.h), for agents with a proxy.
/// Thread: the control loop, in both directions.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

/// Latencies of many requests. All zero when there were none.
struct LatencyInfo {
  std::uint64_t count = 0;
  std::chrono::nanoseconds mean{0}, p50{0}, p95{0}, p99{0}, max{0};  ///< quantiles to 1 %
};

struct RouteInfo {
  std::string name;
  std::vector<std::pair<std::string, std::uint64_t>> counters;  ///< by name, in the order in which they are shown
  LatencyInfo latency;                                          ///< head received to the end of the response
};

struct WhyStep {
  std::chrono::microseconds at{0};  ///< since the head was received
  std::string step;                 ///< stable name: "picked"
  std::string text;                 ///< a sentence
};
struct WhyInfo {
  std::string request;              ///< its line of the access log: a JSON object
  std::vector<WhyStep> steps;       ///< in order
  std::uint32_t left_out = 0;       ///< steps that there was no room for
  std::string node;                 ///< the agent that it was passed on to and that knows the rest; empty = none
};

/// Which requests a feed shows; what is empty or zero lets all pass.
struct FeedQuery {
  std::string route, method, path_prefix;
  int status_min = 0, status_max = 999;
  Milliseconds slower_than{0};
};
/// Requests as they end. Dropping the pointer ends it.
class RequestFeed {
 public:
  virtual ~RequestFeed() = default;
  [[nodiscard]] virtual std::string name() const = 0;  ///< of the Topic (kFeed) that wakes when there is something to take
  virtual std::string take() = 0;            ///< lines of JSON since the last call
  virtual std::uint64_t take_missed() = 0;   ///< requests that did not fit since the last call
};

/// One [[egress]].
struct EgressEntry {
  std::string name, mode, listen, target;  ///< mode: "url", "connect", "tcp"; target as configured
  std::vector<std::string> addresses;      ///< to which names lead now
  std::string fault;                       ///< why it cannot be used at all: a name that was never found, a missing credential
  std::vector<std::pair<std::string, std::uint64_t>> counters;
};
/// How far a set-up goes to keep an agent that is not primary from its broker: each level and whether it is there.
struct EgressLevel {
  std::string name;  ///< "header", "route", "egress", "kernel"
  bool on = false;
  std::string text;  ///< why, or what is missing
};
struct EgressInfo {
  std::string service;
  std::string permit;  ///< "open", or why nothing goes out now
  Epoch epoch{};
  std::vector<EgressLevel> levels;
  std::vector<EgressEntry> entries;
  std::uint64_t writes_denied = 0, late_writes = 0;
};

class TraceBackend;

class RequestBackend {
 public:
  virtual ~RequestBackend() = default;
  /// Errors: kNotFound (not among the recent ones of this agent), kUnsupported (switched off).
  virtual void why(std::string request_id, Completion<WhyInfo> done) = 0;
  virtual void routes(Completion<std::vector<RouteInfo>> done) = 0;
  virtual void egress(Completion<EgressInfo> done) = 0;
  [[nodiscard]] virtual std::vector<std::string> listeners() const { return {}; }  ///< where clients come in, with the real ports
  /// Errors: kBusy.
  virtual Result<std::shared_ptr<RequestFeed>> feed(FeedQuery query) = 0;
  [[nodiscard]] virtual TraceBackend* traces() { return nullptr; }  ///< null = this agent keeps none
};

}  // namespace agent::api
