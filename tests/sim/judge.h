#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/primary.h"
#include "store/raft/message.h"
#include "tests/sim/scheduler.h"

namespace sim {

/// Watches every node from outside and says which promise was broken first. It keeps what it saw itself and believes
/// no node's word about another.
/// Rules, each with its source:
///   election safety       at most one leader per term                                   (thesis 3.2)
///   log matching          same index and term, same entry and same predecessor           (thesis 3.2)
///   leader completeness   a new leader's log holds everything committed before           (thesis 3.2)
///   state-machine safety  what is committed at an index never changes, on any node, and equal indexes mean equal
///                         states                                                         (thesis 3.2)
///   durable majority      a leader calls an entry committed only when it is on disk at a majority (store.md)
///   own-term commit       a leader counts copies only of entries of its own term             (thesis 3.6.2)
///   one vote per term     a node never votes for two candidates of one term, across restarts too (thesis 3.4)
///   elected by a majority the votes for a new leader are on the disks of a majority, of both halves if joint (3.4, 4.3)
///   equal configurations  equal applied indexes mean equal configurations                 (thesis 4.1)
///   I1                    at most one node passes the lease check at any real time       (design.md 5)
///   I4                    every grant of the lease has an epoch above all before it      (design.md 5)
/// Ownership: a value; nodes report to it.
class Judge {
 public:
  explicit Judge(int nodes);

  /// Records the first violation; later ones are only consequences.
  void fail(Nanos now, const std::string& rule, const std::string& what);
  [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }

  // --- Raft. ---

  /// Node appended `entries` (replacing everything from the first of them on).
  void appended(Nanos now, int node, const std::vector<store::raft::Entry>& entries);
  /// The node's log begins behind this entry now, empty (snapshot installed, or a new process before `appended`).
  void log_starts_after(int node, store::raft::Index index, store::raft::Term term);
  /// It lost everything after `last` without getting anything new.
  void log_ends_at(int node, store::raft::Index last);
  /// Term of the entry at `index` as the node's log was last reported; none outside of what was reported.
  [[nodiscard]] std::optional<store::raft::Term> term_at(int node, store::raft::Index index) const;
  [[nodiscard]] store::raft::Index log_end(int node) const;
  /// The node says that everything up to `commit` is committed.
  void committed(Nanos now, int node, store::raft::Index commit);
  /// Is the entry at `commit` on disk at a majority of the voters, of both halves if `conf` is joint?
  /// `durable` says whether a node's disk holds (index, term) for sure. True for what lies before the log as reported.
  [[nodiscard]] bool durable_majority(
      int leader, store::raft::Index commit, const store::raft::ConfState& conf,
      const std::function<bool(store::raft::NodeId, store::raft::Index, store::raft::Term)>& durable) const;
  /// A leader of `term` moved its commit index to `commit` by counting copies.
  void counted(Nanos now, int leader, store::raft::Index commit, store::raft::Term term);
  [[nodiscard]] store::raft::Index commit_seen(int node) const;
  void leads(Nanos now, int node, store::raft::Term term);
  void voted(Nanos now, int node, store::raft::Term term, store::raft::NodeId candidate);
  /// The node means to vote so; what counts is what its disk says. A vote that never came to the disk because a later
  /// term came there first is as good: the node can vote in that term no more.
  void means_to_vote(int node, store::raft::Term term, store::raft::NodeId candidate);
  /// Did a majority of `conf` vote for `leader` in `term`, as far as disks show? `node_of` names a voter's number here.
  [[nodiscard]] bool elected(store::raft::NodeId leader, store::raft::Term term, const store::raft::ConfState& conf,
                             const std::function<int(store::raft::NodeId)>& node_of) const;
  /// The configuration at `node` after applying `index`.
  void conf_is(Nanos now, int node, store::raft::Index index, const store::raft::ConfState& conf);
  /// Hash of the whole state machine at `node` after applying `index`.
  void state_is(Nanos now, int node, store::raft::Index index, std::uint64_t hash);

  // --- The lease. ---

  /// Who passes the lease check at this instant, stopped processes included.
  void passes(Nanos now, const std::vector<std::pair<int, agent::Epoch>>& nodes);
  /// A node's Primary was told that `epoch` is its own.
  void granted(Nanos now, int node, agent::Epoch epoch);
  /// The lease record as a node's state machine shows it at `index`.
  void lease_is(Nanos now, int node, store::raft::Index index, agent::Epoch epoch, agent::HolderId holder);

  [[nodiscard]] store::raft::Index committed_up_to() const { return store::raft::Index{committed_.size()}; }
  [[nodiscard]] std::uint64_t grants() const { return grants_; }
  [[nodiscard]] std::uint64_t terms() const { return leaders_.size(); }

 private:
  struct Slot {
    std::uint64_t term = 0;
    std::uint64_t hash = 0;
  };
  struct NodeLog {
    std::uint64_t base = 0;  ///< index before slots[0]
    std::uint64_t base_term = 0;
    std::vector<Slot> slots;
    std::uint64_t commit_seen = 0;
    std::uint64_t lease_index = 0;
    std::uint64_t lease_epoch = 0;
  };
  [[nodiscard]] const Slot* slot(const NodeLog& log, std::uint64_t index) const;
  void check_matching(Nanos now, int node, std::uint64_t index, std::uint64_t previous_term, const Slot& slot);
  void check_complete(Nanos now, int node, std::uint64_t term);

  std::vector<NodeLog> logs_;
  std::vector<Slot> committed_;  ///< [i - 1]: what is committed at index i; term 0 = never seen itself
  std::vector<std::uint64_t> committed_in_term_;  ///< leader's term at which index i was first known committed
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>> entries_;
  std::map<std::uint64_t, int> leaders_;
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> votes_;
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> meant_;
  std::map<int, std::uint64_t> disk_terms_;
  std::map<std::uint64_t, std::uint64_t> states_;
  std::map<std::uint64_t, store::raft::ConfState> confs_;
  std::map<std::uint64_t, std::uint64_t> holders_;  ///< epoch -> holder, as any state machine showed it
  std::map<std::uint64_t, int> granted_;
  std::uint64_t last_passed_epoch_ = 0;
  std::uint64_t grants_ = 0;
  std::optional<std::string> violation_;
};

}  // namespace sim
