// What the Raft core wants done: the disk batch, the messages, the entries to apply.
#include <algorithm>

#include "store/raft/raft.h"

namespace store::raft {

/// Last index that may be handed out for applying.
Index Raft::appliable() const {
  return std::min(log_.commit(), config_.apply_before_persist ? log_.handed() : log_.durable());
}

bool Raft::persist_wanted() const {
  if (persists_.full()) return false;
  return restored_ || log_.handed() < log_.last_index() || reported_hard_.term != term_ ||
         reported_hard_.vote != vote_;
}

bool Raft::committed_wanted() const {
  const Index limit = config_.apply_before_persist && !persists_.full() ? log_.commit() : appliable();
  return limit > log_.applied();
}

bool Raft::flush_wanted() const {
  if (role_ != Role::kLeader) return false;
  return appends_wanted_ || commit_news_ || (reads_.round_wanted() && reads_.rounds_open() < 2);
}

bool Raft::has_output() const {
  if (stopped_) return fatal_.has_value();
  return flush_wanted() || persist_wanted() || committed_wanted() || !messages_.empty() || !read_states_.empty() ||
         !snapshot_requests_.empty() || (!messages_after_.empty() && !persists_.full()) || conf_changed_ ||
         reported_soft_ != SoftState{leader_, role_} || (reported_hard_ != hard_state() && !persists_.full());
}

Output Raft::take_output() {
  Output output;
  if (!stopped_) {
    if (role_ == Role::kLeader) flush_appends();
    const SoftState soft{leader_, role_};
    if (soft != reported_soft_) output.soft_state = reported_soft_ = soft;
    collect_persist(output);
    output.messages = std::exchange(messages_, {});
    output.reads = std::exchange(read_states_, {});
    output.snapshot_requests = std::exchange(snapshot_requests_, {});
    collect_committed(output);
    output.conf_changed = std::exchange(conf_changed_, false);
  }
  if (fatal_) {
    output = Output();
    output.fatal = std::exchange(fatal_, std::nullopt);
  }
  return output;
}

void Raft::collect_persist(Output& output) {
  if (persists_.full()) return;  // also holds back messages_after_: they speak of state that is not handed out
  if (persist_wanted()) {
    if (log_.handed() < log_.last_index()) {
      auto entries = log_.slice(log_.handed().next(), log_.last_index(), SIZE_MAX);
      if (!entries) {
        stop("entries that are not on the disk stay in the log window", entries.error().detail);
        return;
      }
      output.entries = std::move(*entries);
      log_.handed_to(log_.last_index());
    }
    output.snapshot = std::exchange(restored_, std::nullopt);
    // Always along: an entry that changes the members may only be durable together with the commit index that was known
    // when it came, or a restart could stand for election two configurations ago (4.1).
    output.hard_state = reported_hard_ = hard_state();
    output.last = log_.last_index();
    output.last_term = log_.last_term();
    output.seq = persists_.begin(output.last, output.last_term);
    if (vote_uncounted_ && !vote_seq_) vote_seq_ = output.seq;
  }
  if (const HardState hard = hard_state(); hard != reported_hard_) output.hard_state = reported_hard_ = hard;
  if (persists_.idle()) {
    messages_.insert(messages_.end(), std::make_move_iterator(messages_after_.begin()),
                     std::make_move_iterator(messages_after_.end()));
  } else {
    output.messages_after = std::move(messages_after_);
    output.after_seq = persists_.newest();
  }
  messages_after_.clear();
}

void Raft::collect_committed(Output& output) {
  const Index limit = appliable();
  if (limit <= log_.applied()) return;
  auto entries = log_.slice(log_.applied().next(), limit, config_.committed_bytes_max);
  if (!entries) {
    stop("committed entries stay in the log window until they are applied", entries.error().detail);
    return;
  }
  output.committed = std::move(*entries);
  log_.applied_to(output.committed.back().index);
  for (const Entry& entry : output.committed) {
    if (entry.kind == EntryKind::kConfChange) apply_conf_change(entry);
    if (stopped_) return;
  }
  maybe_leave_joint();
  if (stand_when_applied_ && !conf_change_unapplied()) {
    stand_when_applied_ = false;
    hup(CampaignKind::kTransfer);
  }
}

}  // namespace store::raft
