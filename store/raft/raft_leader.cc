// The leader's side of the Raft core: proposals, replication, commit, heartbeats, transfer (thesis 3.5, 3.6.2, 3.10,
// 6.2, 10.2.1).
#include <algorithm>
#include <utility>

#include "store/raft/raft.h"
#include "store/raft/wire.h"

namespace store::raft {

Result<void> Raft::check_proposal(const std::vector<Payload>& payloads) const {
  const bool member = tracker_.find(config_.id) != nullptr;
  if (role_ != Role::kLeader || !member) return fail(Errc::kNotLeader, std::to_string(member ? leader_.value : 0));
  if (transferee_) return fail(Errc::kTransferring, std::to_string(transferee_.value));
  if (payloads.empty() || payloads.size() > kEntriesMax) return fail(Errc::kEntryTooLarge, "number of entries");
  std::size_t bytes = 0;
  for (const Payload& payload : payloads) {
    if (payload.size() > kEntryBytesMax) return fail(Errc::kEntryTooLarge, std::to_string(payload.size()) + " bytes");
    bytes += payload.size();
  }
  // One proposal always fits into an idle leader, or it could never be made at all.
  if (uncommitted_bytes_ > 0 && bytes > 0 && uncommitted_bytes_ + bytes > config_.uncommitted_bytes_max) {
    return fail(Errc::kUncommittedFull, std::to_string(uncommitted_bytes_) + " bytes wait for commit");
  }
  if (log_.bytes() > 0 && bytes > 0 && log_.bytes() + bytes > config_.log_bytes_max) {
    return fail(Errc::kLogFull, std::to_string(log_.bytes()) + " bytes in the log window");
  }
  return {};
}

Result<Proposed> Raft::step(Propose event, TimePoint now) {
  if (auto ok = enter(now); !ok) return tl::unexpected(ok.error());
  if (auto ok = check_proposal(event.entries); !ok) return tl::unexpected(ok.error());
  std::vector<Entry> entries;
  entries.reserve(event.entries.size());
  for (Payload& payload : event.entries) entries.push_back({{}, {}, EntryKind::kNormal, std::move(payload)});
  const Proposed proposed = append_own(std::move(entries));
  broadcast_append();
  return proposed;
}

Proposed Raft::append_own(std::vector<Entry> entries) {
  Index index = log_.last_index();
  for (Entry& entry : entries) {
    index = index.next();
    entry.index = index;
    entry.term = term_;
  }
  uncommitted_bytes_ += payload_bytes(entries);
  const Proposed proposed{entries.front().index, entries.back().index, term_};
  if (!log_.append(entries)) stop("a leader only appends (thesis 3.2)", "at " + std::to_string(proposed.first.value));
  return proposed;
}

/// Entries from the own log, committed from here to commit(), weigh no longer on the leader.
void Raft::note_committed(Index from) {
  for (Index i = from.next(); i <= log_.commit(); i = i.next()) {
    uncommitted_bytes_ -= std::min(uncommitted_bytes_, log_.at(i).data.size());
  }
  if (own_term_committed()) reads_.release_held(log_.commit());
}

/// Counts only entries of the own term; older ones are committed along with them (3.6.2).
bool Raft::maybe_commit() {
  const Index quorum = tracker_.committed();
  const Index before = log_.commit();
  if (quorum <= before || !log_.matches(quorum, term_)) return false;
  if (!log_.commit_to(quorum)) {
    stop("a quorum acknowledges what the leader has (thesis 3.6)", "index " + std::to_string(quorum.value));
    return false;
  }
  note_committed(before);
  return true;
}

/// The own vote for own entries: when the disk has them, not before (10.2.1).
void Raft::own_disk_caught_up() {
  Progress* own = tracker_.find(config_.id);
  if (own != nullptr && own->maybe_update(log_.durable()) && maybe_commit()) broadcast_append();
}

Result<void> Raft::step_leader(const Message& message) {
  if (message.kind == MessageKind::kReadIndex) {
    if (reads_.size() < config_.reads_max) {
      take_read(message.from, message.read_context, message.read_mode);
      return {};
    }
    Message answer;
    answer.kind = MessageKind::kReadIndexResponse;
    answer.to = message.from;
    answer.read_context = message.read_context;
    answer.reject = true;
    send(std::move(answer));
    return {};
  }
  Progress* progress = tracker_.find(message.from);
  if (progress == nullptr) return {};
  if (message.kind == MessageKind::kAppendResponse) {
    handle_append_response(message, *progress);
  } else if (message.kind == MessageKind::kHeartbeatResponse) {
    handle_heartbeat_response(message, *progress);
  } else if (message.kind == MessageKind::kAppendHeard) {
    progress->recent_active = true;
    round_answered(message, *progress);
  }
  return {};
}

void Raft::handle_append_response(const Message& message, Progress& progress) {
  progress.recent_active = true;
  if (!message.reject) {
    append_acknowledged(message.from, message.index, progress);
    return;
  }
  Index hint = message.reject_hint;
  if (message.log_term.value > 0) hint = log_.conflict_by_term(message.reject_hint, message.log_term).index;
  if (!progress.maybe_decrease(message.index, hint)) return;
  if (progress.state() == ProgressState::kReplicate) progress.become_probe();
  send_append(message.from, SendEmpty::kYes);
}

void Raft::append_acknowledged(NodeId from, Index index, Progress& progress) {
  if (index > log_.last_index()) {
    stop("a follower acknowledges what it was sent (thesis 3.5)",
         std::to_string(from.value) + " acknowledged " + std::to_string(index.value) + ", log ends at " +
             std::to_string(log_.last_index().value));
    return;
  }
  const bool news = progress.maybe_update(index);
  // A node that is probed again although it has everything returns to replication by the same answer.
  if (!news && !(progress.match() == index && progress.state() == ProgressState::kProbe)) return;
  switch (progress.state()) {
    case ProgressState::kProbe: progress.become_replicate(); break;
    case ProgressState::kSnapshot:
      // It caught up with the log window, be it by our snapshot or otherwise.
      if (progress.match().next() >= log_.first_index()) {
        progress.become_probe();
        progress.become_replicate();
      }
      break;
    case ProgressState::kReplicate: progress.free_inflights(index); break;
  }
  const bool committed = maybe_commit();
  if (stopped_) return;
  if (committed) broadcast_append();
  if (config_.send_policy == SendPolicy::kOnOutput) {
    // The window has room, and there may be commit news: one frame at the end of the turn carries both.
    appends_wanted_ = true;
    commit_news_ = commit_news_ || progress.can_bump_commit(log_.commit());
  } else {
    if (!committed && progress.can_bump_commit(log_.commit())) send_append(from, SendEmpty::kYes);
    while (send_append(from, SendEmpty::kNo)) {
    }
  }
  if (from == transferee_ && progress.match() == log_.last_index()) send_timeout_now(from);
}

void Raft::handle_heartbeat_response(const Message& message, Progress& progress) {
  progress.recent_active = true;
  progress.flow_paused = false;
  if (message.disk) progress.disk = message.disk;
  if (progress.match() < log_.last_index() || progress.state() == ProgressState::kProbe) {
    send_append(message.from, SendEmpty::kYes);
  }
  round_answered(message, progress);
}

void Raft::round_answered(const Message& message, Progress& progress) {
  if (message.round <= progress.round_acked) return;
  progress.round_acked = message.round;
  confirm_rounds();
}

void Raft::broadcast_append() {
  if (config_.send_policy == SendPolicy::kOnOutput) {
    appends_wanted_ = commit_news_ = true;
    return;
  }
  for (const auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) send_append(id, SendEmpty::kYes);
  }
}

