#include <algorithm>

#include "store/store_impl.h"

/// Snapshots on their way out and in, the disk's tasks behind them, and what to do when the disk has no room.
namespace store {
namespace {

constexpr Milliseconds kHandOverPause{30'000};

}  // namespace

// --- the disk's tasks -----------------------------------------------------------------------------------------------

void Store::Impl::order(disk::TaskWork work, const TaskUse& use) {
  output.tasks.push_back({disk::TaskSeq{++task_count}, std::move(work)});
  tasks.push_back(use);
}

void Store::Impl::on_task_done(disk::TaskSeq seq, disk::Result<disk::TaskAnswer> answer, TimePoint now) {
  const std::uint64_t expected = task_count - tasks.size() + 1;
  if (tasks.empty() || static_cast<std::uint64_t>(seq) != expected)
    return stop("the disk answered a task that is not the next one");
  const TaskUse use = tasks.front();
  tasks.pop_front();
  switch (use.kind) {
    case TaskUse::Kind::kSend:
      if (const auto ended = sender.on_disk(use.transfer, std::move(answer), now)) end_transfer(*ended, now);
      return;
    case TaskUse::Kind::kStage:
    case TaskUse::Kind::kSeal:
      return on_staged(use, answer, now);
    case TaskUse::Kind::kNobody:
      return;
  }
}

// --- sending ------------------------------------------------------------------------------------------------------

void Store::Impl::begin_snapshot(const raft::SnapshotRequest& request, TimePoint now) {
  sender.begin(request.to, cluster, durable_applied, request.term, now);
}

void Store::Impl::flush_snapshots(TimePoint now) {
  if (stopped()) return;
  for (auto& [to, chunk] : sender.take_chunks(now)) send(to, std::move(chunk), false);
  for (SnapshotSender::DiskWork& work : sender.take_disk_work()) {
    const bool closes = std::holds_alternative<disk::CloseView>(work.work);
    const TaskUse use{closes ? TaskUse::Kind::kNobody : TaskUse::Kind::kSend, work.transfer};
    std::visit([&](auto& one) { order(one, use); }, work.work);
  }
}

void Store::Impl::end_transfer(const SnapshotSender::Ended& ended, TimePoint now) {
  ++(ended.outcome == raft::SnapshotOutcome::kDelivered ? counters.snapshots_sent : counters.snapshots_failed);
  static_cast<void>(raft->step(raft::ReportSnapshot{ended.to, ended.outcome}, now));
}

// --- receiving ----------------------------------------------------------------------------------------------------

void Store::Impl::discard_incoming() {
  if (incoming) output.discarded.push_back(std::exchange(incoming, nullptr));
}

void Store::Impl::refuse_snapshot(TimePoint) {
  ++counters.snapshots_refused;
  discard_incoming();
  order(disk::DropStage{}, {});
}

// A chunk is acknowledged when its rows are in the stage. Until an earlier snapshot is installed the stage is not free:
// chunks are dropped then, and come again.
void Store::Impl::on_chunk(NodeId from, ChunkFrame chunk, TimePoint now) {
  if (installing()) return;
  auto step = receiver.on_chunk(from, cluster, std::move(chunk));
  if (step.begins) {
    discard_incoming();
    incoming = std::make_shared<kv::StateMachine>();
    order(disk::BeginStage{}, {});
  }
  if (!step.refused.empty()) refuse_snapshot(now);
  if (step.rows && incoming) {
    if (auto taken = incoming->add_rows(*step.rows); !taken) {
      refuse_snapshot(now);
      return send(from, receiver.refuse(), false);
    }
    order(disk::AppendStage{std::move(*step.rows)}, {TaskUse::Kind::kStage, receiver.transfer()});
    if (step.ends) order(disk::SealStage{}, {TaskUse::Kind::kSeal, receiver.transfer()});
  }
  if (step.ack) send(from, *step.ack, false);
}

void Store::Impl::on_staged(const TaskUse& use, const disk::Result<disk::TaskAnswer>& answer, TimePoint now) {
  if (use.transfer != receiver.transfer() || !incoming) return;  // replaced or refused meanwhile
  if (!answer) {
    const NodeId from = receiver.from();
    const ChunkAckFrame ack = receiver.refuse();
    refuse_snapshot(now);
    return send(from, ack, false);
  }
  if (use.kind == TaskUse::Kind::kSeal) return on_sealed(now);
  send(receiver.from(), receiver.stored(), false);
}

void Store::Impl::on_sealed(TimePoint now) {
  const NodeId from = receiver.from();
  const raft::SnapshotMeta meta = receiver.meta();
  auto whole = incoming->finish_load(kv::Index{meta.index.value});
  if (!whole || incoming->cluster_id() != cluster) {
    const ChunkAckFrame ack = receiver.refuse();
    refuse_snapshot(now);
    return send(from, ack, false);
  }
  raft::Message message;
  message.kind = raft::MessageKind::kSnapshot;
  message.from = from;
  message.to = config.id;
  message.term = receiver.term();
  message.snapshot = meta;
  const ChunkAckFrame done = receiver.complete();
  arrived = meta;
  if (!raft->step(std::move(message), now)) ++counters.frames_refused;
  pump(now);  // installs it, unless Raft finds that it is not needed or has to wait for the disk
  if (stopped()) return;
  // Only Raft knows whether it took it: the log may well end where a snapshot does that was installed before.
  if (arrived && !raft->restoring()) {
    arrived.reset();
    discard_incoming();
    order(disk::DropStage{}, {});
  }
  send(from, done, false);
}

void Store::Impl::install_snapshot(const raft::SnapshotMeta& meta) {
  if (!arrived || *arrived != meta || !incoming) return stop("Raft took a snapshot that is not here");
  arrived.reset();
  machine.exchange(*incoming);
  discard_incoming();  // the state that was replaced
  applied = {meta.index, meta.term, meta.conf};
  next.replace_all = next.use_stage = true;
  next.entries.clear();
  next.trim.reset();
  batch_wanted = true;
  ++counters.snapshots_installed;
  output.events.emplace_back(SnapshotInstalled{machine.applied()});
  for (const auto& [service, lease] : machine.leases()) output.events.emplace_back(LeaseChanged{service, lease});
}

// --- room ---------------------------------------------------------------------------------------------------------

void Store::Impl::on_space(disk::Space now_space, TimePoint now) {
  space = now_space;
  if (space != disk::Space::kPlenty) hand_over(now);
}

// Nobody knows who else is short of room, so this is tried once in a while; the next leader would do the same.
void Store::Impl::hand_over(TimePoint now) {
  if (!leads() || now < hand_over_at || raft->conf_state().voters.size() < 2) return;
  hand_over_at = now + kHandOverPause;
  static_cast<void>(raft->step(raft::TransferLeader{}, now));
}

// Without room nothing is appended: to the leader this node looks slow, and catches up when there is room again.
bool Store::Impl::has_room_for(const raft::Message& message) {
  if (space != disk::Space::kFull || message.entries.empty()) return true;
  ++counters.appends_dropped_disk_full;
  return false;
}

}  // namespace store
