#pragma once
/// Readiness of one descriptor, straight from epoll.
///
/// Why not uv_poll: each change of interest costs it two system calls and each new descriptor two more, where the kernel
/// needs one; for a proxied connection that was half of all calls (decision 0028). libuv's own descriptor is a member of
/// the same epoll set, as its manual describes for embedding, so timers, files, names and processes stay libuv's.
#include <cstdint>

#include "agent/io/error.h"

namespace agent::io {

class Loop;

/// What the kernel says of a descriptor. `error` comes alone with what else is known; the interest is then empty and
/// stays so until it is set again (an error flag cannot be waited for, only be met again and again).
struct Ready {
  bool readable = false;  ///< bytes, the peer's end, or an error that a read will tell
  bool writable = false;
  bool error = false;
};

/// Hears of readiness, from the loop and never from inside a call to its Watch. May destroy the Watch.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void on_ready(Ready ready) = 0;
};

/// One descriptor's interest, level-triggered.
/// Ownership: of whoever owns the descriptor, destroyed before or right before it is closed: closing is what takes it out
/// of the kernel's set. Who gives the descriptor away instead calls `set(kNothing)` first.
/// Thread: the loop's. Bound: the process's limit of descriptors.
class Watch {
 public:
  static constexpr std::uint32_t kNothing = 0, kReadable = 1, kWritable = 2;  ///< to be or-ed

  /// Nothing is watched and no system call made yet. @param loop outlives this. @param sink never null.
  Watch(Loop& loop, int fd, WatchSink* sink);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// At most one system call, none if nothing changes. Errors: kLimit (epoll's own bound), kInvalidArgument (a file that
  /// cannot be watched); the interest is then empty.
  Result<void> set(std::uint32_t interest);
  [[nodiscard]] std::uint32_t interest() const { return interest_; }

 private:
  friend class Loop;
  Loop& loop_;
  WatchSink* sink_;
  int fd_;
  std::uint32_t slot_;       // in the loop's table: what the kernel gives back is an index, never a pointer
  std::uint32_t interest_ = kNothing;
  bool added_ = false;       // the kernel knows the descriptor
};

}  // namespace agent::io
