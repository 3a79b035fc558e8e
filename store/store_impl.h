#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/founding.h"
#include "store/frames.h"
#include "store/lease_keeper.h"
#include "store/membership.h"
#include "store/order_age.h"
#include "store/requests.h"
#include "store/session_keeper.h"
#include "store/snapshot_transfer.h"
#include "store/step_aside.h"
#include "store/store.h"

namespace store {

/// The Store's parts and how they speak to each other. Private; store.cc forwards to it.
///   store.cc         construction, requests of the host, status      store_peers.cc   frames
///   store_flow.cc    Raft's output, disk batches, applying           store_flush.cc   what a turn sends; time
///   store_cluster.cc founding, joining, membership     store_snapshot.cc snapshots, views and the room on the disk
/// Invariant: at most one disk batch is out (`in_flight`); what Raft wants meanwhile is gathered in `next`.
struct Store::Impl {
  /// Why a task of the disk was ordered; the answers come in the order of the tasks.
  struct TaskUse {
    enum class Kind : std::uint8_t { kSend, kStage, kSeal, kNobody };
    Kind kind = Kind::kNobody;
    std::uint64_t transfer = 0;
  };

  Impl(const Config& the_config, Chance the_chance);

  // --- construction (store.cc) ------------------------------------------------------------------------------------
  Result<void> start(disk::LoadedState loaded, TimePoint now);
  Result<void> load_state(disk::LoadedState& loaded);
  [[nodiscard]] raft::Config raft_config() const;
  Result<void> check_config() const;

  // --- flow (store_flow.cc) ---------------------------------------------------------------------------------------
  void pump(TimePoint now);  // carries out everything Raft wants
  void carry_out(raft::Output output, TimePoint now);
  void gather(const raft::Output& output);  // into the next disk batch
  void apply(const raft::Entry& entry, TimePoint now);
  void finish_write(kv::Applied applied);
  void note_lease(const std::string& service, TimePoint now);
  void note_sessions(const kv::Applied& applied, TimePoint now);
  void note_order(const kv::Applied& applied, TimePoint now);
  void note_newest_order(TimePoint now);  ///< of a state that came as a whole
  void on_soft_state(const raft::SoftState& soft, TimePoint now);
  void emit_batch(TimePoint now);
  void watch_disk(TimePoint now);
  [[nodiscard]] TimePoint hang_due() const;  // max: nothing to find out
  void on_persisted(disk::BatchSeq seq, TimePoint now);
  void send_durable();
  void compact(TimePoint now);
  [[nodiscard]] raft::Index compact_target() const;
  void stop(std::string reason);

  // --- flush and time (store_flush.cc) ----------------------------------------------------------------------------
  void flush_writes(TimePoint now);
  void propose_own(TimePoint now);
  void forward_own(TimePoint now);
  void refuse_own(std::uint64_t seq, Error error);
  void flush_reads(TimePoint now);
  void ask_raft(raft::ReadMode mode, TimePoint now);
  void serve_reads();
  [[nodiscard]] bool session_without_ttl(const kv::SessionId& id) const;  // it is always alive
  void answer_renewal(const RenewalCheck& check, RenewVerdict verdict);
  void flush_renewals(TimePoint now);
  void finish_renewal(std::uint64_t token, RenewVerdict verdict);
  void tick(TimePoint now);
  void tick_keepers(TimePoint now);
  void on_wall_clock(std::uint64_t wall_ms, TimePoint now);
  void expire_requests(TimePoint now);
  void resend(TimePoint now);
  [[nodiscard]] Error late_error(bool sent, TimePoint now) const;
  [[nodiscard]] TimePoint next_deadline() const;
  /// Proposes a command of the leader's own; false = surely not appended.
  bool propose_internal(const kv::CommandBody& body, TimePoint now);

