#include "store/raft/confchange.h"

#include <algorithm>

namespace store::raft {
namespace {

std::size_t difference(const VoterSet& a, const VoterSet& b) {
  std::size_t count = 0;
  for (NodeId id : a) count += b.contains(id) ? 0 : 1;
  for (NodeId id : b) count += a.contains(id) ? 0 : 1;
  return count;
}

std::string name(NodeId id) { return std::to_string(id.value); }

Result<Configuration> checked(Configuration configuration) {
  std::string wrong = check(configuration);
  if (!wrong.empty()) return fail(Errc::kConfChangeInvalid, std::move(wrong));
  return configuration;
}

}  // namespace

std::string check(const Configuration& configuration) {
  const Members& members = configuration.members;
  VoterSet all = members.voters;
  all.insert(members.outgoing.begin(), members.outgoing.end());
  all.insert(members.learners.begin(), members.learners.end());
  all.insert(members.learners_next.begin(), members.learners_next.end());
  for (NodeId id : all) {
    if (!id) return "node id 0";
    if (!configuration.progress.contains(id)) return "no progress for " + name(id);
  }
  if (configuration.progress.size() != all.size()) return "progress for a node that is no member";
  for (NodeId id : members.learners_next) {
    if (!members.outgoing.contains(id)) return name(id) + " is in learners_next, but not in the outgoing voters";
    if (configuration.progress.at(id).learner) return name(id) + " is in learners_next, but a learner already";
  }
  for (NodeId id : members.learners) {
    if (members.votes(id)) return name(id) + " is a learner and a voter";
    if (!configuration.progress.at(id).learner) return name(id) + " is a learner, but not marked as one";
  }
  if (!members.joint()) {
    if (!members.learners_next.empty()) return "learners_next outside of a joint configuration";
    if (members.auto_leave) return "auto_leave outside of a joint configuration";
  }
  return {};
}

void Changer::add_progress(Configuration& to, NodeId id, bool learner) const {
  (learner ? to.members.learners : to.members.voters).insert(id);
  // Probing begins at the end of the log: the new member is most likely empty and will say so at once.
  Progress progress(std::max(last_, Index{1}), inflight_);
  progress.learner = learner;
  // Counts as active, or a quorum check right after the change would end the leadership.
  progress.recent_active = true;
  to.progress.emplace(id, std::move(progress));
}

void Changer::make_voter(Configuration& to, NodeId id) const {
  const auto found = to.progress.find(id);
  if (found == to.progress.end()) return add_progress(to, id, false);
  found->second.learner = false;
  to.members.learners.erase(id);
  to.members.learners_next.erase(id);
  to.members.voters.insert(id);
}

void Changer::make_learner(Configuration& to, NodeId id) const {
  const auto found = to.progress.find(id);
  if (found == to.progress.end()) return add_progress(to, id, true);
  if (found->second.learner) return;
  Progress kept = found->second;
  remove(to, id);
  // Who votes in the outgoing half must not be a learner yet: it becomes one when the joint configuration is left.
  if (to.members.outgoing.contains(id)) {
    to.members.learners_next.insert(id);
  } else {
    kept.learner = true;
    to.members.learners.insert(id);
  }
  to.progress.insert_or_assign(id, std::move(kept));
}

void Changer::remove(Configuration& to, NodeId id) {
  if (!to.progress.contains(id)) return;
  to.members.voters.erase(id);
  to.members.learners.erase(id);
  to.members.learners_next.erase(id);
  if (!to.members.outgoing.contains(id)) to.progress.erase(id);
}

Result<void> Changer::apply_steps(Configuration& to, std::span<const ConfChangeStep> steps) const {
  for (const ConfChangeStep& step : steps) {
    if (!step.node) continue;  // etcd-io/raft lets 0 stand for a step that was withdrawn
    switch (step.kind) {
      case ConfChangeKind::kAddVoter: make_voter(to, step.node); break;
      case ConfChangeKind::kAddLearner: make_learner(to, step.node); break;
      case ConfChangeKind::kRemove: remove(to, step.node); break;
      case ConfChangeKind::kUpdate: break;
    }
  }
  if (to.members.voters.empty()) return fail(Errc::kConfChangeInvalid, "removed all voters");
  return {};
}

Result<Configuration> Changer::simple(std::span<const ConfChangeStep> steps) const {
  if (from_.members.joint()) {
    return fail(Errc::kConfChangeInvalid, "can't apply simple config change in joint config");
  }
  Configuration to = from_;
  if (auto applied = apply_steps(to, steps); !applied) return tl::unexpected(applied.error());
  if (difference(from_.members.voters, to.members.voters) > 1) {
    return fail(Errc::kConfChangeInvalid, "more than one voter changed without entering joint config");
  }
  return checked(std::move(to));
}

Result<Configuration> Changer::enter_joint(Leave leave, std::span<const ConfChangeStep> steps) const {
  if (from_.members.joint()) return fail(Errc::kConfChangeInvalid, "config is already joint");
  if (from_.members.voters.empty()) return fail(Errc::kConfChangeInvalid, "can't make a zero-voter config joint");
  Configuration to = from_;
  to.members.outgoing = to.members.voters;
  if (auto applied = apply_steps(to, steps); !applied) return tl::unexpected(applied.error());
  to.members.auto_leave = leave == Leave::kAuto;
  return checked(std::move(to));
}

Result<Configuration> Changer::leave_joint() const {
  if (!from_.members.joint()) return fail(Errc::kConfChangeInvalid, "can't leave a non-joint config");
  Configuration to = from_;
  for (NodeId id : to.members.learners_next) {
    to.members.learners.insert(id);
    to.progress.at(id).learner = true;
  }
  to.members.learners_next.clear();
  for (NodeId id : to.members.outgoing) {
    if (!to.members.voters.contains(id) && !to.members.learners.contains(id)) to.progress.erase(id);
  }
  to.members.outgoing.clear();
  to.members.auto_leave = false;
  return checked(std::move(to));
}

Result<Configuration> Changer::apply(const ConfChange& change) const {
  if (change.leaves_joint()) return leave_joint();
  if (!change.enters_joint()) return simple(change.steps);
  return enter_joint(change.transition == Transition::kJointExplicit ? Leave::kExplicit : Leave::kAuto, change.steps);
}

Result<Configuration> restore(const ConfState& conf, std::size_t inflight, Index last) {
  Configuration configuration;
  Members& members = configuration.members;
  members.voters.insert(conf.voters.begin(), conf.voters.end());
  members.outgoing.insert(conf.voters_outgoing.begin(), conf.voters_outgoing.end());
  members.learners.insert(conf.learners.begin(), conf.learners.end());
  members.learners_next.insert(conf.learners_next.begin(), conf.learners_next.end());
  members.auto_leave = conf.auto_leave;
  for (const VoterSet* set : {&members.voters, &members.outgoing, &members.learners, &members.learners_next}) {
    for (NodeId id : *set) {
      Progress progress(std::max(last, Index{1}), inflight);
      progress.learner = set == &members.learners;
      progress.recent_active = true;
      configuration.progress.emplace(id, std::move(progress));
    }
  }
  if (members.voters.empty() && !configuration.progress.empty()) {
    return fail(Errc::kConfChangeInvalid, "members, but no voters");
  }
  return checked(std::move(configuration));
}

}  // namespace store::raft
