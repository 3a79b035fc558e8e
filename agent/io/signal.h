#pragma once
/// One operating-system signal as an event of a loop.
#include <functional>
#include <memory>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace agent::io {

/// Calls back on the loop for every delivery of `signal_number` (repeats may merge, as the system does).
/// Several watchers of one signal, also on several loops, all hear it. Does not keep the loop alive.
/// Ownership: destruction stops watching and gives the signal its former meaning back.
class Signal {
 public:
  /// @param signal_number SIGINT, SIGTERM, SIGHUP, ...; not SIGKILL or SIGSTOP. Errors: kInvalidArgument, kLimit.
  static Result<std::unique_ptr<Signal>> watch(Loop& loop, int signal_number, std::function<void()> on_signal);
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

 private:
  Signal() = default;
  std::shared_ptr<std::function<void()>> on_signal_;
  Handle<uv_signal_s> handle_;
};

/// A write to a closed connection must be an error code, not the end of the process. Loop::create does it already.
void ignore_sigpipe();

}  // namespace agent::io
