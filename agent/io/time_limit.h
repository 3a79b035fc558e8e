#pragma once
/// The end of a process that would not end by itself.
#include <functional>
#include <memory>
#include <thread>

#include "agent/io/clock.h"

namespace agent::io {

/// For the way down: a thread that hangs (a disk that does not answer, a call that does not return) can be neither joined nor
/// skipped, so the process ends with it instead. Nothing is destroyed then; what has to survive is on disk before.
/// Time: only that in which this process runs. One that is stopped meanwhile, or whose machine is, has all of it left.
/// Ownership: destruction lifts the limit. Thread: any; it has one of its own.
class TimeLimit {
 public:
  /// @param limit       from now, in whole steps of 100 ms
  /// @param last_words  runs on the limit's thread. Hangs it as well (a log that nobody reads), SIGALRM ends the process 3 s later
  /// @param exit_code   0..255
  /// @return nullptr: the system has no thread left, so there is no limit
  static std::unique_ptr<TimeLimit> set(Milliseconds limit, std::function<void()> last_words, int exit_code);
  TimeLimit(Milliseconds limit, std::function<void()> last_words, int exit_code);  ///< for set(); throws std::system_error

 private:
  std::jthread thread_;
};

}  // namespace agent::io
