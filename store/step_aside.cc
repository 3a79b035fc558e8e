#include "store/step_aside.h"

#include <algorithm>

namespace store {
namespace {

/// Rules 3 and 4: the one with most of the log, if they are a majority by themselves.
std::optional<NodeId> best_of(const std::vector<const raft::PeerStatus*>& fit, const raft::ConfState& conf, raft::Index last) {
  const raft::PeerStatus* best = nullptr;
  for (const raft::PeerStatus* peer : fit) {
    const bool close = peer->state == raft::ProgressState::kReplicate && peer->match.plus(StepAside::kBehindMax) >= last;
    if (close && (best == nullptr || peer->match > best->match)) best = peer;
  }
  if (best == nullptr || 2 * fit.size() <= conf.voters.size()) return std::nullopt;
  return best->id;
}

}  // namespace

void StepAside::take_office(TimePoint now) {
  office_since_ = now;
  slow_since_.reset();
}

std::optional<NodeId> StepAside::successor(const std::vector<raft::PeerStatus>& peers, const raft::ConfState& conf,
                                           raft::Index last, TimePoint now) {
  const auto next = candidate(peers, conf, last, now);
  if (!next) {
    slow_since_.reset();
    return std::nullopt;
  }
  if (!slow_since_) slow_since_ = now;
  const bool long_enough = now - *slow_since_ >= kHold && now - office_since_ >= kHold;
  const bool paused = stepped_at_ && now - *stepped_at_ < kPause;
  if (!long_enough || paused) return std::nullopt;
  stepped_at_ = now;
  slow_since_.reset();
  return next;
}

/// The voter to hand over to if the present figures alone decided; none if there is no reason, or nobody fit for it.
std::optional<NodeId> StepAside::candidate(const std::vector<raft::PeerStatus>& peers, const raft::ConfState& conf,
                                           raft::Index last, TimePoint now) const {
  if (!conf.voters_outgoing.empty()) return std::nullopt;  // not in the middle of a change
  const auto own = std::find_if(peers.begin(), peers.end(), [this](const auto& peer) { return peer.id == self_; });
  if (own == peers.end() || !own->disk || own->disk->fsync_p99 <= kFloor) return std::nullopt;
  std::vector<const raft::PeerStatus*> healthy;
  for (const raft::PeerStatus& peer : peers) {
    if (fit(peer, conf, now) && peer.disk && peer.disk->fsync_p99 * kFactor < own->disk->fsync_p99) healthy.push_back(&peer);
  }
  return best_of(healthy, conf, last);
}

std::optional<NodeId> StepAside::successor_of_hung(const std::vector<raft::PeerStatus>& peers, const raft::ConfState& conf, raft::Index last,
                                                   TimePoint now) const {
  if (!conf.voters_outgoing.empty()) return std::nullopt;
  std::vector<const raft::PeerStatus*> heard;
  for (const raft::PeerStatus& peer : peers) {
    if (fit(peer, conf, now)) heard.push_back(&peer);
  }
  return best_of(heard, conf, last);
}

/// Another voter that was heard lately.
bool StepAside::fit(const raft::PeerStatus& peer, const raft::ConfState& conf, TimePoint now) const {
  const bool votes = std::binary_search(conf.voters.begin(), conf.voters.end(), peer.id);
  return votes && peer.id != self_ && peer.last_contact && now - *peer.last_contact <= silent_after_;
}

}  // namespace store
