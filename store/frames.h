#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/disk/log_store.h"
#include "store/kv/error.h"
#include "store/kv/session.h"
#include "store/raft/message.h"

/// Frames between the Stores of a cluster.
/// Format: msgpack array [version, kind, cluster id (bin 16, empty = none), field...]. Decoders take any bytes; they
///   bound every length and count first. A kind or version that is unknown is refused, not guessed at.
namespace store {

inline constexpr std::uint64_t kFrameVersion = 1;
inline constexpr std::size_t kForwardCommandsMax = 4096;               ///< commands of one frame
inline constexpr std::size_t kForwardBytesMax = std::size_t{1} << 20;  ///< their bytes, but at least one command
inline constexpr std::size_t kChunkBytesMax = std::size_t{256} << 10;  ///< of a snapshot

/// A message of Raft.
struct RaftFrame {
  raft::Message message;
};

/// Follower to leader: propose these (kv::encode(Command)); the origin sees the outcome when it applies them.
struct ForwardFrame {
  std::vector<std::string> commands;
};

enum class Refusal : std::uint8_t {
  kNotLeader = 1,  ///< ask whoever leads now
  kBusy = 2,       ///< too much is uncommitted: nothing was appended
  kInvalid = 3,    ///< not a command that a peer may propose
  kDiskFull = 4,   ///< the leader has no room: nothing was appended
};
/// Leader to follower: these (by request seq) were not proposed.
struct RefuseFrame {
  Refusal why = Refusal::kNotLeader;
  std::vector<std::uint64_t> seqs;
};

/// Holder's agent to leader. `token` is the asker's.
struct RenewFrame {
  std::uint64_t token = 0;
  std::string service;
  kv::Epoch epoch{};
};
enum class RenewVerdict : std::uint8_t { kRenewed = 1, kStaleEpoch = 2, kNotLeader = 3 };
struct RenewAnswerFrame {
  std::uint64_t token = 0;
  RenewVerdict verdict = RenewVerdict::kNotLeader;
};

/// A session's agent to leader; answered by a RenewAnswerFrame, kStaleEpoch = no such session.
struct SessionRenewFrame {
  std::uint64_t token = 0;
  kv::SessionId session;
};

/// Founder to one of the voters it names: promise to be founded by me.
struct GrantAskFrame {
  disk::Grant grant;
};
enum class GrantVerdict : std::uint8_t {
  kGranted = 1,       ///< promised, durably
  kPromised = 2,      ///< to another founder, named in `founder`
  kFounded = 3,       ///< belongs to a cluster, named in `cluster`
  kNotExpecting = 4,  ///< has no such setting
  kOtherView = 5,     ///< it sees a live candidate, `founder`, that should be among the voters instead
};
struct GrantAnswerFrame {
  kv::ClusterId asked;
  GrantVerdict verdict = GrantVerdict::kNotExpecting;
  raft::NodeId founder;
  kv::ClusterId cluster;
};
/// Founder to those it asked: this founding is off.
struct GrantWithdrawFrame {
  kv::ClusterId id;
};

/// One piece of a snapshot, leader to follower. `hash` is of `bytes`, checked by the receiver; `term` is the leader's.
struct ChunkFrame {
  std::uint64_t transfer = 0;  ///< names the transfer, never used twice by one sender
  raft::Term term;
  raft::SnapshotMeta meta;
  std::uint64_t number = 0;
  std::uint64_t count = 0;  ///< number + 1 in the last chunk, 0 before: the sender does not know it earlier
  std::uint64_t hash = 0;
  std::string bytes;
};
enum class ChunkVerdict : std::uint8_t {
  kNext = 1,     ///< send from `next` on
  kDone = 2,     ///< all of it is here and was given to Raft
  kRefused = 3,  ///< it cannot be used: begin anew
};
struct ChunkAckFrame {
  std::uint64_t transfer = 0;
  std::uint64_t next = 0;
  ChunkVerdict verdict = ChunkVerdict::kNext;
};

/// To the leader, from a node whose operator asked: what only the leader can do or knows.
enum class Operation : std::uint8_t {
  kTransfer = 1,  ///< hand leadership to `server` (0 = the best voter)
  kRemove = 2,    ///< take `server` out of the configuration
  kFigures = 3,   ///< how every server stands
};
struct OperateFrame {
  std::uint64_t token = 0;
  Operation operation = Operation::kFigures;
  raft::NodeId server;
};
/// How one server stands, as the leader sees it. Zero durations: not known.
struct ServerFigures {
  raft::NodeId id;
  raft::Index match;
  std::chrono::milliseconds last_contact{};
  std::chrono::microseconds fsync_p50{}, fsync_p99{};
  friend bool operator==(const ServerFigures&, const ServerFigures&) = default;
};
inline constexpr std::size_t kFiguresMax = 64;  ///< servers of a configuration
struct OperateAnswerFrame {
  std::uint64_t token = 0;
  std::uint64_t error = 0;  ///< 0 = done, else 1 + store::Errc
  std::string detail;       ///< <= 512 bytes
  std::vector<ServerFigures> figures;
};

using FrameBody = std::variant<RaftFrame, ForwardFrame, RefuseFrame, RenewFrame, RenewAnswerFrame, GrantAskFrame,
                               GrantAnswerFrame, GrantWithdrawFrame, ChunkFrame, ChunkAckFrame, SessionRenewFrame,
                               OperateFrame, OperateAnswerFrame>;
struct Frame {
  kv::ClusterId cluster;  ///< sender's; none while it belongs to no cluster
  FrameBody body;
};

[[nodiscard]] std::string encode_frame(const kv::ClusterId& cluster, const FrameBody& body);
/// Errors: kTruncated, kMalformed, kUnknownVersion, kUnknownKind, kTooLarge.
[[nodiscard]] kv::Result<Frame> decode_frame(std::string_view bytes);

/// 64-bit FNV-1a: guards chunks against defects of our own; the mesh's TLS guards them on the way.
[[nodiscard]] std::uint64_t hash_bytes(std::string_view bytes);

}  // namespace store
