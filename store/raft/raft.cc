#include "store/raft/raft.h"

#include <algorithm>
#include <cassert>

#include "store/raft/wire.h"

namespace store::raft {
namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }

}  // namespace

const char* to_string(Role role) {
  switch (role) {
    case Role::kFollower: return "StateFollower";
    case Role::kPreCandidate: return "StatePreCandidate";
    case Role::kCandidate: return "StateCandidate";
    case Role::kLeader: return "StateLeader";
  }
  return "?";
}

InitialState bootstrap_state(std::vector<NodeId> voters) {
  std::sort(voters.begin(), voters.end());
  InitialState state;
  state.conf.voters = std::move(voters);
  state.snapshot = {Index{1}, Term{1}, state.conf};
  state.hard = {Term{1}, kNobody, Index{1}};
  state.applied = Index{1};
  return state;
}

Result<void> Raft::check_config(const Config& config) {
  if (!config.id) return fail(Errc::kBadState, "node id is 0");
  if (config.heartbeat_interval <= Duration::zero() || config.election_timeout_min <= config.heartbeat_interval ||
      config.election_timeout_max <= config.election_timeout_min) {
    return fail(Errc::kBadState, "0 < heartbeat_interval < election_timeout_min < election_timeout_max does not hold");
  }
  if (config.inflight_appends_max == 0) return fail(Errc::kBadState, "inflight_appends_max is 0");
  return {};
}

Result<void> Raft::check_state(const InitialState& state) {
  Index last = state.snapshot.index;
  Term term = state.snapshot.term;
  const Term newest = std::max(state.hard.term, state.snapshot.term);
  for (const Entry& entry : state.entries) {
    if (entry.index != last.next()) return fail(Errc::kBadState, "log has a gap before " + number(entry.index.value));
    if (entry.term < term) return fail(Errc::kBadState, "terms go back at " + number(entry.index.value));
    last = entry.index;
    term = entry.term;
  }
  // Every entry came with a message of its term or a later one, and that term was on the disk first.
  if (term > newest) {
    return fail(Errc::kBadState, "log ends in term " + number(term.value) + ", hard state knows " +
                                     number(state.hard.term.value));
  }
  if (state.hard.commit > last) {
    return fail(Errc::kBadState, "commit " + number(state.hard.commit.value) + " is past the last entry " +
                                     number(last.value));
  }
  if (state.applied < state.snapshot.index || state.applied > last) {
    return fail(Errc::kBadState, "applied " + number(state.applied.value) + " is outside of the log");
  }
  return {};
}

Result<std::unique_ptr<Raft>> Raft::create(const Config& config, InitialState state, Chance chance, TimePoint now) {
  if (auto ok = check_config(config); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_state(state); !ok) return tl::unexpected(ok.error());
  if (auto conf = restore(state.conf, config.inflight_appends_max, state.applied); !conf) {
    return fail(Errc::kBadState, conf.error().detail);
  }
  return std::unique_ptr<Raft>(new Raft(config, std::move(state), std::move(chance), now));
}

Raft::Raft(const Config& config, InitialState state, Chance chance, TimePoint now)
    : config_(config),
      chance_(std::move(chance)),
      log_(state.snapshot.index, state.snapshot.term, std::move(state.entries)),
      tracker_(config.inflight_appends_max),
      term_(state.hard.term),
      vote_(state.hard.vote),
      now_(now) {
  // A lost commit index is made up from what is known to be committed: everything applied.
  const bool in_range = log_.commit_to(std::max(state.hard.commit, state.applied));
  assert(in_range);
  static_cast<void>(in_range);
  log_.applied_to(state.applied);
  auto configuration = restore(state.conf, config_.inflight_appends_max, log_.last_index());
  assert(configuration);
  tracker_.set(std::move(configuration->members), std::move(configuration->progress));
  become_follower(term_, kNobody);
  reported_hard_ = hard_state();
  reported_soft_ = {};
  const bool fresh = term_ == Term{};
  if (config_.check_quorum && config_.quiet_start && !fresh) promise_until_ = now + config_.election_timeout_min;
  // Alone there is nobody to wait for.
  const Members& members = tracker_.members();
  if (members.voters == VoterSet{config_.id} && !members.joint()) campaign_at_ = now;
}

