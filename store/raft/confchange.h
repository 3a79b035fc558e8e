#pragma once

#include <span>

#include "store/raft/error.h"
#include "store/raft/tracker.h"

/// Rules by which one configuration becomes the next.
/// Source: thesis 4.1 (one server at a time), 4.3 (joint consensus), 4.2.1 (learners); details as in etcd-io/raft,
/// whose confchange vectors these functions pass. Pure: they answer a new configuration and change nothing.
namespace store::raft {

/// A configuration together with the progress of its members.
struct Configuration {
  Members members;
  ProgressMap progress;
};

class Changer {
 public:
  /// @param from      the present configuration; copied
  /// @param inflight  window size for new members
  /// @param last      last index of the log: where the probing of a new member begins
  Changer(Configuration from, std::size_t inflight, Index last)
      : from_(std::move(from)), inflight_(inflight), last_(last) {}

  // Error of all: kConfChangeInvalid, detail says why.

  /// At most one voter more or less, not while joint.
  [[nodiscard]] Result<Configuration> simple(std::span<const ConfChangeStep> steps) const;
  enum class Leave : std::uint8_t { kExplicit, kAuto };
  /// The present voters become the outgoing half; steps apply to the incoming half.
  [[nodiscard]] Result<Configuration> enter_joint(Leave leave, std::span<const ConfChangeStep> steps) const;
  /// Only the incoming half stays.
  [[nodiscard]] Result<Configuration> leave_joint() const;
  /// Whichever of the three `change` asks for.
  [[nodiscard]] Result<Configuration> apply(const ConfChange& change) const;

 private:
  Result<void> apply_steps(Configuration& to, std::span<const ConfChangeStep> steps) const;
  void make_voter(Configuration& to, NodeId id) const;
  void make_learner(Configuration& to, NodeId id) const;
  static void remove(Configuration& to, NodeId id);
  void add_progress(Configuration& to, NodeId id, bool learner) const;

  Configuration from_;
  std::size_t inflight_;
  Index last_;
};

/// The configuration that `conf` names, every member probed after `last`.
/// Errors: kConfChangeInvalid if the lists contradict each other.
[[nodiscard]] Result<Configuration> restore(const ConfState& conf, std::size_t inflight, Index last);

/// @return empty if the invariants of Members hold and exactly the members have a Progress, else what is wrong.
[[nodiscard]] std::string check(const Configuration& configuration);

}  // namespace store::raft
