#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "store/types.h"

/// The face of the library: a replicated key-value store with leases, without disk, network, clock or thread.
/// It joins Raft, the state machine, the leases' keeper, forwarding, reads, founding, membership and snapshots.
/// Source:    Ongaro's thesis (consensus, sessions 6.3, reads 6.4, membership 4); leases: design, section 5, after
///            Gray and Cheriton (1989).
/// Contract:  every input takes `now` (never going back); after it: take_output(), carry it out, arm one timer at
///            next_deadline(). A reply never comes out of the call that made the request, only out of take_output().
/// Thread:    the control loop.
namespace store {

class Store {
 public:
  /// @param loaded  what LogStore::load() answered.  @param chance  election time-outs and the id of a new cluster
  /// Errors: kBadState, kBadRequest (a config out of bounds).
  [[nodiscard]] static Result<std::unique_ptr<Store>> create(const Config& config, disk::LoadedState loaded,
                                                             Chance chance, TimePoint now);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // --- from the disk ----------------------------------------------------------------------------------------------
  /// Everything up to this batch is durable.
  void on_persisted(disk::BatchSeq seq, TimePoint now);
  /// The disk failed: fail-stop.
  void on_disk_error(const disk::Error& error, TimePoint now);
  /// One of Output::tasks is done. Never a reason to stop: what it belonged to (a snapshot on its way) ends instead.
  void on_task_done(disk::TaskSeq seq, disk::Result<disk::TaskAnswer> answer, TimePoint now);
  /// What the disk said of its room, after a batch or when asked. Short of kPlenty new writes of clients are refused
  /// (kDiskFull) but for what settles, gives back or stops: outcomes and verdicts of orders with at most
  /// kAnswerBytesMaxWhenLow of an answer, acquired and released leases, ended sessions, halts. At kFull no entries are
  /// taken at all; reads, votes, heartbeats and renewals go on. A leader hands over to a voter with room, if there is one. It ends by itself when kPlenty is told.
  void on_space(disk::Space space, TimePoint now);
  /// Wants the whole applied state on disk soon, not only with the next entry: before a view is opened to save it.
  void mirror(TimePoint now);

  /// What one synced batch takes on this node's disk, over the last while (the storage thread's window, not all time).
  /// To be told about once a second, or when it changed much; never called = not measured. It goes to the leader with
  /// the answers to heartbeats, into status(), and lets a leader with a slow disk step aside (step_aside.h).
  void on_disk_times(const DiskTimes& times, TimePoint now);

  /// The host's wall clock, ms since 1970; to be told about once a second (never told: no order is ever forgotten).
  /// A leader proposes the removal of orders whose retention ended kOrderClockSlack before it, and has passed by its own
  /// steady clock since they were settled (order_age.h): no wall clock cuts a retention short by being wrong.
  void on_wall_clock(std::uint64_t wall_ms, TimePoint now);

  // --- from the mesh ----------------------------------------------------------------------------------------------
  /// A frame of at most kFrameBytesMax bytes; anything malformed or foreign is dropped with a counter.
  void on_peer_frame(NodeId from, std::string_view bytes, TimePoint now);
  void on_peer_connected(NodeId peer, TimePoint now);
  void on_peer_lost(NodeId peer, TimePoint now);  ///< frames under way may be gone
  /// Connection reset AND a new one refused: its process is gone. Never on silence.
  void on_peer_refused(NodeId peer, TimePoint now);

  // --- from gossip ------------------------------------------------------------------------------------------------
  /// Everybody known, this node included or not. The leader adds, promotes, replaces and removes members by it. An
  /// unfounded node with bootstrap_expect = N founds a cluster when it is the lowest id of N live members with the
  /// same setting and no cluster, and each of the others has durably promised to join.
  void on_members(std::vector<MemberInfo> members, TimePoint now);

  // --- requests; each ends with exactly one Reply ------------------------------------------------------------------
  /// At any node. Applied exactly once, however often it has to be sent again.
  /// Errors: kNoLeader, kNoQuorum, kTimeout, kBusy, kTooLarge, kBadRequest, kStopped.
  /// The state machine's own decision (a lost CAS ...) is Written::outcome, not an error.
  void write(RequestNo request, kv::CommandBody command, TimePoint deadline, TimePoint now);
  /// The Reply says that state() may be read. Errors: kNoLeader, kTimeout, kBusy, kStopped. kStale: none but kStopped.
  void read(RequestNo request, Consistency consistency, TimePoint deadline, TimePoint now);
  /// Holder's renewal, design section 5 rule 2: answered by the leader after a quorum round begun after its arrival.
  /// The holder may count on its lease from the moment at which it called this.
  /// Errors: kStaleEpoch, kNoLeader, kTimeout, kBusy, kStopped.
  void renew(RequestNo request, std::string service, kv::Epoch epoch, TimePoint deadline, TimePoint now);
  /// Renewal of a session with a TTL: answered by the leader under its read lease, since whoever leads later grants a
  /// full fresh TTL. The session lives at least its TTL from the moment at which this was called.
  /// Errors: kNotFound (no such session, or its end is being decided), kNoLeader, kTimeout, kBusy, kStopped.
  void renew_session(RequestNo request, kv::SessionId session, TimePoint deadline, TimePoint now);
  /// Founds a cluster of this node alone. Errors: kAlreadyFounded, kConflict (promised to another founding).
  void bootstrap(RequestNo request, TimePoint now);
  // At any node; sent on to the leader. Errors of all: kNoLeader, kTimeout (unknown), kBusy, kStopped.
  /// Hands leadership to `to` (0 = the best voter). Errors: kNotFound.
  void transfer_leadership(RequestNo request, NodeId to, TimePoint now);
  /// Takes a server out of the configuration. Errors: kNotFound, kConflict.
  void remove_server(RequestNo request, NodeId server, TimePoint now);
  /// How every server stands, as only the leader knows it. Reply: Figures.
  void figures(RequestNo request, TimePoint now);

  // --- waits at this replica (no Reply) ---------------------------------------------------------------------------
  /// Output::woken names it once the topic's index is above `after`. Errors: kBusy (table full).
  Result<kv::WatchId> watch(const kv::Topic& topic, kv::Index after);
  void unwatch(kv::WatchId id);

  // --- time -------------------------------------------------------------------------------------------------------
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;  ///< TimePoint::max() if nothing waits
  [[nodiscard]] bool has_output() const;
  [[nodiscard]] Output take_output(TimePoint now);

  // --- looking in -------------------------------------------------------------------------------------------------
  [[nodiscard]] const kv::StateMachine& state() const;  ///< as of the applied index: stale unless read() allowed it
  [[nodiscard]] const raft::Raft& raft() const;         ///< for status and checkers
  [[nodiscard]] Status status(TimePoint now) const;
  [[nodiscard]] raft::Index durable_applied() const;  ///< the mirrored state on disk is at least this far
  [[nodiscard]] Counters counters() const;
  [[nodiscard]] bool disk_hangs() const;                  ///< as the last DiskHangs says
  [[nodiscard]] const kv::ClusterId& cluster_id() const;  ///< none until founded or joined, and durable
  [[nodiscard]] NodeId leader() const;                    ///< 0 = unknown
  [[nodiscard]] Duration last_contact(TimePoint now) const;  ///< since the leader was last heard; 0 on the leader

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace store