  // --- peers (store_peers.cc) -------------------------------------------------------------------------------------
  void on_frame(NodeId from, std::string_view bytes, TimePoint now);
  bool admit(NodeId from, const Frame& frame, TimePoint now);
  void handle(NodeId from, RaftFrame& frame, TimePoint now);
  void handle(NodeId from, ForwardFrame& frame, TimePoint now);
  void handle(NodeId from, RefuseFrame& frame, TimePoint now);
  void handle(NodeId from, RenewFrame& frame, TimePoint now);
  void handle(NodeId from, RenewAnswerFrame& frame, TimePoint now);
  void handle(NodeId from, SessionRenewFrame& frame, TimePoint now);
  void handle(NodeId from, GrantAskFrame& frame, TimePoint now);
  void handle(NodeId from, GrantAnswerFrame& frame, TimePoint now);
  void handle(NodeId from, GrantWithdrawFrame& frame, TimePoint now);
  void handle(NodeId from, ChunkFrame& frame, TimePoint now);
  void handle(NodeId from, ChunkAckFrame& frame, TimePoint now);
  void on_connected(NodeId peer, TimePoint now);
  void on_lost(NodeId peer, TimePoint now);
  [[nodiscard]] bool has_room_for(const raft::Message& message);
  [[nodiscard]] bool has_room_for(const kv::CommandBody& body) const;  ///< of a host, at the leader
  void send(NodeId to, const FrameBody& body, bool urgent = true);
  void send(std::vector<raft::Message> messages);
  void check_renewal(RenewalCheck check, TimePoint deadline, TimePoint now);

  // --- what an operator asks of the leader (store_operate.cc) ---------------------------------------------------------
  void operate(RequestNo request, Operation operation, NodeId server, TimePoint now);
  Result<std::vector<ServerFigures>> carry_out(Operation operation, NodeId server, TimePoint now);
  Result<void> hand_over_to(NodeId server, TimePoint now);
  Result<void> remove(NodeId server, TimePoint now);
  [[nodiscard]] std::vector<ServerFigures> figures(TimePoint now) const;
  void handle(NodeId from, OperateFrame& frame, TimePoint now);
  void handle(NodeId from, OperateAnswerFrame& frame, TimePoint now);
  void finish_operation(RequestNo request, Operation operation, Result<std::vector<ServerFigures>> result);
  void expire_operations(TimePoint now);

  // --- snapshots and room (store_snapshot.cc) -----------------------------------------------------------------------
  void begin_snapshot(const raft::SnapshotRequest& request, TimePoint now);
  void install_snapshot(const raft::SnapshotMeta& meta);
  void flush_snapshots(TimePoint now);
  void order(disk::TaskWork work, const TaskUse& use);
  void on_task_done(disk::TaskSeq seq, disk::Result<disk::TaskAnswer> answer, TimePoint now);
  void on_chunk(NodeId from, ChunkFrame chunk, TimePoint now);
  void on_staged(const TaskUse& use, const disk::Result<disk::TaskAnswer>& answer, TimePoint now);
  void on_sealed(TimePoint now);
  void refuse_snapshot(TimePoint now);
  void end_transfer(const SnapshotSender::Ended& ended, TimePoint now);
  void discard_incoming();
  [[nodiscard]] bool installing() const { return arrived.has_value() || next.use_stage; }
  void on_space(disk::Space now_space, TimePoint now);
  void hand_over(TimePoint now);

  // --- cluster (store_cluster.cc) ---------------------------------------------------------------------------------
  void found(const disk::Grant& grant, TimePoint now);
  void finish_founding(TimePoint now);
  void join(const kv::ClusterId& id);
  void take_founding_actions(TimePoint now);
  void observe_members(TimePoint now);
  void maybe_step_aside(TimePoint now);
  void name_members(const raft::ConfState& conf, TimePoint now);
  [[nodiscard]] std::string name_of(NodeId id) const;
  [[nodiscard]] std::vector<std::string> missing(TimePoint now) const;
  [[nodiscard]] std::string missing_text(TimePoint now) const;
  [[nodiscard]] Status status(TimePoint now) const;

  [[nodiscard]] bool leads() const { return raft->role() == raft::Role::kLeader; }
  [[nodiscard]] bool stopped() const { return is_stopped; }
  void reply(RequestNo request, Result<std::variant<Written, Readable, Renewed, Changed, Figures>> result) {
    output.replies.push_back({request, std::move(result)});
  }

