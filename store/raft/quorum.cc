#include "store/raft/quorum.h"

#include <algorithm>
#include <vector>

namespace store::raft {

const char* to_string(VoteResult result) {
  switch (result) {
    case VoteResult::kPending: return "VotePending";
    case VoteResult::kLost: return "VoteLost";
    case VoteResult::kWon: return "VoteWon";
  }
  return "?";
}

Index committed_index(const VoterSet& voters, const AckedIndex& acked) {
  if (voters.empty()) return kIndexUnlimited;
  std::vector<Index> indexes;
  indexes.reserve(voters.size());
  for (NodeId id : voters) indexes.push_back(acked(id).value_or(Index{}));
  // In ascending order, the element with a majority at or above it.
  const auto place = static_cast<std::ptrdiff_t>(indexes.size() - (indexes.size() / 2 + 1));
  std::nth_element(indexes.begin(), indexes.begin() + place, indexes.end());
  return indexes[static_cast<std::size_t>(place)];
}

Index committed_index(const VoterSet& incoming, const VoterSet& outgoing, const AckedIndex& acked) {
  return std::min(committed_index(incoming, acked), committed_index(outgoing, acked));
}

VoteResult vote_result(const VoterSet& voters, const std::map<NodeId, bool>& votes) {
  if (voters.empty()) return VoteResult::kWon;
  std::size_t granted = 0;
  std::size_t missing = 0;
  for (NodeId id : voters) {
    const auto vote = votes.find(id);
    if (vote == votes.end()) {
      ++missing;
    } else if (vote->second) {
      ++granted;
    }
  }
  const std::size_t majority = voters.size() / 2 + 1;
  if (granted >= majority) return VoteResult::kWon;
  return granted + missing >= majority ? VoteResult::kPending : VoteResult::kLost;
}

VoteResult vote_result(const VoterSet& incoming, const VoterSet& outgoing, const std::map<NodeId, bool>& votes) {
  const VoteResult first = vote_result(incoming, votes);
  const VoteResult second = vote_result(outgoing, votes);
  if (first == second) return first;
  return first == VoteResult::kLost || second == VoteResult::kLost ? VoteResult::kLost : VoteResult::kPending;
}

}  // namespace store::raft
