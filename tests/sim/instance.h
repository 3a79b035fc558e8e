#pragma once

#include <cstdint>

#include "agent/primary.h"
#include "tests/sim/scheduler.h"

namespace sim {

/// What the fake trading process does at the moment.
enum class Mood : std::uint8_t {
  kHealthy,
  kDegraded,  ///< answers that it must not trade
  kSick,      ///< answers with errors
  kHung,      ///< takes connections, says nothing
  kCrashed,   ///< no process: connections are refused
};

/// A trading instance and the health checks of the agent beside it, as far as they matter here: what the agent
/// believes follows the truth after the delay of checks (`every` 500 ms, time-out 250 ms, fall 2, rise 2), a crash at
/// once when a connection to it broke.
/// Ownership: a value of one machine; the instance outlives the agent's process, the belief does not.
class Instance {
 public:
  static constexpr Nanos kEvery = 500 * kMillisecond;

  [[nodiscard]] Mood mood() const { return mood_; }
  void become(Mood mood) {
    deaths_ += mood == Mood::kCrashed && mood_ != Mood::kCrashed ? 1 : 0;
    mood_ = mood;
  }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }  ///< how often its process has ended

  /// A new agent process: nothing is known yet.
  void forget() {
    belief_ = agent::InstanceState::kUnknown;
    good_ = 0;
    bad_ = 0;
  }

  /// One health check, or the news of a broken connection. @return what the agent now believes
  agent::InstanceState check() {
    switch (mood_) {
      case Mood::kHealthy: good(agent::InstanceState::kPassing); break;
      case Mood::kDegraded: good(agent::InstanceState::kDegraded); break;
      case Mood::kSick:
      case Mood::kHung:
        good_ = 0;
        if (++bad_ >= 2) belief_ = agent::InstanceState::kCritical;
        break;
      case Mood::kCrashed:
        good_ = 0;
        belief_ = agent::InstanceState::kGone;
        break;
    }
    return belief_;
  }

 private:
  void good(agent::InstanceState state) {
    bad_ = 0;
    const bool was_down = belief_ == agent::InstanceState::kCritical || belief_ == agent::InstanceState::kGone;
    if (++good_ >= 2 || !was_down) belief_ = state;
  }

  Mood mood_ = Mood::kHealthy;
  std::uint64_t deaths_ = 0;
  agent::InstanceState belief_ = agent::InstanceState::kUnknown;
  int good_ = 0;
  int bad_ = 0;
};

}  // namespace sim
