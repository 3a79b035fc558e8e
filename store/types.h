#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "store/disk/log_store.h"
#include "store/error.h"
#include "store/frames.h"
#include "store/kv/state_machine.h"
#include "store/raft/raft.h"

/// Values that go into and come out of the Store.
namespace store {

using raft::Chance;
using raft::DiskTimes;
using raft::Duration;
using raft::NodeId;
using raft::TimePoint;
using Milliseconds = std::chrono::milliseconds;

/// Chosen by the host, unique among its open requests; comes back in the Reply. Never leaves this process.
enum class RequestNo : std::uint64_t {};

struct Config {
  NodeId id;         ///< this node; not 0; for ever the same in one data directory
  std::string name;  ///< for messages and the member directory, <= kv::kNameBytesMax
  Duration heartbeat = Milliseconds(50);
  Duration election_min = Milliseconds(250);
  Duration election_max = Milliseconds(500);
  Duration read_lease_margin = Milliseconds(50);      ///< raft::Config::lease_margin
  std::uint32_t voters = 5;                           ///< 1..9; even counts are used as one less
  Duration replace_after = Milliseconds(60'000);      ///< a voter gone for so long is replaced
  Duration disk_hang = Milliseconds(2'000);           ///< a batch that the disk has had for so long hangs; at least twice election_max
  Duration resend_after = Milliseconds(300);          ///< an unanswered forward is sent again (safe: request ids)
  std::uint64_t log_keep_entries = 16'384;            ///< log kept behind the applied index for slow followers ...
  std::size_t log_keep_bytes = std::size_t{4} << 20;  ///< ... but no more payload than this
  std::size_t pending_writes_max = 1'024;             ///< <= kv::kDedupeWindow / 2; more are refused with kBusy
  std::size_t pending_reads_max = 4'096;              ///< reads and renewals that wait; more are refused with kBusy
  std::uint32_t bootstrap_expect = 0;                 ///< 0 = not used; 2..9: see on_members()
};

enum class Liveness : std::uint8_t {
  kAlive,
  kDead,  ///< as gossip has it: suspect members still count as alive
  kLeft,  ///< went for good: leaves the configuration at once, without replace_after
};

/// One agent as gossip shows it. Gossip proposes, the log decides.
struct MemberInfo {
  NodeId id;
  std::string name;
  Liveness liveness = Liveness::kAlive;
  bool wants_vote = true;              ///< may become a voter (a witness or an entry-only agent may not)
  std::uint32_t bootstrap_expect = 0;  ///< its own setting
  kv::ClusterId cluster_id;            ///< it belongs to this cluster; none = to no cluster yet
};

/// How fresh a read has to be.
enum class Consistency : std::uint8_t {
  kDefault,     ///< the leader answers under its read lease; a follower asks it for an index
  kConsistent,  ///< a quorum round that begins after the request
  kStale,       ///< at once, whatever there is
};

struct Written {
  kv::Outcome outcome = kv::Outcome::kDone;
  kv::Index index{};  ///< entry that decided it
  kv::Epoch epoch{};  ///< LeaseAcquire with kDone: the granted epoch
  /// Which bound is full, what is missing; may be empty: the outcome may reach this node in a snapshot, too.
  std::string detail{};
  /// Txn: what it read or why it was refused. Null in the same rare case: outcome and index still hold.
  std::shared_ptr<const kv::TxnAnswer> txn{};
  /// Order commands: the row as it was when this was decided, or, if the decision came in a snapshot, as it is now: ask
  /// may_send(). Null = there is no such order. It stays what it is after the next call into the Store.
  kv::OrderRow order{};
};
/// state() may be read now, and until the next call into the Store.
struct Readable {
  kv::Index applied{};
  bool known_leader = false;
  Duration last_contact{};  ///< since the leader was last heard; 0 on the leader and on default/consistent reads
};
struct Renewed {};  ///< renew: the lease held when the leader's quorum round ended, and its end was not being
                    ///< decided; renew_session: the same of the session
/// figures(): every server of the configuration, as the leader sees it.
struct Figures {
  std::vector<ServerFigures> servers;
};
struct Changed {};  ///< bootstrap, remove_server, transfer_leadership: under way or done

struct Reply {
  RequestNo request{};
  Result<std::variant<Written, Readable, Renewed, Changed, Figures>> result;
};

/// Bytes for one peer. Frames of one class arrive in order or the connection is reported lost.
struct PeerFrame {
  NodeId to;
  std::string bytes;   ///< <= kFrameBytesMax
  bool urgent = true;  ///< false: snapshot chunks, on a stream of their own
};
inline constexpr Milliseconds kOrderClockSlack{300'000};  ///< see Store::on_wall_clock()
inline constexpr std::size_t kFrameBytesMax = std::size_t{4} << 20;  ///< an append holds 1 MiB of payload

// --- events, in the order in which they happened ------------------------------------------------------------------
struct LeaderChanged {
  NodeId leader;
  raft::Term term;
};  ///< leader 0 = unknown
struct LeaseChanged {
  std::string service;
  kv::Lease lease;
};  ///< the row after the change; epoch 0 = forgotten
struct ConfChanged {
  raft::ConfState conf;
};
struct ClusterFounded {
  kv::ClusterId id;
};  ///< now durable: announce it in gossip
/// A peer of another cluster speaks to us. Its frames are dropped. Once per peer and id.
struct ForeignPeer {
  NodeId peer;
  kv::ClusterId theirs, ours;
};
/// A founding waits for this agent; `reason` says why it is stuck. Once per reason.
struct FoundingWaits {
  NodeId founder;
  std::string reason;
};
struct SnapshotInstalled {
  kv::Index index;
};  ///< the whole state was replaced
/// This node led with a disk far slower than its peers', or with one that hangs, and hands leadership to `to` (step_aside.h).
struct SteppedAside {
  NodeId to;
  std::optional<DiskTimes> own;  ///< none: it hangs, or nothing has ended yet
};
/// The disk has had a batch for Config::disk_hang and not answered, or (hangs = false) it answers again. Nothing that is decided
/// reaches this node's state meanwhile: whoever needs that, as a primary does, has to leave it to others.
struct DiskHangs {
  bool hangs = false;
  Milliseconds lasted{};  ///< since the batch was handed over
};
using Event = std::variant<LeaderChanged, LeaseChanged, ConfChanged, ClusterFounded, ForeignPeer, FoundingWaits,
                           SnapshotInstalled, SteppedAside, DiskHangs>;

/// A rule was broken or the disk failed: stop the process. Nothing else happens in this core any more.
struct Fatal {
  std::string reason;
};

/// What is to be done, in this order: fatal, frames, persist, tasks, discarded, replies, events, woken.
struct Output {
  std::optional<Fatal> fatal;
  std::vector<PeerFrame> frames;              ///< may leave at once: what they promise is durable already
  std::optional<disk::PersistBatch> persist;  ///< at most one is out at a time; answer with on_persisted()
  std::vector<disk::Task> tasks;              ///< after `persist`, in order; answer each with on_task_done()
  /// States that were replaced: to be destroyed away from the loop, since a large one takes its time.
  std::vector<std::shared_ptr<void>> discarded;
  std::vector<Reply> replies;
  std::vector<Event> events;
  std::vector<kv::WatchId> woken;
  [[nodiscard]] bool empty() const {
    return !fatal && frames.empty() && !persist && tasks.empty() && discarded.empty() && replies.empty() && events.empty() &&
           woken.empty();
  }
};

// --- status -------------------------------------------------------------------------------------------------------
struct ServerStatus {
  NodeId id;
  std::string name;                          ///< from the directory or gossip; may be empty
  bool voter = false;                        ///< else learner
  bool alive = false;                        ///< as gossip or Raft last saw it
  std::optional<raft::PeerStatus> progress;  ///< leader only
  std::optional<DiskTimes> disk;             ///< what its disk takes; this node's own, and at the leader everybody's
};
struct Status {
  NodeId leader;
  raft::Role role = raft::Role::kFollower;
  bool learner = false, in_configuration = false;
  raft::Term term;
  raft::Index first, last, commit, applied, durable_applied;
  kv::ClusterId cluster_id;
  std::vector<ServerStatus> servers;  ///< the configuration, this node included, by id
  std::vector<std::string> missing;   ///< voters that do not answer, by name (id if nameless)
  bool conf_change_pending = false;
  disk::Space space = disk::Space::kPlenty;  ///< of this node's disk
};

/// Counters since the start, and how full the bounded tables are (invariant I5).
struct Counters {
  std::uint64_t frames_malformed = 0, frames_foreign = 0, frames_refused = 0;
  std::uint64_t writes = 0, writes_forwarded = 0, writes_resent = 0, writes_repeated = 0;
  std::uint64_t reads = 0, renewals = 0, expires = 0, batches = 0;
  std::uint64_t snapshots_sent = 0, snapshots_installed = 0, conf_changes = 0, stepped_aside = 0;
  std::uint64_t disk_hangs = 0;                ///< times that the disk hung
  std::uint64_t snapshots_resumed = 0;         ///< transfers that went on after a lost connection
  std::uint64_t snapshots_refused = 0;         ///< arriving ones: flipped, cut short, out of order, of another cluster
  std::uint64_t snapshots_failed = 0;          ///< ours, given up: silent receiver, or the disk could not read
  std::uint64_t writes_refused_disk_full = 0;  ///< clients' writes refused early
  std::uint64_t appends_dropped_disk_full = 0; ///< appends of the leader not taken for want of room
  std::int64_t wall_ahead_ms = 0;              ///< gauge: the own wall clock against the stamps of orders (order_age.h)
  std::size_t pending_writes = 0, pending_reads = 0, snapshot_bytes_in = 0, snapshot_bytes_out = 0;
};

}  // namespace store
