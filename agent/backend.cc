#include "agent/backend.h"

#include "agent/backend_error.h"
#include "agent/backend_orders.h"
#include "agent/backend_sessions.h"
#include "agent/drivers/app_metrics.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace agent {
namespace {

constexpr std::uint64_t kFeedWatchBit = std::uint64_t{1} << 61U;   ///< waits for a feed of requests
constexpr std::uint64_t kJointWatchBit = std::uint64_t{1} << 62U;  ///< waits for several topics at once
constexpr std::uint64_t kRoleWatchBit = std::uint64_t{1} << 63U;  ///< tells waits for the role from the store's

store::kv::CommandBody command_of(api::KvWrite&& write, const store::kv::SessionId& session) {
  const store::kv::Index expected{static_cast<std::uint64_t>(write.cas)};
  switch (write.kind) {
    case api::KvWrite::Kind::kSet: return store::kv::Set{std::move(write.key), std::move(write.value), write.flags};
    case api::KvWrite::Kind::kCas: return store::kv::Cas{std::move(write.key), std::move(write.value), write.flags, expected};
    case api::KvWrite::Kind::kDelete: return store::kv::Delete{std::move(write.key)};
    case api::KvWrite::Kind::kDeleteCas: return store::kv::DeleteCas{std::move(write.key), expected};
    case api::KvWrite::Kind::kDeleteTree: return store::kv::DeleteTree{std::move(write.key)};
    case api::KvWrite::Kind::kLock:
      return store::kv::Acquire{std::move(write.key), std::move(write.value), write.flags, session};
    case api::KvWrite::Kind::kUnlock:
      return store::kv::Release{std::move(write.key), std::move(write.value), write.flags, session};
  }
  return store::kv::Delete{};
}

/// A client without agent holds a lease under an id made from its name (FNV-1a), with the top bit set so that it is
/// never the Raft id of an agent that was drawn at random with that bit clear.
store::kv::NodeId client_holder(const std::string& name) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  return store::kv::NodeId{hash | kRoleWatchBit};
}

api::Milliseconds to_ms(store::Duration duration) { return std::chrono::duration_cast<api::Milliseconds>(duration); }

/// What the store waits for instead of the API's topic. Sessions of a node move with any session, checks of a state
/// with any check: such a wait wakes too often, never too seldom.
store::kv::Topic store_topic(const api::Topic& topic) {
  using Kind = store::kv::Topic::Kind;
  switch (topic.kind) {
    case api::Topic::Kind::kKey:
      // An election shown as a key changes with its lease.
      if (topic.name.starts_with(api::kDerivedPrefix)) return {Kind::kLease, topic.name.substr(api::kDerivedPrefix.size())};
      return {Kind::kKey, topic.name};
    case api::Topic::Kind::kPrefix:
      if (topic.name.starts_with(api::kDerivedPrefix)) return {Kind::kLease, {}};
      return {Kind::kPrefix, topic.name};
    case api::Topic::Kind::kElection: return {Kind::kLease, topic.name};
    case api::Topic::Kind::kNodes: return {Kind::kNodes, {}};
    case api::Topic::Kind::kNode: return {Kind::kNode, topic.name};
    case api::Topic::Kind::kServices: return {Kind::kServices, {}};
    case api::Topic::Kind::kService: return {Kind::kService, topic.name};
    case api::Topic::Kind::kChecks: return {Kind::kChecks, {}};
    case api::Topic::Kind::kEvents: return {Kind::kEvents, {}};
    case api::Topic::Kind::kSession:
      if (const auto id = store::kv::parse_session_id(topic.name)) return {Kind::kSession, id->text()};
      return {Kind::kSessions, {}};
    case api::Topic::Kind::kSessions:
    case api::Topic::Kind::kNodeSessions: return {Kind::kSessions, {}};
    case api::Topic::Kind::kFeed:
    case api::Topic::Kind::kRole: break;  // not the store's
  }
  return {Kind::kLease, topic.name};
}

}  // namespace

api::Error api_error_of(const store::Error& error) { return {api_errc(error.code), error.detail, {}}; }

std::string switchover_key(const std::string& service) { return "outrigger/command/switchover/" + service; }

std::string SwitchoverOrder::text() const {
  return nlohmann::json{{"epoch", epoch}, {"target", target}}.dump();
}

