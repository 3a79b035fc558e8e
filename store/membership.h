#pragma once

#include <map>
#include <optional>
#include <vector>

#include "store/types.h"

namespace store {

/// The leader's policy on who belongs to the configuration and who votes. Pure rules over what gossip and Raft show;
/// the answer is proposed to the log, which alone decides.
///   1. A live member of no cluster or of ours, not in the configuration, becomes a learner.
///   2. Learners that have caught up become voters while voters < target; voter counts are kept odd, so promotions
///      come in pairs where needed (2 nodes: 1 voter and 1 learner; 3 nodes: 3 voters by one joint change).
///   3. A voter gone for replace_after is exchanged for a caught-up learner in one joint change.
///   4. A member that left for good is removed at once (a voter: exchanged if a learner is ready).
///   5. A learner gone for 10 * replace_after is removed.
///   6. Four, six or eight voters for replace_after: one becomes a learner, the gone one if there is one, else the highest
///      id but the leader's. An even number needs one copy more and stands the loss of no more voters than one less does.
///   Never: a change after which the live voters would be no majority of the new voters.
/// Small clusters. One voter: its loss stops writes. Two voters (bootstrap_expect = 2, or one of three left): every
///   acknowledged write is on both disks, and either one's loss stops writes; nothing can be changed then, since nothing
///   can be committed. They stay two: giving up one of two copies is not for us to decide. An agent that joins a single
///   one stays a learner: its loss stops nothing, but it cannot take over. Three voters: one may be lost; the two that
///   are left stay voters of three, since a majority of two would be both of them as well. Four: as three, by rule 6.
/// Source:    thesis 4.1 - 4.3 (changes), 4.2.1 (rounds of catching up); design, section 4.
/// Ownership: a value inside Store; knows only what observe() was told.
class Membership {
 public:
  struct Settings {
    NodeId self;
    std::uint32_t voters_target = 5;
    Duration replace_after = Milliseconds(60'000);
    Duration silent_after = Milliseconds(1'000);  ///< a member that Raft has not heard for so long is not there
    Duration round_max = Milliseconds(500);       ///< a learner has caught up if its last round took no longer
  };
  explicit Membership(Settings settings) : settings_(settings) {}

  /// This node began to lead: nobody is known to be gone yet, nobody to have caught up.
  void take_office();
  /// Notes the progress of learners and who is there. Call every kObserveEvery while leading.
  /// @param last  end of the leader's log
  void observe(const std::vector<raft::PeerStatus>& peers, const std::vector<MemberInfo>& members, raft::Index last,
               TimePoint now);
  /// The next change worth making, none if all is well. Only to be asked when no change is under way.
  [[nodiscard]] std::optional<raft::ConfChange> wanted(const raft::ConfState& conf, const kv::ClusterId& ours,
                                                       TimePoint now) const;
  /// May `server` be removed without losing the quorum?
  [[nodiscard]] bool removable(const raft::ConfState& conf, NodeId server) const;

 private:
  struct Peer {
    raft::Index match, round_target;
    TimePoint round_began;
    std::optional<TimePoint> gone_since;  // not alive as gossip has it, or silent towards us
    bool caught_up = false;
    bool left = false, wants_vote = true, heard = false;
  };
  void observe_round(Peer& peer, raft::Index last, TimePoint now) const;
  [[nodiscard]] const Peer* peer(NodeId id) const;
  [[nodiscard]] bool present(NodeId id) const;
  [[nodiscard]] bool gone_for(NodeId id, Duration period, TimePoint now) const;
  [[nodiscard]] bool live_majority(const std::vector<NodeId>& voters) const;
  [[nodiscard]] std::vector<NodeId> ready_learners(const raft::ConfState& conf) const;
  [[nodiscard]] std::optional<raft::ConfChange> exchange(const raft::ConfState& conf, const std::vector<NodeId>& ready,
                                                         TimePoint now) const;
  [[nodiscard]] std::optional<raft::ConfChange> promote(const raft::ConfState& conf,
                                                        const std::vector<NodeId>& ready) const;
  [[nodiscard]] std::optional<raft::ConfChange> shed_one(const raft::ConfState& conf, TimePoint now) const;
  [[nodiscard]] std::optional<raft::ConfChange> drop_learner(const raft::ConfState& conf, TimePoint now) const;
  [[nodiscard]] std::optional<raft::ConfChange> add_learner(const raft::ConfState& conf,
                                                            const kv::ClusterId& ours) const;

  Settings settings_;
  std::map<NodeId, Peer> peers_;  // members of the configuration; at most raft::kConfNodesMax
  std::vector<MemberInfo> members_;
  std::optional<TimePoint> even_since_;  // four or more voters, and an even number of them
};
inline constexpr Milliseconds kObserveEvery{100};

}  // namespace store
