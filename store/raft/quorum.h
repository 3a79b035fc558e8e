#pragma once

#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "store/raft/ids.h"

/// Counting to a majority, in one set of voters and in the two sets of a joint configuration.
/// Source: thesis 3.3 (majority), 4.3 (joint consensus: both sets must agree). Pure functions, no state.
namespace store::raft {

/// A set of voters; empty sets agree to everything, so that "not joint" needs no special case.
using VoterSet = std::set<NodeId>;

/// Answers the highest index that a voter has acknowledged; none if it never did.
using AckedIndex = std::function<std::optional<Index>(NodeId)>;

enum class VoteResult : std::uint8_t { kPending, kLost, kWon };
[[nodiscard]] const char* to_string(VoteResult result);  ///< "VotePending", "VoteLost", "VoteWon"

/// The empty set commits everything: this value stands for "no limit".
inline constexpr Index kIndexUnlimited{std::numeric_limits<std::uint64_t>::max()};

/// Highest index that a majority of `voters` has acknowledged; kIndexUnlimited for the empty set.
[[nodiscard]] Index committed_index(const VoterSet& voters, const AckedIndex& acked);
/// Same for the joint configuration: the lower of both halves.
[[nodiscard]] Index committed_index(const VoterSet& incoming, const VoterSet& outgoing, const AckedIndex& acked);

/// Outcome of a vote in which some voters may not have answered yet. The empty set is always won.
[[nodiscard]] VoteResult vote_result(const VoterSet& voters, const std::map<NodeId, bool>& votes);
/// Joint: won if both halves are won, lost if one is lost.
[[nodiscard]] VoteResult vote_result(const VoterSet& incoming, const VoterSet& outgoing,
                                     const std::map<NodeId, bool>& votes);

}  // namespace store::raft
