// Linearizable reads of the Raft core without writing to the log (thesis 6.4).
#include <algorithm>

#include "store/raft/raft.h"

namespace store::raft {

bool Raft::own_term_committed() const {
  if (role_ != Role::kLeader) return false;
  const auto term = log_.term(log_.commit());
  return term && *term == term_;
}

/// A quorum followed this leader when it answered a round sent at confirmed_at; each of them gives no vote to anybody
/// for election_timeout_min after it received that round (hears_leader). So no other leader can exist before
/// confirmed_at + election_timeout_min, less what clocks may differ (6.4.2). A TimeoutNow overrules the promise.
bool Raft::lease_valid(TimePoint now) const {
  if (!own_term_committed() || !config_.check_quorum || lease_given_away_) return false;
  if (tracker_.members().voters == VoterSet{config_.id} && !tracker_.members().joint()) return true;
  const auto confirmed = reads_.confirmed_at();
  return confirmed && now < *confirmed + config_.election_timeout_min - config_.lease_margin;
}

Result<void> Raft::step(const ReadIndex& event, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (reads_.size() + forwarded_reads_.size() >= config_.reads_max) return fail(Errc::kReadsFull);
  if (role_ == Role::kLeader) {
    take_read(config_.id, event.context, event.mode);
    return {};
  }
  if (!leader_) return fail(Errc::kNotLeader, "0");
  forwarded_reads_.insert(event.context);
  Message ask;
  ask.kind = MessageKind::kReadIndex;
  ask.to = leader_;
  ask.read_context = event.context;
  ask.read_mode = event.mode;
  send(std::move(ask));
  return {};
}

void Raft::take_read(NodeId from, std::uint64_t context, ReadMode mode) {
  if (!own_term_committed()) {
    reads_.hold(from, context);
    return;
  }
  const bool alone = tracker_.members().voters == VoterSet{config_.id} && !tracker_.members().joint();
  if (alone || (mode == ReadMode::kLease && lease_valid(now_))) {
    answer_read(from, context, log_.commit());
    return;
  }
  reads_.add(from, context, log_.commit());
}

void Raft::answer_read(NodeId from, std::uint64_t context, Index index) {
  if (from == config_.id) {
    read_states_.push_back({context, index});
    return;
  }
  Message answer;
  answer.kind = MessageKind::kReadIndexResponse;
  answer.to = from;
  answer.read_context = context;
  answer.index = index;
  send(std::move(answer));
}

void Raft::confirm_rounds() {
  for (const Reads::Waiting& read : reads_.confirm(tracker_.confirmed_round(config_.id))) {
    answer_read(read.from, read.context, read.index);
  }
}

void Raft::drop_reads() {
  for (const Reads::Waiting& read : reads_.drop_all()) {
    if (read.from == config_.id) read_states_.push_back({read.context, std::nullopt});
  }
  for (std::uint64_t context : forwarded_reads_) read_states_.push_back({context, std::nullopt});
  forwarded_reads_.clear();
}

}  // namespace store::raft
