#include "gossip/error.h"

namespace gossip {

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::kTruncated:
      return "truncated";
    case Errc::kMalformed:
      return "malformed";
    case Errc::kTooBig:
      return "too_big";
    case Errc::kUnknownVersion:
      return "unknown_version";
    case Errc::kPlaintextMixed:
      return "plaintext_mixed";
    case Errc::kUnknownKey:
      return "unknown_key";
    case Errc::kNotAuthentic:
      return "not_authentic";
    case Errc::kReplayed:
      return "replayed";
    case Errc::kThrottled:
      return "throttled";
    case Errc::kChecksum:
      return "checksum";
    case Errc::kInvalidArgument:
      return "invalid_argument";
  }
  return "unknown";
}

}  // namespace gossip
