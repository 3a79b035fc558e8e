#pragma once
/// Questions that every worker answers for itself, and whoever asked waits for all of them: their counters, a request they have seen.
/// A worker that hangs would let everybody wait for ever who wants to look at the agent, just when there is something to see. So a question
/// ends without whoever has not answered for kPatience, and such a worker is not waited for again until it has answered something.
/// Ownership: of the driver whose workers these are. Thread: the control loop. Bound: to a worker that is silent no further question is posted.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::drivers {

class RollCall {
 public:
  static constexpr io::Milliseconds kPatience{2000};
  using Number = std::uint64_t;
  /// @param missing  workers without an answer
  using Done = std::function<void(std::size_t missing)>;
  /// Asks one worker, whose answer is told by answered(number, worker). @return false: it cannot be asked
  using Ask = std::function<bool(Number number, std::size_t worker)>;

  RollCall(io::Loop& loop, std::size_t workers);

  /// `done` runs once, never inside this call; it must not destroy this.
  void call(const Ask& ask, Done done);
  /// An answer; one to a question that has ended only says that the worker is back.
  void answered(Number number, std::size_t worker);
  /// Ends the questions whose time is over at `now`, as the timer does.
  void look(io::TimePoint now);

 private:
  struct Question {
    std::set<std::size_t> waits_for;
    std::size_t missing = 0;
    io::TimePoint until;
    Done done;
  };
  void end(std::map<Number, Question>::iterator question);

  std::vector<bool> silent_;
  std::map<Number, Question> questions_;  // their ends are in the order of their numbers, but for those that wait for nobody
  Number count_ = 0;
  io::Timer timer_;
};

}  // namespace agent::drivers