std::optional<SwitchoverOrder> SwitchoverOrder::parse(std::string_view text) {
  const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object()) return std::nullopt;
  const auto epoch = document.find("epoch");
  const auto target = document.find("target");
  if (epoch == document.end() || !epoch->is_number_unsigned() || target == document.end() || !target->is_string()) {
    return std::nullopt;
  }
  return SwitchoverOrder{epoch->get<std::uint64_t>(), target->get<std::string>()};
}

AgentBackend::AgentBackend(BackendParts parts)
    : parts_(std::move(parts)),
      joint_watches_(*parts_.store),
      started_(io::boottime_now()),
      wake_roles_(*parts_.loop, [this] {
        const std::uint64_t index = role_index();
        std::vector<std::function<void()>> woken;
        for (auto it = role_watches_.begin(); it != role_watches_.end();) {
          if (it->second.after < index) {
            woken.push_back(std::move(it->second.woken));
            it = role_watches_.erase(it);
          } else {
            ++it;
          }
        }
        for (const auto& one : woken) one();
      }),
      alive_(std::make_shared<bool>(true)),
      sessions_(std::make_unique<BackendSessions>(parts_)) {}

AgentBackend::~AgentBackend() { *alive_ = false; }

io::TimePoint AgentBackend::write_deadline() const { return io::boottime_now() + parts_.config->raft.write_timeout; }

std::uint64_t AgentBackend::role_index() const {
  const std::uint64_t own = parts_.primary != nullptr ? parts_.primary->role_state().index : 1;
  // A lease changes at an index of the log: adding it keeps the sum growing and at least as high as that entry's.
  const std::string service = parts_.primary != nullptr ? parts_.primary->service() : std::string();
  return own + store::kv::value(parts_.store->core().state().lease_index(service));
}

void AgentBackend::on_role_changed() { wake_roles_.schedule(); }

// --- reads and writes of the state ---------------------------------------------------------------------------------

void AgentBackend::read_barrier(api::ReadMode mode, api::Completion<api::ReadInfo> done) {
  const auto consistency = mode == api::ReadMode::kStale        ? store::Consistency::kStale
                           : mode == api::ReadMode::kConsistent ? store::Consistency::kConsistent
                                                                : store::Consistency::kDefault;
  parts_.store->read(consistency, write_deadline(), [alive = alive_, done = std::move(done)](store::Result<store::Readable> read) {
    if (!*alive) return;
    if (!read) return done(api_error(read.error()));
    done(api::ReadInfo{api::Index{store::kv::value(read->applied)}, read->known_leader, to_ms(read->last_contact)});
  });
}

api::ReadInfo AgentBackend::read_info() const {
  const store::Store& core = parts_.store->core();
  const auto heard = core.last_contact(io::boottime_now());
  return {api::Index{store::kv::value(core.state().applied())}, bool(core.leader()), to_ms(heard)};
}

api::KvAnswer AgentBackend::kv_get(const std::string& key) const {
  const auto& state = parts_.store->core().state();
  api::KvAnswer answer;
  if (auto derived = derived_entry(state, key)) answer.entries.push_back(std::move(*derived));
  else if (const auto* entry = state.get(key)) answer.entries.push_back(entry_of(key, *entry, state.lock(key)));
  answer.index = kv_index({api::Topic::Kind::kKey, key});
  return answer;
}

api::KvAnswer AgentBackend::kv_list(const std::string& prefix) const {
  const auto& state = parts_.store->core().state();
  api::KvAnswer answer;
  answer.entries = derived_entries(state, prefix);
  if (!prefix.starts_with(api::kDerivedPrefix))
    for (const store::kv::Found& found : state.list(prefix)) answer.entries.push_back(entry_of(*found.key, *found.entry, found.lock));
  answer.index = kv_index({api::Topic::Kind::kPrefix, prefix});
  return answer;
}

api::Index AgentBackend::kv_index(const api::Topic& topic) const {
  if (topic.kind == api::Topic::Kind::kRole) return api::Index{role_index()};
  return api::Index{store::kv::value(parts_.store->core().state().topic_index(store_topic(topic)))};
}

