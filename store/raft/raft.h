#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/raft/confchange.h"
#include "store/raft/error.h"
#include "store/raft/log.h"
#include "store/raft/message.h"
#include "store/raft/persists.h"
#include "store/raft/reads.h"
#include "store/raft/tracker.h"

/// The consensus core: Raft without disk, network, clock, thread or log.
/// Source: Ongaro's thesis, cited by section; message flow and progress rules are those of etcd-io/raft 3.6+, so that
/// its public vectors apply (tests/script/raft_vectors).
///
/// The host's loop:  step(...) or tick(now)  ->  while (has_output()) carry out take_output()  ->  timer at
/// next_deadline(). What take_output() asks for is described at Output.
namespace store::raft {

/// Which configuration changes a leader takes.
enum class ConfChangeGuard : std::uint8_t {
  kOwnTermCommitted,  ///< only after an entry of its own term is committed, and one at a time (the default)
  kOneAtATime,        ///< one at a time: what etcd-io/raft does; for its vectors
  kNone,              ///< anything; for the vectors that test exactly this
};

/// When appended entries are sent.
enum class SendPolicy : std::uint8_t {
  kOnOutput,  ///< once per take_output(): one frame with everything that came in since (the default)
  kAtOnce,    ///< one frame per proposal, like etcd-io/raft; for its vectors
};

struct Config {
  NodeId id;                                             ///< this node; not 0
  Duration heartbeat_interval = std::chrono::milliseconds(50);
  Duration election_timeout_min = std::chrono::milliseconds(250);  ///< > heartbeat_interval
  Duration election_timeout_max = std::chrono::milliseconds(500);  ///< exclusive; > election_timeout_min
  /// A leader's read lease ends this long before the followers that granted it may vote again. Must be more than
  /// the greatest drift of two monotonic clocks over one election time-out.
  Duration lease_margin = std::chrono::milliseconds(50);
  /// After PeerRefused: voters try one after the other, this far apart, in the order of their ids.
  Duration refused_stagger = std::chrono::milliseconds(15);
  bool pre_vote = true;       ///< thesis 9.6
  bool check_quorum = true;   ///< thesis 6.2: a leader without a quorum steps down; voters ignore candidates while led
  bool quiet_start = true;    ///< give no vote in the first election_timeout_min: a restart keeps no promise to a lease
  bool step_down_on_removal = true;  ///< a leader that is removed or demoted stops leading when the change is applied
  bool hand_over_on_removal = true;  ///< and asks the voter with the longest log to stand at once
  /// A refused vote names the voter's commit position, so that a candidate can learn that an entry of its own log is
  /// committed: without it {1,2} -> {2} can get stuck when 1, removed and with a longer log, is asked by 2.
  bool commit_in_refusals = true;
  bool apply_before_persist = false;  ///< hand out committed entries that are not yet on the own disk
  ConfChangeGuard conf_change_guard = ConfChangeGuard::kOwnTermCommitted;
  SendPolicy send_policy = SendPolicy::kOnOutput;
  std::size_t append_bytes_max = std::size_t{1} << 20;       ///< payload of one append; one entry always fits
  std::size_t inflight_appends_max = 2;                      ///< appends with entries under way per follower, >= 1
  std::size_t committed_bytes_max = std::size_t{1} << 20;    ///< payload of Output::committed; one entry always fits
  std::size_t uncommitted_bytes_max = std::size_t{16} << 20; ///< leader: payload appended but not committed
  std::size_t log_bytes_max = std::size_t{256} << 20;        ///< leader: payload in the log window
  std::size_t reads_max = 4096;                              ///< reads that wait, own and forwarded together
};

/// What the host found on disk. Default = a new, empty node (not yet member of any group).
struct InitialState {
  HardState hard;
  SnapshotMeta snapshot;       ///< the log begins after this entry; index 0 = from the beginning (conf then unused)
  std::vector<Entry> entries;  ///< contiguous from snapshot.index + 1
  Index applied;               ///< up to here the host's state is on disk; >= snapshot.index
  ConfState conf;              ///< configuration as of `applied`
};

/// State of a new group of exactly these voters: every first member starts from the same value.
/// The group begins at index 1, term 1, as if that entry had been a snapshot with this configuration.
[[nodiscard]] InitialState bootstrap_state(std::vector<NodeId> voters);

// --- Events -------------------------------------------------------------------------------------------------------

struct Propose {
  std::vector<Payload> entries;  ///< appended together, in this order, or not at all
};
struct ProposeConfChange {
  ConfChange change;
};
struct ReadIndex {
  std::uint64_t context = 0;  ///< returned in ReadState; unique among the waiting reads of this node
  ReadMode mode = ReadMode::kQuorum;
};
/// Everything up to batch `seq` is durable (entries, hard state, snapshot). index and term = Output::last of that
/// batch, so that an ack can never vouch for an entry that was replaced meanwhile.
struct Persisted {
  PersistSeq seq;
  Index index;
  Term term;
};
enum class SnapshotOutcome : std::uint8_t { kDelivered, kFailed };
/// The transfer that a SnapshotRequest began is over.
struct ReportSnapshot {
  NodeId to;
  SnapshotOutcome outcome = SnapshotOutcome::kFailed;
};
/// A frame to this peer was lost for sure (connection broken).
struct ReportUnreachable {
  NodeId peer;
};
/// The connection to the peer was reset AND a new one is refused: its process is gone. Never report this on silence:
/// this node then forgets its promise to that leader's lease.
struct PeerRefused {
  NodeId peer;
};
/// A connection to the peer stands again. A leader speaks to it at once. A voter that knows no leader asks for
/// pre-votes soon, in the order of the voters' ids: what kept a quorum apart may be over, and waiting for a time-out
/// would only add to the silence. Harmless when wrong, since a pre-vote disturbs nobody who has a leader.
struct PeerConnected {
  NodeId peer;
};
/// Drop log entries up to and including `to`; the host's durable state covers them.
struct Compact {
  Index to;
};
/// Hand leadership over. kNobody = to the voter with the longest log.
struct TransferLeader {
  NodeId to;
};
/// Stand for election now (operator's or host's wish). Like PeerRefused it forgets the present leader.
struct Campaign {};

/// Where proposed entries went. They are committed if Output::committed shows `first` .. `last` with this term;
/// any other term at one of these indexes means that they are lost.
struct Proposed {
  Index first;
  Index last;
  Term term;
};

// --- Output -------------------------------------------------------------------------------------------------------

enum class Role : std::uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
[[nodiscard]] const char* to_string(Role role);  ///< "StateFollower", ...

struct SoftState {
  NodeId leader;  ///< kNobody while unknown
  Role role = Role::kFollower;
  friend bool operator==(const SoftState&, const SoftState&) = default;
};

/// Answer to a ReadIndex of this node: once `index` is applied here, the read may be served.
struct ReadState {
  std::uint64_t context = 0;
  std::optional<Index> index;  ///< none = dropped (leader changed or lost): ask again
};

/// A follower needs the state itself. The host streams a snapshot and then steps a kSnapshot message with its
/// SnapshotMeta into the follower's core; any snapshot with index + 1 >= first_index() serves, snapshot_meta()
/// names the state as of everything handed out so far. Until ReportSnapshot nothing else is sent to that follower.
struct SnapshotRequest {
  NodeId to;
  SnapshotMeta meta;  ///< configuration and position when the need arose
  Term term;          ///< of the leadership that asks: the kSnapshot message must carry exactly this one, also if this
                      ///< node has gone on to a later term meanwhile, in which it would speak for another leader
};

/// A rule of Raft was found broken: data loss below us or a bug. The core does nothing any more.
struct Fatal {
  std::string invariant;  ///< which rule
  std::string detail;     ///< indexes and terms seen
};

/// To be carried out in this order:
///  1. fatal: stop the process (nothing else is set).
///  2. send `messages` (may leave before anything is durable: appends and heartbeats of a leader, thesis 10.2.1).
///  3. if `seq` is set: hand {hard_state, snapshot, entries} to the disk as one batch, batches in the order of seq;
///     when that batch is durable, step Persisted{seq, last, last_term}. Acks may be folded: the newest covers all.
///     `entries` replace everything on disk from entries.front().index on. A snapshot replaces the whole log.
///     Every batch has a hard_state, and it must be written in the same batch as the entries: a node that has the
///     second of two membership changes on disk must know there that the first is committed, or it could be elected by
///     a configuration that is long gone. Set without `seq`, only its commit moved: nothing needs to be written.
///  4. install `snapshot` into the state machine, then apply `committed` in order; the core takes them as applied.
///  5. keep `messages_after` until batch `after_seq` is durable, then send them (votes and append answers).
///  6. serve reads, snapshot_requests and soft_state as they fit.
struct Output {
  std::optional<Fatal> fatal;
  std::optional<SoftState> soft_state;      ///< changed since the last output
  std::optional<HardState> hard_state;      ///< full current value; set if it changed, and with every batch
  std::optional<SnapshotMeta> snapshot;     ///< received snapshot to install, payload held by the host
  std::vector<Entry> entries;               ///< to append, contiguous
  std::optional<PersistSeq> seq;            ///< set = something here must be durable
  Index last;                               ///< end of the log when batch `seq` is durable
  Term last_term;                           ///< term of that entry
  std::vector<Message> messages;
  std::vector<Message> messages_after;
  PersistSeq after_seq;                     ///< batch that messages_after wait for (an earlier one if seq is unset)
  std::vector<Entry> committed;             ///< contiguous; configuration changes are already made by the core
  std::vector<ReadState> reads;
  std::vector<SnapshotRequest> snapshot_requests;
  bool conf_changed = false;                ///< conf_state() changed with this output
};

// --- Status -------------------------------------------------------------------------------------------------------

struct PeerStatus {
  NodeId id;
  ProgressState state = ProgressState::kProbe;
  Index match;                 ///< highest index known to be durable there
  Index next;                  ///< next index to send
  bool learner = false;
  bool recent_active = false;  ///< answered since the last quorum check
  std::optional<TimePoint> last_contact;  ///< when a message of it last arrived in this leadership
  std::optional<DiskTimes> disk;          ///< as it last said itself; none = it has not measured anything yet
};

class Raft {
 public:
  /// @param state   as loaded; checked. Errors: kBadState (also for a Config that contradicts itself).
  /// @param chance  for election time-outs only
  [[nodiscard]] static Result<std::unique_ptr<Raft>> create(const Config& config, InitialState state, Chance chance,
                                                            TimePoint now);