Result<void> Raft::enter(TimePoint now) {
  if (stopped_) return fail(Errc::kStopped);
  now_ = std::max(now_, now);
  return {};
}

void Raft::stop(std::string invariant, std::string detail) {
  if (stopped_) return;
  stopped_ = true;
  fatal_ = Fatal{std::move(invariant), std::move(detail)};
}

void Raft::restart_election_timer() {
  election_start_ = now_;
  const auto spread = std::chrono::duration_cast<std::chrono::microseconds>(config_.election_timeout_max -
                                                                            config_.election_timeout_min);
  const auto bound = static_cast<std::uint64_t>(std::max<std::int64_t>(spread.count(), 1));
  election_timeout_ = config_.election_timeout_min + std::chrono::microseconds(chance_(bound));
}

void Raft::reset(Term term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNobody;
  }
  drop_reads();
  snapshot_requests_.clear();
  leader_ = kNobody;
  transferee_ = kNobody;
  lease_given_away_ = false;
  stand_when_applied_ = false;
  campaign_at_.reset();
  vote_seq_.reset();
  vote_uncounted_ = false;
  appends_wanted_ = commit_news_ = false;
  pending_conf_ = Index{};
  uncommitted_bytes_ = 0;
  restart_election_timer();
  tracker_.reset_votes();
  tracker_.reset_progress(log_.last_index().next());
  if (Progress* own = tracker_.find(config_.id)) own->maybe_update(log_.durable());
}

void Raft::become_follower(Term term, NodeId leader) {
  reset(term);
  leader_ = leader;
  role_ = Role::kFollower;
}

/// Answers that promise durable things wait for the disk; so do vote requests: a candidate that forgot its log in a
/// crash could otherwise collect answers given to the longer log it had before.
void Raft::send(Message message) {
  message.from = config_.id;
  switch (message.kind) {
    case MessageKind::kVote:
    case MessageKind::kPreVote:
    case MessageKind::kVoteResponse:
    case MessageKind::kPreVoteResponse: break;  // their term is the election's, set by the caller
    case MessageKind::kAppend:
    case MessageKind::kAppendResponse:
    case MessageKind::kHeartbeat:
    case MessageKind::kHeartbeatResponse:
    case MessageKind::kSnapshot:
    case MessageKind::kAppendHeard:
    case MessageKind::kTimeoutNow:
    case MessageKind::kReadIndex:
    case MessageKind::kReadIndexResponse: message.term = term_; break;
  }
  const bool waits = message.kind == MessageKind::kVote || message.kind == MessageKind::kVoteResponse ||
                     message.kind == MessageKind::kPreVoteResponse || message.kind == MessageKind::kAppendResponse;
  if (!waits) {
    messages_.push_back(std::move(message));
    return;
  }
  // Only a disk that hangs lets this queue grow; Raft stands the loss of any message.
  constexpr std::size_t kHeldMax = 4096;
  if (messages_after_.size() == kHeldMax) messages_after_.erase(messages_after_.begin());
  messages_after_.push_back(std::move(message));
}

Result<void> Raft::step(Message message, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (message.to != config_.id || !message.from || message.from == config_.id) {
    return fail(Errc::kMalformed, "message from " + number(message.from.value) + " to " + number(message.to.value));
  }
  if (message.kind == MessageKind::kSnapshot && !message.snapshot) {
    return fail(Errc::kMalformed, "snapshot message without a snapshot");
  }
  Progress* progress = tracker_.find(message.from);
  if (is_response(message.kind) && message.kind != MessageKind::kReadIndexResponse && progress == nullptr) {
    return fail(Errc::kUnknownPeer, number(message.from.value));
  }
  if (role_ == Role::kLeader && progress != nullptr) progress->last_contact = now_;
  learn_commit(message);
  if (stopped_) return {};
  return step_checked(message);
}

Result<void> Raft::step_checked(Message& message) {
  if (message.term > term_) {
    const bool asks_vote = message.kind == MessageKind::kVote || message.kind == MessageKind::kPreVote;
    // Whoever hears a leader does not take part in replacing it, not even by learning the term (6.2, 9.6). When that very
    // leader asks, it has given up its office, and the promise was made to nobody else.
    if (asks_vote && !message.forced && hears_leader() && message.from != leader_) return {};
    higher_term(message);
  } else if (message.term < term_) {
    lower_term(message);
    return {};
  }
  return dispatch(message);
}

