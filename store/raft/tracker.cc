#include "store/raft/tracker.h"

#include <algorithm>

namespace store::raft {
namespace {

std::string list(const VoterSet& set) {
  std::string text = "(";
  for (NodeId id : set) {
    if (text.size() > 1) text += ' ';
    text += std::to_string(id.value);
  }
  return text + ")";
}

std::vector<NodeId> sorted(const VoterSet& set) { return {set.begin(), set.end()}; }

}  // namespace

std::string Members::describe() const {
  std::string text = "voters=" + list(voters);
  if (joint()) text += "&&" + list(outgoing);
  if (!learners.empty()) text += " learners=" + list(learners);
  if (!learners_next.empty()) text += " learners_next=" + list(learners_next);
  if (auto_leave) text += " autoleave";
  return text;
}

ConfState to_conf_state(const Members& members) {
  return {sorted(members.voters), sorted(members.outgoing), sorted(members.learners), sorted(members.learners_next),
          members.auto_leave};
}

void Tracker::set(Members members, ProgressMap progress) {
  members_ = std::move(members);
  progress_ = std::move(progress);
}

Progress* Tracker::find(NodeId id) {
  const auto found = progress_.find(id);
  return found == progress_.end() ? nullptr : &found->second;
}

const Progress* Tracker::find(NodeId id) const {
  const auto found = progress_.find(id);
  return found == progress_.end() ? nullptr : &found->second;
}

ConfState Tracker::conf_state() const { return to_conf_state(members_); }

void Tracker::reset_progress(Index next) {
  for (auto& [id, progress] : progress_) {
    const bool learner = progress.learner;
    progress = Progress(next, inflight_);
    progress.learner = learner;
  }
}

VoteResult Tracker::tally() const { return vote_result(members_.voters, members_.outgoing, votes_); }

Index Tracker::committed() const {
  return committed_index(members_.voters, members_.outgoing, [this](NodeId id) -> std::optional<Index> {
    const Progress* progress = find(id);
    return progress == nullptr ? std::nullopt : std::optional(progress->match());
  });
}

Round Tracker::confirmed_round(NodeId self) const {
  // A round is a number that only grows, as an index is: the same counting fits.
  const Index counted = committed_index(members_.voters, members_.outgoing, [&](NodeId id) -> std::optional<Index> {
    if (id == self) return kIndexUnlimited;
    const Progress* progress = find(id);
    return progress == nullptr ? std::nullopt : std::optional(Index{progress->round_acked.value});
  });
  return Round{counted.value};
}

bool Tracker::quorum_of(const std::function<bool(NodeId, const Progress&)>& test) const {
  std::map<NodeId, bool> votes;
  for (const auto& [id, progress] : progress_) votes.emplace(id, test(id, progress));
  return vote_result(members_.voters, members_.outgoing, votes) == VoteResult::kWon;
}

}  // namespace store::raft
