#pragma once
/// What a reload of other settings would change, before anybody does it. Implemented by the agent and by fakes in tests.
/// Thread: the control loop.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

/// What to compare with what is in force.
struct PlanQuestion {
  /// Absolute paths and contents, in their order; absent = the files that a reload would read. Bound: the body of a request.
  std::optional<std::vector<std::pair<std::string, std::string>>> texts;
};

/// One thing that is wrong with the settings, as `validate` tells it.
struct PlanProblem {
  std::string source;
  std::uint32_t line = 0, column = 0;
  std::string key, message, hint, text;  ///< text: all of it in one line
};

struct PlanEdit {
  std::string change;   ///< "added", "removed", "changed"
  std::string key;      ///< dotted, as in problems
  std::string element;  ///< name of the route, upstream ... that it belongs to
  std::string before, after, otherwise;  ///< secrets are hidden; empty = not set
  std::string part;     ///< as a reload names it
  bool by_reload = false;  ///< false: it waits for the next start
  bool moved = false;      ///< `key` is a list in another order; `before` and `after` name its elements
};

struct PlanTouched {
  std::string kind;     ///< "listener", "route", "tcp_route", "upstream", "endpoint", "egress", "breaker", "service", "check"
  std::string name, pool;  ///< pool: of an endpoint
  std::string change;   ///< as in PlanEdit
  std::map<std::string, std::uint64_t> now;  ///< what of it is there right now: "in_flight", "open_connections", "sessions" ...
  std::vector<std::string> routes;  ///< of an upstream: those that lead there
  std::vector<std::string> kept, forgotten;
};

struct PlanNode {
  std::string name, state;  ///< of the member
  std::string hash;         ///< of the settings that it has read last; empty = it does not tell
};

struct PlanReport {
  std::vector<PlanProblem> problems;  ///< not empty: a reload would refuse these settings, and nothing else is filled
  std::vector<PlanEdit> changes;
  std::vector<std::string> at_once, needs_restart, notes, files;
  std::vector<PlanTouched> touched;
  std::map<std::string, std::uint64_t> now;  ///< of the whole agent: what a restart would end or forget
  std::string node, hash_now, hash_after;
  std::vector<PlanNode> nodes;
};

class PlanBackend {
 public:
  PlanBackend() = default;
  PlanBackend(const PlanBackend&) = delete;
  PlanBackend& operator=(const PlanBackend&) = delete;
  virtual ~PlanBackend() = default;

  /// Changes nothing. `done` runs once, never inside the call. Errors: kStopping (a process on its way out takes over nothing).
  virtual void plan(PlanQuestion question, Completion<PlanReport> done) = 0;
};

}  // namespace agent::api
