#pragma once

#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "store/raft/ids.h"

namespace store::raft {

/// Reads that wait at the leader for proof that it still leads, and the heartbeat rounds that give this proof.
/// Source:    thesis 6.4 (the index is fixed when the read arrives; a round begun later must be answered by a
///            quorum), 6.4.1 (one round for all that wait), 6.4.2 (lease: counted from when a round was *sent*).
/// Bound:     the caller's on reads; rounds are kept up to kRoundsMax, the oldest are forgotten.
/// Ownership: a value inside Raft; fresh for every leadership.
class Reads {
 public:
  struct Waiting {
    NodeId from;  ///< who asked
    std::uint64_t context = 0;
    Index index;  ///< commit index when the read was taken; set late if the leader was too new to know
    Round round;  ///< the first round that proves enough
  };
  static constexpr std::size_t kRoundsMax = 64;

  /// Queues a read whose index is not known yet (no entry of the own term is committed, 6.4 step 1).
  void hold(NodeId from, std::uint64_t context) { held_.push_back({from, context, {}, {}}); }
  /// Queues a read; a round begun from now on will answer it.
  void add(NodeId from, std::uint64_t context, Index commit);
  /// Gives all held reads their index: from now on they wait like the others.
  void release_held(Index commit);
  /// Begins a round. @return its number, to be sent to every peer at once.
  Round begin_round(TimePoint now);
  /// A quorum answered `round`. @return the reads that may be answered, oldest first.
  std::vector<Waiting> confirm(Round round);
  /// Takes out everything, held reads too: the leadership ended.
  std::vector<Waiting> drop_all();

  /// The quorum that confirmed no longer counts (the members changed): a new round must be answered.
  void forget_lease() { confirmed_at_.reset(); }

  [[nodiscard]] bool round_wanted() const;     ///< reads wait for a round that has not begun
  [[nodiscard]] std::size_t rounds_open() const { return rounds_.size(); }  ///< begun, not confirmed
  [[nodiscard]] std::size_t size() const { return held_.size() + waiting_.size(); }
  /// When the newest confirmed round was sent: a leader's lease counts from here. None before the first.
  [[nodiscard]] std::optional<TimePoint> confirmed_at() const { return confirmed_at_; }

 private:
  struct Begun {
    Round round;
    TimePoint at;
  };
  Round round_;
  std::deque<Begun> rounds_;      // begun, not confirmed, oldest first
  std::optional<TimePoint> confirmed_at_;
  std::deque<Waiting> held_;
  std::deque<Waiting> waiting_;   // sorted by round
};

}  // namespace store::raft
