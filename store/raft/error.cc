#include "store/raft/error.h"

namespace store::raft {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kNotLeader: return "NotLeader";
    case Errc::kTransferring: return "Transferring";
    case Errc::kUncommittedFull: return "UncommittedFull";
    case Errc::kLogFull: return "LogFull";
    case Errc::kEntryTooLarge: return "EntryTooLarge";
    case Errc::kConfChangePending: return "ConfChangePending";
    case Errc::kConfChangeTooEarly: return "ConfChangeTooEarly";
    case Errc::kConfChangeInvalid: return "ConfChangeInvalid";
    case Errc::kReadsFull: return "ReadsFull";
    case Errc::kUnknownPeer: return "UnknownPeer";
    case Errc::kNotPromotable: return "NotPromotable";
    case Errc::kStopped: return "Stopped";
    case Errc::kCompacted: return "Compacted";
    case Errc::kUnavailable: return "Unavailable";
    case Errc::kBadState: return "BadState";
    case Errc::kTruncated: return "Truncated";
    case Errc::kMalformed: return "Malformed";
    case Errc::kUnknownVersion: return "UnknownVersion";
    case Errc::kUnknownKind: return "UnknownKind";
    case Errc::kTooLarge: return "TooLarge";
  }
  return "?";
}

}  // namespace store::raft
