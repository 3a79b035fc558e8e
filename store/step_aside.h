#pragma once

#include <optional>
#include <vector>

#include "store/types.h"

namespace store {

/// When a leader with a slow disk hands over. A majority of fast followers commits without it, but a leader applies and
/// answers only what is on its own disk: every write of every client is as slow as that one disk.
///   1. The own fsync p99 is above kFloor, and above kFactor times that of as many peers as make a majority.
///   2. This has held without a break for kHold; a look at which it does not hold begins the wait anew.
///   3. Those peers were heard lately: nobody hands over to a cluster that could not work without the old leader.
///   4. One of them has all but a little of the log: the one with most of it is the successor.
///   5. At most once per kPause and process, and not within kHold of taking office. Together with rule 1 this cannot
///      swing back: the old leader would have to become kFactor times faster than the new one first.
/// A disk that hangs has no figures: none of its syncs ends. Then rules 1, 2 and 5 do not count, and of the peers' disks nothing has to be known:
///   it hands over at once, again and again, as long as those who were heard are a majority without it.
/// Figures that peers do not send count as unknown, and unknown disks are not healthy ones.
/// Source:    store.md 2 (slow disk); Ongaro's thesis 3.10 (transfer).
/// Ownership: a value inside Store, asked by the leader every kObserveEvery. Decides only; Raft carries it out.
class StepAside {
 public:
  static constexpr int kFactor = 8;
  static constexpr std::chrono::microseconds kFloor{50'000};  ///< below this no disk is called slow
  static constexpr Milliseconds kHold{10'000};
  static constexpr Milliseconds kPause{600'000};
  static constexpr std::uint64_t kBehindMax = 1'024;  ///< entries that a successor may lack

  StepAside(NodeId self, Duration silent_after) : self_(self), silent_after_(silent_after) {}

  /// This node began to lead.
  void take_office(TimePoint now);
  /// @param peers  as Raft::peers() shows them, this node included
  /// @return the voter to hand over to, if it is time to; then the pause begins
  [[nodiscard]] std::optional<NodeId> successor(const std::vector<raft::PeerStatus>& peers,
                                                const raft::ConfState& conf, raft::Index last, TimePoint now);
  /// The same for a leader whose disk hangs.
  [[nodiscard]] std::optional<NodeId> successor_of_hung(const std::vector<raft::PeerStatus>& peers, const raft::ConfState& conf,
                                                        raft::Index last, TimePoint now) const;

 private:
  [[nodiscard]] bool fit(const raft::PeerStatus& peer, const raft::ConfState& conf, TimePoint now) const;
  [[nodiscard]] std::optional<NodeId> candidate(const std::vector<raft::PeerStatus>& peers,
                                                const raft::ConfState& conf, raft::Index last, TimePoint now) const;

  NodeId self_;
  Duration silent_after_;
  std::optional<TimePoint> slow_since_;
  std::optional<TimePoint> stepped_at_;
  TimePoint office_since_;
};

}  // namespace store
