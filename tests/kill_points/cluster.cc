#include "tests/kill_points/cluster.h"

#include <algorithm>
#include <variant>

namespace kill_points {

namespace disk = store::disk;
using store::NodeId;

// --- steps by name --------------------------------------------------------------------------------------------------

void NamedStore::announce(const std::vector<std::string>& names, bool before) {
  for (const std::string& name : names) {
    if (before) static_cast<void>(faults_->before(name).ok());
    else faults_->after(name);
  }
}

disk::Result<disk::LoadedState> NamedStore::load() {
  announce({"load"}, true);
  auto loaded = real_->load();
  announce({"load"}, false);
  return loaded;
}

disk::Result<void> NamedStore::write(const disk::PersistBatch& batch) {
  std::vector<std::string> names;
  if (batch.hard && batch.entries.empty() && batch.hard->vote) names.emplace_back("vote");
  if (!batch.entries.empty()) names.emplace_back("append");
  if (!batch.records.empty() && !batch.replace_all) names.emplace_back("apply");
  if (batch.trim) names.emplace_back("trim");
  if (batch.use_stage) names.emplace_back("switch");
  if (batch.replace_all && !batch.use_stage) names.emplace_back("founding");
  if (batch.cluster_id && !batch.replace_all) names.emplace_back("joining");
  const bool membership = std::any_of(batch.entries.begin(), batch.entries.end(), [](const auto& entry) {
    return entry.kind == store::raft::EntryKind::kConfChange;
  });
  if (membership) names.emplace_back("membership");
  announce(names, true);
  auto done = real_->write(batch);
  if (done) announce(names, false);
  return done;
}

disk::Result<disk::TaskAnswer> NamedStore::run(const disk::Task& task) {
  static const std::vector<std::string> kNames{"view_open",    "view_read",  "view_close", "stage_begin",
                                               "stage_append", "stage_seal", "stage_drop"};
  const std::vector<std::string> names{kNames.at(task.work.index())};
  announce(names, true);
  auto answer = real_->run(task);
  announce(names, false);
  return answer;
}

// --- the cluster ----------------------------------------------------------------------------------------------------

Cluster::Cluster(std::filesystem::path root, FaultEnv* env, Faults* faults, Acknowledged acknowledged)
    : root_(std::move(root)), env_(env), faults_(faults), acknowledged_(std::move(acknowledged)), random_(88172645463325252ULL) {}

std::string Cluster::start(std::uint64_t id) {
  disk::RocksOptions options;
  options.directory = directory(id);
  options.node = NodeId{id};
  options.env = env_;
  options.write_buffer_bytes = std::size_t{256} << 10;  // so that flushes happen within a short script
  auto opened = disk::RocksStore::open(options);
  if (!opened) return opened.error().detail;
  Node node;
  node.disk = std::make_unique<NamedStore>(std::move(*opened), faults_);
  auto loaded = node.disk->load();
  if (!loaded) return loaded.error().detail;
  store::Config config;
  config.id = NodeId{id};
  config.name = "n" + std::to_string(id);
  config.log_keep_entries = 24;
  config.log_keep_bytes = std::size_t{64} << 10;
  config.voters = 3;
  auto core = store::Store::create(config, std::move(*loaded), [this](std::uint64_t bound) {
    random_ ^= random_ << 13U;
    random_ ^= random_ >> 7U;
    random_ ^= random_ << 17U;
    return random_ % bound;
  }, now_);
  if (!core) return core.error().detail;
  node.core = std::move(*core);
  nodes_[id] = std::move(node);
  for (auto& [other, peer] : nodes_) {
    if (other == id) continue;
    peer.core->on_peer_connected(NodeId{id}, now_);
    nodes_[id].core->on_peer_connected(NodeId{other}, now_);
  }
  gossip();
  return {};
}

void Cluster::stop(std::uint64_t id) {
  nodes_.erase(id);
  std::erase_if(frames_, [id](const Frame& frame) { return frame.from == id || frame.to == id; });
  for (auto& [other, peer] : nodes_) peer.core->on_peer_lost(NodeId{id}, now_);
}

void Cluster::wipe(std::uint64_t id) { std::filesystem::remove_all(directory(id)); }

store::Store* Cluster::store(std::uint64_t id) {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : found->second.core.get();
}

void Cluster::gossip() {
  std::vector<store::MemberInfo> members;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    store::MemberInfo info;
    info.id = NodeId{id};
    info.name = "n" + std::to_string(id);
    const auto found = nodes_.find(id);
    info.liveness = forgotten_.contains(id) ? store::Liveness::kLeft : store::Liveness::kDead;
    if (found != nodes_.end()) {
      info.liveness = store::Liveness::kAlive;
      info.cluster_id = found->second.core->cluster_id();
    } else if (!forgotten_.contains(id)) {
      continue;
    }
    members.push_back(info);
  }
  for (auto& [id, node] : nodes_) node.core->on_members(members, now_);
}

