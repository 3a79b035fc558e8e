#pragma once
/// Whether and why a request may be tried again: pure rules, and the budget that keeps retries from becoming a storm.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

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
[[nodiscard]] std::string_view name_of(RetryVerdict verdict);  ///< for people: "it is tried elsewhere"
/// Rule R3: whatever may have arrived is not sent again if its method is unsafe or its route is `primary`.
[[nodiscard]] RetryVerdict judge(const RetryCase& attempt, AttemptEnd end);

/// Lets a share of the requests of the last kSlices seconds be tried again, and a few more so that quiet times can retry too.
/// A window instead of a purse: what a quiet day has saved up is not there to be spent in the minute in which all breaks.
/// Invariant: retries within any kSlices - 1 seconds <= floor + requests of the kSlices seconds before the last * percent / 100.
class RetryBudget {
 public:
  static constexpr std::size_t kSlices = 10;
  static constexpr Milliseconds kSlice{1000};
  /// @param percent  of requests  @param floor  retries per window that need no requests
  RetryBudget(std::uint32_t percent, std::uint32_t floor) : percent_(percent), floor_(floor) {}
  void on_request(TimePoint now);
  /// Takes one retry out. @return false if there is none.
  [[nodiscard]] bool spend(TimePoint now);

 private:
  struct Slice {
    std::uint32_t requests = 0, retries = 0;
  };
  Slice& slice_at(TimePoint now);
  std::uint64_t percent_, floor_;
  std::array<Slice, kSlices> slices_;
  std::int64_t newest_ = 0;                  ///< number of the newest slice since the epoch of the clock
  std::uint64_t requests_ = 0, retries_ = 0;  ///< sums over slices_
};

}  // namespace proxy