  // step(event, now): `now` never goes back. After a Fatal every step answers kStopped.

  /// A message from a peer, decoded. Errors (message dropped): kMalformed (not for this node, or impossible),
  /// kUnknownPeer (an answer from a node that is no member for this leader).
  Result<void> step(Message message, TimePoint now);
  /// Errors: kNotLeader, kTransferring, kUncommittedFull, kLogFull, kEntryTooLarge; nothing is appended then.
  Result<Proposed> step(Propose event, TimePoint now);
  /// Errors: as Propose, and kConfChangePending, kConfChangeTooEarly, kConfChangeInvalid.
  Result<Proposed> step(const ProposeConfChange& event, TimePoint now);
  /// Answered by Output::reads, in any order. On a follower it is forwarded to the leader.
  /// Errors: kReadsFull, kNotLeader (no leader known).
  Result<void> step(const ReadIndex& event, TimePoint now);
  /// Errors: kMalformed for a batch that was never handed out.
  Result<void> step(const Persisted& event, TimePoint now);
  /// Errors of the rest: kNotLeader, kUnknownPeer.
  Result<void> step(const ReportSnapshot& event, TimePoint now);
  Result<void> step(const ReportUnreachable& event, TimePoint now);
  /// No effect unless `peer` is the leader this node follows.
  Result<void> step(const PeerRefused& event, TimePoint now);
  /// Errors: none.
  Result<void> step(const PeerConnected& event, TimePoint now);
  /// Errors: kUnavailable (not applied yet), kCompacted (done before).
  Result<void> step(const Compact& event, TimePoint now);
  /// Errors: kNotLeader, kUnknownPeer (no voter). Given up after one election time-out. No lease reads afterwards.
  Result<void> step(const TransferLeader& event, TimePoint now);
  /// Errors: kNotPromotable. No effect on a leader.
  Result<void> step(const Campaign& event, TimePoint now);

