#include "tests/unit/store/fake_cluster.h"

#include <algorithm>

namespace store::test {

// --- disk ---------------------------------------------------------------------------------------------------------

disk::Result<disk::LoadedState> FakeDisk::load() {
  content_.start_count = fresh_ ? 1 : content_.start_count + 1;
  fresh_ = false;
  tasks_ = support::DiskTasks();
  content_.records.clear();
  for (const auto& [key, value] : rows_) content_.records.push_back({key, value});
  return content_;
}

disk::Result<void> FakeDisk::write(const disk::PersistBatch& batch) {
  if (batch.replace_all) {
    rows_.clear();
    if (batch.use_stage) {
      auto stage = tasks_.take_stage();
      if (!stage) return disk::fail(disk::Errc::kCorrupt, "no sealed stage");
      rows_ = std::move(*stage);
    }
    content_.entries.clear();
    content_.start = {batch.applied->index, batch.applied->term};
  }
  if (!batch.entries.empty()) {
    const raft::Index front = batch.entries.front().index;
    std::erase_if(content_.entries, [front](const raft::Entry& entry) { return entry.index >= front; });
    if (front != content_.start.index.plus(content_.entries.size() + 1))
      return disk::fail(disk::Errc::kCorrupt, "gap in the log");
    content_.entries.insert(content_.entries.end(), batch.entries.begin(), batch.entries.end());
  }
  if (batch.trim && batch.trim->index > content_.start.index) {
    if (batch.trim->index > content_.applied.index && !(batch.applied && batch.trim->index <= batch.applied->index))
      return disk::fail(disk::Errc::kCorrupt, "trimmed beyond the applied index");
    std::erase_if(content_.entries, [&](const raft::Entry& entry) { return entry.index <= batch.trim->index; });
    content_.start = *batch.trim;
  }
  for (const kv::Record& record : batch.records) {
    if (record.value) {
      rows_.insert_or_assign(record.key, *record.value);
    } else {
      rows_.erase(record.key);
    }
  }
  if (batch.applied) content_.applied = *batch.applied;
  if (batch.hard) content_.hard = *batch.hard;
  if (batch.cluster_id) content_.cluster_id = *batch.cluster_id;
  if (batch.grant) content_.grant = *batch.grant;
  return {};
}

disk::Result<disk::TaskAnswer> FakeDisk::run(const disk::Task& task) {
  if (task_error) return tl::unexpected<disk::Error>(*task_error);
  return tasks_.run(task, rows_, content_.applied);
}

// --- cluster ------------------------------------------------------------------------------------------------------

Chance FakeCluster::chance() {
  // xorshift: good enough to spread election time-outs, equal everywhere.
  return [this](std::uint64_t bound) {
    random_ ^= random_ << 13U;
    random_ ^= random_ >> 7U;
    random_ ^= random_ << 17U;
    return random_ % bound;
  };
}

NodeId FakeCluster::add(const std::function<void(Config&)>& settings) {
  const NodeId id{nodes_.size() + 1};
  auto node = std::make_unique<Node>();
  node->id = node->config.id = id;
  node->config.name = "n" + std::to_string(id.value);
  if (settings) settings(node->config);
  nodes_.emplace(id, std::move(node));
  restart(id);
  return id;
}

void FakeCluster::crash(NodeId id) {
  Node& node = at(id);
  node.store.reset();
  node.flushing.reset();
  node.tasks.clear();
  for (auto& [other, peer] : nodes_) {
    if (peer->store) {
      peer->store->on_peer_lost(id, now_);
      drain(*peer);
    }
  }
}

void FakeCluster::restart(NodeId id) {
  Node& node = at(id);
  ++node.life;
  node.fatal.reset();
  auto loaded = node.disk.load();
  auto made = Store::create(node.config, std::move(*loaded), chance(), now_);
  if (!made) {
    node.fatal = made.error().detail;
    return;
  }
  node.store = std::move(*made);
  gossip();
  connect_all(id);
}

void FakeCluster::connect_all(NodeId id) {
  for (auto& [other, peer] : nodes_) {
    if (other == id || !peer->store) continue;
    peer->store->on_peer_connected(id, now_);
    at(id).store->on_peer_connected(other, now_);
    drain(*peer);
  }
  drain(at(id));
}

void FakeCluster::cut(std::set<std::uint64_t> a, std::set<std::uint64_t> b) {
  for (const std::uint64_t x : a) {
    for (const std::uint64_t y : b) {
      cuts_.insert({NodeId{x}, NodeId{y}});
      cuts_.insert({NodeId{y}, NodeId{x}});
    }
  }
}

bool FakeCluster::is_cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }

void FakeCluster::gossip() {
  std::vector<MemberInfo> members;
  for (const auto& [id, node] : nodes_) {
    MemberInfo info;
    info.id = id;
    info.name = node->config.name;
    info.liveness = node->store ? Liveness::kAlive : node->left ? Liveness::kLeft : Liveness::kDead;
    info.bootstrap_expect = node->config.bootstrap_expect;
    info.wants_vote = node->wants_vote;
    if (node->store) info.cluster_id = node->store->cluster_id();
    members.push_back(info);
  }
  for (auto& [id, node] : nodes_) {
    if (!node->store) continue;
    const auto override = gossip_override.find(id);
    node->store->on_members(override != gossip_override.end() ? override->second : members, now_);
    drain(*node);
  }
}

void FakeCluster::drain(Node& node) {
  while (node.store && node.store->has_output()) {
    Output out = node.store->take_output(now_);
    if (out.fatal) {
      node.fatal = out.fatal->reason;
      node.store.reset();
      node.flushing.reset();
      node.tasks.clear();
      return;
    }
    for (PeerFrame& frame : out.frames) {
      ++frames_sent;
      if (is_cut(node.id, frame.to) || !nodes_.contains(frame.to)) continue;
      if (loses && loses(node.id, frame.to, frame.urgent)) continue;
      if (sees) sees(node.id, frame.to, frame.bytes);
      flights_.push_back(
          {now_ + kLatency, node.id, frame.to, node.life, at(frame.to).life, std::move(frame.bytes), frame.urgent});
    }
    if (out.persist) node.flushing.emplace(now_ + node.flush_time, std::move(*out.persist));
    for (disk::Task& task : out.tasks) node.tasks.push_back(std::move(task));
    for (Reply& reply : out.replies) node.replies.emplace(reply.request, std::move(reply.result));
    for (Event& event : out.events) node.events.push_back(std::move(event));
    node.woken.insert(node.woken.end(), out.woken.begin(), out.woken.end());
  }
}

TimePoint FakeCluster::next_event() const {
  TimePoint next = flights_.empty() ? TimePoint::max() : flights_.front().at;
  for (const auto& [id, node] : nodes_) {
    if (!node->store) continue;
    next = std::min(next, node->store->next_deadline());
    if (node->flushing) next = std::min(next, node->flushing->first);
  }
  return next;
}

void FakeCluster::step(TimePoint until) {
  now_ = std::max(now_, std::min(next_event(), until));
  while (!flights_.empty() && flights_.front().at <= now_) {
    Flight flight = std::move(flights_.front());
    flights_.pop_front();
    Node& to = at(flight.to);
    const bool alive = to.store && to.life == flight.to_life && at(flight.from).life == flight.from_life;
    if (!alive || is_cut(flight.from, flight.to)) continue;
    to.store->on_peer_frame(flight.from, flight.bytes, now_);
    drain(to);
  }
  for (auto& [id, node] : nodes_) {
    if (node->store && node->flushing && node->flushing->first <= now_) {
      const disk::PersistBatch batch = std::move(node->flushing->second);
      node->flushing.reset();
      if (auto done = node->disk.write(batch); !done) {
        node->store->on_disk_error(done.error(), now_);
      } else {
        node->store->on_persisted(batch.seq, now_);
      }
      drain(*node);
    }
    while (node->store && !node->flushing && !node->tasks.empty()) {
      const disk::Task task = std::move(node->tasks.front());
      node->tasks.pop_front();
      node->store->on_task_done(task.seq, node->disk.run(task), now_);
      drain(*node);
    }
    if (node->store && node->store->next_deadline() <= now_) {
      node->store->tick(now_);
      drain(*node);
    }
  }
}