void AgentBackend::kv_write(api::KvWrite write, api::Completion<api::KvWritten> done) {
  using Kind = api::KvWrite::Kind;
  const bool of_lock = write.kind == Kind::kLock || write.kind == Kind::kUnlock;
  auto session = of_lock ? store::kv::parse_session_id(write.session) : store::kv::SessionId{};
  if (of_lock && session && session->is_none()) session.reset();  // all zeros: nobody's
  const std::string holder = write.session;
  if (!session) {
    return parts_.loop->post([alive = alive_, done = std::move(done), holder] {
      if (*alive) done(api_error(api::Errc::kRefused, "invalid session \"" + holder + "\""));
    });
  }
  const bool sets = of_lock || write.kind == Kind::kSet || write.kind == Kind::kCas;
  const std::string key = sets ? write.key : std::string();
  parts_.store->write(command_of(std::move(write), *session), write_deadline(),
                      [this, alive = alive_, key, holder, done = std::move(done)](store::Result<store::Written> written) {
                        using store::kv::Outcome;
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        if (auto refusal = refusal_of(*written)) return done(tl::make_unexpected(std::move(*refusal)));
                        if (written->outcome == Outcome::kInvalidSession)
                          return done(api_error(api::Errc::kRefused, "invalid session \"" + holder + "\""));
                        api::KvWritten made{written->outcome == Outcome::kDone || written->outcome == Outcome::kUnchanged,
                                            api::Index{store::kv::value(written->index)}, {}};
                        if (made.applied && !key.empty()) made.modify = made.index;
                        // The same was there already, under an older index. If somebody has written since, the newer
                        // index stays: a CAS with it fails, as it must.
                        const auto* entry = written->outcome == Outcome::kUnchanged ? parts_.store->core().state().get(key) : nullptr;
                        if (entry != nullptr && entry->modify < written->index) made.modify = api::Index{store::kv::value(entry->modify)};
                        done(made);
                      });
}

std::optional<api::WatchId> AgentBackend::watch(const api::Topic& topic, api::Index after, std::function<void()> woken) {
  if (topic.kind == api::Topic::Kind::kRole) {
    if (role_watches_.size() >= kRoleWatchesMax) return std::nullopt;
    const std::uint64_t id = ++role_watch_count_ | kRoleWatchBit;
    role_watches_.emplace(id, RoleWatch{static_cast<std::uint64_t>(after), std::move(woken)});
    wake_roles_.schedule();
    return api::WatchId{id};
  }
  if (topic.kind == api::Topic::Kind::kFeed) {
    AgentRequests* requests = parts_.requests ? parts_.requests() : nullptr;
    const auto number = requests != nullptr ? requests->watch(topic.name, std::move(woken)) : std::nullopt;
    return number ? std::optional(api::WatchId{*number | kFeedWatchBit}) : std::nullopt;
  }
  const auto joint = parts_.catalog != nullptr ? parts_.catalog->topics_of(topic) : std::vector<store::kv::Topic>();
  if (!joint.empty()) {
    const auto number = joint_watches_.add(joint, store::kv::Index{static_cast<std::uint64_t>(after)}, std::move(woken));
    return number ? std::optional(api::WatchId{*number | kJointWatchBit}) : std::nullopt;
  }
  const auto id = parts_.store->watch(store_topic(topic), store::kv::Index{static_cast<std::uint64_t>(after)}, std::move(woken));
  if (!id) return std::nullopt;
  return api::WatchId{static_cast<std::uint64_t>(*id)};
}

api::SessionBackend* AgentBackend::sessions() { return sessions_.get(); }

void AgentBackend::unwatch(api::WatchId id) {
  const auto number = static_cast<std::uint64_t>(id);
  if ((number & kRoleWatchBit) != 0) role_watches_.erase(number);
  else if ((number & kFeedWatchBit) != 0) parts_.requests()->unwatch(number & ~kFeedWatchBit);
  else if ((number & kJointWatchBit) != 0) joint_watches_.cancel(number & ~kJointWatchBit);
  else parts_.store->unwatch(store::kv::WatchId{number});
}

// --- who is there --------------------------------------------------------------------------------------------------