  /// What the own disk takes for a synced batch: told to the leader with every answer to a heartbeat, shown in peers().
  /// The core decides nothing by it.
  void note_disk_times(const DiskTimes& times) { disk_times_ = times; }

  /// Lets time pass: elections, heartbeats, quorum checks. Early and late calls are harmless.
  void tick(TimePoint now);
  /// When tick() has something to do at the earliest; TimePoint::max() if never.
  [[nodiscard]] TimePoint next_deadline() const;
  [[nodiscard]] bool has_output() const;
  [[nodiscard]] Output take_output();

  [[nodiscard]] NodeId id() const { return config_.id; }
  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] NodeId leader() const { return leader_; }
  [[nodiscard]] Term term() const { return term_; }
  [[nodiscard]] NodeId vote() const { return vote_; }
  [[nodiscard]] Index commit() const { return log_.commit(); }
  [[nodiscard]] Index applied() const { return log_.applied(); }  ///< everything handed out in Output::committed
  /// A snapshot was taken in, and Output::snapshot is still to come (it waits for earlier batches of the disk).
  [[nodiscard]] bool restoring() const { return restored_.has_value(); }
  [[nodiscard]] const Log& log() const { return log_; }           ///< window: first_index(), last_index(), term(i)
  [[nodiscard]] ConfState conf_state() const { return tracker_.conf_state(); }  ///< as of applied()
  [[nodiscard]] const Tracker& tracker() const { return tracker_; }  ///< members and progress, for traces
  [[nodiscard]] bool learner() const;   ///< this node is in the configuration as learner
  [[nodiscard]] bool voter() const;     ///< this node votes, in either half of a joint configuration
  [[nodiscard]] SnapshotMeta snapshot_meta() const;  ///< names the state as of applied()
  [[nodiscard]] NodeId transferee() const { return transferee_; }
  [[nodiscard]] std::size_t uncommitted_bytes() const { return uncommitted_bytes_; }
  /// Leader only, else none: when this node took office; followers' progress.
  [[nodiscard]] std::optional<TimePoint> leader_since() const;
  [[nodiscard]] std::vector<PeerStatus> peers() const;  ///< sorted by id, this node included; empty unless leader
  /// Leader that heard a quorum of voters within the last election_timeout_min.
  [[nodiscard]] bool quorum_active(TimePoint now) const;
  /// Leader with an entry of its own term committed and a read lease that still holds at `now`.
  [[nodiscard]] bool lease_valid(TimePoint now) const;
  /// An entry of the own term is committed: from here on commit() is all that was ever committed (6.4).
  [[nodiscard]] bool own_term_committed() const;

