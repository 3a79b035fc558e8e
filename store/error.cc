#include "store/error.h"

namespace store {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kNoLeader:
      return "NoLeader";
    case Errc::kNoQuorum:
      return "NoQuorum";
    case Errc::kTimeout:
      return "Timeout";
    case Errc::kBusy:
      return "Busy";
    case Errc::kTooLarge:
      return "TooLarge";
    case Errc::kBadRequest:
      return "BadRequest";
    case Errc::kNotFound:
      return "NotFound";
    case Errc::kStaleEpoch:
      return "StaleEpoch";
    case Errc::kNotLeader:
      return "NotLeader";
    case Errc::kConflict:
      return "Conflict";
    case Errc::kAlreadyFounded:
      return "AlreadyFounded";
    case Errc::kBadState:
      return "BadState";
    case Errc::kDiskFull:
      return "DiskFull";
    case Errc::kStopped:
      return "Stopped";
  }
  return "?";
}

}  // namespace store