api::SelfInfo AgentBackend::self() const {
  api::SelfInfo info;
  info.name = parts_.config->node.name;
  info.id = parts_.id;
  info.raft_id = api::NodeId{parts_.raft_id.value};
  info.version = OUTRIGGER_VERSION;
  info.cluster = parts_.config->mesh.cluster;
  if (const auto& id = parts_.store->core().cluster_id(); !id.is_none()) info.cluster_id = id.hex();
  info.zone = parts_.config->node.zone;
  info.api_address = parts_.api_address;
  info.mesh_address = parts_.mesh_address;
  info.gossip_address = parts_.gossip_address;
  info.uptime = to_ms(io::boottime_now() - started_);
  info.draining = parts_.draining();
  return info;
}

std::vector<api::MemberInfo> AgentBackend::members() const {
  std::vector<api::MemberInfo> infos;
  for (const gossip::Member& member : parts_.members()) {
    const MemberTags tags = read_tags(member.tags);
    api::MemberInfo info;
    info.name = member.name;
    info.id = member.id.to_string();
    info.raft_id = api::NodeId{raft_id_of(member.id).value};
    const std::string address = member.address.to_string();
    info.address = address.substr(0, address.rfind(':'));
    info.gossip_port = member.address.port();
    info.mesh_port = tags.mesh_port;
    info.api_address = tags.api;
    switch (member.state) {
      case gossip::MemberState::kAlive: info.state = api::MemberState::kAlive; break;
      case gossip::MemberState::kSuspect: info.state = api::MemberState::kSuspect; break;
      case gossip::MemberState::kDead: info.state = api::MemberState::kDead; break;
      case gossip::MemberState::kLeft: info.state = api::MemberState::kLeft; break;
    }
    if (member.is_live() && parts_.is_pushed_out && parts_.is_pushed_out(member.name)) info.state = api::MemberState::kLeaving;
    info.incarnation = static_cast<std::uint64_t>(member.incarnation);
    if (member.rtt.count() > 0) info.rtt = std::chrono::ceil<api::Milliseconds>(member.rtt);
    info.mesh_connected = info.id == parts_.id || parts_.mesh_connected(raft_id_of(member.id));
    for (const gossip::Tag& tag : member.tags.entries()) {
      if (!tag.removed) info.tags.emplace(tag.key, tag.value);
    }
    infos.push_back(std::move(info));
  }
  std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return std::tie(a.name, a.id) < std::tie(b.name, b.id); });
  return infos;
}

const gossip::Member* AgentBackend::member_named(const std::string& name) const {
  for (const gossip::Member& member : parts_.members()) {
    if (member.name == name && member.is_live()) return &member;
  }
  return nullptr;
}

api::RaftInfo AgentBackend::raft() const {
  const io::TimePoint now = io::boottime_now();
  const store::Status status = parts_.store->core().status(now);
  api::RaftInfo info;
  info.self = api::NodeId{parts_.raft_id.value};
  info.leader = api::NodeId{status.leader.value};
  if (!status.in_configuration) info.role = "waiting";
  else if (status.learner) info.role = "learner";
  else if (status.role == store::raft::Role::kLeader) info.role = "leader";
  else if (status.role == store::raft::Role::kCandidate) info.role = "candidate";
  else info.role = status.role == store::raft::Role::kPreCandidate ? "pre_candidate" : "follower";
  info.term = status.term.value;
  info.first_index = status.first.value;
  info.last_index = status.last.value;
  info.commit_index = status.commit.value;
  info.applied_index = status.applied.value;
  info.missing = status.missing;
  info.disk_space = store::disk::to_string(status.space);
  std::map<std::uint64_t, std::string> addresses;
  for (const gossip::Member& member : parts_.members()) addresses.emplace(raft_id_of(member.id).value, mesh_address(member));
  for (const store::ServerStatus& server : status.servers) {
    api::RaftPeer peer;
    peer.id = api::NodeId{server.id.value};
    peer.name = server.name;
    if (const auto found = addresses.find(server.id.value); found != addresses.end()) peer.address = found->second;
    peer.is_voter = server.voter;
    peer.is_leader = server.id == status.leader;
    if (server.progress) {
      peer.match_index = server.progress->match.value;
      if (server.progress->last_contact) peer.last_contact = to_ms(now - *server.progress->last_contact);
    }
    if (server.disk) {
      peer.fsync_p50 = server.disk->fsync_p50;
      peer.fsync_p99 = server.disk->fsync_p99;
    }
    info.peers.push_back(std::move(peer));
  }
  if (const auto found = addresses.find(status.leader.value); found != addresses.end()) info.leader_address = found->second;
  return info;
}

