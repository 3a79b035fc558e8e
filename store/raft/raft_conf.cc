// Membership in the Raft core (thesis 4.1, 4.2, 4.3): a change takes effect when its entry is applied.
#include <algorithm>

#include "store/raft/raft.h"
#include "store/raft/wire.h"

namespace store::raft {

Result<void> Raft::check_conf_change(const ConfChange& change) const {
  if (change.steps.size() > kConfStepsMax || change.context.size() > kConfContextBytesMax) {
    return fail(Errc::kConfChangeInvalid, "more steps or a longer context than the wire format takes");
  }
  if (config_.conf_change_guard == ConfChangeGuard::kNone) return {};
  if (pending_conf_ > log_.applied()) {
    return fail(Errc::kConfChangePending, "possible unapplied change at index " + std::to_string(pending_conf_.value));
  }
  const bool joint = tracker_.members().joint();
  if (joint && !change.leaves_joint()) return fail(Errc::kConfChangePending, "the joint configuration must be left first");
  if (!joint && change.leaves_joint()) return fail(Errc::kConfChangeInvalid, "not in a joint configuration");
  if (config_.conf_change_guard == ConfChangeGuard::kOneAtATime) return {};
  if (!own_term_committed()) return fail(Errc::kConfChangeTooEarly);
  // With one change at a time the present configuration is the one this change will meet.
  const Changer changer({tracker_.members(), tracker_.progress()}, config_.inflight_appends_max, log_.last_index());
  auto tried = changer.apply(change);
  if (!tried) return tl::unexpected(tried.error());
  return {};
}

Result<Proposed> Raft::step(const ProposeConfChange& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return tl::unexpected(ok.error());
  std::vector<Payload> payload{Payload(encode(event.change))};
  if (auto ok = check_proposal(payload); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_conf_change(event.change); !ok) return tl::unexpected(ok.error());
  pending_conf_ = log_.last_index().next();
  const Proposed proposed = append_own({Entry{{}, {}, EntryKind::kConfChange, std::move(payload.front())}});
  broadcast_append();
  return proposed;
}

void Raft::apply_conf_change(const Entry& entry) {
  const auto change = decode_conf_change(entry.data.view());
  if (!change) {
    stop("a committed configuration change can be read", change.error().detail);
    return;
  }
  const Changer changer({tracker_.members(), tracker_.progress()}, config_.inflight_appends_max, log_.last_index());
  auto configuration = changer.apply(*change);
  if (!configuration) {
    stop("a committed configuration change can be made (thesis 4.1)", configuration.error().detail);
    return;
  }
  switch_to(std::move(*configuration));
}

void Raft::switch_to(Configuration configuration) {
  tracker_.set(std::move(configuration.members), std::move(configuration.progress));
  conf_changed_ = true;
  reads_.forget_lease();
  if (role_ != Role::kLeader) {
    // Votes may still come in for a candidate that is no voter any more; nothing it proposed in office would count.
    const bool stands = role_ == Role::kCandidate || role_ == Role::kPreCandidate;
    if (stands && (!voter() || learner())) become_follower(term_, kNobody);
    return;
  }
  if (!voter() || learner()) {
    if (!config_.step_down_on_removal) return;
    // The others would notice by silence only; the best of them can take over at once (3.10, 4.2.2).
    const NodeId successor = config_.hand_over_on_removal ? best_successor() : kNobody;
    if (successor) send_timeout_now(successor);
    become_follower(term_, kNobody);
    return;
  }
  if (maybe_commit()) {
    broadcast_append();
  } else if (config_.send_policy == SendPolicy::kOnOutput) {
    appends_wanted_ = true;
  } else {
    for (const auto& [id, progress] : tracker_.progress()) {
      if (id != config_.id) send_append(id, SendEmpty::kNo);
    }
  }
  if (transferee_ && !tracker_.members().votes(transferee_)) transferee_ = kNobody;
}

/// Leaves a joint configuration that was entered with auto-leave, once its entry is applied (4.3).
void Raft::maybe_leave_joint() {
  if (role_ != Role::kLeader || !tracker_.members().auto_leave || pending_conf_ > log_.applied()) return;
  if (transferee_ || tracker_.find(config_.id) == nullptr) return;
  if (config_.conf_change_guard == ConfChangeGuard::kOwnTermCommitted && !own_term_committed()) return;
  pending_conf_ = log_.last_index().next();
  append_own({Entry{{}, {}, EntryKind::kConfChange, Payload(encode(ConfChange{}))}});
  broadcast_append();
}

}  // namespace store::raft
