#include "tests/sim/network.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace sim {
namespace {

constexpr Nanos kRetransmit = 200 * kMillisecond;
constexpr Nanos kRetransmitMax = 2 * kSecond;
constexpr std::ptrdiff_t kDuplicateAcks = 3;
constexpr Nanos kSynRetry = 1 * kSecond;
constexpr Nanos kCloseRetry = 500 * kMillisecond;

}  // namespace

Network::Network(int size, Scheduler* scheduler, Trace* trace, std::uint64_t seed)
    : scheduler_(scheduler),
      trace_(trace),
      random_(seed, 0x6e6574),
      size_(size),
      machines_(static_cast<std::size_t>(size)),
      links_(static_cast<std::size_t>(size) * static_cast<std::size_t>(size)) {}

Link& Network::link(int from, int to) {
  assert(from >= 0 && from < size_ && to >= 0 && to < size_);
  return links_[static_cast<std::size_t>(from) * static_cast<std::size_t>(size_) + static_cast<std::size_t>(to)];
}

void Network::up(int index, Endpoint* endpoint) {
  Machine& m = machine(index);
  const bool was_off = !m.powered;
  m.endpoint = endpoint;
  m.powered = true;
  m.stopped = false;
  ++m.life;
  if (!was_off) {
    return;
  }
  // A machine that comes back knows none of its old connections: whoever still has one is told so.
  for (auto& [id, connection] : connections_) {
    for (int side = 0; side < 2; ++side) {
      if (connection.ends[side] == index && !connection.open[side]) {
        tell_closed(id, 1 - side, CloseReason::kReset, scheduler_->now());
      }
    }
  }
}

void Network::down(int index, bool powered) {
  Machine& m = machine(index);
  m.endpoint = nullptr;
  m.powered = powered;
  m.stopped = false;
  ++m.life;
  std::vector<ConnectionId> ours;
  for (auto& [id, connection] : connections_) {
    if (connection.ends[0] == index || connection.ends[1] == index) {
      ours.push_back(id);
    }
  }
  for (const ConnectionId id : ours) {
    Connection& connection = connections_.at(id);
    const int side = connection.ends[0] == index ? 0 : 1;
    connection.open[side] = false;
    connection.directions[side].waiting.clear();
    if (powered) {
      tell_closed(id, 1 - side, CloseReason::kReset, scheduler_->now());
    }
    forget_if_dead(id);
  }
}

Network::Connection* Network::find(ConnectionId id) {
  const auto it = connections_.find(id);
  return it == connections_.end() ? nullptr : &it->second;
}

Nanos Network::draw_delay(const Link& quality) { return quality.delay + random_.exponential(quality.jitter); }

void Network::send_datagram(int from, int to, Bytes bytes) {
  ++counters_.datagrams_sent;
  const Link& quality = link(from, to);
  Machine& target = machine(to);
  if (quality.blocked || quality.datagrams_blocked || !target.powered || random_.chance_ppm(quality.loss_ppm) ||
      target.datagrams_in_flight >= kDatagramsInFlightMax) {
    ++counters_.datagrams_lost;
    return;
  }
  Nanos delay = draw_delay(quality);
  if (random_.chance_ppm(quality.reorder_ppm)) {
    delay += random_.between(0, quality.reorder_extra);
  }
  if (!bytes.empty() && random_.chance_ppm(quality.corrupt_ppm)) {
    bytes[random_.below(bytes.size())] ^= static_cast<std::byte>(1U << random_.below(8));
  }
  const std::uint64_t life = target.life;
  if (random_.chance_ppm(quality.duplicate_ppm)) {
    ++target.datagrams_in_flight;
    scheduler_->after(delay + random_.exponential(kMillisecond),
                      [this, from, to, life, copy = bytes] { datagram_arrives(from, to, life, copy); });
  }
  ++target.datagrams_in_flight;
  scheduler_->after(delay, [this, from, to, life, moved = std::move(bytes)]() mutable {
    datagram_arrives(from, to, life, std::move(moved));
  });
}

void Network::datagram_arrives(int from, int to, std::uint64_t life, Bytes bytes) {
  Machine& target = machine(to);
  --target.datagrams_in_flight;
  if (target.endpoint != nullptr) {
    // A datagram does not know for which life of the process it was meant: a new process may well get it.
    target.endpoint->on_datagram(from, std::move(bytes));
    return;
  }
  if (!target.powered || life != target.life || link(to, from).blocked) {
    return;
  }
  const std::uint64_t sender_life = machine(from).life;
  scheduler_->after(draw_delay(link(to, from)), [this, from, to, sender_life] {
    Machine& sender = machine(from);
    if (sender.endpoint != nullptr && sender.life == sender_life) {
      sender.endpoint->on_datagram_refused(to);
    }
  });
}

