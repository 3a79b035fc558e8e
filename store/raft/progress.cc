#include "store/raft/progress.h"

#include <algorithm>

namespace store::raft {

const char* to_string(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe: return "StateProbe";
    case ProgressState::kReplicate: return "StateReplicate";
    case ProgressState::kSnapshot: return "StateSnapshot";
  }
  return "?";
}

void Progress::reset(ProgressState state) {
  flow_paused = false;
  pending_snapshot_ = Index{};
  state_ = state;
  inflights_.reset();
}

void Progress::become_probe() {
  // After a snapshot that was delivered, the first probe goes behind it.
  const Index behind = state_ == ProgressState::kSnapshot ? pending_snapshot_.next() : Index{};
  reset(ProgressState::kProbe);
  next_ = std::max(match_.next(), behind);
  sent_commit_ = std::min(sent_commit_, next_.previous());
}

void Progress::become_replicate() {
  reset(ProgressState::kReplicate);
  next_ = match_.next();
}

void Progress::become_snapshot(Index snapshot) {
  reset(ProgressState::kSnapshot);
  pending_snapshot_ = snapshot;
  next_ = snapshot.next();
  sent_commit_ = snapshot;
}

bool Progress::maybe_update(Index index) {
  if (index <= match_) return false;
  match_ = index;
  next_ = std::max(next_, index.next());
  flow_paused = false;
  return true;
}

bool Progress::maybe_decrease(Index rejected, Index hint) {
  if (state_ == ProgressState::kReplicate) {
    // With appends pipelined, a refusal at or below what matched was sent before that match.
    if (rejected <= match_) return false;
    next_ = match_.next();
    sent_commit_ = std::min(sent_commit_, next_.previous());
    return true;
  }
  // One probe is out at most: only its own refusal counts.
  if (next_.previous() != rejected) return false;
  next_ = std::max(std::min(rejected, hint.next()), match_.next());
  sent_commit_ = std::min(sent_commit_, next_.previous());
  flow_paused = false;
  return true;
}

void Progress::sent_entries(std::size_t count) {
  if (state_ == ProgressState::kReplicate) {
    if (count > 0) {
      next_ = next_.plus(count);
      inflights_.add(next_.previous());
    }
    // An append into a full window counts as a probe: nothing more until something comes back.
    flow_paused = inflights_.full();
  } else if (state_ == ProgressState::kProbe && count > 0) {
    flow_paused = true;
  }
}

bool Progress::can_bump_commit(Index commit) const {
  return commit > sent_commit_ && sent_commit_ < next_.previous();
}

bool Progress::paused() const { return state_ == ProgressState::kSnapshot || flow_paused; }

std::string Progress::describe() const {
  std::string text = to_string(state_);
  text += " match=" + std::to_string(match_.value) + " next=" + std::to_string(next_.value);
  if (learner) text += " learner";
  if (paused()) text += " paused";
  if (pending_snapshot_.value > 0) text += " pendingSnap=" + std::to_string(pending_snapshot_.value);
  if (!recent_active) text += " inactive";
  if (inflights_.size() > 0) {
    text += " inflight=" + std::to_string(inflights_.size());
    if (inflights_.full()) text += "[full]";
  }
  return text;
}

}  // namespace store::raft
