#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "store/frames.h"
#include "store/row_stream.h"
#include "store/types.h"

/// Snapshots on their way: the state as a row stream (row_stream.h), cut into chunks of at most kChunkBytesMax,
/// acknowledged one by one, a few in flight.
/// The sender reads the stream from a view of its own disk, no further ahead than the receiver takes it; the receiver
/// acknowledges a chunk when its rows are in the stage of its disk. So neither side ever holds a second copy of the
/// state in flight, and a slow disk on either side slows the stream and nothing else.
/// A transfer that was interrupted goes on behind the last chunk that was acknowledged; one that stays silent is given
/// up and Raft is told, so that it asks for a fresh one.
namespace store {

inline constexpr std::size_t kChunksInFlightMax = 4;
inline constexpr std::size_t kChunksReadAhead = 2;                            ///< beyond those in flight
inline constexpr std::uint64_t kSnapshotBytesMax = std::uint64_t{4} << 30U;   ///< what a receiver takes at most
inline constexpr Milliseconds kChunkResendAfter{500};
inline constexpr Milliseconds kTransferGiveUpAfter{30'000};
inline constexpr Milliseconds kTransferPause{1'000};  ///< after one that failed, before the next to the same follower

/// Leader's side: one transfer per follower.
class SnapshotSender {
 public:
  using Work = std::variant<disk::OpenView, disk::ReadView, disk::CloseView>;
  /// Something for the disk. The answer goes to on_disk() with the same `transfer`; of CloseView nobody wants to know.
  struct DiskWork {
    std::uint64_t transfer = 0;
    Work work;
  };
  /// A transfer has ended.
  struct Ended {
    NodeId to;
    raft::SnapshotOutcome outcome = raft::SnapshotOutcome::kFailed;
  };

  /// @param transfer_base  transfers and views are numbered from here; unique per start of the process
  explicit SnapshotSender(std::uint64_t transfer_base) : next_transfer_(transfer_base) {}

  /// @param cluster  whose state it is.  @param floor  the view will not be older than this index
  /// @param term     of the leadership that asked for it: every chunk speaks for that one and no later
  void begin(NodeId to, const kv::ClusterId& cluster, raft::Index floor, raft::Term term, TimePoint now);
  void cancel_all();
  /// Sends again from the first chunk that was not acknowledged. @return a transfer went on.
  bool on_connected(NodeId to, TimePoint now);
  std::optional<Ended> on_ack(NodeId from, const ChunkAckFrame& ack, TimePoint now);
  std::optional<Ended> on_disk(std::uint64_t transfer, disk::Result<disk::TaskAnswer> answer, TimePoint now);
  /// @return transfers that were given up.
  [[nodiscard]] std::vector<Ended> tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;
  /// Chunks that may go now.
  [[nodiscard]] std::vector<std::pair<NodeId, ChunkFrame>> take_chunks(TimePoint now);
  [[nodiscard]] std::vector<DiskWork> take_disk_work();

  /// Lowest index that a running transfer carries: the log behind it is still needed.
  [[nodiscard]] std::optional<raft::Index> needed_index() const;
  [[nodiscard]] bool wants_to_send() const;  ///< chunks may go, or the disk may work
  [[nodiscard]] std::size_t held_bytes() const;  ///< chunks kept until they are acknowledged, and read ahead
  [[nodiscard]] bool sending_to(NodeId to) const { return transfers_.contains(to); }

 private:
  struct Transfer {
    std::uint64_t id = 0;
    kv::ClusterId cluster;
    raft::Term term;
    raft::Index floor;
    std::optional<raft::SnapshotMeta> meta;  // known once the view is open
    std::optional<RowStreamWriter> writer;
    bool ready = false;     // its pause is over
    bool asked = false;     // the disk works for it
    bool all_read = false;  // the stream's end is in `chunks`
    std::deque<std::string> chunks;  // from number `acked` on
    std::uint64_t acked = 0;         // chunks before this one are there
    std::uint64_t next = 0;          // chunk to send next
    TimePoint open_at, sent_at, heard_at;
  };
  using Transfers = std::map<NodeId, Transfer>;
  Ended end(Transfers::iterator it, raft::SnapshotOutcome outcome, TimePoint now);
  [[nodiscard]] static bool sendable(const Transfer& transfer);
  [[nodiscard]] static bool readable(const Transfer& transfer);
  static void cut(Transfer& transfer);

  Transfers transfers_;
  std::map<NodeId, TimePoint> failed_at_;  // pruned by begin(); at most one per peer
  std::vector<DiskWork> closing_;
  std::uint64_t next_transfer_;
};

/// Follower's side: collects one transfer at a time; a newer one of the same or another leader replaces it.
class SnapshotReceiver {
 public:
  /// What a chunk means. At most one of `ack` and `rows` is set.
  struct Step {
    std::optional<ChunkAckFrame> ack;                 ///< to be sent now: repeated, too early, or refused
    bool begins = false;                              ///< a new transfer: an earlier one is void
    std::optional<std::vector<kv::Record>> rows;      ///< for the stage; when they are there: stored()
    bool ends = false;                                ///< those were the last rows: meta() and term() are whole
    std::string refused;                              ///< why the transfer was refused, if it was
  };
  /// @param ours  cluster of this node: a state of another one is refused
  [[nodiscard]] Step on_chunk(NodeId from, const kv::ClusterId& ours, ChunkFrame chunk);
  /// The rows of the next chunk are in the stage. @return what to answer; kDone is not among it.
  [[nodiscard]] ChunkAckFrame stored();
  /// The state was handed to Raft: answers kDone now and to every repetition.
  [[nodiscard]] ChunkAckFrame complete();
  /// The rows could not be taken.
  [[nodiscard]] ChunkAckFrame refuse();
  void reset();

  [[nodiscard]] NodeId from() const { return from_; }
  [[nodiscard]] std::uint64_t transfer() const { return transfer_; }
  [[nodiscard]] const raft::SnapshotMeta& meta() const { return meta_; }
  [[nodiscard]] raft::Term term() const { return term_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  Step take(ChunkFrame chunk, const kv::ClusterId& ours);
  Step refusal(std::string reason);

  NodeId from_;
  std::uint64_t transfer_ = 0;  // 0 = none
  std::uint64_t next_ = 0;      // chunk to take next
  std::uint64_t stored_ = 0;    // chunks before this one are in the stage
  std::uint64_t bytes_ = 0;
  raft::SnapshotMeta meta_;
  raft::Term term_;
  RowStreamReader reader_;
  NodeId done_from_;
  std::uint64_t done_transfer_ = 0;  // acknowledged again if its last ack was lost
};

}  // namespace store