/// One turn's work in as few frames as may be: everything pending up to the window, commit news riding along, and the
/// round that reads wait for riding on the first append to each follower (6.4.1). Who gets no append gets a heartbeat.
void Raft::flush_appends() {
  // Two rounds may be under way: with one, a read could wait for two round trips; with more, each read costs a frame.
  const bool round_due = reads_.round_wanted() && reads_.rounds_open() < 2;
  if (!appends_wanted_ && !commit_news_ && !round_due) return;
  const Round round = round_due ? reads_.begin_round(now_) : Round{};
  for (auto& [id, progress] : tracker_.progress()) {
    if (id == config_.id) continue;
    riding_round_ = round;
    if (appends_wanted_ || commit_news_) {
      while (send_append(id, SendEmpty::kNo)) {
      }
      if (commit_news_ && progress.can_bump_commit(log_.commit())) send_append(id, SendEmpty::kYes);
    }
    if (riding_round_ > Round{}) send_heartbeat(id, progress, riding_round_);
  }
  riding_round_ = Round{};
  appends_wanted_ = commit_news_ = false;
  if (round_due) confirm_rounds();
}

/// @return true if an append was sent: to be repeated until false to fill the window.
bool Raft::send_append(NodeId to, SendEmpty empty) {
  Progress& progress = *tracker_.find(to);
  if (progress.paused()) return false;
  const Index previous = progress.next().previous();
  const auto previous_term = log_.term(previous);
  if (!previous_term) return request_snapshot(to, progress);
  std::vector<Entry> entries;
  // Into a full window go only empty appends: if all that filled it were lost, their answers get things going again.
  const bool room = progress.state() != ProgressState::kReplicate || !progress.inflights().full();
  if (room && progress.next() <= log_.last_index()) {
    auto slice = log_.slice(progress.next(), log_.last_index(), config_.append_bytes_max);
    if (!slice) return request_snapshot(to, progress);
    entries = std::move(*slice);
    if (entries.size() > kEntriesMax) entries.resize(kEntriesMax);
  }
  if (entries.empty() && empty == SendEmpty::kNo) return false;
  Message append;
  append.kind = MessageKind::kAppend;
  append.to = to;
  append.index = previous;
  append.log_term = *previous_term;
  append.commit = log_.commit();
  append.round = std::exchange(riding_round_, Round{});
  append.entries = std::move(entries);
  progress.sent_entries(append.entries.size());
  progress.sent_commit(log_.commit());
  const bool more = !append.entries.empty();
  send(std::move(append));
  return more;
}

