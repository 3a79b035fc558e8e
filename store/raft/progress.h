#pragma once

#include <optional>
#include <string>

#include "store/raft/inflights.h"
#include "store/raft/message.h"

namespace store::raft {

enum class ProgressState : std::uint8_t {
  kProbe,      ///< where the follower's log agrees is unknown: one append, then wait for the answer
  kReplicate,  ///< logs agree up to `match`: appends are pipelined within the window
  kSnapshot,   ///< the follower needs entries that are compacted: only a snapshot helps, nothing else is sent
};
[[nodiscard]] const char* to_string(ProgressState state);  ///< "StateProbe", ...

/// What the leader knows about the log of one node, itself included.
/// Source:    thesis 3.5 (nextIndex, matchIndex), 10.2.1; the three states and their rules as in etcd-io/raft.
/// Invariant: match < next; in kSnapshot next = pending_snapshot + 1.
/// Ownership: a value inside Tracker.
class Progress {
 public:
  /// @param next      first index to send, >= 1
  /// @param inflight  window size, >= 1
  Progress(Index next, std::size_t inflight) : next_(next), inflights_(inflight) {}

  void become_probe();
  void become_replicate();
  void become_snapshot(Index snapshot);

  /// The node has everything up to `index`. @return true if that was news.
  bool maybe_update(Index index);
  /// The node refused the append after `rejected`; `hint` is where logs may agree.
  /// @return false if the refusal is older than what is known, and nothing changed.
  bool maybe_decrease(Index rejected, Index hint);
  /// Notes that `count` entries from next() on were sent; moves next() on and closes the window when it is full.
  void sent_entries(std::size_t count);
  /// Notes the commit index that the node was told.
  void sent_commit(Index commit) { sent_commit_ = commit; }
  /// Is it worth telling the node this commit index? Not if it was told one that covers all it has.
  [[nodiscard]] bool can_bump_commit(Index commit) const;
  void free_inflights(Index to) { inflights_.free_to(to); }
  /// True while no append may be sent (a probe is out, the window is full, a snapshot is under way).
  [[nodiscard]] bool paused() const;

  [[nodiscard]] Index match() const { return match_; }
  [[nodiscard]] Index next() const { return next_; }
  [[nodiscard]] ProgressState state() const { return state_; }
  [[nodiscard]] Index pending_snapshot() const { return pending_snapshot_; }
  [[nodiscard]] const Inflights& inflights() const { return inflights_; }
  /// E.g. "StateProbe match=3 next=4 learner paused": for traces.
  [[nodiscard]] std::string describe() const;

  bool learner = false;
  bool recent_active = false;               ///< a message arrived since the last quorum check
  bool flow_paused = false;                 ///< no further append until an answer or a heartbeat answer
  Round round_acked;                        ///< newest heartbeat round it answered
  std::optional<TimePoint> last_contact;    ///< when its last message arrived
  std::optional<DiskTimes> disk;            ///< what it said of its disk last
  void clear_pending_snapshot() { pending_snapshot_ = Index{}; }

 private:
  void reset(ProgressState state);

  Index match_;
  Index next_;
  Index sent_commit_;
  ProgressState state_ = ProgressState::kProbe;
  Index pending_snapshot_;
  Inflights inflights_;
};

}  // namespace store::raft
