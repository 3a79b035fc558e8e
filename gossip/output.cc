#include "gossip/output.h"

namespace gossip {

std::string_view to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::kJoined:
      return "joined";
    case EventKind::kRestarted:
      return "restarted";
    case EventKind::kAlive:
      return "alive";
    case EventKind::kSuspect:
      return "suspect";
    case EventKind::kStalled:
      return "stalled";
    case EventKind::kDead:
      return "dead";
    case EventKind::kLeft:
      return "left";
    case EventKind::kReaped:
      return "reaped";
    case EventKind::kTagsChanged:
      return "tags_changed";
    case EventKind::kNameConflict:
      return "name_conflict";
    case EventKind::kIdConflict:
      return "id_conflict";
    case EventKind::kUnreachable:
      return "unreachable";
    case EventKind::kReachable:
      return "reachable";
    case EventKind::kUdpBlocked:
      return "udp_blocked";
    case EventKind::kUdpUnblocked:
      return "udp_unblocked";
    case EventKind::kRefuted:
      return "refuted";
    case EventKind::kPaused:
      return "paused";
    case EventKind::kSeedsSilent:
      return "seeds_silent";
    case EventKind::kClusterJoined:
      return "cluster_joined";
    case EventKind::kLeaveDone:
      return "leave_done";
  }
  return "unknown";
}

std::string_view to_string(Drop reason) noexcept {
  switch (reason) {
    case Drop::kTruncated:
      return "truncated";
    case Drop::kMalformed:
      return "malformed";
    case Drop::kTooBig:
      return "too_big";
    case Drop::kUnknownVersion:
      return "unknown_version";
    case Drop::kPlaintextMixed:
      return "plaintext_mixed";
    case Drop::kUnknownKey:
      return "unknown_key";
    case Drop::kNotAuthentic:
      return "not_authentic";
    case Drop::kReplayed:
      return "replayed";
    case Drop::kThrottled:
      return "throttled";
    case Drop::kUnconfirmed:
      return "unconfirmed";
    case Drop::kUpdateLimit:
      return "update_limit";
    case Drop::kMemberLimit:
      return "member_limit";
    case Drop::kMemberRate:
      return "member_rate";
    case Drop::kFutureGeneration:
      return "future_generation";
    case Drop::kInvalidRecord:
      return "invalid_record";
    case Drop::kParkedOverflow:
      return "parked_overflow";
    case Drop::kQueueOverflow:
      return "queue_overflow";
    case Drop::kStreamLimit:
      return "stream_limit";
    case Drop::kStreamOverrun:
      return "stream_overrun";
    case Drop::kStrayAnswer:
      return "stray_answer";
    case Drop::kUnknownKind:
      return "unknown_kind";
    case Drop::kSelfEcho:
      return "self_echo";
    case Drop::kCount:
      break;
  }
  return "unknown";
}

}  // namespace gossip