 private:
  enum class CampaignKind : std::uint8_t { kPreVote, kElection, kTransfer };
  enum class SendEmpty : std::uint8_t { kNo, kYes };

  Raft(const Config& config, InitialState state, Chance chance, TimePoint now);
  static Result<void> check_config(const Config& config);
  static Result<void> check_state(const InitialState& state);

  // raft.cc: events, roles, time
  Result<void> enter(TimePoint now);
  Result<void> step_checked(Message& message);
  void higher_term(const Message& message);
  void lower_term(const Message& message);
  Result<void> dispatch(Message& message);
  void become_follower(Term term, NodeId leader);
  void reset(Term term);
  void stop(std::string invariant, std::string detail);
  void send(Message message);
  void restart_election_timer();
  void tick_leader();
  void follow_peer_refused();
  [[nodiscard]] TimePoint stagger(NodeId gone) const;  ///< when this voter stands, if all want to at this moment

  // raft_election.cc
  void hup(CampaignKind kind);
  void campaign(CampaignKind kind);
  void become_pre_candidate();
  void become_candidate();
  void become_leader();
  void handle_vote_request(const Message& message);
  void handle_vote_response(const Message& message);
  void learn_commit(const Message& answer);
  void poll(NodeId from, bool granted);
  [[nodiscard]] bool promotable() const;
  [[nodiscard]] bool conf_change_unapplied() const;
  [[nodiscard]] bool hears_leader() const;

