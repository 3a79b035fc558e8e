#include "store/raft/message.h"

namespace store::raft {

const char* to_string(MessageKind kind) {
  switch (kind) {
    case MessageKind::kAppend: return "MsgApp";
    case MessageKind::kAppendResponse: return "MsgAppResp";
    case MessageKind::kVote: return "MsgVote";
    case MessageKind::kVoteResponse: return "MsgVoteResp";
    case MessageKind::kPreVote: return "MsgPreVote";
    case MessageKind::kPreVoteResponse: return "MsgPreVoteResp";
    case MessageKind::kHeartbeat: return "MsgHeartbeat";
    case MessageKind::kHeartbeatResponse: return "MsgHeartbeatResp";
    case MessageKind::kSnapshot: return "MsgSnap";
    case MessageKind::kTimeoutNow: return "MsgTimeoutNow";
    case MessageKind::kReadIndex: return "MsgReadIndex";
    case MessageKind::kReadIndexResponse: return "MsgReadIndexResp";
    case MessageKind::kAppendHeard: return "MsgAppHeard";
  }
  return "?";
}

bool is_response(MessageKind kind) {
  switch (kind) {
    case MessageKind::kAppendResponse:
    case MessageKind::kVoteResponse:
    case MessageKind::kPreVoteResponse:
    case MessageKind::kHeartbeatResponse:
    case MessageKind::kAppendHeard:
    case MessageKind::kReadIndexResponse: return true;
    case MessageKind::kAppend:
    case MessageKind::kVote:
    case MessageKind::kPreVote:
    case MessageKind::kHeartbeat:
    case MessageKind::kSnapshot:
    case MessageKind::kTimeoutNow:
    case MessageKind::kReadIndex: return false;
  }
  return false;
}

std::size_t payload_bytes(const std::vector<Entry>& entries) {
  std::size_t sum = 0;
  for (const Entry& entry : entries) sum += entry.data.size();
  return sum;
}

}  // namespace store::raft
