#include "store/snapshot_transfer.h"

#include <algorithm>

#include "store/kv/record.h"

namespace store {
namespace {

void append_size(std::string& to, std::size_t size) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>((size >> shift) & 0xffU);
}

std::size_t read_size(const std::string& stream, std::size_t at) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = (size << 8U) | static_cast<std::uint8_t>(stream[at + i]);
  return size;
}

// Appends to the last chunk and opens new ones as they fill up.
void append_cut(std::vector<std::string>& chunks, std::string_view bytes) {
  while (!bytes.empty()) {
    if (chunks.back().size() == kChunkBytesMax) chunks.emplace_back();
    const std::size_t room = kChunkBytesMax - chunks.back().size();
    chunks.back().append(bytes.substr(0, room));
    bytes.remove_prefix(std::min(room, bytes.size()));
  }
}

}  // namespace

SnapshotImage make_image(raft::SnapshotMeta meta, const std::vector<kv::Record>& records) {
  SnapshotImage image{std::move(meta), std::vector<std::string>(1)};
  for (const kv::Record& record : records) {
    std::string head;
    append_size(head, record.key.size());
    append_size(head, record.value->size());
    append_cut(image.chunks, head);
    append_cut(image.chunks, record.key);
    append_cut(image.chunks, *record.value);
  }
  return image;
}

kv::Result<std::vector<kv::Record>> parse_image(const std::string& stream) {
  std::vector<kv::Record> records;
  std::size_t at = 0;
  while (at < stream.size()) {
    if (stream.size() - at < 8) return kv::fail(kv::Errc::kTruncated, "a row of the snapshot is cut short");
    const std::size_t key_size = read_size(stream, at);
    const std::size_t value_size = read_size(stream, at + 4);
    at += 8;
    if (stream.size() - at < key_size || stream.size() - at - key_size < value_size)
      return kv::fail(kv::Errc::kTruncated, "a row of the snapshot is cut short");
    kv::Record record{stream.substr(at, key_size), stream.substr(at + key_size, value_size)};
    at += key_size + value_size;
    if (auto row = kv::decode_row(record.key, *record.value); !row) return tl::unexpected<kv::Error>(row.error());
    records.push_back(std::move(record));
  }
  return records;
}

// --- sending ------------------------------------------------------------------------------------------------------

void SnapshotSender::begin(NodeId to, std::shared_ptr<const SnapshotImage> image, raft::Term term, TimePoint now) {
  Transfer transfer;
  transfer.id = next_transfer_++;
  transfer.term = term;
  transfer.image = std::move(image);
  transfer.sent_at = transfer.heard_at = now;
  transfers_.insert_or_assign(to, std::move(transfer));
}

void SnapshotSender::on_connected(NodeId to, TimePoint now) {
  const auto found = transfers_.find(to);
  if (found == transfers_.end()) return;
  found->second.next = found->second.acked;
  found->second.heard_at = now;
}

std::optional<raft::SnapshotOutcome> SnapshotSender::on_ack(NodeId from, const ChunkAckFrame& ack, TimePoint now) {
  const auto found = transfers_.find(from);
  if (found == transfers_.end() || found->second.id != ack.transfer) return std::nullopt;
  Transfer& transfer = found->second;
  if (ack.verdict != ChunkVerdict::kNext || ack.next > transfer.image->chunks.size()) {
    const bool done = ack.verdict == ChunkVerdict::kDone;
    transfers_.erase(found);
    return done ? raft::SnapshotOutcome::kDelivered : raft::SnapshotOutcome::kFailed;
  }
  transfer.heard_at = now;
  transfer.acked = std::max(transfer.acked, ack.next);
  transfer.next = std::max(transfer.next, transfer.acked);
  return std::nullopt;
}

std::vector<NodeId> SnapshotSender::tick(TimePoint now) {
  std::vector<NodeId> given_up;
  for (auto it = transfers_.begin(); it != transfers_.end();) {
    Transfer& transfer = it->second;
    if (now - transfer.heard_at >= kTransferGiveUpAfter) {
      given_up.push_back(it->first);
      it = transfers_.erase(it);
      continue;
    }
    if (transfer.next > transfer.acked && now - transfer.sent_at >= kChunkResendAfter) transfer.next = transfer.acked;
    ++it;
  }
  return given_up;
}

