// The gossip side of a simulated agent: datagrams, streams, tags, and what the members' list tells the store.

#include <cstring>
#include <utility>
#include <variant>

#include "tests/sim/process.h"

namespace sim {
namespace {

constexpr std::uint16_t kGossipPort = 7946;
constexpr const char* kTagExpect = "expect";
constexpr const char* kTagCluster = "cluster";

gossip::Address address_of(int machine) {
  return gossip::Address::ipv4(10, 0, 0, static_cast<std::uint8_t>(machine + 1), kGossipPort);
}

int machine_of(const gossip::Address& address) { return static_cast<int>(address.bytes()[3]) - 1; }

/// The Raft id is the first half of the gossip id, as in the agent.
gossip::MemberId member_id_of(RaftId id, int machine) {
  gossip::MemberId out;
  std::memcpy(out.bytes.data(), &id, sizeof id);
  out.bytes[15] = static_cast<std::uint8_t>(machine);
  return out;
}

RaftId raft_id_of(const gossip::MemberId& id) {
  RaftId out = 0;
  std::memcpy(&out, id.bytes.data(), sizeof out);
  return out;
}

gossip::Failure failure_of(CloseReason reason) {
  switch (reason) {
    case CloseReason::kRefused: return gossip::Failure::kRefused;
    case CloseReason::kReset: return gossip::Failure::kOther;
    case CloseReason::kFinished: return gossip::Failure::kClosed;
    case CloseReason::kTimeout: return gossip::Failure::kTimeout;
  }
  return gossip::Failure::kOther;
}

}  // namespace

void Process::begin_gossip() {
  gossip::Config config;
  config.id = member_id_of(machine_->id(), machine_->index());
  config.name = "n" + std::to_string(machine_->index());
  config.advertise = address_of(machine_->index());
  config.cluster = "sim";
  swim_ = std::make_unique<gossip::Swim>(config, machine_->random().chance(), &world_->aead, now(),
                                         machine_->wall_ms());
  if (!machine_->gossip_file().empty()) {
    (void)swim_->restore(now(), machine_->gossip_file());
  }
  const gossip::TagChange expect[] = {{kTagExpect, std::to_string(machine_->bootstrap_expect())}};
  (void)swim_->set_tags(now(), expect, gossip::Urgency::kOrdinary);
  announce_cluster();
  std::vector<gossip::Address> seeds;
  for (int i = 0; i < world_->settings.machines; ++i) {
    if (!world_->settings.all_expect || i == 0 || i == 3) seeds.push_back(address_of(i));
  }
  (void)swim_->join(now(), seeds);
}

void Process::announce_cluster() {
  if (store_->cluster_id().is_none() || !swim_) {
    return;
  }
  const gossip::TagChange cluster[] = {{kTagCluster, store_->cluster_id().hex()}};
  (void)swim_->set_tags(now(), cluster, gossip::Urgency::kUrgent);
  members_changed_ = true;
}

void Process::tell_members() {
  std::vector<store::MemberInfo> infos;
  for (const gossip::Member& member : swim_->members()) {
    const RaftId id = raft_id_of(member.id);
    mesh_.set_peer(id, machine_of(member.address));
    store::MemberInfo info;
    info.id = store::NodeId{id};
    info.name = member.name;
    info.liveness = member.state == gossip::MemberState::kDead   ? store::Liveness::kDead
                    : member.state == gossip::MemberState::kLeft ? store::Liveness::kLeft
                                                                 : store::Liveness::kAlive;
    if (const auto expect = member.tags.get(kTagExpect)) {
      info.bootstrap_expect = static_cast<std::uint32_t>(std::atoi(std::string(*expect).c_str()));
    }
    if (const auto cluster = member.tags.get(kTagCluster)) {
      info.cluster_id = store::kv::parse_cluster_id(*cluster).value_or(store::kv::ClusterId{});
    }
    infos.push_back(std::move(info));
  }
  store_->on_members(std::move(infos), now());
}

bool Process::settle_gossip() {
  const std::vector<gossip::Output> outputs = swim_->take_output();
  for (const gossip::Output& output : outputs) {
    std::visit([this](const auto& what) { obey(what); }, output);
  }
  return !outputs.empty();
}

void Process::obey(const gossip::SendDatagram& output) {
  world_->network.send_datagram(machine_->index(), machine_of(output.to), output.bytes);
}

void Process::obey(const gossip::OpenStream& output) {
  const ConnectionId id = world_->network.connect(machine_->index(), machine_of(output.to), Port::kGossip);
  streams_[output.id] = id;
  stream_of_[id] = output.id;
}

void Process::obey(const gossip::SendStream& output) {
  const auto it = streams_.find(output.id);
  if (it != streams_.end()) {
    world_->network.send(it->second, machine_->index(), output.bytes);
  }
}

void Process::obey(const gossip::CloseStream& output) {
  const auto it = streams_.find(output.id);
  if (it == streams_.end()) {
    return;
  }
  world_->network.close(it->second, machine_->index());
  stream_of_.erase(it->second);
  streams_.erase(it);
}

void Process::obey(const gossip::Event& event) {
  members_changed_ = true;
  if (world_->trace.printing()) {
    world_->trace.add(world_->scheduler.now(), machine_->index(), "gossip", static_cast<std::uint64_t>(event.kind), 0,
                      std::string(gossip::to_string(event.kind)) + " " + event.name + " " + event.detail);
  } else {
    world_->trace.add(world_->scheduler.now(), machine_->index(), "gossip", static_cast<std::uint64_t>(event.kind));
  }
}

void Process::obey(const gossip::Persist& output) { machine_->gossip_file() = output.snapshot; }

void Process::leave() {
  primary_.drain(now());
  swim_->leave(now());
}

void Process::on_datagram(int from, const Bytes& bytes) { swim_->on_datagram(now(), address_of(from), bytes); }

void Process::on_datagram_refused(int to) {
  swim_->on_datagram_error(now(), address_of(to), gossip::Failure::kRefused);
}

void Process::on_accepted(ConnectionId id, int from, Port port) {
  if (port == Port::kMesh) {
    mesh_.on_accepted(id);
    return;
  }
  const auto stream = swim_->accept_stream(now(), address_of(from));
  if (!stream) {
    world_->network.close(id, machine_->index());
    return;
  }
  streams_[*stream] = id;
  stream_of_[id] = *stream;
}

void Process::on_connected(ConnectionId id) {
  if (mesh_.on_connected(id)) {
    return;
  }
  const auto it = stream_of_.find(id);
  if (it != stream_of_.end()) {
    swim_->on_stream_opened(now(), it->second);
  }
}

void Process::on_received(ConnectionId id, Bytes bytes) {
  if (mesh_.on_received(id, bytes)) {
    return;
  }
  const auto it = stream_of_.find(id);
  if (it == stream_of_.end()) {
    return;
  }
  // TCP keeps no borders: hand it over in two pieces now and then.
  const gossip::StreamId stream = it->second;
  const std::size_t cut = bytes.size() > 1 && machine_->random().chance_ppm(300'000)
                              ? machine_->random().below(bytes.size())
                              : bytes.size();
  swim_->on_stream_data(now(), stream, std::span(bytes).first(cut));
  if (cut < bytes.size()) {
    swim_->on_stream_data(now(), stream, std::span(bytes).subspan(cut));
  }
}

void Process::on_closed(ConnectionId id, CloseReason reason) {
  if (mesh_.on_closed(id, reason)) {
    return;
  }
  const auto it = stream_of_.find(id);
  if (it == stream_of_.end()) {
    return;
  }
  const gossip::StreamId stream = it->second;
  stream_of_.erase(it);
  streams_.erase(stream);
  swim_->on_stream_closed(now(), stream, failure_of(reason));
}

}  // namespace sim
