#include "tests/unit/gossip/cluster.h"

#include <algorithm>

namespace gossip::test {

std::size_t Cluster::add(const std::function<void(Config&)>& change) {
  const std::size_t number = nodes.size();
  Node node;
  node.config.id.bytes = {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number), 7, 7};
  node.config.name = "n" + std::to_string(number);
  node.config.advertise =
      Address::ipv4(10, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number), 7946);
  node.config.cluster = "test";
  if (change) change(node.config);
  node.name = node.config.name;
  node.address = node.config.advertise;
  node.aead = std::make_unique<support::ToyAead>(4711);
  node.power = Power::kKilled;
  nodes.push_back(std::move(node));
  return number;
}

void Cluster::start(std::size_t number, const std::vector<std::size_t>& seeds, bool with_disk) {
  Node& node = nodes.at(number);
  by_address_[node.config.advertise] = number;
  node.address = node.config.advertise;
  ++node.life;
  node.power = Power::kOn;
  node.pending.clear();
  node.peers.clear();
  node.stream_clear.clear();
  const auto running = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  auto rng = std::make_shared<Chance>(seed_ * 1000003 + number * 7919 + node.life);
  Aead* aead = node.config.plaintext ? nullptr : node.aead.get();
  node.swim = std::make_unique<Swim>(
      node.config, [rng](std::uint64_t bound) { return (*rng)(bound); }, aead, now,
      wall_ms + static_cast<std::uint64_t>(running));
  if (with_disk && !node.disk.empty()) {
    if (!node.swim->restore(now, node.disk)) std::abort();
  }
  std::vector<Address> addresses;
  for (const auto seed : seeds) addresses.push_back(nodes.at(seed).config.advertise);
  if (!node.swim->join(now, addresses)) std::abort();
  drain(number);
}

void Cluster::form(std::size_t count, const std::function<void(Config&)>& change) {
  for (std::size_t i = 0; i < count; ++i) add(change);
  for (std::size_t i = 0; i < count; ++i) {
    start(i, i == 0 ? std::vector<std::size_t>{} : std::vector<std::size_t>{0});
    run(10ms);
  }
  run_until([this] { return converged(); }, 60s);
}

void Cluster::set_power(std::size_t number, Power power) {
  Node& node = nodes.at(number);
  const Power before = std::exchange(node.power, power);
  if (power == Power::kKilled || power == Power::kCrashed) {
    const auto peers = std::exchange(node.peers, {});
    ++node.life;
    if (power == Power::kCrashed) return;
    for (const auto& [mine, other] : peers) {  // the kernel resets what a killed process had open
      const auto [peer, its] = other;
      deliver(peer, nodes[peer].life,
              [its = its, this](Swim& swim) { swim.on_stream_closed(now, its, Failure::kRefused); });
    }
    return;
  }
  if (before != Power::kFrozen || power != Power::kOn) return;
  const auto pending = std::exchange(node.pending, {});
  for (const auto& act : pending) act();
  node.swim->tick(now);
  drain(number);
}

void Cluster::run(Duration time) {
  const TimePoint end = now + time;
  while (!events_.empty() && events_.top().at <= end) {
    const auto act = events_.top().act;
    now = std::max(now, events_.top().at);
    events_.pop();
    act();
  }
  now = end;
}

Duration Cluster::run_until(const std::function<bool()>& condition, Duration limit) {
  const TimePoint begin = now;
  while (!condition()) {
    if (now - begin >= limit) return limit;
    run(5ms);
  }
  return now - begin;
}

Duration Cluster::delay() { return latency + std::chrono::microseconds(chance_(100)); }
bool Cluster::lost(std::size_t from) {
  return chance_.percent(loss_percent) || (loss_of && chance_.percent(loss_of(from)));
}

void Cluster::deliver(std::size_t number, std::uint64_t life, std::function<void(Swim&)> act) {
  Node& node = nodes.at(number);
  if (node.life != life || node.power == Power::kKilled || node.power == Power::kCrashed) return;
  if (node.power == Power::kFrozen) {
    if (node.pending.size() < 4096) node.pending.push_back([this, number, act] { act(*nodes.at(number).swim); });
    return;
  }
  act(*node.swim);
  drain(number);
}

void Cluster::arm(std::size_t number) {
  Node& node = nodes.at(number);
  const TimePoint due = std::max(node.swim->next_deadline(), now);
  if (due == node.wake) return;
  node.wake = due;
  at(due, [this, number, due, life = node.life] {
    Node& target = nodes.at(number);
    if (target.wake != due || target.life != life) return;
    target.wake = {};
    if (target.power != Power::kOn) return;
    target.swim->tick(now);
    drain(number);
  });
}

void Cluster::drain(std::size_t number) {
  for (auto& output : nodes.at(number).swim->take_output()) {
    if (auto* datagram = std::get_if<SendDatagram>(&output))
      send_datagram(number, *datagram);
    else if (auto* open = std::get_if<OpenStream>(&output))
      open_stream(number, *open, 0);
    else if (auto* send = std::get_if<SendStream>(&output))
      send_stream(number, *send);
    else if (auto* close = std::get_if<CloseStream>(&output))
      close_stream(number, close->id);
    else if (auto* persist = std::get_if<Persist>(&output))
      nodes.at(number).disk = std::move(persist->snapshot);
    else if (auto* event = std::get_if<Event>(&output)) {
      nodes.at(number).events.emplace_back(now, *event);
      if (event->kind != EventKind::kDead) continue;
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (id(i) == event->subject && nodes[i].power == Power::kOn) false_deaths_.emplace_back(now, number);
      }
    }
  }
  arm(number);
}

