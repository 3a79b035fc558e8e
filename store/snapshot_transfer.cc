#include "store/snapshot_transfer.h"

#include <algorithm>

namespace store {

// --- sending ------------------------------------------------------------------------------------------------------

void SnapshotSender::begin(NodeId to, const kv::ClusterId& cluster, raft::Index floor, raft::Term term, TimePoint now) {
  if (const auto found = transfers_.find(to); found != transfers_.end())
    static_cast<void>(end(found, raft::SnapshotOutcome::kFailed, now));
  std::erase_if(failed_at_, [now](const auto& item) { return item.second + kTransferPause <= now; });
  const auto failed = failed_at_.find(to);
  Transfer transfer;
  transfer.id = next_transfer_++;
  transfer.cluster = cluster;
  transfer.floor = floor;
  transfer.term = term;
  transfer.open_at = failed == failed_at_.end() ? now : failed->second + kTransferPause;
  transfer.sent_at = transfer.heard_at = transfer.open_at;
  transfer.ready = transfer.open_at <= now;
  transfers_.emplace(to, std::move(transfer));
}

SnapshotSender::Ended SnapshotSender::end(Transfers::iterator it, raft::SnapshotOutcome outcome, TimePoint now) {
  const Ended ended{it->first, outcome};
  closing_.push_back({it->second.id, disk::CloseView{disk::ViewId{it->second.id}}});
  if (outcome == raft::SnapshotOutcome::kFailed) failed_at_[it->first] = now;
  transfers_.erase(it);
  return ended;
}

void SnapshotSender::cancel_all() {
  for (const auto& [to, transfer] : transfers_)
    closing_.push_back({transfer.id, disk::CloseView{disk::ViewId{transfer.id}}});
  transfers_.clear();
}

bool SnapshotSender::on_connected(NodeId to, TimePoint now) {
  const auto found = transfers_.find(to);
  if (found == transfers_.end()) return false;
  found->second.next = found->second.acked;
  found->second.heard_at = std::max(now, found->second.open_at);
  return found->second.acked > 0;
}

std::optional<SnapshotSender::Ended> SnapshotSender::on_ack(NodeId from, const ChunkAckFrame& ack, TimePoint now) {
  const auto found = transfers_.find(from);
  if (found == transfers_.end() || found->second.id != ack.transfer) return std::nullopt;
  Transfer& transfer = found->second;
  if (ack.verdict != ChunkVerdict::kNext || ack.next > transfer.next) {
    const bool done = ack.verdict == ChunkVerdict::kDone;
    return end(found, done ? raft::SnapshotOutcome::kDelivered : raft::SnapshotOutcome::kFailed, now);
  }
  transfer.heard_at = now;
  for (; transfer.acked < ack.next; ++transfer.acked) transfer.chunks.pop_front();
  return std::nullopt;
}

std::optional<SnapshotSender::Ended> SnapshotSender::on_disk(std::uint64_t id, disk::Result<disk::TaskAnswer> answer,
                                                             TimePoint now) {
  const auto found = std::find_if(transfers_.begin(), transfers_.end(),
                                  [id](const auto& item) { return item.second.id == id; });
  if (found == transfers_.end()) return std::nullopt;  // ended meanwhile
  Transfer& transfer = found->second;
  transfer.asked = false;
  if (!answer) return end(found, raft::SnapshotOutcome::kFailed, now);
  if (!transfer.meta) {
    const disk::AppliedMark& mark = answer->mark;
    if (mark.index < transfer.floor) return end(found, raft::SnapshotOutcome::kFailed, now);
    transfer.meta = raft::SnapshotMeta{mark.index, mark.term, mark.conf};
    transfer.writer.emplace(RowStreamHead{transfer.cluster, mark.index, mark.term});
    transfer.heard_at = now;
    return std::nullopt;
  }
  for (const kv::Record& record : answer->records) transfer.writer->add(record);
  if (answer->records.empty()) {
    transfer.writer->finish();
    transfer.all_read = true;
  }
  cut(transfer);
  return std::nullopt;
}

// Whole chunks only, until the end; the last one holds the stream's end and so is never empty.
void SnapshotSender::cut(Transfer& transfer) {
  RowStreamWriter& writer = *transfer.writer;
  while (writer.size() >= kChunkBytesMax || (transfer.all_read && writer.size() > 0))
    transfer.chunks.push_back(writer.take(kChunkBytesMax));
}

std::vector<SnapshotSender::Ended> SnapshotSender::tick(TimePoint now) {
  std::vector<NodeId> silent;
  for (auto& [to, transfer] : transfers_) {
    transfer.ready = transfer.ready || transfer.open_at <= now;
    if (now - transfer.heard_at >= kTransferGiveUpAfter) silent.push_back(to);
    if (transfer.next > transfer.acked && now - transfer.sent_at >= kChunkResendAfter) transfer.next = transfer.acked;
  }
  std::vector<Ended> ended;
  for (const NodeId to : silent) ended.push_back(end(transfers_.find(to), raft::SnapshotOutcome::kFailed, now));
  return ended;
}

TimePoint SnapshotSender::next_deadline() const {
  TimePoint next = TimePoint::max();
  for (const auto& [to, transfer] : transfers_) {
    next = std::min(next, transfer.heard_at + kTransferGiveUpAfter);
    if (!transfer.ready) next = std::min(next, transfer.open_at);
    if (transfer.next > transfer.acked) next = std::min(next, transfer.sent_at + kChunkResendAfter);
  }
  return next;
}

bool SnapshotSender::sendable(const Transfer& transfer) {
  return transfer.next < transfer.acked + std::min<std::uint64_t>(kChunksInFlightMax, transfer.chunks.size());
}

bool SnapshotSender::readable(const Transfer& transfer) {
  return transfer.ready && !transfer.asked && !transfer.all_read &&
         transfer.chunks.size() < kChunksInFlightMax + kChunksReadAhead;
}

bool SnapshotSender::wants_to_send() const {
  return !closing_.empty() || std::any_of(transfers_.begin(), transfers_.end(), [](const auto& item) {
    return sendable(item.second) || readable(item.second);
  });
}

std::vector<std::pair<NodeId, ChunkFrame>> SnapshotSender::take_chunks(TimePoint now) {
  std::vector<std::pair<NodeId, ChunkFrame>> chunks;
  for (auto& [to, transfer] : transfers_) {
    for (; sendable(transfer); ++transfer.next) {
      const std::size_t at = transfer.next - transfer.acked;
      const bool last = transfer.all_read && at + 1 == transfer.chunks.size();
      ChunkFrame chunk;
      chunk.transfer = transfer.id;
      chunk.term = transfer.term;
      chunk.meta = *transfer.meta;
      chunk.number = transfer.next;
      chunk.count = last ? transfer.next + 1 : 0;
      chunk.bytes = transfer.chunks[at];
      chunk.hash = hash_bytes(chunk.bytes);
      chunks.emplace_back(to, std::move(chunk));
      transfer.sent_at = now;
    }
  }
  return chunks;
}

std::vector<SnapshotSender::DiskWork> SnapshotSender::take_disk_work() {
  std::vector<DiskWork> work = std::exchange(closing_, {});
  for (auto& [to, transfer] : transfers_) {
    if (!readable(transfer)) continue;
    const disk::ViewId view{transfer.id};
    work.push_back({transfer.id, transfer.meta ? Work{disk::ReadView{view, kChunkBytesMax}} : disk::OpenView{view}});
    transfer.asked = true;
  }
  return work;
}

std::optional<raft::Index> SnapshotSender::needed_index() const {
  std::optional<raft::Index> needed;
  for (const auto& [to, transfer] : transfers_) {
    const raft::Index index = transfer.meta ? transfer.meta->index : transfer.floor;
    needed = needed ? std::min(*needed, index) : index;
  }
  return needed;
}

std::size_t SnapshotSender::held_bytes() const {
  std::size_t total = 0;
  for (const auto& [to, transfer] : transfers_) {
    for (const std::string& chunk : transfer.chunks) total += chunk.size();
    if (transfer.writer) total += transfer.writer->size();
  }
  return total;
}

// --- receiving ----------------------------------------------------------------------------------------------------

void SnapshotReceiver::reset() {
  transfer_ = next_ = stored_ = bytes_ = 0;
  reader_ = RowStreamReader();
}

SnapshotReceiver::Step SnapshotReceiver::on_chunk(NodeId from, const kv::ClusterId& ours, ChunkFrame chunk) {
  Step step;
  if (from == done_from_ && chunk.transfer == done_transfer_) {
    step.ack = ChunkAckFrame{chunk.transfer, 0, ChunkVerdict::kDone};
    return step;
  }
  bool begins = false;
  if (from != from_ || chunk.transfer != transfer_) {
    if (chunk.number != 0) {
      // The beginning went to an earlier life of this process: its stage is gone.
      step.ack = ChunkAckFrame{chunk.transfer, 0, ChunkVerdict::kRefused};
      return step;
    }
    reset();
    from_ = from;
    transfer_ = chunk.transfer;
    meta_ = chunk.meta;
    term_ = chunk.term;
    begins = true;
  }
  if (chunk.number != next_) {
    step.ack = ChunkAckFrame{chunk.transfer, stored_, ChunkVerdict::kNext};
    return step;
  }
  step = take(std::move(chunk), ours);
  step.begins = begins;
  return step;
}

SnapshotReceiver::Step SnapshotReceiver::take(ChunkFrame chunk, const kv::ClusterId& ours) {
  if (chunk.meta != meta_ || chunk.term != term_) return refusal("its pieces do not belong together");
  if (hash_bytes(chunk.bytes) != chunk.hash) return refusal("a chunk is damaged");
  bytes_ += chunk.bytes.size();
  if (bytes_ > kSnapshotBytesMax) return refusal("it is larger than any state");
  auto rows = reader_.feed(chunk.bytes);
  if (!rows) return refusal(rows.error().detail);
  if (reader_.head() && reader_.head()->cluster != ours)
    return refusal("it is of cluster " + reader_.head()->cluster.hex());
  if (reader_.head() && (reader_.head()->index != meta_.index || reader_.head()->term != meta_.term))
    return refusal("it is of another index than announced");
  const bool ends = chunk.count != 0;
  if (ends && !reader_.finished()) return refusal("it was cut short");
  ++next_;
  Step step;
  step.rows = std::move(*rows);
  step.ends = ends;
  return step;
}

SnapshotReceiver::Step SnapshotReceiver::refusal(std::string reason) {
  Step step;
  step.ack = refuse();
  step.refused = std::move(reason);
  return step;
}

ChunkAckFrame SnapshotReceiver::stored() { return {transfer_, ++stored_, ChunkVerdict::kNext}; }

ChunkAckFrame SnapshotReceiver::complete() {
  done_from_ = from_;
  done_transfer_ = transfer_;
  reset();
  return {done_transfer_, 0, ChunkVerdict::kDone};
}

ChunkAckFrame SnapshotReceiver::refuse() {
  const ChunkAckFrame ack{transfer_, 0, ChunkVerdict::kRefused};
  reset();
  return ack;
}

}  // namespace store