// --- the primary ---------------------------------------------------------------------------------------------------

api::RoleInfo AgentBackend::role() const {
  api::RoleInfo info;
  info.self_name = parts_.config->node.name;
  info.index = api::Index{role_index()};
  info.instance = "unknown";
  if (parts_.primary == nullptr) return info;
  const RoleState& state = parts_.primary->role_state();
  info.service = parts_.primary->service();
  info.role = state.role == Role::kPrimary ? "primary" : "standby";
  info.serving = state.serving;
  info.epoch = api::Epoch{static_cast<std::uint64_t>(state.epoch)};
  info.holder = api::NodeId{static_cast<std::uint64_t>(state.holder)};
  info.holder_name = state.holder_name;
  info.instance = std::string(drivers::name_of(parts_.checks->health()));
  info.draining = parts_.draining();
  if (const auto reason = parts_.unarmed ? parts_.unarmed() : std::nullopt; reason && state.role == Role::kPrimary) {
    info.armed = false;
    info.unarmed_reason = *reason;
  }
  info.since_ms = state.since_ms;
  const io::TimePoint now = io::boottime_now();
  if (parts_.primary->core().may_write(now)) info.valid_for = to_ms(parts_.primary->core().valid_until() - now);
  return info;
}

api::OrderBackend* AgentBackend::orders() { return parts_.orders ? parts_.orders() : nullptr; }

std::optional<api::ElectionInfo> AgentBackend::election(const std::string& name) const {
  const auto& state = parts_.store->core().state();
  const store::kv::Lease* lease = state.lease(name);
  api::ElectionInfo info;
  info.name = name;
  info.index = api::Index{store::kv::value(state.lease_index(name))};
  info.epoch = api::Epoch{store::kv::value(state.epoch(name))};
  if (lease == nullptr) {
    if (info.epoch == api::Epoch{} && (parts_.primary == nullptr || parts_.primary->service() != name)) return std::nullopt;
    return info;
  }
  info.holder = api::NodeId{store::kv::value(lease->holder)};
  if (info.holder != api::NodeId{}) info.holder_name = lease->holder_name;
  info.preferred = api::NodeId{store::kv::value(lease->preferred)};
  info.lease = api::Milliseconds{lease->lease_ms};
  return info;
}

void AgentBackend::finish_election(const std::string& name, const api::Completion<api::ElectionInfo>& done) const {
  if (auto info = election(name)) done(std::move(*info));
  else done(api_error(api::Errc::kNotFound, "no election named " + name));
}

void AgentBackend::election_command(api::ElectionCommand command, api::Completion<api::ElectionInfo> done) {
  using Kind = api::ElectionCommand::Kind;
  if (command.kind == Kind::kCampaign || command.kind == Kind::kRenew || command.kind == Kind::kResign) {
    return client_election(command, std::move(done));
  }
  // Look at the newest state first: an order for an epoch that is over would be ignored.
  parts_.store->read(store::Consistency::kDefault, write_deadline(),
                     [this, alive = alive_, command, done = std::move(done)](store::Result<store::Readable> read) mutable {
                       if (!*alive) return;
                       if (!read) return done(api_error(read.error()));
                       const store::kv::Lease* lease = parts_.store->core().state().lease(command.name);
                       if (lease == nullptr || lease->holder == store::kv::NodeId{}) {
                         return done(api_error(api::Errc::kConflict, "nobody holds " + command.name + " now"));
                       }
                       order_switchover(command, *lease, std::move(done));
                     });
}