ConnectionId Network::connect(int from, int to, Port port) {
  const ConnectionId id{next_connection_++};
  ++counters_.connections;
  Connection& connection = connections_[id];
  connection.ends[0] = from;
  connection.ends[1] = to;
  connection.open[0] = true;
  connection.port = port;
  const Nanos give_up = scheduler_->now() + kConnectPatience;
  scheduler_->after(draw_delay(link(from, to)), [this, id, give_up] { try_handshake(id, give_up); });
  return id;
}

void Network::try_handshake(ConnectionId id, Nanos give_up) {
  Connection* connection = find(id);
  if (connection == nullptr || !connection->open[0]) {
    return;
  }
  const int from = connection->ends[0];
  const int to = connection->ends[1];
  const Machine& target = machine(to);
  if (scheduler_->now() >= give_up) {
    break_side(id, 0, CloseReason::kTimeout);
    return;
  }
  const bool lost = link(from, to).blocked || link(to, from).blocked || !target.powered ||
                    random_.chance_ppm(link(from, to).loss_ppm) || random_.chance_ppm(link(to, from).loss_ppm);
  if (lost) {
    scheduler_->at(std::min(give_up, scheduler_->now() + kSynRetry), [this, id, give_up] { try_handshake(id, give_up); });
    return;
  }
  if (target.endpoint == nullptr) {
    tell_closed(id, 0, CloseReason::kRefused, scheduler_->now());
    return;
  }
  if (target.stopped && connection->port == Port::kMesh) {
    // The kernel has taken the connection, the process has not: ask again until it goes on or patience ends.
    scheduler_->at(std::min(give_up, scheduler_->now() + 10 * kMillisecond),
                   [this, id, give_up] { try_handshake(id, give_up); });
    return;
  }
  connection->open[1] = true;
  target.endpoint->on_accepted(id, from, connection->port);
  scheduler_->after(draw_delay(link(to, from)), [this, id] { finish_handshake(id); });
}

void Network::finish_handshake(ConnectionId id) {
  Connection* connection = find(id);
  if (connection == nullptr || !connection->open[0]) {
    return;
  }
  connection->established = true;
  Endpoint* dialler = machine(connection->ends[0]).endpoint;
  assert(dialler != nullptr);
  // Answers of the acceptor that overtook the handshake have been waiting for this.
  scheduler_->after(0, [this, id] { pump(id, 1); });
  dialler->on_connected(id);
}

void Network::send(ConnectionId id, int from, Bytes bytes) {
  Connection* connection = find(id);
  if (connection == nullptr) {
    return;
  }
  const int side = connection->ends[0] == from ? 0 : 1;
  if (!connection->open[side]) {
    return;
  }
  ++counters_.segments_sent;
  connection->directions[side].waiting.push_back({std::move(bytes)});
  if (!connection->directions[side].pumping) {
    connection->directions[side].pumping = true;
    scheduler_->after(0, [this, id, side] { pump(id, side); });
  }
}

void Network::close(ConnectionId id, int from) {
  Connection* connection = find(id);
  if (connection == nullptr) {
    return;
  }
  const int side = connection->ends[0] == from ? 0 : 1;
  if (!connection->open[side]) {
    return;
  }
  connection->open[side] = false;
  if (!connection->open[1 - side]) {
    forget_if_dead(id);
    return;
  }
  Direction& direction = connection->directions[side];
  direction.waiting.push_back({{}, true});
  if (!direction.pumping) {
    direction.pumping = true;
    scheduler_->after(0, [this, id, side] { pump(id, side); });
  }
}

