#include "agent/drivers/mesh.h"

#include <algorithm>
#include <utility>

#include "agent/drivers/mesh_dialer.h"
#include "agent/drivers/mesh_inbound.h"

namespace agent::drivers {

static_assert(store::kFrameBytesMax <= kFrameBytesMax, "what the store sends must fit into a frame of the mesh");


namespace {
constexpr io::Milliseconds kNoteEvery{1000};
}

io::Result<MeshTls> MeshTls::load(const std::string& ca_file, const std::string& cert_file,
                                  const std::string& key_file, std::int64_t wall_ms) {
  io::TlsOptions options;
  options.ca_file = ca_file;
  options.certificates = {{cert_file, key_file, {}}};
  options.own_from_ca = true;
  options.role = io::TlsRole::kServer;
  options.alpn = {std::string(kRaftAlpn), std::string(kHttpAlpn)};
  auto listener = io::TlsContext::load(options, wall_ms);
  if (!listener) return tl::unexpected(listener.error());
  options.role = io::TlsRole::kClient;
  options.alpn = {std::string(kRaftAlpn)};
  auto raft = io::TlsContext::load(options, wall_ms);
  if (!raft) return tl::unexpected(raft.error());
  options.alpn = {std::string(kHttpAlpn)};
  auto http = io::TlsContext::load(options, wall_ms);
  if (!http) return tl::unexpected(http.error());
  return MeshTls{std::move(*listener), std::move(*raft), std::move(*http)};
}

Mesh::Mesh(io::Loop& loop, MeshSettings settings, MeshCallbacks callbacks)
    : loop_(loop),
      settings_(std::move(settings)),
      callbacks_(std::move(callbacks)),
      offload_(loop),
      sweep_(loop, [this] { graveyard_.clear(); }) {}

Mesh::~Mesh() = default;

io::Result<std::unique_ptr<Mesh>> Mesh::start(io::Loop& loop, MeshSettings settings, MeshCallbacks callbacks) {
  if (settings.self == store::NodeId{}) return io::fail(io::Errc::kInvalidArgument, "mesh: the node id is 0");
  if (!settings.chance || !callbacks.on_frame) {
    return io::fail(io::Errc::kInvalidArgument, "mesh: chance and on_frame are needed");
  }
  std::unique_ptr<Mesh> mesh(new Mesh(loop, std::move(settings), std::move(callbacks)));
  auto listener = io::TcpListener::listen(
      loop, mesh->settings_.bind, {},
      [self = mesh.get()](std::unique_ptr<io::TcpStream> stream) { self->on_accept(std::move(stream)); });
  if (!listener) return tl::unexpected(listener.error());
  mesh->listener_ = std::move(*listener);
  return mesh;
}

void Mesh::set_peer(store::NodeId node, const io::Address& address, const std::string& name) {
  if (node == settings_.self || node == store::NodeId{} || address.empty()) return;
  if (const auto found = peers_.find(node); found != peers_.end()) {
    if (found->second->address == address && found->second->name == name) return;
    remove_peer(node);
    if (peers_.contains(node)) return;  // on_lost has set it already
  }
  const auto added = peers_.emplace(node, std::make_unique<Peer>(*this, node, address, name)).first;
  added->second->urgent.dial_now();
}

void Mesh::remove_peer(store::NodeId node) {
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  const bool was_up = found->second->urgent.up();
  found->second->urgent.drop_queue();
  found->second->bulk.drop_queue();
  peers_.erase(found);
  if (was_up && callbacks_.on_lost) callbacks_.on_lost(node);
}

bool Mesh::send(store::NodeId to, std::string bytes, Lane lane) {
  const auto found = peers_.find(to);
  if (found == peers_.end()) {
    ++counters_.dropped_unknown_peer;
    return false;
  }
  if (bytes.empty() || bytes.size() > kFrameBytesMax) return false;
  return (lane == Lane::kUrgent ? found->second->urgent : found->second->bulk).push(std::move(bytes));
}

void Mesh::set_tls(MeshTls tls) {
  if ((tls.listener != nullptr) != (settings_.tls.listener != nullptr)) return;
  settings_.tls = std::move(tls);
}

std::vector<Mesh::PeerStatus> Mesh::peers() const {
  std::vector<PeerStatus> all;
  for (const auto& [node, peer] : peers_) {
    all.push_back({node, peer->name, peer->address.to_string(), peer->urgent.up(),
                   peer->urgent.queued_bytes() + peer->bulk.queued_bytes(), peer->urgent.last_error()});
  }
  return all;
}

void Mesh::on_accept(std::unique_ptr<io::TcpStream> stream) {
  ++counters_.accepted;
  auto inbound = std::make_unique<MeshInbound>(*this, std::move(stream));
  const MeshInbound* key = inbound.get();
  unproved_.emplace(key, std::move(inbound));
  // A burst of requests brings a burst of connections: those beyond wait in the socket's queue for a handshake to end.
  if (unproved_.size() >= settings_.unproved_max) listener_->pause();
}

/// Its certificate (with TLS) is good; now: is it one of us, and who it says it is?
void Mesh::on_inbound_hello(MeshInbound& inbound) {
  const Hello& hello = inbound.hello();
  std::uint64_t* counter = nullptr;
  std::string why;
  const auto known = peers_.find(hello.node);
  const auto key = std::pair(hello.node, *hello.lane);
  if (hello.cluster != settings_.cluster) {
    counter = &counters_.refused_cluster;
    why = "belongs to the cluster labelled '" + hello.cluster + "'";
  } else if (hello.node == settings_.self) {
    counter = &counters_.refused_name;
    why = "claims our own node id";
  } else if (known != peers_.end() && !known->second->name.empty() && known->second->name != hello.name) {
    counter = &counters_.refused_name;
    why = "calls itself '" + hello.name + "', but that node is '" + known->second->name + "'";
  } else if (!name_fits(inbound.stream(), hello)) {
    counter = &counters_.refused_name;
    why = "calls itself '" + hello.name + "', which its certificate does not carry";
  } else if (inbound_.size() >= settings_.inbound_max && !inbound_.contains(key)) {
    counter = &counters_.refused_limit;
    why = "is one stream too many";
  }
  if (counter != nullptr) {
    ++*counter;
    note_inbound(inbound.where() + " " + why);
    inbound.turn_away();
    return;
  }
  const auto waiting = unproved_.find(&inbound);
  std::unique_ptr<MeshInbound> owned = std::move(waiting->second);
  unproved_.erase(waiting);
  listener_->resume();
  // A newer stream of the same peer and lane takes the place of one whose end we have not noticed.
  auto& place = inbound_[key];
  if (place) bury(std::move(place));
  place = std::move(owned);
  inbound.admit();
  if (known != peers_.end() && key.second == Lane::kUrgent) known->second->urgent.peer_was_heard();
}

void Mesh::close_inbound(MeshInbound& inbound) {
  if (const auto waiting = unproved_.find(&inbound); waiting != unproved_.end()) {
    bury(std::move(waiting->second));
    unproved_.erase(waiting);
    listener_->resume();
    return;
  }
  const auto standing = inbound_.find(std::pair(inbound.hello().node, inbound.hello().lane.value_or(Lane::kUrgent)));
  if (standing == inbound_.end() || standing->second.get() != &inbound) return;  // buried already
  bury(std::move(standing->second));
  inbound_.erase(standing);
}

void Mesh::bury(std::unique_ptr<MeshInbound> inbound) {
  inbound->silence();
  graveyard_.push_back(std::move(inbound));
  sweep_.schedule();
}

bool Mesh::name_fits(const io::ByteStream& stream, const Hello& hello) const {
  if (!settings_.check_names || !settings_.tls.listener) return true;
  const io::PeerIdentity identity = stream.peer_identity();
  return identity.common_name == hello.name ||
         std::find(identity.dns_names.begin(), identity.dns_names.end(), hello.name) != identity.dns_names.end();
}

Hello Mesh::own_hello(std::optional<Lane> lane) const {
  return Hello{kMeshVersion, lane, settings_.self, settings_.cluster, settings_.name};
}

void Mesh::note_inbound(const std::string& detail) {
  const io::TimePoint now = io::boottime_now();
  if (!callbacks_.log || now < next_note_) return;
  next_note_ = now + kNoteEvery;
  callbacks_.log("mesh", "refused: " + detail);
}

}  // namespace agent::drivers
