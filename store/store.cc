#include "store/store.h"

#include <algorithm>

#include "store/store_impl.h"

/// Construction and the requests of the host. Everything else is in the other store_*.cc files.
namespace store {
namespace {

Membership::Settings membership_settings(const Config& config) {
  Membership::Settings settings;
  settings.self = config.id;
  settings.voters_target = config.voters;
  settings.replace_after = config.replace_after;
  settings.silent_after = 2 * config.election_max;
  settings.round_max = config.election_max;
  return settings;
}

}  // namespace

Store::Impl::Impl(const Config& the_config, Chance the_chance)
    : config(the_config),
      chance(std::move(the_chance)),
      founding(the_config.id, the_config.bootstrap_expect, std::nullopt),
      membership(membership_settings(the_config)),
      step_aside(the_config.id, 2 * the_config.election_max),
      sender(0),
      writes(1, the_config.pending_writes_max),
      reads(the_config.pending_reads_max) {}

raft::Config Store::Impl::raft_config() const {
  raft::Config settings;
  settings.id = config.id;
  settings.heartbeat_interval = config.heartbeat;
  settings.election_timeout_min = config.election_min;
  settings.election_timeout_max = config.election_max;
  settings.lease_margin = config.read_lease_margin;
  return settings;
}

Result<void> Store::Impl::check_config() const {
  if (!config.id) return fail(Errc::kBadRequest, "the node id must not be 0");
  if (config.name.empty() || config.name.size() > kv::kNameBytesMax)
    return fail(Errc::kBadRequest, "the node's name must have 1 to 256 bytes");
  if (config.voters < 1 || config.voters > 9) return fail(Errc::kBadRequest, "voters must be 1 to 9");
  if (config.bootstrap_expect == 1 || config.bootstrap_expect > 9)
    return fail(Errc::kBadRequest, "bootstrap_expect must be 0 or 2 to 9");
  if (config.pending_writes_max < 1 || config.pending_writes_max > kv::kDedupeWindow / 2)
    return fail(Errc::kBadRequest, "pending_writes_max must be 1 to 1024");
  return {};
}

Result<void> Store::Impl::start(disk::LoadedState loaded, TimePoint now) {
  cluster = durable_cluster = loaded.cluster_id;
  machine.answer_txns_of(kv::NodeId{config.id.value});
  founding = Founding(config.id, config.bootstrap_expect, std::move(loaded.grant));
  sender = SnapshotSender((loaded.start_count << 32U) + 1);
  writes = Writes(kv::first_seq(loaded.start_count), config.pending_writes_max);
  reads = Reads(config.pending_reads_max, kv::first_seq(loaded.start_count));
  next_token = (loaded.start_count << 40U) + 1;  // an answer to an earlier process finds nobody
  if (auto rows = load_state(loaded); !rows) return rows;
  if (!machine.cluster_id().is_none() && machine.cluster_id() != cluster)
    return fail(Errc::kBadState, "the state belongs to cluster " + machine.cluster_id().hex() + ", the log to " +
                                     (cluster.is_none() ? "none" : cluster.hex()));
  note_newest_order(now);
  applied = loaded.applied;
  durable_applied = loaded.applied.index;
  leader_heard_at = now;
  raft::InitialState state;
  state.hard = loaded.hard;
  state.snapshot = {loaded.start.index, loaded.start.term, loaded.applied.conf};
  state.entries = std::move(loaded.entries);
  state.applied = loaded.applied.index;
  state.conf = loaded.applied.conf;
  auto made = raft::Raft::create(raft_config(), std::move(state), chance, now);
  if (!made) return fail(Errc::kBadState, made.error().detail);
  raft = std::move(*made);
  // Alone: nobody else can lead, so there is nothing to wait for.
  if (loaded.applied.conf.voters == std::vector<NodeId>{config.id})
    static_cast<void>(raft->step(raft::Campaign{}, now));
  return {};
}

// A large state comes in pieces, so that it is never there twice.
Result<void> Store::Impl::load_state(disk::LoadedState& loaded) {
  kv::StateMachine fresh;
  std::vector<kv::Record> records = std::exchange(loaded.records, {});
  do {
    if (auto rows = fresh.add_rows(records); !rows)
      return fail(Errc::kBadState, "the mirrored state: " + rows.error().detail);
    records.clear();
    if (!loaded.more_records) break;
    auto more = loaded.more_records();
    if (!more) return fail(Errc::kBadState, "the mirrored state: " + more.error().detail);
    records = std::move(*more);
  } while (!records.empty());
  loaded.more_records = nullptr;  // holds a view of the disk, which must be gone before the disk is
  if (auto whole = fresh.finish_load(kv::Index{loaded.applied.index.value}); !whole)
    return fail(Errc::kBadState, "the mirrored state: " + whole.error().detail);
  machine.exchange(fresh);
  return {};
}

Result<std::unique_ptr<Store>> Store::create(const Config& config, disk::LoadedState loaded, Chance chance,
                                             TimePoint now) {
  auto impl = std::make_unique<Impl>(config, std::move(chance));
  if (auto sound = impl->check_config(); !sound) return tl::unexpected<Error>(sound.error());
  if (auto started = impl->start(std::move(loaded), now); !started) return tl::unexpected<Error>(started.error());
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

// --- from the disk, the mesh and gossip -----------------------------------------------------------------------------

void Store::on_persisted(disk::BatchSeq seq, TimePoint now) {
  if (!impl_->stopped()) impl_->on_persisted(seq, now);
}

void Store::on_disk_error(const disk::Error& error, TimePoint) {
  impl_->stop(std::string("disk: ") + disk::to_string(error.code) + ": " + error.detail);
}

void Store::on_disk_times(const DiskTimes& times, TimePoint) {
  impl_->disk_times = times;
  if (!impl_->stopped()) impl_->raft->note_disk_times(times);
}

void Store::on_wall_clock(std::uint64_t wall_ms, TimePoint now) {
  if (!impl_->stopped()) impl_->on_wall_clock(wall_ms, now);
}

void Store::on_task_done(disk::TaskSeq seq, disk::Result<disk::TaskAnswer> answer, TimePoint now) {
  if (!impl_->stopped()) impl_->on_task_done(seq, std::move(answer), now);
}

void Store::on_space(disk::Space space, TimePoint now) {
  if (!impl_->stopped()) impl_->on_space(space, now);
}

void Store::mirror(TimePoint) {
  if (!impl_->stopped() && impl_->applied.index > impl_->durable_applied) impl_->batch_wanted = true;
}

void Store::on_peer_frame(NodeId from, std::string_view bytes, TimePoint now) {
  if (!impl_->stopped()) impl_->on_frame(from, bytes, now);
}

void Store::on_peer_connected(NodeId peer, TimePoint now) {
  if (!impl_->stopped()) impl_->on_connected(peer, now);
}

void Store::on_peer_lost(NodeId peer, TimePoint now) {
  if (!impl_->stopped()) impl_->on_lost(peer, now);
}

void Store::on_peer_refused(NodeId peer, TimePoint now) {
  if (impl_->stopped()) return;
  impl_->on_lost(peer, now);
  static_cast<void>(impl_->raft->step(raft::PeerRefused{peer}, now));  // no effect unless it is our leader
}

void Store::on_members(std::vector<MemberInfo> members, TimePoint now) {
  if (impl_->stopped()) return;
  impl_->members = std::move(members);
  if (impl_->cluster.is_none()) {
    impl_->founding.on_members(impl_->members, impl_->chance, now);
    impl_->take_founding_actions(now);
  } else if (impl_->leads()) {
    impl_->observe_members(now);
  }
}

// --- requests -------------------------------------------------------------------------------------------------------

void Store::write(RequestNo request, kv::CommandBody command, TimePoint deadline, TimePoint) {
  Impl& impl = *impl_;
  if (impl.stopped()) return impl.reply(request, fail(Errc::kStopped, "the store has stopped"));
  if (auto sound = kv::check(command); !sound) {
    const bool large = sound.error().code == kv::Errc::kTooLarge;
    return impl.reply(request, fail(large ? Errc::kTooLarge : Errc::kBadRequest, sound.error().detail));
  }
  if (leaders_own(command)) return impl.reply(request, fail(Errc::kBadRequest, "only the leader may decide this"));
  if (impl.leads() && !impl.has_room_for(command)) {
    ++impl.counters.writes_refused_disk_full;
    return impl.reply(request, fail(Errc::kDiskFull, "the disk of this agent, which leads, is nearly full"));
  }
  const std::uint64_t seq = impl.writes.next_seq();
  Writes::Write write;
  write.request = request;
  write.deadline = deadline;
  write.command = kv::encode({{kv::NodeId{impl.config.id.value}, seq}, std::move(command)});
  if (write.command.size() > kv::kCommandBytesMax)
    return impl.reply(request, fail(Errc::kTooLarge, "the command is larger than 1 MiB"));
  if (!impl.writes.fits(write.command.size()))
    return impl.reply(request, fail(Errc::kBusy, "too many writes wait at this agent"));
  impl.writes.add(seq, std::move(write));
  ++impl.counters.writes;
}

void Store::read(RequestNo request, Consistency consistency, TimePoint deadline, TimePoint now) {
  Impl& impl = *impl_;
  if (impl.stopped()) return impl.reply(request, fail(Errc::kStopped, "the store has stopped"));
  ++impl.counters.reads;
  if (consistency == Consistency::kStale) {
    const Duration lag = impl.leads() ? Duration{} : now - impl.leader_heard_at;
    return impl.reply(request, Readable{impl.machine.applied(), static_cast<bool>(impl.raft->leader()), lag});
  }
  if (impl.reads.full()) return impl.reply(request, fail(Errc::kBusy, "too many reads wait at this agent"));
  Reads::Read read;
  read.request = request;
  read.mode = consistency == Consistency::kDefault ? raft::ReadMode::kLease : raft::ReadMode::kQuorum;
  read.deadline = deadline;
  impl.reads.add(std::move(read));
}

void Store::renew(RequestNo request, std::string service, kv::Epoch epoch, TimePoint deadline, TimePoint) {
  Impl& impl = *impl_;
  if (impl.stopped()) return impl.reply(request, fail(Errc::kStopped, "the store has stopped"));
  if (service.empty() || service.size() > kv::kNameBytesMax)
    return impl.reply(request, fail(Errc::kBadRequest, "the service must have 1 to 256 bytes"));
  if (impl.renewals.size() >= impl.config.pending_reads_max)
    return impl.reply(request, fail(Errc::kBusy, "too many renewals wait at this agent"));
  OwnRenewal renewal;
  renewal.request = request;
  renewal.service = std::move(service);
  renewal.epoch = epoch;
  renewal.deadline = deadline;
  impl.renewals.emplace(impl.next_token++, std::move(renewal));
  ++impl.counters.renewals;
}

void Store::renew_session(RequestNo request, kv::SessionId session, TimePoint deadline, TimePoint) {
  Impl& impl = *impl_;
  if (impl.stopped()) return impl.reply(request, fail(Errc::kStopped, "the store has stopped"));
  if (impl.renewals.size() >= impl.config.pending_reads_max)
    return impl.reply(request, fail(Errc::kBusy, "too many renewals wait at this agent"));
  OwnRenewal renewal;
  renewal.request = request;
  renewal.session = session;
  renewal.deadline = deadline;
  impl.renewals.emplace(impl.next_token++, std::move(renewal));
  ++impl.counters.renewals;
}

void Store::bootstrap(RequestNo request, TimePoint now) {
  Impl& impl = *impl_;
  if (impl.stopped()) return impl.reply(request, fail(Errc::kStopped, "the store has stopped"));
  if (!impl.cluster.is_none())
    return impl.reply(request, fail(Errc::kAlreadyFounded, "this agent belongs to cluster " + impl.cluster.hex()));
  if (impl.founding.grant())
    return impl.reply(request, fail(Errc::kConflict, "this agent promised to be founded with others"));
  disk::Grant grant;
  for (std::uint8_t& byte : grant.id.bytes) byte = static_cast<std::uint8_t>(impl.chance(256));
  grant.id.bytes[0] |= 1U;  // never none
  grant.founder = impl.config.id;
  grant.voters = {impl.config.id};
  impl.bootstraps.push_back(request);
  impl.found(grant, now);
}

void Store::transfer_leadership(RequestNo request, NodeId to, TimePoint now) {
  impl_->operate(request, Operation::kTransfer, to, now);
}

void Store::remove_server(RequestNo request, NodeId server, TimePoint now) {
  impl_->operate(request, Operation::kRemove, server, now);
}

void Store::figures(RequestNo request, TimePoint now) { impl_->operate(request, Operation::kFigures, NodeId{}, now); }

Result<kv::WatchId> Store::watch(const kv::Topic& topic, kv::Index after) {
  auto id = impl_->machine.watch(topic, after);
  if (!id) return fail(Errc::kBusy, id.error().detail);
  return *id;
}

void Store::unwatch(kv::WatchId id) { impl_->machine.unwatch(id); }

// --- time, output, looking in ---------------------------------------------------------------------------------------

void Store::tick(TimePoint now) {
  if (!impl_->stopped()) impl_->tick(now);
}

bool Store::disk_hangs() const { return impl_->disk_hangs; }

TimePoint Store::next_deadline() const { return impl_->stopped() ? TimePoint::max() : impl_->next_deadline(); }

bool Store::has_output() const {
  const Impl& impl = *impl_;
  if (!impl.output.empty()) return true;
  if (impl.stopped()) return false;
  const bool can_send = impl.raft->leader() && impl.retry_at == TimePoint::max();
  const bool unsent_renewal =
      std::any_of(impl.renewals.begin(), impl.renewals.end(), [](const auto& item) { return item.second.unsent; });
  const bool wants = (can_send && !impl.writes.unsent().empty()) || impl.machine.has_woken() ||
                     (can_send && (impl.reads.wants(raft::ReadMode::kLease) ||
                                   impl.reads.wants(raft::ReadMode::kQuorum) || unsent_renewal));
  return wants || impl.raft->has_output() || (!impl.in_flight && impl.batch_wanted) || impl.sender.wants_to_send();
}

Output Store::take_output(TimePoint now) {
  Impl& impl = *impl_;
  if (!impl.stopped()) {
    impl.flush_writes(now);
    impl.flush_renewals(now);
    impl.flush_reads(now);
    impl.pump(now);
    impl.flush_snapshots(now);
    impl.emit_batch(now);
  }
  for (const kv::WatchId id : impl.machine.take_woken()) impl.output.woken.push_back(id);
  return std::exchange(impl.output, Output{});
}

const kv::StateMachine& Store::state() const { return impl_->machine; }
const raft::Raft& Store::raft() const { return *impl_->raft; }
Status Store::status(TimePoint now) const { return impl_->status(now); }
const kv::ClusterId& Store::cluster_id() const { return impl_->durable_cluster; }
Duration Store::last_contact(TimePoint now) const { return impl_->leads() ? Duration{} : now - impl_->leader_heard_at; }
raft::Index Store::durable_applied() const { return impl_->durable_applied; }
NodeId Store::leader() const { return impl_->raft->leader(); }

Counters Store::counters() const {
  Counters counters = impl_->counters;
  counters.wall_ahead_ms = impl_->order_age.wall_ahead_ms();
  counters.pending_writes = impl_->writes.size();
  counters.pending_reads = impl_->reads.size() + impl_->renewals.size();
  counters.snapshot_bytes_in = impl_->receiver.bytes();
  counters.snapshot_bytes_out = impl_->sender.held_bytes();
  return counters;
}

}  // namespace store