void Network::pump(ConnectionId id, int side) {
  Connection* connection = find(id);
  if (connection == nullptr) {
    return;
  }
  Direction& direction = connection->directions[side];
  direction.pumping = false;
  if (direction.waiting.empty() || (side == 1 && !connection->established)) {
    return;
  }
  const int from = connection->ends[side];
  const int to = connection->ends[1 - side];
  const Link& quality = link(from, to);
  if (quality.blocked || !machine(to).powered || link(to, from).blocked) {
    stall(id, side);
    return;
  }
  direction.stalled_since = -1;
  direction.backoff = 0;
  // The receiver keeps what got there and asks for what did not: of a burst with many holes, one repetition fills all
  // of them that it does not lose again, and each repetition finds the link as it is by then.
  for (Segment& segment : direction.waiting) {
    segment.there = segment.there || !random_.chance_ppm(quality.loss_ppm);
  }
  const Nanos arrival = scheduler_->now() + draw_delay(quality);
  while (!direction.waiting.empty() && direction.waiting.front().there) {
    direction.last_arrival = std::max(arrival, direction.last_arrival + 1);
    scheduler_->at(direction.last_arrival, [this, id, side, segment = std::move(direction.waiting.front())]() mutable {
      segment_arrives(id, side, std::move(segment));
    });
    direction.waiting.pop_front();
  }
  if (direction.waiting.empty()) return;
  // Behind the hole, what got there makes duplicate acks and so a quick repetition; too little of it waits for the
  // timer.
  const auto behind = std::count_if(direction.waiting.begin(), direction.waiting.end(),
                                    [](const Segment& segment) { return segment.there; });
  const Nanos round_trip = 2 * quality.delay + kMillisecond;
  direction.pumping = true;
  scheduler_->after(behind >= kDuplicateAcks ? std::min(round_trip, kRetransmitMax) : kRetransmit,
                    [this, id, side] { pump(id, side); });
}

void Network::stall(ConnectionId id, int side) {
  Connection* connection = find(id);
  Direction& direction = connection->directions[side];
  const Nanos now = scheduler_->now();
  if (direction.stalled_since < 0) {
    direction.stalled_since = now;
    direction.backoff = kRetransmit;
  }
  if (now - direction.stalled_since >= kStreamPatience) {
    ++counters_.broken;
    const bool had_it = connection->open[side];
    connection->open[side] = false;
    direction.waiting.clear();
    tell_closed(id, 1 - side, CloseReason::kReset, now);
    if (had_it && machine(connection->ends[side]).endpoint != nullptr) {
      machine(connection->ends[side]).endpoint->on_closed(id, CloseReason::kTimeout);
    }
    forget_if_dead(id);
    return;
  }
  direction.pumping = true;
  scheduler_->after(direction.backoff, [this, id, side] { pump(id, side); });
  direction.backoff = std::min(direction.backoff * 2, kRetransmitMax);
}

void Network::segment_arrives(ConnectionId id, int side, Segment segment) {
  Connection* connection = find(id);
  if (connection == nullptr) {
    return;
  }
  const int to = 1 - side;
  if (!connection->open[to]) {
    // Nobody there any more: a reset goes back.
    if (machine(connection->ends[to]).powered) {
      tell_closed(id, side, CloseReason::kReset, scheduler_->now());
    }
    return;
  }
  if (segment.finish) {
    break_side(id, to, CloseReason::kFinished);
    return;
  }
  Endpoint* receiver = machine(connection->ends[to]).endpoint;
  assert(receiver != nullptr);
  receiver->on_received(id, std::move(segment.bytes));
}

void Network::break_side(ConnectionId id, int side, CloseReason reason) {
  Connection* connection = find(id);
  if (connection == nullptr || !connection->open[side]) {
    return;
  }
  connection->open[side] = false;
  connection->directions[side].waiting.clear();
  Endpoint* endpoint = machine(connection->ends[side]).endpoint;
  forget_if_dead(id);
  if (endpoint != nullptr) {
    endpoint->on_closed(id, reason);
  }
}

void Network::tell_closed(ConnectionId id, int side, CloseReason reason, Nanos earliest) {
  Connection* connection = find(id);
  if (connection == nullptr || !connection->open[side]) {
    return;
  }
  const Link& quality = link(connection->ends[1 - side], connection->ends[side]);
  if (quality.blocked) {
    scheduler_->at(earliest + kCloseRetry,
                   [this, id, side, reason] { tell_closed(id, side, reason, scheduler_->now()); });
    return;
  }
  const Nanos arrival = std::max(earliest + draw_delay(quality), connection->directions[1 - side].last_arrival + 1);
  scheduler_->at(arrival, [this, id, side, reason] { break_side(id, side, reason); });
}

void Network::forget_if_dead(ConnectionId id) {
  const auto it = connections_.find(id);
  if (it != connections_.end() && !it->second.open[0] && !it->second.open[1]) {
    connections_.erase(it);
  }
}

}  // namespace sim
