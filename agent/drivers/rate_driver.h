#pragma once
/// Carries limits that the cluster counts together over the mesh: questions of this agent's workers to their owners, answers
/// back to the worker that asked, and this agent's own answers to the questions of others.
///
/// The control loop sees whole frames: what a worker asks in one turn of its loop is one frame per owner, and its answer one
/// frame. Decision 0058.
/// Ownership: of the agent. Thread: the control loop.

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/rate_wire.h"
#include "agent/io/clock.h"
#include "proxy/rate_zones.h"
#include "store/types.h"

namespace agent::drivers {

struct RateDriverCallbacks {
  /// Queues one frame on the way to an agent. @return false: not queued; whoever waits has a deadline
  std::function<bool(store::NodeId to, std::string frame)> send;
  /// Answers for one of this agent's workers.
  std::function<void(std::uint16_t worker, proxy::RateMemberId owner, std::vector<proxy::RateAnswer> answers)> deliver;
};

struct RateDriverCounters {
  std::uint64_t answered = 0;     ///< questions of others that were counted here
  std::uint64_t turned_away = 0;  ///< those that were not: as many zones as may be, or settings that contradict ours
  std::uint64_t malformed = 0;    ///< frames
  std::uint64_t unsent = 0;       ///< frames that the mesh did not take
};

class RateDriver {
 public:
  /// @param seed  chance, for tables of zones without a route here
  RateDriver(std::array<std::uint64_t, 2> seed, RateDriverCallbacks callbacks) : zones_(seed), callbacks_(std::move(callbacks)) {}

  void set_routes(const proxy::RouteTable& routes) { zones_.set_routes(routes); }
  /// A frame for which is_rate_frame() is true.
  void on_frame(store::NodeId from, std::string_view frame, io::TimePoint now);
  /// What a worker asks. @param frame  as encode_questions made it
  void ask(proxy::RateMemberId owner, std::string frame);
  [[nodiscard]] RateDriverCounters counters() const {
    return {zones_.answered(), zones_.turned_away(), malformed_, unsent_};
  }

 private:
  void send(store::NodeId to, std::string frame);

  proxy::RateZones zones_;
  RateDriverCallbacks callbacks_;
  std::vector<proxy::RateAnswer> answers_;  // scratch
  std::uint64_t malformed_ = 0, unsent_ = 0;
};

}  // namespace agent::drivers
