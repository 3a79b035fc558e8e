#include "store/membership.h"

#include <algorithm>

namespace store {
namespace {

using raft::ConfChange;
using raft::ConfChangeKind;
using raft::ConfChangeStep;
using raft::ConfState;

constexpr int kLearnerPatience = 10;  // times replace_after

bool holds(const std::vector<NodeId>& ids, NodeId id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

ConfChange change_of(std::vector<ConfChangeStep> steps) {
  ConfChange change;
  change.steps = std::move(steps);
  return change;
}

std::vector<NodeId> without(std::vector<NodeId> ids, NodeId id) {
  std::erase(ids, id);
  return ids;
}

std::vector<NodeId> with(std::vector<NodeId> ids, NodeId id) {
  ids.push_back(id);
  return ids;
}

}  // namespace

void Membership::take_office() {
  peers_.clear();
  even_since_.reset();
}

void Membership::observe(const std::vector<raft::PeerStatus>& peers, const std::vector<MemberInfo>& members,
                         raft::Index last, TimePoint now) {
  members_ = members;
  std::map<NodeId, Peer> next;
  for (const raft::PeerStatus& status : peers) {
    const auto known = peers_.find(status.id);
    Peer peer = known != peers_.end() ? known->second : Peer{};
    const auto info = std::find_if(members_.begin(), members_.end(),
                                   [&](const MemberInfo& member) { return member.id == status.id; });
    peer.heard =
        status.id == settings_.self || (status.last_contact && now - *status.last_contact <= settings_.silent_after);
    peer.left = info != members_.end() && info->liveness == Liveness::kLeft;
    peer.wants_vote = info == members_.end() || info->wants_vote;
    // Whom Raft hears is there, whatever gossip believes; whom it does not hear is of no use, even if alive.
    if (peer.heard) {
      peer.gone_since.reset();
    } else if (!peer.gone_since) {
      peer.gone_since = now;
    }
    peer.match = status.match;
    if (known == peers_.end()) {
      peer.round_target = last;
      peer.round_began = now;
    }
    observe_round(peer, last, now);
    next.emplace(status.id, peer);
  }
  peers_ = std::move(next);
  const auto voters = std::count_if(peers.begin(), peers.end(), [](const auto& peer) { return !peer.learner; });
  if (voters < 4 || voters % 2 != 0) {
    even_since_.reset();
  } else if (!even_since_) {
    even_since_ = now;
  }
}

// A round ends when the peer has all that the log held when the round began (thesis 4.2.1).
void Membership::observe_round(Peer& peer, raft::Index last, TimePoint now) const {
  if (peer.match >= peer.round_target) {
    peer.caught_up = peer.match > raft::Index{} && now - peer.round_began <= settings_.round_max;
    peer.round_target = last;
    peer.round_began = now;
  } else if (now - peer.round_began > settings_.round_max) {
    peer.caught_up = false;
  }
}

const Membership::Peer* Membership::peer(NodeId id) const {
  const auto found = peers_.find(id);
  return found == peers_.end() ? nullptr : &found->second;
}

bool Membership::present(NodeId id) const {
  if (id == settings_.self) return true;
  const Peer* known = peer(id);
  return known != nullptr && known->heard && !known->left;
}

bool Membership::gone_for(NodeId id, Duration period, TimePoint now) const {
  if (id == settings_.self) return false;
  const Peer* known = peer(id);
  return known != nullptr && known->gone_since && now - *known->gone_since >= period;
}

bool Membership::live_majority(const std::vector<NodeId>& voters) const {
  const auto live = std::count_if(voters.begin(), voters.end(), [this](NodeId id) { return present(id); });
  return 2 * static_cast<std::size_t>(live) > voters.size();
}

std::vector<NodeId> Membership::ready_learners(const ConfState& conf) const {
  std::vector<NodeId> ready;
  for (const NodeId id : conf.learners) {
    const Peer* known = peer(id);
    if (known != nullptr && known->caught_up && known->wants_vote && present(id)) ready.push_back(id);
  }
  return ready;
}

std::optional<ConfChange> Membership::wanted(const ConfState& conf, const kv::ClusterId& ours, TimePoint now) const {
  if (!conf.voters_outgoing.empty()) return std::nullopt;  // joint: Raft leaves it by itself
  const std::vector<NodeId> ready = ready_learners(conf);
  if (auto change = exchange(conf, ready, now)) return change;
  if (auto change = promote(conf, ready)) return change;
  if (auto change = shed_one(conf, now)) return change;
  if (auto change = drop_learner(conf, now)) return change;
  return add_learner(conf, ours);
}

std::optional<ConfChange> Membership::exchange(const ConfState& conf, const std::vector<NodeId>& ready,
                                               TimePoint now) const {
  if (!live_majority(conf.voters)) return std::nullopt;  // could not be committed, and must not be tried
  for (const NodeId id : conf.voters) {
    const Peer* known = peer(id);
    const bool left = id != settings_.self && known != nullptr && known->left;
    if (!left && !gone_for(id, settings_.replace_after, now)) continue;
    const ConfChangeStep removal{ConfChangeKind::kRemove, id};
    if (!ready.empty()) {
      if (live_majority(with(without(conf.voters, id), ready.front())))
        return change_of({removal, {ConfChangeKind::kAddVoter, ready.front()}});
    } else if (left && conf.voters.size() > 1 && live_majority(without(conf.voters, id))) {
      return change_of({removal});
    }
  }
  return std::nullopt;
}

std::optional<ConfChange> Membership::promote(const ConfState& conf, const std::vector<NodeId>& ready) const {
  const std::size_t now_voting = conf.voters.size();
  std::size_t goal = std::min<std::size_t>(settings_.voters_target, now_voting + ready.size());
  if (goal % 2 == 0) --goal;
  if (goal <= now_voting) return std::nullopt;
  std::vector<NodeId> voters = conf.voters;
  std::vector<ConfChangeStep> steps;
  for (std::size_t i = 0; i < goal - now_voting; ++i) {
    voters.push_back(ready[i]);
    steps.push_back({ConfChangeKind::kAddVoter, ready[i]});
  }
  if (!live_majority(voters) || !live_majority(conf.voters)) return std::nullopt;
  return change_of(std::move(steps));
}

std::optional<ConfChange> Membership::shed_one(const ConfState& conf, TimePoint now) const {
  const std::size_t count = conf.voters.size();
  if (count < 4 || count % 2 != 0 || !even_since_ || now - *even_since_ < settings_.replace_after) return std::nullopt;
  NodeId victim;
  for (const NodeId id : conf.voters) {
    if (id == settings_.self) continue;
    if (!present(id)) {
      victim = id;
      break;
    }
    victim = std::max(victim, id);
  }
  if (!live_majority(conf.voters) || !live_majority(without(conf.voters, victim))) return std::nullopt;
  return change_of({{ConfChangeKind::kAddLearner, victim}});
}

std::optional<ConfChange> Membership::drop_learner(const ConfState& conf, TimePoint now) const {
  for (const NodeId id : conf.learners) {
    const Peer* known = peer(id);
    const bool left = known != nullptr && known->left;
    if (left || gone_for(id, kLearnerPatience * settings_.replace_after, now))
      return change_of({{ConfChangeKind::kRemove, id}});
  }
  return std::nullopt;
}

std::optional<ConfChange> Membership::add_learner(const ConfState& conf, const kv::ClusterId& ours) const {
  if (conf.voters.size() + conf.learners.size() >= kv::kMembersMax) return std::nullopt;
  for (const MemberInfo& member : members_) {
    const bool known = holds(conf.voters, member.id) || holds(conf.learners, member.id);
    const bool ours_or_free = member.cluster_id.is_none() || member.cluster_id == ours;
    if (!known && member.id && member.liveness == Liveness::kAlive && ours_or_free)
      return change_of({{ConfChangeKind::kAddLearner, member.id}});
  }
  return std::nullopt;
}

bool Membership::removable(const ConfState& conf, NodeId server) const {
  if (!conf.voters_outgoing.empty()) return false;
  if (!holds(conf.voters, server)) return holds(conf.learners, server);
  return conf.voters.size() > 1 && live_majority(conf.voters) && live_majority(without(conf.voters, server));
}

}  // namespace store