void Raft::higher_term(const Message& message) {
  switch (message.kind) {
    case MessageKind::kPreVote: return;  // a question about the future changes nothing
    case MessageKind::kPreVoteResponse:
      // A grant carries the term asked about; a refusal carries the term of the voter.
      if (message.reject) become_follower(message.term, kNobody);
      return;
    case MessageKind::kAppend:
    case MessageKind::kHeartbeat:
    case MessageKind::kSnapshot: become_follower(message.term, message.from); return;
    case MessageKind::kAppendResponse:
    case MessageKind::kVote:
    case MessageKind::kVoteResponse:
    case MessageKind::kHeartbeatResponse:
    case MessageKind::kAppendHeard:
    case MessageKind::kTimeoutNow:
    case MessageKind::kReadIndex:
    case MessageKind::kReadIndexResponse: become_follower(message.term, kNobody); return;
  }
}

void Raft::lower_term(const Message& message) {
  const bool from_old_leader = message.kind == MessageKind::kAppend || message.kind == MessageKind::kHeartbeat;
  if (from_old_leader && (config_.check_quorum || config_.pre_vote)) {
    // Voters ignore our elections while they hear that leader: only this answer tells it of our term, so that it
    // steps down instead of both sides waiting for ever.
    Message answer;
    answer.kind = MessageKind::kAppendResponse;
    answer.to = message.from;
    send(std::move(answer));
  } else if (message.kind == MessageKind::kPreVote) {
    Message answer;
    answer.kind = MessageKind::kPreVoteResponse;
    answer.to = message.from;
    answer.term = term_;
    answer.reject = true;
    send(std::move(answer));
  } else if (message.kind == MessageKind::kReadIndex) {
    Message answer;
    answer.kind = MessageKind::kReadIndexResponse;
    answer.to = message.from;
    answer.read_context = message.read_context;
    answer.reject = true;
    send(std::move(answer));
  }
}

Result<void> Raft::dispatch(Message& message) {
  if (message.kind == MessageKind::kVote || message.kind == MessageKind::kPreVote) {
    handle_vote_request(message);
    return {};
  }
  const bool leads = message.kind == MessageKind::kAppend || message.kind == MessageKind::kHeartbeat ||
                     message.kind == MessageKind::kSnapshot;
  if (leads && (role_ == Role::kLeader || (leader_ && leader_ != message.from))) {
    stop("election safety (thesis 3.2): one leader per term",
         "term " + number(term_.value) + ": " + number((role_ == Role::kLeader ? config_.id : leader_).value) + " and " +
             number(message.from.value));
    return {};
  }
  const bool vote_answer =
      message.kind == MessageKind::kVoteResponse || message.kind == MessageKind::kPreVoteResponse;
  switch (role_) {
    case Role::kLeader: return step_leader(message);
    case Role::kPreCandidate:
    case Role::kCandidate:
      if (leads) {
        become_follower(term_, message.from);
        return step_follower(message);
      }
      if (vote_answer) {
        handle_vote_response(message);
        return {};
      }
      if (message.kind == MessageKind::kTimeoutNow) return {};
      return step_follower(message);
    case Role::kFollower: return step_follower(message);
  }
  return {};
}

Result<void> Raft::step(const Persisted& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  const auto durable = persists_.acknowledge(event.seq, event.index, event.term);
  if (!durable) {
    return fail(Errc::kMalformed, "batch " + number(event.seq.value) + " ending at " + number(event.index.value) +
                                      " was never handed out");
  }
  log_.durable_to(*durable);
  if (vote_uncounted_ && vote_seq_ && persists_.acknowledged() >= *vote_seq_) {
    vote_uncounted_ = false;
    poll(config_.id, true);
  }
  if (role_ == Role::kLeader) own_disk_caught_up();
  return {};
}

Result<void> Raft::step(const Compact& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  return log_.compact(event.to);
}

Result<void> Raft::step(const PeerRefused& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ == Role::kFollower && event.peer && event.peer == leader_) follow_peer_refused();
  return {};
}

