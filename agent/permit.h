#pragma once
/// When the kernel is told to let pass what goes to brokers, when to shut the door, and from when on nothing passes for sure.
///
/// A sans-IO core: it is told what lease this agent holds and how each run of the program ended; it says what to run next. One run at a
/// time. A run that is begun may have taken effect whatever becomes of it (the program may be killed behind its commit), so a renewal counts
/// from the moment at which it is begun, and only a revocation that has succeeded, or the end of the last period, counts as shut.
///
/// Source: decision 0069; rule R4 (nothing of an old epoch passes once a new holder may be granted the lease).
/// Invariant: is_shut(now) is never true before every period ever handed to a run is over, or a revocation begun after the last renewal ended well.
/// Bounds: a run that fails is tried again after 100 ms at the earliest, later after a third of the lease; revocations end with the period.
/// Ownership: values only. Thread: the control loop.

#include <chrono>
#include <cstdint>
#include <optional>

#include "agent/primary.h"

namespace agent {

/// What this agent may write under; absent = it holds nothing.
struct HeldLease {
  Epoch epoch{};
  TimePoint until{};
};

/// One run of the program.
struct PermitRun {
  enum class Kind : std::uint8_t { kRenew, kRevoke };
  Kind kind = Kind::kRevoke;
  Epoch epoch{};      ///< of the lease; of the last renewal for a revocation
  TimePoint until{};  ///< renewals only
  friend bool operator==(const PermitRun&, const PermitRun&) = default;
};

class Permit {
 public:
  /// How much later than its period the kernel may shut the door: timers of 10 ms at most, and an uptime in hundredths of a second.
  static constexpr Milliseconds kSlack{50};
  static constexpr Milliseconds kPauseMin{100};  ///< after a failure; doubles

  /// @param lease  100 ms .. 60 s. An earlier process on this machine may have let pass for so long, so the door counts as open until then.
  Permit(TimePoint now, Milliseconds lease);

  /// What is to be run now; it counts as begun. nullopt while one runs or nothing is due.
  std::optional<PermitRun> next(TimePoint now, const std::optional<HeldLease>& held);
  /// The run that was begun has ended. @param stopped  on our own wish (wants_stop), which is no failure
  void ended(TimePoint now, bool ok, bool stopped = false);
  /// A renewal runs for a lease that is not held any more: end it, it only delays the revocation.
  [[nodiscard]] bool wants_stop(const std::optional<HeldLease>& held) const;
  /// Nothing passes, and no run that was begun will change that.
  [[nodiscard]] bool is_shut(TimePoint now) const { return open_until_ == TimePoint::min() || now >= open_until_ + kSlack; }
  /// When to call next() or is_shut() again at the latest; time_point::max() when nothing waits.
  [[nodiscard]] TimePoint next_deadline(TimePoint now, const std::optional<HeldLease>& held) const;

  [[nodiscard]] bool granted(TimePoint now) const { return granted_ && now < granted_until_; }  ///< the last renewal was done and has not run out

 private:
  [[nodiscard]] std::optional<PermitRun> wanted(const std::optional<HeldLease>& held) const;

  Milliseconds lease_;
  TimePoint open_until_;                       ///< latest end that the kernel may know
  bool granted_ = false;
  TimePoint granted_until_ = TimePoint::min();
  Epoch epoch_{};                              ///< of the last renewal begun
  std::optional<PermitRun> running_, failed_;  ///< failed_: the last run, if it failed
  Milliseconds pause_{0};
  TimePoint retry_at_ = TimePoint::min();      ///< meaningful with failed_
};

}  // namespace agent
