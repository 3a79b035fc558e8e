#include "tests/sim/mesh.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

namespace sim {
namespace {

constexpr Nanos kPauseMin = 20 * kMillisecond;
constexpr Nanos kPauseMax = 1 * kSecond;

Bytes hello(RaftId self) {
  Bytes bytes(sizeof self);
  std::memcpy(bytes.data(), &self, sizeof self);
  return bytes;
}

}  // namespace

Mesh::Mesh(int machine, RaftId self, Network* network, Scheduler* scheduler, support::Random* random, Events events,
           std::function<void(std::function<void()>)> run)
    : machine_(machine),
      self_(self),
      network_(network),
      scheduler_(scheduler),
      random_(random),
      events_(std::move(events)),
      run_(std::move(run)) {}

void Mesh::set_peer(RaftId peer, int machine) {
  if (peer == self_ || peers_.count(peer) != 0) {
    return;
  }
  peers_[peer].machine = machine;
  dial(peer, 0);
  dial(peer, 1);
}

void Mesh::dial(RaftId peer, int which) {
  Peer& target = peers_.at(peer);
  Stream& stream = target.streams[which];
  if (stream.up || stream.dialling) {
    return;
  }
  stream.dialling = true;
  stream.id = network_->connect(machine_, target.machine, Port::kMesh);
  outbound_[stream.id] = {peer, which};
}

void Mesh::dial_later(RaftId peer, int which) {
  Stream& stream = peers_.at(peer).streams[which];
  stream.pause = std::clamp(stream.pause * 2, kPauseMin, kPauseMax);
  const Nanos pause = stream.pause / 2 + random_->between(0, stream.pause / 2);
  scheduler_->after(pause, [this, peer, which, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    run_([this, peer, which, alive] {
      if (!alive.expired()) dial(peer, which);
    });
  });
}

void Mesh::send(RaftId peer, Bytes frame, bool urgent) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) {
    ++dropped_;
    return;
  }
  Stream& stream = it->second.streams[urgent ? 1 : 0];
  if (stream.up) {
    network_->send(stream.id, machine_, std::move(frame));
    return;
  }
  if (stream.queue.size() == kQueueFramesMax) {
    stream.queue.pop_front();
    ++dropped_;
  }
  stream.queue.push_back(std::move(frame));
  queued_max_ = std::max(queued_max_, stream.queue.size());
}

std::optional<std::pair<RaftId, int>> Mesh::owner(ConnectionId id) const {
  const auto it = outbound_.find(id);
  return it == outbound_.end() ? std::nullopt : std::optional(it->second);
}

bool Mesh::on_connected(ConnectionId id) {
  const auto whose = owner(id);
  if (!whose) {
    return false;
  }
  Peer& peer = peers_.at(whose->first);
  Stream& stream = peer.streams[whose->second];
  stream.dialling = false;
  stream.up = true;
  stream.pause = 0;
  peer.was_reset = false;
  network_->send(id, machine_, hello(self_));
  while (!stream.queue.empty()) {
    network_->send(id, machine_, std::move(stream.queue.front()));
    stream.queue.pop_front();
  }
  if (whose->second == 1) {
    events_.connected(whose->first);
  }
  return true;
}

bool Mesh::on_received(ConnectionId id, Bytes& bytes) {
  const auto it = inbound_.find(id);
  if (it == inbound_.end()) {
    return false;
  }
  if (!it->second) {
    RaftId from = 0;
    if (bytes.size() == sizeof from) {
      std::memcpy(&from, bytes.data(), sizeof from);
      it->second = from;
    }
    return true;
  }
  events_.frame(*it->second, std::move(bytes));
  return true;
}

bool Mesh::on_closed(ConnectionId id, CloseReason reason) {
  if (inbound_.erase(id) != 0) {
    return true;
  }
  const auto whose = owner(id);
  if (!whose) {
    return false;
  }
  outbound_.erase(id);
  const auto [peer_id, which] = *whose;
  Peer& peer = peers_.at(peer_id);
  Stream& stream = peer.streams[which];
  const bool was_up = stream.up;
  stream.up = false;
  stream.dialling = false;
  peer.was_reset |= was_up && reason == CloseReason::kReset;
  if (was_up && reason == CloseReason::kReset) {
    dial(peer_id, which);  // at once: a refusal now is proof that the process is gone
  } else {
    dial_later(peer_id, which);
  }
  if (which != 1) {
    return true;
  }
  if (was_up) {
    events_.lost(peer_id);
  } else if (reason == CloseReason::kRefused && peer.was_reset) {
    peer.was_reset = false;
    events_.refused(peer_id);
  }
  return true;
}

}  // namespace sim