/// All voters learn of the death at about the same moment. They stand in the order of their ids, one stagger apart,
/// so that the first is elected before the second asks, instead of splitting the vote.
void Raft::follow_peer_refused() {
  const NodeId gone = leader_;
  leader_ = kNobody;
  promise_until_ = now_;
  refused_until_ = now_ + config_.election_timeout_min;
  if (!promotable()) return;
  campaign_at_ = stagger(gone);
  if (campaign_at_ == now_) tick(now_);
}

TimePoint Raft::stagger(NodeId gone) const {
  std::int64_t rank = 0;
  for (const auto& [id, progress] : tracker_.progress()) {
    if (id < config_.id && id != gone && tracker_.members().votes(id)) ++rank;
  }
  return now_ + rank * config_.refused_stagger;
}

Result<void> Raft::step(const PeerConnected& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ == Role::kLeader) {
    Progress* progress = tracker_.find(event.peer);
    if (progress != nullptr && event.peer != config_.id) send_heartbeat(event.peer, *progress, Round{});
    return {};
  }
  const bool looks_for_leader = !leader_ && role_ != Role::kCandidate;
  if (!looks_for_leader || !promotable() || !tracker_.members().votes(event.peer)) return {};
  // Not before the promise is over that this process, or the one before it, may have made to a leader's lease: others
  // would be asked in vain, but a node that stands forgets its own (6.4.2).
  const TimePoint at = std::max(stagger(kNobody), promise_until_);
  campaign_at_ = campaign_at_ ? std::min(*campaign_at_, at) : at;
  return {};
}

void Raft::tick(TimePoint now) {
  if (auto ok = enter(now); !ok) return;
  if (role_ == Role::kLeader) {
    tick_leader();
    return;
  }
  const CampaignKind kind = config_.pre_vote ? CampaignKind::kPreVote : CampaignKind::kElection;
  if (campaign_at_ && now_ >= *campaign_at_) {
    campaign_at_.reset();
    hup(kind);
  } else if (now_ - election_start_ >= election_timeout_) {
    restart_election_timer();
    hup(kind);
  }
}

void Raft::tick_leader() {
  if (now_ - election_start_ >= config_.election_timeout_min) {
    election_start_ = now_;
    if (config_.check_quorum) check_quorum();
    // A successor that did not take over within one time-out will not: take proposals again (3.10).
    if (role_ == Role::kLeader) transferee_ = kNobody;
  }
  if (role_ != Role::kLeader) return;
  if (now_ >= heartbeat_due_) {
    heartbeat_due_ = now_ + config_.heartbeat_interval;
    broadcast_heartbeat();
  }
  maybe_leave_joint();
}

TimePoint Raft::next_deadline() const {
  if (stopped_) return TimePoint::max();
  if (role_ == Role::kLeader) return std::min(heartbeat_due_, election_start_ + config_.election_timeout_min);
  const TimePoint election = promotable() ? election_start_ + election_timeout_ : TimePoint::max();
  return campaign_at_ ? std::min(*campaign_at_, election) : election;
}

bool Raft::learner() const { return tracker_.members().learners.contains(config_.id); }

bool Raft::voter() const { return tracker_.members().votes(config_.id); }

SnapshotMeta Raft::snapshot_meta() const {
  return {log_.applied(), log_.term(log_.applied()).value_or(Term{}), conf_state()};
}

std::optional<TimePoint> Raft::leader_since() const {
  return role_ == Role::kLeader ? std::optional(leader_since_) : std::nullopt;
}

std::vector<PeerStatus> Raft::peers() const {
  std::vector<PeerStatus> peers;
  if (role_ != Role::kLeader) return peers;
  for (const auto& [id, progress] : tracker_.progress()) {
    peers.push_back({id, progress.state(), progress.match(), progress.next(), progress.learner,
                     progress.recent_active, progress.last_contact,
                     id == config_.id ? disk_times_ : progress.disk});
  }
  return peers;
}

bool Raft::quorum_active(TimePoint now) const {
  if (role_ != Role::kLeader) return false;
  return tracker_.quorum_of([&](NodeId id, const Progress& progress) {
    return id == config_.id ||
           (progress.last_contact && now - *progress.last_contact < config_.election_timeout_min);
  });
}

}  // namespace store::raft
