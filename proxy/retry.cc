#include "proxy/retry.h"

namespace proxy {

bool may_have_arrived(AttemptEnd end) {
  switch (end) {
    case AttemptEnd::kConnectFailed:
    case AttemptEnd::kNotWritten:
    case AttemptEnd::kRefusedByPeer: return false;
    case AttemptEnd::kClosedEarly:
    case AttemptEnd::kFirstByteLate:
    case AttemptEnd::kEndpointGone:
    case AttemptEnd::kResponseBroken: return true;
  }
  return true;
}

std::string_view name_of(RetryVerdict verdict) {
  switch (verdict) {
    case RetryVerdict::kGiveUp: return "it is not tried again";
    case RetryVerdict::kTryElsewhere:
    case RetryVerdict::kTryElsewhereFree: return "it is tried elsewhere";
    case RetryVerdict::kHold: return "it waits for the primary";
  }
  return "unknown";
}

RetryVerdict judge(const RetryCase& attempt, AttemptEnd end) {
  if (end == AttemptEnd::kResponseBroken || !attempt.replayable) return RetryVerdict::kGiveUp;
  const bool arrived = may_have_arrived(end);
  if (attempt.kind == PoolKind::kPrimary) return arrived ? RetryVerdict::kGiveUp : RetryVerdict::kHold;
  if (attempt.attempt_count >= attempt.attempts_max) return RetryVerdict::kGiveUp;
  // Nothing was sent: even an unsafe request may go elsewhere, whatever the route says about retries.
  if (!arrived) return RetryVerdict::kTryElsewhereFree;
  if (!attempt.route_allows || !http1::is_safe(attempt.method)) return RetryVerdict::kGiveUp;
  return RetryVerdict::kTryElsewhere;
}

RetryBudget::Slice& RetryBudget::slice_at(TimePoint now) {
  const std::int64_t number = now.time_since_epoch() / kSlice;
  for (std::size_t gone = 0; newest_ < number; ++gone) {
    if (gone == kSlices) {
      newest_ = number;  // all of it is over
      break;
    }
    Slice& old = slices_[static_cast<std::size_t>(++newest_) % kSlices];
    requests_ -= old.requests;
    retries_ -= old.retries;
    old = {};
  }
  return slices_[static_cast<std::size_t>(newest_) % kSlices];
}

void RetryBudget::on_request(TimePoint now) {
  ++slice_at(now).requests;
  ++requests_;
}

bool RetryBudget::spend(TimePoint now) {
  Slice& slice = slice_at(now);
  if ((retries_ + 1) * 100 > floor_ * 100 + requests_ * percent_) return false;
  ++slice.retries;
  ++retries_;
  return true;
}

}  // namespace proxy