void Cluster::send_datagram(std::size_t from, SendDatagram& datagram) {
  ++nodes.at(from).datagrams;
  const auto found = by_address_.find(datagram.to);
  if (found == by_address_.end()) return;
  const std::size_t to = found->second;
  if (lost(from) || cut(from, to) || (udp_blocked && udp_blocked(from, to))) return;
  if (nodes[to].power == Power::kKilled) {
    at(now + 2 * delay(), [this, from, address = datagram.to, life = nodes[from].life] {
      deliver(from, life, [this, address](Swim& swim) { swim.on_datagram_error(now, address, Failure::kRefused); });
    });
    return;
  }
  const Address source = nodes[from].address;
  if (record) recording.emplace_back(to, source, datagram.bytes);
  at(now + delay(), [this, to, source, bytes = std::move(datagram.bytes), life = nodes[to].life] {
    deliver(to, life, [this, source, bytes](Swim& swim) { swim.on_datagram(now, source, bytes); });
  });
}

void Cluster::open_stream(std::size_t from, const OpenStream& open, int attempt) {
  const auto found = by_address_.find(open.to);
  const auto life = nodes[from].life;
  const bool gone = found == by_address_.end() || nodes[found->second].power == Power::kCrashed;
  if (gone || lost(from) || lost(from) || cut(from, found->second) || cut(found->second, from)) {
    if (attempt >= 4) return;
    at(now + 1s * (1 << attempt), [this, from, open, attempt, life] {
      if (nodes[from].life == life) open_stream(from, open, attempt + 1);
    });
    return;
  }
  const std::size_t to = found->second;
  if (nodes[to].power == Power::kKilled) {
    at(now + 2 * delay(), [this, from, open, life] {
      deliver(from, life, [this, open](Swim& swim) { swim.on_stream_closed(now, open.id, Failure::kRefused); });
    });
    return;
  }
  at(now + 2 * delay(), [this, from, to, id = open.id, life] {
    if (nodes[from].life == life) accept(from, to, id);
  });
}

void Cluster::accept(std::size_t from, std::size_t to, StreamId id) {
  const Address ephemeral = *Address::from_bytes(
      nodes[from].address.bytes(), static_cast<std::uint16_t>(20000 + static_cast<std::uint64_t>(id) % 20000));
  deliver(to, nodes[to].life, [this, from, to, id, ephemeral](Swim& swim) {
    if (const auto mine = swim.accept_stream(now, ephemeral)) {
      nodes[to].peers[*mine] = {from, id};
      nodes[from].peers[id] = {to, *mine};
    }
  });
  deliver(from, nodes[from].life, [this, id](Swim& swim) { swim.on_stream_opened(now, id); });
}

void Cluster::send_stream(std::size_t from, SendStream& send) {
  const auto peer = nodes[from].peers.find(send.id);
  if (peer == nodes[from].peers.end()) return;
  const auto [to, its] = peer->second;
  if (cut(from, to)) return;
  TimePoint arrival = std::max(now + delay(), nodes[from].stream_clear[send.id]);
  while (lost(from)) arrival += 200ms;
  nodes[from].stream_clear[send.id] = arrival;
  at(arrival, [this, to = to, its = its, bytes = std::move(send.bytes), life = nodes[to].life] {
    deliver(to, life, [this, its, bytes](Swim& swim) { swim.on_stream_data(now, its, bytes); });
  });
}

void Cluster::close_stream(std::size_t from, StreamId id) {
  const auto peer = nodes[from].peers.find(id);
  if (peer == nodes[from].peers.end()) return;
  const auto [to, its] = peer->second;
  nodes[from].peers.erase(peer);
  if (cut(from, to)) return;
  const TimePoint arrival = std::max(now + delay(), nodes[from].stream_clear[id]);
  at(arrival, [this, to = to, its = its, life = nodes[to].life] {
    nodes[to].peers.erase(its);
    deliver(to, life, [this, its](Swim& swim) { swim.on_stream_closed(now, its, Failure::kClosed); });
  });
}

MemberState Cluster::state(std::size_t viewer, std::size_t subject) const {
  const Member* member = nodes.at(viewer).swim->find(id(subject));
  return member != nullptr ? member->state : MemberState::kLeft;
}

bool Cluster::converged() const {
  const Swim* first = nullptr;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].power != Power::kOn || nodes[i].swim->self().state == MemberState::kLeft) continue;
    if (first == nullptr) first = nodes[i].swim.get();
    if (nodes[i].swim->digest() != first->digest()) return false;
    for (std::size_t j = 0; j < nodes.size(); ++j) {
      const bool on = nodes[j].power == Power::kOn && nodes[j].swim->self().state != MemberState::kLeft;
      if ((state(i, j) == MemberState::kAlive) != on) return false;
    }
  }
  return true;
}

bool Cluster::all_see(std::size_t subject, MemberState wanted) const {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (i == subject || nodes[i].power != Power::kOn) continue;
    if (state(i, subject) != wanted) return false;
  }
  return true;
}

std::size_t Cluster::count_events(EventKind kind, const std::function<bool(std::size_t, const Event&)>& match) const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const auto& [when, event] : nodes[i].events)
      count += event.kind == kind && (!match || match(i, event)) ? 1 : 0;
  }
  return count;
}

std::size_t Cluster::false_deaths() const { return false_deaths_.size(); }

}  // namespace gossip::test
