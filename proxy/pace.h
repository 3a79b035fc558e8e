#pragma once
/// Whether one client does its part quickly enough, in one direction of one connection: sends the body that it has
/// announced, or takes the answer that waits for it. Private to the library.
///
/// Rule: while the client owes, every window of `window` must bring at least rate x window bytes. An idle limit alone is
/// met by one byte per limit, so that a handful of clients can hold all connections and buffers for ever.

#include <cstdint>

#include "proxy/proxy.h"

namespace proxy {

/// Invariant: deadline() moves only when a window ends well or a new debt begins, never by single bytes.
/// Ownership: a value inside its connection; the connection counts the bytes and keeps the timer.
class Pace {
 public:
  /// The client owes from `now` on, having moved `bytes` so far. Changes nothing while a window runs.
  void begin(TimePoint now, std::uint64_t bytes);
  /// The client owes nothing: it is our turn, or the message is complete.
  void end() { start_ = TimePoint::max(); }
  [[nodiscard]] bool running() const { return start_ != TimePoint::max(); }
  /// End of the present window; TimePoint::max() when none runs.
  [[nodiscard]] TimePoint deadline(const PaceSettings& settings) const;
  /// To be asked at or after deadline(): true if the window brought too little; else the next window begins.
  /// @param bytes  moved in all, counted as in begin()
  [[nodiscard]] bool too_slow(const PaceSettings& settings, TimePoint now, std::uint64_t bytes);

 private:
  TimePoint start_ = TimePoint::max();
  std::uint64_t bytes_ = 0;  ///< moved before the window
};

}  // namespace proxy
