#pragma once
/// What an operator, or a program beside the agent, does to traffic: takes endpoints out, closes breakers, reports calls of its
/// own, bans clients. Implemented by agent/backend_traffic.cc and by fakes in tests. Thread: the control loop; all at once.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/error.h"

namespace agent::api {

struct EjectCommand {
  std::string endpoint;               ///< name of an agent, or an address, as `upstreams` shows them
  std::string pool;                   ///< where to look for it; empty = everywhere
  std::chrono::milliseconds for_{0};  ///< how long, 1 s .. 24 h
  bool force = false;                 ///< also the last one that could be asked
};
struct EjectedInfo {
  std::string name, address;
  std::vector<std::string> pools;     ///< that have it
  bool left_out_by_others = false;    ///< other agents have ejected it, so it stays out here for as long as they say so
};

/// One breaker, of a route towards an endpoint or of a program's own calls.
struct BreakerInfo {
  std::string name;                   ///< of the route, or of the [[breaker]]
  bool of_app = false;
  std::string endpoint, address;      ///< empty with of_app
  std::string state;                  ///< "closed", "open", "half_open"
  bool by_word = false;               ///< open because another agent says so
  std::chrono::milliseconds left{0};  ///< open: until a probe may go; half-open: until its probe is given up
  std::uint32_t fail = 0;             ///< the rule: failures in a row ...
  std::chrono::milliseconds window{0}, open{0};  ///< ... within, and how long it stays open
};
struct BreakerPassInfo {
  bool allowed = false, probe = false;
  BreakerInfo breaker;                ///< after the answer
};

struct GuardBan {
  std::string client;                 ///< "192.0.2.7", "2001:db8:0:1::/64"
  std::chrono::milliseconds left{0};
  bool here = false;                  ///< false: another agent has banned it
};
struct GuardInfo {
  std::uint32_t fails = 0;
  std::chrono::milliseconds within{0}, ban{0};
  std::vector<int> statuses;
  std::vector<GuardBan> bans;         ///< those that end last come first
  std::uint64_t failures = 0, banned = 0, refused = 0, untracked = 0;
};

class TrafficBackend {
 public:
  TrafficBackend() = default;
  TrafficBackend(const TrafficBackend&) = delete;
  TrafficBackend& operator=(const TrafficBackend&) = delete;
  virtual ~TrafficBackend() = default;

  /// Errors: kNotFound, kBadRequest (several of that name), kConflict (the last one of a pool).
  virtual Result<EjectedInfo> eject(const EjectCommand& command) = 0;
  /// Ends an operator's ejection and one by live traffic. Errors: kNotFound, kBadRequest.
  virtual Result<EjectedInfo> uneject(const EjectCommand& command) = 0;

  [[nodiscard]] virtual std::vector<BreakerInfo> breakers() const = 0;  ///< by name; those of programs last
  /// @param endpoint  of a route's: name or address; empty = all. @return how many were not closed. Errors: kNotFound.
  virtual Result<std::size_t> breaker_reset(const std::string& name, const std::string& endpoint) = 0;
  // Of programs. Errors: kNotFound; kBadRequest (that of a route, which only traffic feeds).
  virtual Result<BreakerPassInfo> breaker_allow(const std::string& name) = 0;
  virtual Result<BreakerInfo> breaker_report(const std::string& name, bool ok, std::optional<bool> probe) = 0;

  // Errors of all: kUnsupported (no [guard]), kBadRequest (no address).
  [[nodiscard]] virtual Result<GuardInfo> guard() const = 0;
  /// @param for_  0 = as long as the settings say. Errors: kForbidden (guard.never), kBusy (no room).
  virtual Result<GuardBan> guard_ban(const std::string& client, std::chrono::milliseconds for_) = 0;
  virtual Result<GuardBan> guard_unban(const std::string& client) = 0;  ///< kNotFound: it was not banned here
};

}  // namespace agent::api
