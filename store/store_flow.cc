#include <algorithm>

#include "store/store_impl.h"

/// From Raft's output to the disk, the state machine and the replies.
namespace store {

void Store::Impl::stop(std::string reason) {
  if (is_stopped) return;
  is_stopped = true;
  output = Output{};
  output.fatal = Fatal{std::move(reason)};
}

void Store::Impl::pump(TimePoint now) {
  while (!stopped() && raft->has_output()) {
    carry_out(raft->take_output(), now);
    if (stopped()) return;
    // A leader that lost and regained office between two outputs owes every lease a fresh period, too.
    if (leads() && known_leader_term != raft->term()) on_soft_state({raft->leader(), raft->role()}, now);
    serve_reads();
  }
}

void Store::Impl::carry_out(raft::Output out, TimePoint now) {
  if (out.fatal) return stop("Raft: " + out.fatal->invariant + ": " + out.fatal->detail);
  if (out.soft_state) on_soft_state(*out.soft_state, now);
  send(std::move(out.messages));
  if (out.snapshot) install_snapshot(*out.snapshot);
  if (stopped()) return;
  gather(out);
  for (const raft::Entry& entry : out.committed) {
    apply(entry, now);
    if (stopped()) return;
  }
  if (!out.committed.empty()) {
    const raft::Entry& last = out.committed.back();
    applied = {last.index, last.term, raft->conf_state()};
  }
  if (!out.messages_after.empty()) {
    held.push_back({out.after_seq, std::move(out.messages_after)});
    send_durable();
  }
  for (const raft::ReadState& read : out.reads) {
    if (read.index) {
      reads.on_index(read.context, kv::Index{read.index->value});
    } else {
      reads.on_dropped(read.context);
      retry_at = std::min(retry_at, now + kRetryAfter);
    }
  }
  for (const raft::SnapshotRequest& request : out.snapshot_requests) begin_snapshot(request, now);
  if (out.conf_changed) {
    output.events.emplace_back(ConfChanged{raft->conf_state()});
    if (leads()) observe_at = now;  // the next change need not wait for its turn
  }
}

void Store::Impl::gather(const raft::Output& out) {
  if (out.hard_state) next.hard = out.hard_state;
  if (!out.entries.empty()) {
    const raft::Index front = out.entries.front().index;
    while (!next.entries.empty() && next.entries.back().index >= front) next.entries.pop_back();
    next.entries.insert(next.entries.end(), out.entries.begin(), out.entries.end());
  }
  if (out.seq) {
    next_ack = raft::Persisted{*out.seq, out.last, out.last_term};
    batch_wanted = true;
  }
}

void Store::Impl::apply(const raft::Entry& entry, TimePoint now) {
  const kv::Index index{entry.index.value};
  if (entry.kind != raft::EntryKind::kNormal || entry.data.size() == 0) return machine.skip(index);
  auto result = machine.apply(index, entry.data.view());
  if (!result) {
    return stop("entry " + std::to_string(entry.index.value) +
                " cannot be applied: " + kv::to_string(result.error().code) + ": " + result.error().detail);
  }
  if (result->repeated) ++counters.writes_repeated;
  if (result->lease_changed) note_lease(*result->lease_changed, now);
  note_sessions(*result, now);
  note_order(*result, now);
  finish_write(std::move(*result));
}

void Store::Impl::note_lease(const std::string& service, TimePoint now) {
  const kv::Lease* lease = machine.lease(service);
  keeper.on_lease(service, lease, now);
  output.events.emplace_back(LeaseChanged{service, lease != nullptr ? *lease : kv::Lease{}});
}

void Store::Impl::note_sessions(const kv::Applied& done, TimePoint now) {
  for (const kv::SessionId& id : done.sessions_changed)
    session_keeper.on_session(id, machine.sessions().find(id), now);
  for (const std::string& key : done.delays_changed) session_keeper.on_delay(key, machine.sessions().delay(key), now);
  if (done.restore_changed) session_keeper.on_restore(machine.staged().id, now);
  if (done.replaced) output.events.emplace_back(SnapshotInstalled{done.index});
}

// What a repeated command shows is an old row.
void Store::Impl::note_order(const kv::Applied& done, TimePoint now) {
  if (done.order == nullptr || done.outcome != kv::Outcome::kDone || done.repeated) return;
  order_age.saw(std::max(done.order->settled_ms, done.order->reserved_ms), now);
}

void Store::Impl::note_newest_order(TimePoint now) {
  kv::OrderRow newest;
  for (const std::string& service : machine.orders().services()) {
    const auto last = machine.orders().recent(service, kv::Index{~std::uint64_t{0}}, 1);
    if (!last.empty() && (newest == nullptr || newest->reserved < last.front()->reserved)) newest = last.front();
  }
  if (newest != nullptr) order_age.saw(newest->reserved_ms, now);
}

void Store::Impl::finish_write(kv::Applied done) {
  if (kv::value(done.request.origin) != config.id.value) return;
  auto write = writes.take(done.request.seq);
  if (!write || !write->request) return;
  if (done.outcome == kv::Outcome::kForgotten)
    return reply(*write->request, fail(Errc::kTimeout, "decided so long ago that the outcome is unknown"));
  reply(*write->request,
        Written{done.outcome, done.index, done.epoch, std::move(done.detail), std::move(done.txn), std::move(done.order)});
}

void Store::Impl::on_soft_state(const raft::SoftState& soft, TimePoint now) {
  const bool same = soft.leader == known_leader && raft->term() == known_leader_term;
  if (same && keeper.in_office() == leads()) return;
  if (!same) {
    known_leader = soft.leader;
    known_leader_term = raft->term();
    output.events.emplace_back(LeaderChanged{soft.leader, raft->term()});
  }
  if (soft.leader) leader_heard_at = now;
  keeper.leave_office();
  session_keeper.leave_office();
  sender.cancel_all();
  for (const Reads::Read& read : reads.take_renewals()) answer_renewal(*read.renewal, RenewVerdict::kNotLeader);
  observe_at = TimePoint::max();
  if (leads()) {
    keeper.take_office(machine.leases(), now);
    session_keeper.take_office(machine.sessions(), machine.staged().id, now);
    membership.take_office();
    step_aside.take_office(now);
    observe_at = now + kObserveEvery;
  }
  // Whoever leads now may never have heard of them; request ids make a second copy harmless.
  writes.resend_all();
  for (auto& [token, renewal] : renewals) renewal.unsent = true;
  retry_at = TimePoint::max();
}

// --- the disk -----------------------------------------------------------------------------------------------------

void Store::Impl::emit_batch(TimePoint now) {
  if (stopped() || in_flight || !batch_wanted) return;
  Batch batch;
  batch.seq = disk::BatchSeq{++batch_count};
  batch.ack = std::exchange(next_ack, std::nullopt);
  batch.grant = std::exchange(next_grant, false);
  batch.founding = std::exchange(next_founding, false);
  batch.cluster_id = next.cluster_id;
  // What was applied since the last batch rides along: it costs no flush of its own.
  next.records = machine.take_dirty();
  if (next.replace_all && !next.use_stage) next.records = machine.records();
  if (next.replace_all || applied.index > durable_applied) {
    next.applied = applied;
    batch.applied = applied.index;
  }
  next.seq = batch.seq;
  output.persist = std::exchange(next, disk::PersistBatch{});
  batch_wanted = false;
  in_flight = std::move(batch);
  in_flight_since = watched_since = now;
  ++counters.batches;
}

void Store::Impl::on_persisted(disk::BatchSeq seq, TimePoint now) {
  if (!in_flight || in_flight->seq != seq) return stop("the disk acknowledged a batch that is not under way");
  const Batch batch = *std::exchange(in_flight, std::nullopt);
  if (std::exchange(disk_hangs, false)) output.events.emplace_back(DiskHangs{false, std::chrono::floor<Milliseconds>(now - in_flight_since)});
  if (batch.applied) durable_applied = std::max(durable_applied, *batch.applied);
  if (batch.cluster_id) {
    durable_cluster = *batch.cluster_id;
    output.events.emplace_back(ClusterFounded{durable_cluster});
  }
  if (batch.grant && !batch.founding) {
    founding.on_durable();
    founding.on_members(members, chance, now);
    take_founding_actions(now);
  }
  if (batch.founding) return finish_founding(now);
  if (batch.ack) {
    if (auto taken = raft->step(*batch.ack, now); !taken) return stop("Raft refused an ack of the disk");
    persisted = std::max(persisted, batch.ack->seq);
    send_durable();
  }
  compact(now);
}

namespace {
constexpr Milliseconds kStoppedOneself{1'000};  // a look that comes so much too late: the whole process stood still
}  // namespace

// Slow disks end their syncs, and their figures tell. One that hangs ends none, and says nothing: it is seen by what it has been given.
TimePoint Store::Impl::hang_due() const {
  return in_flight && !disk_hangs ? watched_since + std::max(config.disk_hang, 2 * config.election_max) : TimePoint::max();
}

// Whoever was stopped himself has not heard what the disk may have answered long ago.
void Store::Impl::watch_disk(TimePoint now) {
  const TimePoint due = hang_due();
  if (due > now) return;
  if (now - due > kStoppedOneself) {
    watched_since = now;
    return;
  }
  disk_hangs = true;
  ++counters.disk_hangs;
  output.events.emplace_back(DiskHangs{true, std::chrono::floor<Milliseconds>(now - in_flight_since)});
}

void Store::Impl::send_durable() {
  while (!held.empty() && held.front().after <= persisted) {
    send(std::move(held.front().messages));
    held.pop_front();
  }
}

// --- the log window -----------------------------------------------------------------------------------------------

// Keeps log_keep_entries and log_keep_bytes behind the end, whichever is less, and what a running snapshot needs.
raft::Index Store::Impl::compact_target() const {
  const raft::Log& log = raft->log();
  std::uint64_t kept = 0;
  std::size_t bytes = 0;
  raft::Index to = log.last_index();
  while (to >= log.first_index() && kept < config.log_keep_entries) {
    const std::size_t size = log.at(to).data.size();
    if (bytes + size > config.log_keep_bytes) break;
    bytes += size;
    ++kept;
    to = to.previous();
  }
  to = std::min(to, durable_applied);
  // A transfer under way may hold the log back, but not for ever.
  if (const auto needed = sender.needed_index(); needed && log.bytes() <= 8 * config.log_keep_bytes)
    to = std::min(to, *needed);
  return to;
}

void Store::Impl::compact(TimePoint now) {
  const raft::Log& log = raft->log();
  const std::uint64_t count = log.last_index().value - log.first_index().previous().value;
  // A quarter more than is kept: often enough that memory stays near the bound, seldom enough that one range is worth it.
  if (count <= 2 * config.log_keep_entries && log.bytes() <= config.log_keep_bytes + config.log_keep_bytes / 4) return;
  const raft::Index to = compact_target();
  if (to < log.first_index()) return;
  const auto term = log.term(to);
  if (!term) return;
  if (auto done = raft->step(raft::Compact{to}, now); !done) return;
  next.trim = disk::LogStart{to, *term};  // rides along with the next batch
}

}  // namespace store
