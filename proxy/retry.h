#pragma once
/// Whether and why a request may be tried again: pure rules, and the budget that keeps retries from becoming a storm.

#include <cstdint>

#include "proxy/http1/message.h"
#include "proxy/route.h"
#include "proxy/stream.h"

namespace proxy {

/// How an attempt failed.
enum class AttemptEnd : std::uint8_t {
  kConnectFailed,   ///< no connection: nothing was sent
  kNotWritten,      ///< connected, but not one byte of the request was written
  kRefusedByPeer,   ///< a peer says that its instance got nothing
  kClosedEarly,     ///< written, and the connection ended before the first byte of a response
  kFirstByteLate,   ///< written, and no response in time
  kEndpointGone,    ///< written, and the endpoint has turned critical or been ejected meanwhile
  kResponseBroken,  ///< some of the response has come: too late for anything
};

/// True if the request can have reached an instance.
[[nodiscard]] bool may_have_arrived(AttemptEnd end);

/// What the rules look at.
struct RetryCase {
  PoolKind kind = PoolKind::kAll;
  http1::Method method = http1::Method::kGet;
  bool route_allows = true;        ///< Route::retry
  bool replayable = true;          ///< the whole request so far is still at hand
  std::uint32_t attempt_count = 1; ///< made so far
  std::uint32_t attempts_max = 3;
};

/// What to do next with a request whose attempt has failed.
enum class RetryVerdict : std::uint8_t {
  kGiveUp,
  kTryElsewhere,     ///< costs the budget one retry
  kTryElsewhereFree, ///< nothing was sent, so the load is not doubled: costs nothing
  kHold,             ///< `primary` route, nothing was sent: wait for the primary and send then
};
/// Rule R3: whatever may have arrived is not sent again if its method is unsafe or its route is `primary`.
[[nodiscard]] RetryVerdict judge(const RetryCase& attempt, AttemptEnd end);

/// Allows `percent` retries per hundred requests on average, after a burst of `burst`.
/// Invariant: over any time, retries <= burst + requests * percent / 100.
class RetryBudget {
 public:
  RetryBudget(std::uint32_t percent, std::uint32_t burst)
      : percent_(percent), hundredths_max_(burst * 100ULL), hundredths_(hundredths_max_) {}
  void on_request() {
    hundredths_ = hundredths_ + percent_ > hundredths_max_ ? hundredths_max_ : hundredths_ + percent_;
  }
  /// Takes one retry out. @return false if there is none.
  [[nodiscard]] bool spend() {
    if (hundredths_ < 100) return false;
    hundredths_ -= 100;
    return true;
  }

 private:
  std::uint64_t percent_;
  std::uint64_t hundredths_max_;
  std::uint64_t hundredths_;
};

}  // namespace proxy
