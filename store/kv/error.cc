#include "store/kv/error.h"

namespace store::kv {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kTruncated:
      return "Truncated";
    case Errc::kMalformed:
      return "Malformed";
    case Errc::kUnknownVersion:
      return "UnknownVersion";
    case Errc::kUnknownKind:
      return "UnknownKind";
    case Errc::kTooLarge:
      return "TooLarge";
    case Errc::kBadKey:
      return "BadKey";
    case Errc::kOutOfOrder:
      return "OutOfOrder";
    case Errc::kBadState:
      return "BadState";
    case Errc::kWatchesFull:
      return "WatchesFull";
  }
  return "?";
}

}  // namespace store::kv
