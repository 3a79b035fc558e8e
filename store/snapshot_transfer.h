#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/frames.h"
#include "store/types.h"

/// Snapshots on their way: the state as chunks of at most kChunkBytesMax, acknowledged one by one, a few in flight.
/// Format: the rows in order, each as [u32 key size][u32 value size][key][value], sizes big-endian; this stream is
///   cut into chunks regardless of rows. Every chunk carries its hash.
/// A transfer that was interrupted goes on where the receiver stopped; one that stays silent is given up and Raft is
/// told, so that it asks for a fresh one.
namespace store {

inline constexpr std::size_t kChunksInFlightMax = 4;
inline constexpr std::size_t kSnapshotBytesMax = std::size_t{1} << 30;  ///< what a receiver collects at most
inline constexpr Milliseconds kChunkResendAfter{500};
inline constexpr Milliseconds kTransferGiveUpAfter{10'000};

/// A state at one index, cut into chunks. Immutable; shared by the transfers that send it.
struct SnapshotImage {
  raft::SnapshotMeta meta;
  std::vector<std::string> chunks;  ///< at least one
};
[[nodiscard]] SnapshotImage make_image(raft::SnapshotMeta meta, const std::vector<kv::Record>& records);
/// Inverse of make_image. Errors: kTruncated, kMalformed and those of kv::decode_row().
[[nodiscard]] kv::Result<std::vector<kv::Record>> parse_image(const std::string& stream);

/// Leader's side: one transfer per follower.
class SnapshotSender {
 public:
  /// @param transfer_base  transfers are numbered from here; unique per start of the process
  explicit SnapshotSender(std::uint64_t transfer_base) : next_transfer_(transfer_base) {}

  /// @param term  of the leadership that asked for it: every chunk speaks for that one and no later
  void begin(NodeId to, std::shared_ptr<const SnapshotImage> image, raft::Term term, TimePoint now);
  void cancel(NodeId to) { transfers_.erase(to); }
  void cancel_all() { transfers_.clear(); }
  void on_connected(NodeId to, TimePoint now);  ///< sends again from the first chunk that was not acknowledged
  /// @return how the transfer ended, if it did.
  std::optional<raft::SnapshotOutcome> on_ack(NodeId from, const ChunkAckFrame& ack, TimePoint now);
  /// @return followers whose transfer was given up.
  [[nodiscard]] std::vector<NodeId> tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;
  /// Chunks that may go now.
  [[nodiscard]] std::vector<std::pair<NodeId, ChunkFrame>> take_chunks(TimePoint now);

  /// Lowest index that a running transfer carries: the log behind it is still needed.
  [[nodiscard]] std::optional<raft::Index> needed_index() const;
  [[nodiscard]] bool wants_to_send() const;
  [[nodiscard]] std::size_t in_flight_bytes() const;
  [[nodiscard]] bool sending_to(NodeId to) const { return transfers_.contains(to); }
  /// The image some transfer is sending, to be shared by the next one.
  [[nodiscard]] std::shared_ptr<const SnapshotImage> newest_image() const;

 private:
  struct Transfer {
    std::uint64_t id = 0;
    raft::Term term;
    std::shared_ptr<const SnapshotImage> image;
    std::uint64_t acked = 0;  // chunks before this one are there
    std::uint64_t next = 0;   // chunk to send next
    TimePoint sent_at, heard_at;
  };
  std::map<NodeId, Transfer> transfers_;
  std::uint64_t next_transfer_;
};

/// Follower's side: collects one transfer at a time; a newer one of the same or another leader replaces it.
class SnapshotReceiver {
 public:
  struct Complete {
    raft::SnapshotMeta meta;
    raft::Term term;
    std::vector<kv::Record> records;
  };
  struct Step {
    ChunkAckFrame ack;
    std::optional<Complete> complete;
  };
  [[nodiscard]] Step on_chunk(NodeId from, ChunkFrame chunk);
  [[nodiscard]] std::size_t bytes() const { return stream_.size(); }
  void reset();

 private:
  NodeId from_;
  std::uint64_t transfer_ = 0;
  std::uint64_t next_ = 0;
  std::uint64_t done_transfer_ = 0;  // acknowledged again if its last ack was lost
  std::string stream_;
};

}  // namespace store