void FakeCluster::run(Duration time) {
  const TimePoint end = now_ + time;
  TimePoint gossip_at = now_;
  while (now_ < end) {
    if (now_ >= gossip_at) {
      gossip();
      gossip_at = now_ + 50ms;
    }
    step(std::min(end, gossip_at));
  }
}

bool FakeCluster::run_until(const std::function<bool()>& done, Duration limit) {
  const TimePoint end = now_ + limit;
  while (!done()) {
    if (now_ >= end) return false;
    run(1ms);
  }
  return true;
}

bool FakeCluster::bootstrap(std::uint64_t id) {
  const RequestNo request = bootstrap_request(id);
  return run_until([&] { return reply(id, request).has_value(); }) && await_leader();
}

RequestNo FakeCluster::bootstrap_request(std::uint64_t id) {
  const RequestNo request{next_request_++};
  store(id).bootstrap(request, now_);
  drain(at(id));
  return request;
}

NodeId FakeCluster::leader() const {
  NodeId found;
  raft::Term term;
  for (const auto& [id, node] : nodes_) {
    if (node->store && node->store->raft().role() == raft::Role::kLeader && node->store->raft().term() > term) {
      found = id;
      term = node->store->raft().term();
    }
  }
  return found;
}

bool FakeCluster::await_leader(Duration limit) {
  return run_until([this] { return leader() && at(leader()).store->raft().own_term_committed(); }, limit);
}

bool FakeCluster::await_voters(std::size_t count, Duration limit) {
  return run_until(
      [&] {
        if (!leader()) return false;
        const raft::ConfState conf = at(leader()).store->raft().conf_state();
        return conf.voters.size() == count && conf.voters_outgoing.empty();
      },
      limit);
}

RequestNo FakeCluster::write(std::uint64_t id, kv::CommandBody command, Duration within) {
  const RequestNo request{next_request_++};
  store(id).write(request, std::move(command), now_ + within, now_);
  drain(at(id));
  return request;
}

RequestNo FakeCluster::read(std::uint64_t id, Consistency consistency, Duration within) {
  const RequestNo request{next_request_++};
  store(id).read(request, consistency, now_ + within, now_);
  drain(at(id));
  return request;
}

RequestNo FakeCluster::renew(std::uint64_t id, const std::string& service, std::uint64_t epoch, Duration within) {
  const RequestNo request{next_request_++};
  store(id).renew(request, service, kv::Epoch{epoch}, now_ + within, now_);
  drain(at(id));
  return request;
}

RequestNo FakeCluster::renew_session(std::uint64_t id, kv::SessionId session, Duration within) {
  const RequestNo request{next_request_++};
  store(id).renew_session(request, session, now_ + within, now_);
  drain(at(id));
  return request;
}

std::optional<FakeCluster::Answer> FakeCluster::reply(std::uint64_t id, RequestNo request) {
  const auto found = at(id).replies.find(request);
  if (found == at(id).replies.end()) return std::nullopt;
  return found->second;
}

FakeCluster::Answer FakeCluster::await(std::uint64_t id, RequestNo request, Duration limit) {
  if (!run_until([&] { return reply(id, request).has_value(); }, limit)) return fail(Errc::kTimeout, "no reply at all");
  return *reply(id, request);
}

kv::Epoch FakeCluster::acquire(std::uint64_t id, const std::string& service, std::uint32_t lease_ms) {
  const auto answer =
      await(id, write(id, kv::LeaseAcquire{service, kv::NodeId{id}, "n" + std::to_string(id), lease_ms, 500}));
  if (!answer) return kv::Epoch{};
  const Written& written = std::get<Written>(*answer);
  return written.outcome == kv::Outcome::kDone ? written.epoch : kv::Epoch{};
}

bool FakeCluster::same_state() {
  std::map<std::uint64_t, std::uint64_t> hashes;
  for (const auto& [id, node] : nodes_) {
    if (!node->store) continue;
    const kv::StateMachine& state = node->store->state();
    const auto [it, fresh] = hashes.emplace(kv::value(state.applied()), state.content_hash());
    if (!fresh && it->second != state.content_hash()) return false;
  }
  return true;
}

}  // namespace store::test
