#include <algorithm>

#include "store/store_impl.h"

/// Founding and joining a cluster, its membership, and the status that tells of it.
namespace store {
namespace {

constexpr Milliseconds kNameEvery{1'000};

}  // namespace

// --- founding and joining -------------------------------------------------------------------------------------------

// Every voter of the founding begins with the same state: the cluster's name, and the first configuration, as of
// index 1. The new core starts when that is on disk.
void Store::Impl::found(const disk::Grant& grant, TimePoint) {
  founding_as = grant;
  cluster = grant.id;
  const raft::InitialState state = raft::bootstrap_state(grant.voters);
  const std::vector<kv::Record> rows{{kv::cluster_key(), kv::encode_cluster(grant.id)}};
  if (auto loaded = machine.load(kv::Index{state.applied.value}, rows); !loaded)
    return stop("the founding state: " + loaded.error().detail);
  applied = {state.applied, state.snapshot.term, state.conf};
  next = disk::PersistBatch{};
  next.hard = state.hard;
  next.replace_all = true;
  next.cluster_id = grant.id;
  next.grant.emplace(std::nullopt);
  next_ack.reset();
  next_founding = batch_wanted = true;
}

void Store::Impl::finish_founding(TimePoint now) {
  const disk::Grant grant = *std::exchange(founding_as, std::nullopt);
  auto made = raft::Raft::create(raft_config(), raft::bootstrap_state(grant.voters), chance, now);
  if (!made) return stop("the founding state: " + made.error().detail);
  raft = std::move(*made);
  persisted = raft::PersistSeq{};
  held.clear();
  if (disk_times) raft->note_disk_times(*disk_times);
  output.events.emplace_back(ConfChanged{raft->conf_state()});
  for (const RequestNo request : std::exchange(bootstraps, {})) reply(request, Changed{});
  // The founder need not wait for an election time-out: nobody else can lead yet.
  if (grant.founder == config.id) static_cast<void>(raft->step(raft::Campaign{}, now));
}

// The first frame of a cluster that adopted us. Its id becomes durable with the first batch, before any promise made
// to that cluster leaves this node.
void Store::Impl::join(const kv::ClusterId& id) {
  cluster = id;
  next.cluster_id = id;
  batch_wanted = true;
}

void Store::Impl::take_founding_actions(TimePoint now) {
  Founding::Actions actions = founding.take_actions();
  for (const auto& [to, body] : actions.frames) send(to, body);
  if (actions.persist) {
    next.grant = std::move(*actions.persist);
    next_grant = batch_wanted = true;
  }
  if (actions.waits) output.events.emplace_back(std::move(*actions.waits));
  if (actions.found) found(*actions.found, now);
}

// --- membership -----------------------------------------------------------------------------------------------------

void Store::Impl::observe_members(TimePoint now) {
  observe_at = now + kObserveEvery;
  if (!raft->own_term_committed()) return;
  membership.observe(raft->peers(), members, raft->log().last_index(), now);
  const raft::ConfState conf = raft->conf_state();
  name_members(conf, now);
  if (raft->transferee()) return;
  if (disk_hangs) return maybe_step_aside(now);
  const auto change = membership.wanted(conf, cluster, now);
  if (!change) return maybe_step_aside(now);
  // Refused while an earlier change is not applied: asked again at the next look.
  if (raft->step(raft::ProposeConfChange{*change}, now)) ++counters.conf_changes;
}

void Store::Impl::maybe_step_aside(TimePoint now) {
  const raft::Index last = raft->log().last_index();
  const auto to = disk_hangs ? step_aside.successor_of_hung(raft->peers(), raft->conf_state(), last, now)
                             : step_aside.successor(raft->peers(), raft->conf_state(), last, now);
  if (!to || !raft->step(raft::TransferLeader{*to}, now)) return;
  ++counters.stepped_aside;
  output.events.emplace_back(SteppedAside{*to, disk_hangs ? std::nullopt : disk_times});
}

// Keeps the directory id -> name, so that every node can say who is missing although gossip has forgotten it.
void Store::Impl::name_members(const raft::ConfState& conf, TimePoint now) {
  const auto holds = [&conf](NodeId id) {
    const auto in = [id](const std::vector<NodeId>& ids) { return std::find(ids.begin(), ids.end(), id) != ids.end(); };
    return in(conf.voters) || in(conf.learners) || in(conf.voters_outgoing);
  };
  const auto propose = [this, now](const kv::CommandBody& command) {
    static_cast<void>(propose_internal(command, now));
    name_at = now + kNameEvery;  // it is decided by then: not proposed twice meanwhile
  };
  const auto name = [&](NodeId id, const std::string& text) {
    const auto known = machine.members().find(kv::NodeId{id.value});
    const bool fits = !text.empty() && text.size() <= kv::kNameBytesMax;
    if (fits && (known == machine.members().end() || known->second != text))
      propose(kv::MemberSet{kv::NodeId{id.value}, text});
  };
  if (now < name_at) return;
  name(config.id, config.name);
  for (const MemberInfo& member : members) {
    if (member.id != config.id && holds(member.id)) name(member.id, member.name);
  }
  for (const auto& [id, known] : machine.members()) {
    if (!holds(NodeId{kv::value(id)})) propose(kv::MemberRemove{id});
  }
}

// --- status ---------------------------------------------------------------------------------------------------------

std::string Store::Impl::name_of(NodeId id) const {
  if (id == config.id) return config.name;
  if (const auto known = machine.members().find(kv::NodeId{id.value}); known != machine.members().end())
    return known->second;
  const auto member = std::find_if(members.begin(), members.end(), [id](const MemberInfo& m) { return m.id == id; });
  return member != members.end() && !member->name.empty() ? member->name : std::to_string(id.value);
}

std::vector<std::string> Store::Impl::missing(TimePoint now) const {
  std::vector<std::string> names;
  const std::vector<raft::PeerStatus> peers = raft->peers();
  for (const NodeId id : raft->conf_state().voters) {
    if (id == config.id) continue;
    bool there = std::any_of(members.begin(), members.end(), [id](const MemberInfo& member) {
      return member.id == id && member.liveness == Liveness::kAlive;
    });
    const auto peer = std::find_if(peers.begin(), peers.end(), [id](const auto& p) { return p.id == id; });
    if (peer != peers.end()) there = peer->last_contact && now - *peer->last_contact <= 2 * config.election_max;
    if (!there) names.push_back(name_of(id));
  }
  return names;
}

std::string Store::Impl::missing_text(TimePoint now) const {
  const std::size_t voters = raft->conf_state().voters.size();
  std::string list;
  std::size_t count = 0;
  for (const std::string& name : missing(now)) {
    list += (count++ == 0 ? "" : ", ") + name;
  }
  if (count == 0) return "no leader is known";
  return "no majority of " + std::to_string(voters) + " voters; missing: " + list;
}

Status Store::Impl::status(TimePoint now) const {
  Status status;
  const raft::ConfState conf = raft->conf_state();
  const std::vector<raft::PeerStatus> peers = raft->peers();
  status.leader = raft->leader();
  status.role = raft->role();
  status.learner = raft->learner();
  status.in_configuration = raft->learner() || raft->voter();
  status.term = raft->term();
  status.first = raft->log().first_index();
  status.last = raft->log().last_index();
  status.commit = raft->commit();
  status.applied = raft->applied();
  status.durable_applied = durable_applied;
  status.cluster_id = durable_cluster;
  status.missing = missing(now);
  status.space = space;
  status.conf_change_pending = !conf.voters_outgoing.empty();
  std::set<NodeId> voters(conf.voters.begin(), conf.voters.end());
  voters.insert(conf.voters_outgoing.begin(), conf.voters_outgoing.end());
  std::set<NodeId> all = voters;
  all.insert(conf.learners.begin(), conf.learners.end());
  for (const NodeId id : all) {
    ServerStatus server;
    server.id = id;
    server.name = name_of(id);
    server.voter = voters.contains(id);
    server.alive = id == config.id || std::any_of(members.begin(), members.end(), [id](const MemberInfo& member) {
                     return member.id == id && member.liveness == Liveness::kAlive;
                   });
    const auto peer = std::find_if(peers.begin(), peers.end(), [id](const auto& p) { return p.id == id; });
    if (peer != peers.end()) server.progress = *peer;
    server.disk = id == config.id ? disk_times : peer != peers.end() ? peer->disk : std::nullopt;
    status.servers.push_back(std::move(server));
  }
  return status;
}

}  // namespace store