/// @return false: nothing more can be sent to this follower now.
bool Raft::request_snapshot(NodeId to, Progress& progress) {
  // A node that is away would only waste the transfer; its next answer brings us here again.
  if (!progress.recent_active) return false;
  SnapshotMeta meta = snapshot_meta();
  progress.become_snapshot(meta.index);
  snapshot_requests_.push_back({to, std::move(meta), term_});
  return false;
}

void Raft::broadcast_heartbeat() {
  const Round round = reads_.begin_round(now_);
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != config_.id) send_heartbeat(id, progress, round);
  }
  confirm_rounds();
}

void Raft::send_heartbeat(NodeId to, Progress& progress, Round round) {
  Message beat;
  beat.kind = MessageKind::kHeartbeat;
  beat.to = to;
  // Never more than the follower is known to hold.
  beat.commit = std::min(progress.match(), log_.commit());
  beat.round = round;
  progress.sent_commit(beat.commit);
  send(std::move(beat));
}

/// A leader that a quorum no longer answers steps down, so that its clients look for another one (6.2).
void Raft::check_quorum() {
  const bool active = tracker_.quorum_of(
      [this](NodeId id, const Progress& progress) { return id == config_.id || progress.recent_active; });
  if (!active) {
    become_follower(term_, kNobody);
    return;
  }
  for (auto& [id, progress] : tracker_.progress()) progress.recent_active = id == config_.id;
}

void Raft::send_timeout_now(NodeId to) {
  lease_given_away_ = true;
  Message hand_over;
  hand_over.kind = MessageKind::kTimeoutNow;
  hand_over.to = to;
  send(std::move(hand_over));
}

/// The voter with the longest log among those heard lately; kNobody if there is none.
NodeId Raft::best_successor() const {
  NodeId best;
  Index match;
  for (const auto& [id, progress] : tracker_.progress()) {
    const bool fit = id != config_.id && tracker_.members().voters.contains(id) && progress.recent_active;
    if (fit && (!best || progress.match() > match)) {
      best = id;
      match = progress.match();
    }
  }
  return best;
}

Result<void> Raft::step(const TransferLeader& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ != Role::kLeader) return fail(Errc::kNotLeader, std::to_string(leader_.value));
  const NodeId to = event.to ? event.to : best_successor();
  if (to == config_.id) return {};
  const Progress* progress = tracker_.find(to);
  if (progress == nullptr || !tracker_.members().votes(to) || progress->learner) {
    return fail(Errc::kUnknownPeer, std::to_string(to.value));
  }
  if (transferee_ == to) return {};
  transferee_ = to;
  // Within one election time-out from now the successor takes over, or tick_leader() gives it up.
  election_start_ = now_;
  if (progress->match() == log_.last_index()) {
    send_timeout_now(to);
  } else {
    send_append(to, SendEmpty::kYes);
  }
  return {};
}

Result<void> Raft::step(const ReportSnapshot& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ != Role::kLeader) return fail(Errc::kNotLeader, std::to_string(leader_.value));
  Progress* progress = tracker_.find(event.to);
  if (progress == nullptr) return fail(Errc::kUnknownPeer, std::to_string(event.to.value));
  if (progress->state() != ProgressState::kSnapshot) return {};
  if (event.outcome == SnapshotOutcome::kFailed) progress->clear_pending_snapshot();
  progress->become_probe();
  // Delivered: its own answer comes soon. Failed: not again before the next heartbeat is answered.
  progress->flow_paused = true;
  return {};
}

Result<void> Raft::step(const ReportUnreachable& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ != Role::kLeader) return fail(Errc::kNotLeader, std::to_string(leader_.value));
  Progress* progress = tracker_.find(event.peer);
  if (progress == nullptr || event.peer == config_.id) return fail(Errc::kUnknownPeer, std::to_string(event.peer.value));
  if (progress->state() == ProgressState::kReplicate) progress->become_probe();
  return {};
}

}  // namespace store::raft