void AgentBackend::order_switchover(const api::ElectionCommand& command, const store::kv::Lease& lease,
                                    api::Completion<api::ElectionInfo> done) {
  if (!command.target.empty()) {
    const gossip::Member* target = member_named(command.target);
    if (target == nullptr) return done(api_error(api::Errc::kNotFound, "no live member named " + command.target));
    const MemberTags tags = read_tags(target->tags);
    if (tags.service != command.name || tags.health != drivers::InstanceHealth::kPassing || tags.draining) {
      return done(api_error(api::Errc::kConflict, command.target + " cannot take " + command.name + ": its instance is " +
                                                      std::string(drivers::name_of(tags.health)) + (tags.draining ? ", draining" : "")));
    }
    if (store::kv::NodeId{raft_id_of(target->id).value} == lease.holder) {
      return done(api_error(api::Errc::kConflict, command.target + " holds " + command.name + " already"));
    }
  }
  const store::kv::Epoch epoch = lease.epoch;
  const SwitchoverOrder order{store::kv::value(epoch), command.target};
  const io::TimePoint deadline = write_deadline() + parts_.config->raft.write_timeout;
  parts_.store->write(store::kv::Set{switchover_key(command.name), order.text(), 0}, write_deadline(),
                      [this, alive = alive_, epoch, deadline, name = command.name, done = std::move(done)](store::Result<store::Written> written) mutable {
                        if (!*alive) return;
                        if (!written) return done(write_error(written.error()));
                        await_epoch_above(name, epoch, deadline, std::move(done));
                      });
}

void AgentBackend::await_epoch_above(const std::string& service, store::kv::Epoch epoch, io::TimePoint deadline,
                                     api::Completion<api::ElectionInfo> done) {
  const auto& state = parts_.store->core().state();
  const store::kv::Lease* lease = state.lease(service);
  if (lease != nullptr && lease->epoch > epoch && lease->holder != store::kv::NodeId{}) return finish_election(service, done);
  if (io::boottime_now() >= deadline) {
    return done(api_error(api::Errc::kTimeout, "nobody took " + service + " over in time; the order stands for its holder"));
  }
  // A change of the lease and the deadline both end this wait; whichever comes second finds it gone.
  const std::uint64_t wait = ++wait_count_;
  const auto end = [this, alive = alive_, wait, service, epoch, deadline, done = std::move(done)] {
    if (*alive && waits_.erase(wait) == 1) await_epoch_above(service, epoch, deadline, done);
  };
  auto& timer = waits_[wait] = std::make_unique<io::Timer>(*parts_.loop, end);
  const auto watched = parts_.store->watch({store::kv::Topic::Kind::kLease, service}, state.lease_index(service), end);
  // Without room for a watch the state is looked at again and again, in pauses.
  timer->arm(watched ? deadline : std::min(deadline, io::boottime_now() + io::Milliseconds(50)));
}

/// An election that agents hold for their instances, here or anywhere: no client may stand for it.
bool AgentBackend::is_of_agents(const std::string& name) const {
  if (parts_.primary != nullptr && parts_.primary->service() == name) return true;
  const auto members = parts_.members();
  return std::any_of(members.begin(), members.end(), [&name](const gossip::Member& member) { return read_tags(member.tags).service == name; });
}

void AgentBackend::client_election(const api::ElectionCommand& command, api::Completion<api::ElectionInfo> done) {
  if (is_of_agents(command.name)) {
    return parts_.loop->post([alive = alive_, name = command.name, done = std::move(done)] {
      if (*alive) done(api_error(api::Errc::kConflict, name + " is held by agents for their instances; clients need another name"));
    });
  }
  const store::kv::Epoch epoch{static_cast<std::uint64_t>(command.epoch)};
  const auto finish = [this, alive = alive_, command, name = command.name, done](const store::Result<store::Written>& written) {
    if (!*alive) return;
    if (!written) return done(write_error(written.error()));
    if (auto refusal = refusal_of(*written)) return done(tl::make_unexpected(std::move(*refusal)));
    if (written->outcome != store::kv::Outcome::kDone) return done(api_error(api::Errc::kConflict, lost_text(name, *written)));
    // What was granted to this caller, not what the state says by now: another entry may have come behind it.
    done(granted(command, api::Epoch{store::kv::value(written->epoch)}, api::Index{store::kv::value(written->index)}));
  };
  if (command.kind == api::ElectionCommand::Kind::kRenew) {
    parts_.store->renew(command.name, epoch, write_deadline(), [this, alive = alive_, command, done](store::Result<void> renewed) {
      if (!*alive) return;
      if (!renewed) return done(api_error(renewed.error()));
      done(granted(command, command.epoch, {}));
    });
  } else if (command.kind == api::ElectionCommand::Kind::kResign) {
    parts_.store->write(store::kv::LeaseRelease{command.name, epoch, {}}, write_deadline(), finish);
  } else {
    const auto lease_ms = static_cast<std::uint32_t>(command.lease.count());
    parts_.store->write(store::kv::LeaseAcquire{command.name, client_holder(command.holder), command.holder, lease_ms, lease_ms / 3},
                        write_deadline(), finish);
  }
}

