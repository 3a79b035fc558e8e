#pragma once

#include <map>
#include <string>

#include "store/raft/message.h"
#include "store/raft/progress.h"
#include "store/raft/quorum.h"

namespace store::raft {

/// The configuration in the shape that is good for counting; ConfState is the same in the shape for wire and disk.
/// Invariant: `outgoing`, `learners_next` and auto_leave are empty unless joint; learners are in no voter set;
///            learners_next are in `outgoing` (they still vote there until the joint configuration is left).
struct Members {
  VoterSet voters;    ///< the only set, or the incoming one while joint
  VoterSet outgoing;  ///< not empty = joint
  VoterSet learners;
  VoterSet learners_next;
  bool auto_leave = false;

  [[nodiscard]] bool joint() const { return !outgoing.empty(); }
  [[nodiscard]] bool votes(NodeId id) const { return voters.contains(id) || outgoing.contains(id); }
  /// E.g. "voters=(1 2 3)&&(1) learners=(4) autoleave": for traces.
  [[nodiscard]] std::string describe() const;
  friend bool operator==(const Members&, const Members&) = default;
};

using ProgressMap = std::map<NodeId, Progress>;

/// Members, what is known of each one's log, and the votes of the election under way.
/// Invariant: exactly the members have a Progress.
/// Ownership: a value inside Raft.
class Tracker {
 public:
  /// @param inflight  window size of every Progress, >= 1
  explicit Tracker(std::size_t inflight) : inflight_(inflight) {}

  void set(Members members, ProgressMap progress);
  [[nodiscard]] const Members& members() const { return members_; }
  [[nodiscard]] ProgressMap& progress() { return progress_; }
  [[nodiscard]] const ProgressMap& progress() const { return progress_; }
  [[nodiscard]] Progress* find(NodeId id);  ///< null if no member
  [[nodiscard]] const Progress* find(NodeId id) const;
  [[nodiscard]] std::size_t inflight() const { return inflight_; }
  [[nodiscard]] ConfState conf_state() const;

  /// Forgets all progress; every node is probed from `next` on.
  void reset_progress(Index next);
  void reset_votes() { votes_.clear(); }
  /// Only the first answer of a node counts.
  void record_vote(NodeId id, bool granted) { votes_.emplace(id, granted); }
  [[nodiscard]] VoteResult tally() const;
  [[nodiscard]] const std::map<NodeId, bool>& votes() const { return votes_; }
  /// Highest index that a quorum has on disk (by match).
  [[nodiscard]] Index committed() const;
  /// Newest round that a quorum has answered; `self` counts as having answered every round.
  [[nodiscard]] Round confirmed_round(NodeId self) const;
  /// Does a quorum of voters satisfy the test?
  [[nodiscard]] bool quorum_of(const std::function<bool(NodeId, const Progress&)>& test) const;

 private:
  std::size_t inflight_;
  Members members_;
  ProgressMap progress_;
  std::map<NodeId, bool> votes_;
};

[[nodiscard]] ConfState to_conf_state(const Members& members);

}  // namespace store::raft
