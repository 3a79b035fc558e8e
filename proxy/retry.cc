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

}  // namespace proxy
