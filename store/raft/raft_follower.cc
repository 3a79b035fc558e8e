// The follower's side of the Raft core: append, heartbeat, snapshot (thesis 3.5, 5.3, figure 3.1).
#include <algorithm>
#include <cassert>

#include "store/raft/raft.h"

namespace store::raft {
namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }

}  // namespace

Result<void> Raft::step_follower(Message& message) {
  switch (message.kind) {
    case MessageKind::kAppend:
    case MessageKind::kHeartbeat:
    case MessageKind::kSnapshot:
      restart_election_timer();
      promise_until_ = now_ + config_.election_timeout_min;
      campaign_at_.reset();
      refused_until_ = now_;
      leader_ = message.from;
      if (message.kind == MessageKind::kAppend) {
        handle_append(message);
      } else if (message.kind == MessageKind::kHeartbeat) {
        handle_heartbeat(message);
      } else {
        handle_snapshot(message);
      }
      return {};
    case MessageKind::kTimeoutNow:
      stand_when_applied_ = conf_change_unapplied();
      hup(CampaignKind::kTransfer);
      return {};
    case MessageKind::kReadIndex: {
      Message answer;
      answer.kind = MessageKind::kReadIndexResponse;
      answer.to = message.from;
      answer.read_context = message.read_context;
      answer.reject = true;
      send(std::move(answer));
      return {};
    }
    case MessageKind::kReadIndexResponse:
      if (forwarded_reads_.erase(message.read_context) == 0) return {};
      read_states_.push_back({message.read_context, message.reject ? std::nullopt : std::optional(message.index)});
      return {};
    case MessageKind::kAppendResponse:
    case MessageKind::kHeartbeatResponse:
      // An answer to the leader that this node was in this very term: it gave up for want of answers, and here they are.
      if (role_ == Role::kFollower && !leader_ && promotable()) campaign_at_ = now_;
      return {};
    case MessageKind::kAppendHeard:
    case MessageKind::kVote:
    case MessageKind::kVoteResponse:
    case MessageKind::kPreVote:
    case MessageKind::kPreVoteResponse: return {};  // answers to a role this node no longer has
  }
  return {};
}

bool Raft::commit_to(Index to) {
  if (log_.commit_to(to)) return true;
  stop("leader completeness (thesis 3.6): a follower holds what it acknowledged",
       "told commit " + number(to.value) + ", log ends at " + number(log_.last_index().value) + ": own disk lost entries");
  return false;
}

void Raft::handle_append(Message& message) {
  if (message.round > Round{}) {
    // Reads wait for this; it says nothing of the log, so it need not wait for the disk (6.4).
    Message heard;
    heard.kind = MessageKind::kAppendHeard;
    heard.to = message.from;
    heard.round = message.round;
    send(std::move(heard));
  }
  Message answer;
  answer.kind = MessageKind::kAppendResponse;
  answer.to = message.from;
  if (message.index < log_.commit()) {
    answer.index = log_.commit();
    send(std::move(answer));
    return;
  }
  if (!log_.matches(message.index, message.log_term)) {
    // Name the last place where the logs may agree, so that the leader skips whole terms (3.5).
    const auto hint = log_.conflict_by_term(std::min(message.index, log_.last_index()), message.log_term);
    answer.index = message.index;
    answer.reject = true;
    answer.reject_hint = hint.index;
    answer.log_term = hint.term;
    send(std::move(answer));
    return;
  }
  const Index last_new = message.index.plus(message.entries.size());
  if (const auto conflict = log_.find_conflict(message.entries)) {
    const std::size_t known = conflict->value - message.index.value - 1;
    persists_.truncate(*conflict);
    if (!log_.append(std::span(message.entries).subspan(known))) {
      stop("state machine safety (thesis 3.6): committed entries never change",
           "entry " + number(conflict->value) + " conflicts, commit is " + number(log_.commit().value));
      return;
    }
  }
  if (!commit_to(std::min(message.commit, last_new))) return;
  answer.index = last_new;
  send(std::move(answer));
}

void Raft::handle_heartbeat(const Message& message) {
  if (!commit_to(message.commit)) return;
  Message answer;
  answer.kind = MessageKind::kHeartbeatResponse;
  answer.to = message.from;
  answer.round = message.round;
  answer.disk = disk_times_;
  send(std::move(answer));
}

void Raft::handle_snapshot(const Message& message) {
  const bool restored = restore_snapshot(*message.snapshot);
  if (stopped_) return;
  Message answer;
  answer.kind = MessageKind::kAppendResponse;
  answer.to = message.from;
  answer.index = restored ? log_.last_index() : log_.commit();
  send(std::move(answer));
}

/// @return false if the snapshot brings nothing that the log does not have.
bool Raft::restore_snapshot(const SnapshotMeta& snapshot) {
  if (snapshot.index <= log_.commit()) return false;
  auto configuration = restore(snapshot.conf, config_.inflight_appends_max, snapshot.index);
  // A snapshot without this node in it comes from a leader that removed it meanwhile; a broken one from nobody sane.
  if (!configuration || !configuration->progress.contains(config_.id)) return false;
  if (log_.matches(snapshot.index, snapshot.term)) {
    commit_to(snapshot.index);
    return false;
  }
  persists_.truncate(Index{});
  log_.restore(snapshot.index, snapshot.term);
  tracker_.set(std::move(configuration->members), std::move(configuration->progress));
  conf_changed_ = true;
  restored_ = snapshot;
  return true;
}

}  // namespace store::raft