void Cluster::carry_out(std::uint64_t id, Node& node) {
  store::Output output = node.core->take_output(now_);
  if (output.fatal) {
    failure_ = "node " + std::to_string(id) + ": " + output.fatal->reason;
    return;
  }
  for (store::PeerFrame& frame : output.frames) frames_.push_back({id, frame.to.value, std::move(frame.bytes)});
  if (output.persist) {
    if (auto done = node.disk->write(*output.persist); done) {
      node.core->on_persisted(output.persist->seq, now_);
    } else {
      node.core->on_disk_error(done.error(), now_);
    }
  }
  for (const disk::Task& task : output.tasks) node.core->on_task_done(task.seq, node.disk->run(task), now_);
  for (store::Reply& reply : output.replies) {
    answers_[reply.request] = reply.result.has_value();
    const auto write = writes_.find(reply.request);
    if (!reply.result || write == writes_.end()) continue;
    static_cast<void>(faults_->before("acknowledge").ok());
    acknowledged_(write->second.first, write->second.second);
    faults_->after("acknowledge");
  }
}

void Cluster::settle() {
  for (bool busy = true; busy && failure_.empty();) {
    busy = false;
    for (auto& [id, node] : nodes_) {
      while (failure_.empty() && node.core->has_output()) {
        carry_out(id, node);
        busy = true;
      }
    }
    for (std::deque<Frame> frames = std::exchange(frames_, {}); !frames.empty() && failure_.empty(); frames.pop_front()) {
      busy = true;
      if (store::Store* to = store(frames.front().to); to != nullptr && store(frames.front().from) != nullptr)
        to->on_peer_frame(NodeId{frames.front().from}, frames.front().bytes, now_);
    }
  }
}

void Cluster::run(store::Milliseconds time) {
  const store::TimePoint end = now_ + time;
  while (now_ < end && failure_.empty()) {
    if (now_ >= gossip_at_) {
      gossip();
      gossip_at_ = now_ + store::Milliseconds(50);
    }
    settle();
    now_ += store::Milliseconds(1);
    for (auto& [id, node] : nodes_) {
      if (node.core->next_deadline() <= now_) node.core->tick(now_);
    }
  }
}

bool Cluster::await(const std::function<bool()>& done, store::Milliseconds limit) {
  const store::TimePoint end = now_ + limit;
  while (!done()) {
    if (now_ >= end || !failure_.empty()) return false;
    run(store::Milliseconds(1));
  }
  return true;
}

bool Cluster::asked(store::RequestNo request, store::Milliseconds limit) {
  const bool answered = await([&] { return answers_.contains(request); }, limit);
  const bool good = answered && answers_[request];
  answers_.erase(request);
  writes_.erase(request);
  return good;
}

std::string Cluster::bootstrap(std::uint64_t id) {
  const store::RequestNo request = open();
  store(id)->bootstrap(request, now_);
  return asked(request, store::Milliseconds(5'000)) ? "" : "no bootstrap";
}

bool Cluster::put(std::uint64_t id, const std::string& key, const std::string& value) {
  if (store(id) == nullptr) return false;
  const store::RequestNo request = open();
  writes_[request] = {key, value};
  store(id)->write(request, store::kv::Set{key, value, 0}, now_ + store::Milliseconds(2'000), now_);
  return asked(request, store::Milliseconds(2'500));
}

std::uint64_t Cluster::leader() const {
  for (const auto& [id, node] : nodes_) {
    if (node.core->raft().role() == store::raft::Role::kLeader && node.core->raft().own_term_committed()) return id;
  }
  return 0;
}

bool Cluster::voters_are(const std::set<std::uint64_t>& ids) const {
  const std::uint64_t at = leader();
  if (at == 0) return false;
  const store::raft::ConfState conf = nodes_.at(at).core->raft().conf_state();
  std::set<std::uint64_t> voters;
  for (const NodeId id : conf.voters) voters.insert(id.value);
  return voters == ids && conf.voters_outgoing.empty();
}

bool Cluster::remove(std::uint64_t id) {
  if (leader() == 0) return false;
  const store::RequestNo request = open();
  store(leader())->remove_server(request, NodeId{id}, now_);
  return asked(request, store::Milliseconds(2'000));
}

bool Cluster::transfer(std::uint64_t to) {
  if (leader() == 0) return false;
  const store::RequestNo request = open();
  store(leader())->transfer_leadership(request, NodeId{to}, now_);
  return asked(request, store::Milliseconds(2'000));
}

}  // namespace kill_points