/// What a client holds after a campaign or renewal, or has given up. `index` 0 = as the state here has it.
api::ElectionInfo AgentBackend::granted(const api::ElectionCommand& command, api::Epoch epoch, api::Index index) const {
  api::ElectionInfo info = election(command.name).value_or(api::ElectionInfo{});
  const bool current = info.epoch == epoch;
  info.name = command.name;
  info.epoch = epoch;
  if (index != api::Index{}) info.index = index;
  const bool gives_up = command.kind == api::ElectionCommand::Kind::kResign;
  info.holder = gives_up ? api::NodeId{} : api::NodeId{store::kv::value(client_holder(command.holder))};
  info.holder_name = gives_up ? std::string() : command.holder;
  if (command.kind == api::ElectionCommand::Kind::kCampaign) info.lease = command.lease;
  else if (!current) info.lease = api::Milliseconds{0};  // not known here yet
  return info;
}

std::string AgentBackend::lost_text(const std::string& name, const store::Written& written) const {
  using store::kv::Outcome;
  const store::kv::Lease* lease = parts_.store->core().state().lease(name);
  if (written.outcome == Outcome::kHeld && lease != nullptr && lease->holder != store::kv::NodeId{})
    return name + " is held by " + lease->holder_name + " under epoch " + std::to_string(store::kv::value(lease->epoch));
  if (written.outcome == Outcome::kStaleEpoch) return "that epoch of " + name + " is over; the last one is " + std::to_string(store::kv::value(written.epoch));
  if (written.outcome == Outcome::kReserved) return name + " is kept for another candidate for a moment";
  return "decided against the caller: " + std::string(store::kv::to_string(written.outcome));
}

// --- proxy, health, commands ---------------------------------------------------------------------------------------

void AgentBackend::metrics(api::Completion<std::vector<api::MetricFamily>> done) {
  parts_.proxy_status([this, alive = alive_, done = std::move(done)](const ProxyStatus& status) {
    if (*alive) done(metric_families(parts_, status));
  });
}

void AgentBackend::app_metrics(api::Completion<std::string> done) {
  if (parts_.app_metrics == nullptr) return done(std::string());
  parts_.app_metrics->fetch([alive = alive_, done = std::move(done)](std::string text) {
    if (*alive) done(std::move(text));
  });
}

std::vector<api::HealthItem> AgentBackend::live() const {
  return {{"store", !parts_.store->stopped(), parts_.store->stopped() ? "stopped after a fault; restart the agent" : ""}};
}

std::vector<api::HealthItem> AgentBackend::ready() const {
  std::vector<api::HealthItem> items = live();
  const store::Store& core = parts_.store->core();
  items.push_back({"cluster", !core.cluster_id().is_none(), core.cluster_id().is_none() ? "in no cluster yet" : ""});
  items.push_back({"leader", bool(core.leader()), core.leader() ? "" : "no leader is known"});
  items.push_back({"disk", !core.disk_hangs(), core.disk_hangs() ? "the disk has not answered for seconds" : ""});
  const std::size_t hung = parts_.hung_workers ? parts_.hung_workers() : 0;
  items.push_back({"workers", hung == 0, hung == 0 ? "" : std::to_string(hung) + " of them do not answer"});
  if (parts_.checks != nullptr) {
    const bool ok = parts_.checks->health() == drivers::InstanceHealth::kPassing || parts_.checks->health() == drivers::InstanceHealth::kDegraded;
    items.push_back({"instance", ok, ok ? "" : std::string(drivers::name_of(parts_.checks->health())) + " " + parts_.checks->reason()});
  }
  items.push_back({"draining", !parts_.draining(), parts_.draining() ? "this agent is drained" : ""});
  return items;
}

void AgentBackend::join(std::vector<std::string> addresses, api::Completion<std::size_t> done) {
  parts_.join(std::move(addresses), std::move(done));
}
void AgentBackend::leave(api::Completion<std::monostate> done) { parts_.leave(std::move(done)); }
void AgentBackend::drain(bool enable, api::Completion<std::monostate> done) { parts_.drain(enable, std::move(done)); }

}  // namespace agent