TimePoint SnapshotSender::next_deadline() const {
  TimePoint next = TimePoint::max();
  for (const auto& [to, transfer] : transfers_) {
    next = std::min(next, transfer.heard_at + kTransferGiveUpAfter);
    if (transfer.next > transfer.acked) next = std::min(next, transfer.sent_at + kChunkResendAfter);
  }
  return next;
}

bool SnapshotSender::wants_to_send() const {
  return std::any_of(transfers_.begin(), transfers_.end(), [](const auto& item) {
    const Transfer& t = item.second;
    return t.next < t.image->chunks.size() && t.next < t.acked + kChunksInFlightMax;
  });
}

std::vector<std::pair<NodeId, ChunkFrame>> SnapshotSender::take_chunks(TimePoint now) {
  std::vector<std::pair<NodeId, ChunkFrame>> chunks;
  for (auto& [to, transfer] : transfers_) {
    const std::uint64_t count = transfer.image->chunks.size();
    for (; transfer.next < count && transfer.next < transfer.acked + kChunksInFlightMax; ++transfer.next) {
      ChunkFrame chunk;
      chunk.transfer = transfer.id;
      chunk.term = transfer.term;
      chunk.meta = transfer.image->meta;
      chunk.number = transfer.next;
      chunk.count = count;
      chunk.bytes = transfer.image->chunks[transfer.next];
      chunk.hash = hash_bytes(chunk.bytes);
      chunks.emplace_back(to, std::move(chunk));
      transfer.sent_at = now;
    }
  }
  return chunks;
}

std::optional<raft::Index> SnapshotSender::needed_index() const {
  std::optional<raft::Index> needed;
  for (const auto& [to, transfer] : transfers_)
    needed = needed ? std::min(*needed, transfer.image->meta.index) : transfer.image->meta.index;
  return needed;
}

std::size_t SnapshotSender::in_flight_bytes() const {
  std::size_t total = 0;
  for (const auto& [to, transfer] : transfers_) total += (transfer.next - transfer.acked) * kChunkBytesMax;
  return total;
}

std::shared_ptr<const SnapshotImage> SnapshotSender::newest_image() const {
  std::shared_ptr<const SnapshotImage> newest;
  for (const auto& [to, transfer] : transfers_) {
    if (!newest || transfer.image->meta.index > newest->meta.index) newest = transfer.image;
  }
  return newest;
}

// --- receiving ----------------------------------------------------------------------------------------------------

void SnapshotReceiver::reset() {
  transfer_ = next_ = 0;
  stream_ = std::string();
}

SnapshotReceiver::Step SnapshotReceiver::on_chunk(NodeId from, ChunkFrame chunk) {
  Step step;
  step.ack = {chunk.transfer, 0, ChunkVerdict::kNext};
  if (from == from_ && chunk.transfer == done_transfer_) {
    step.ack.verdict = ChunkVerdict::kDone;
    return step;
  }
  if (from != from_ || chunk.transfer != transfer_) {
    reset();
    from_ = from;
    transfer_ = chunk.transfer;
    done_transfer_ = 0;
  }
  if (chunk.number == next_) {
    if (stream_.size() + chunk.bytes.size() > kSnapshotBytesMax) {
      reset();
      step.ack.verdict = ChunkVerdict::kRefused;
      return step;
    }
    stream_ += chunk.bytes;
    ++next_;
  }
  step.ack.next = next_;
  if (next_ < chunk.count) return step;
  auto records = parse_image(stream_);
  reset();
  if (!records) {
    step.ack.verdict = ChunkVerdict::kRefused;
    return step;
  }
  done_transfer_ = chunk.transfer;
  step.ack.verdict = ChunkVerdict::kDone;
  step.complete = Complete{std::move(chunk.meta), chunk.term, std::move(*records)};
  return step;
}

}  // namespace store