  // raft_follower.cc
  Result<void> step_follower(Message& message);
  void handle_append(Message& message);
  void handle_heartbeat(const Message& message);
  void handle_snapshot(const Message& message);
  bool restore_snapshot(const SnapshotMeta& snapshot);
  bool commit_to(Index to);

  // raft_leader.cc
  Result<void> step_leader(const Message& message);
  Result<void> check_proposal(const std::vector<Payload>& payloads) const;
  Proposed append_own(std::vector<Entry> entries);
  void handle_append_response(const Message& message, Progress& progress);
  void append_acknowledged(NodeId from, Index index, Progress& progress);
  void handle_heartbeat_response(const Message& message, Progress& progress);
  void round_answered(const Message& message, Progress& progress);
  void broadcast_append();
  void flush_appends();
  bool send_append(NodeId to, SendEmpty empty);
  bool request_snapshot(NodeId to, Progress& progress);
  void broadcast_heartbeat();
  void send_heartbeat(NodeId to, Progress& progress, Round round);
  void check_quorum();
  bool maybe_commit();
  void note_committed(Index from);
  void send_timeout_now(NodeId to);
  void own_disk_caught_up();
  [[nodiscard]] NodeId best_successor() const;

  // raft_conf.cc
  Result<void> check_conf_change(const ConfChange& change) const;
  void apply_conf_change(const Entry& entry);
  void switch_to(Configuration configuration);
  void maybe_leave_joint();

  // raft_read.cc
  void take_read(NodeId from, std::uint64_t context, ReadMode mode);
  void answer_read(NodeId from, std::uint64_t context, Index index);
  void confirm_rounds();
  void drop_reads();

  // raft_output.cc
  void collect_persist(Output& output);
  void collect_committed(Output& output);
  [[nodiscard]] bool persist_wanted() const;
  [[nodiscard]] bool committed_wanted() const;
  [[nodiscard]] bool flush_wanted() const;
  [[nodiscard]] Index appliable() const;
  [[nodiscard]] HardState hard_state() const { return {term_, vote_, log_.commit()}; }

  Config config_;
  Chance chance_;
  Log log_;
  Tracker tracker_;
  Persists persists_;
  Reads reads_;

  Term term_;
  NodeId vote_;
  Role role_ = Role::kFollower;
  NodeId leader_;
  NodeId transferee_;
  bool stand_when_applied_ = false;  // told to take over, but a committed configuration change waits to be applied
  bool lease_given_away_ = false;  // a TimeoutNow went out in this leadership: its lease may be overruled
  Index pending_conf_;             // no configuration change is taken until this index is applied
  std::size_t uncommitted_bytes_ = 0;
  bool appends_wanted_ = false;    // kOnOutput: new entries wait to be sent
  bool commit_news_ = false;       // kOnOutput: followers are to hear of a higher commit
  std::optional<PersistSeq> vote_seq_;  // batch after which the own vote counts; none = not handed out yet
  bool vote_uncounted_ = false;
  std::set<std::uint64_t> forwarded_reads_;
  Round riding_round_;             // during one flush: the round that the next append to each follower carries
  std::optional<DiskTimes> disk_times_;

  TimePoint now_;
  TimePoint election_start_;       // when the election timer was last reset
  Duration election_timeout_{};    // randomised
  TimePoint heartbeat_due_;
  TimePoint leader_since_;
  TimePoint promise_until_;        // to the leader heard last (or, after a restart, to an unknown one): no vote before
  TimePoint refused_until_;        // after PeerRefused: campaign again quickly until then
  std::optional<TimePoint> campaign_at_;

  std::optional<Fatal> fatal_;
  bool stopped_ = false;
  SoftState reported_soft_;
  HardState reported_hard_;
  std::optional<SnapshotMeta> restored_;
  bool conf_changed_ = false;
  std::vector<Message> messages_;
  std::vector<Message> messages_after_;
  std::vector<ReadState> read_states_;
  std::vector<SnapshotRequest> snapshot_requests_;
};

}  // namespace store::raft