  /// A batch on its way to the disk, and what its arrival means.
  struct Batch {
    disk::BatchSeq seq{};
    std::optional<raft::Persisted> ack;       // for Raft
    std::optional<raft::Index> applied;       // durable from then on
    std::optional<kv::ClusterId> cluster_id;  // durable from then on
    bool grant = false;                       // a promise of the founding, or its withdrawal
    bool founding = false;                    // the founding itself
  };
  struct Held {
    raft::PersistSeq after;
    std::vector<raft::Message> messages;
  };

  Config config;
  Chance chance;
  std::unique_ptr<raft::Raft> raft;
  kv::StateMachine machine;
  LeaseKeeper keeper;
  SessionKeeper session_keeper;
  OrderAge order_age;
  Founding founding;
  Membership membership;
  StepAside step_aside;
  SnapshotSender sender;
  SnapshotReceiver receiver;
  std::shared_ptr<kv::StateMachine> incoming;  // rows of the arriving snapshot, as they come
  std::optional<raft::SnapshotMeta> arrived;   // sealed and handed to Raft; installed when Raft says so
  std::deque<TaskUse> tasks;                   // ordered and not answered; bounded by the window of the transfers
  std::uint64_t task_count = 0;
  disk::Space space = disk::Space::kPlenty;
  TimePoint hand_over_at;                      // not handed over for want of room before this
  Writes writes;
  Reads reads;
  std::map<std::uint64_t, OwnRenewal> renewals;  // by token; at most pending_reads_max
  std::uint64_t next_token = 1;
  struct Asked {
    RequestNo request{};
    Operation operation{};
    TimePoint deadline;
  };
  std::map<std::uint64_t, Asked> operations;  // sent to the leader; by token, at most kOperationsMax

  kv::ClusterId cluster;                   // known; frames carry it
  kv::ClusterId durable_cluster;           // on disk
  std::optional<disk::Grant> founding_as;  // the founding batch is on its way to the disk
  std::vector<RequestNo> bootstraps;       // answered when it is there
  std::vector<MemberInfo> members;
  std::optional<DiskTimes> disk_times;  // the own disk's, as the host measured it last

  disk::PersistBatch next;
  std::optional<raft::Persisted> next_ack;
  bool batch_wanted = false;
  bool next_grant = false, next_founding = false;
  std::optional<Batch> in_flight;
  TimePoint in_flight_since, watched_since;  // of the disk: the batch; and the watch, which begins anew when this process was stopped itself
  bool disk_hangs = false;  // as last told
  std::uint64_t batch_count = 0;
  raft::PersistSeq persisted;  // newest that Raft was told
  std::deque<Held> held;       // messages that wait for the disk, in order
  disk::AppliedMark applied;
  raft::Index durable_applied;

  NodeId known_leader;
  raft::Term known_leader_term;
  TimePoint leader_heard_at;
  TimePoint observe_at = TimePoint::max();
  TimePoint name_at;                      // when the directory may be mended again
  TimePoint retry_at = TimePoint::max();  // a proposal or a read was refused for a moment
  std::set<NodeId> foreign_told;          // ForeignPeer events given; at most kForeignMax
  Counters counters;
  Output output;
  bool is_stopped = false;
};

/// Commands that the leader alone decides upon: never taken from the host or a peer.
[[nodiscard]] bool leaders_own(const kv::CommandBody& body);
/// What settles, gives back or stops: it is still taken when the leader's disk is low, for nobody could go on without it.
[[nodiscard]] bool needed_when_low(const kv::CommandBody& body);
inline constexpr std::size_t kAnswerBytesMaxWhenLow = 4096;  ///< 4,096 orders under way of these fit into the reserve's lower part

inline constexpr std::size_t kOperationsMax = 64;
inline constexpr Milliseconds kOperationPatience{3'000};
inline constexpr std::size_t kForeignMax = 1024;
inline constexpr Milliseconds kRetryAfter{10};  ///< pause after Raft refused a proposal that may work soon

}  // namespace store
