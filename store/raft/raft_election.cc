// Elections of the Raft core: time-outs, PreVote, votes, taking office (thesis 3.4, 3.6, 6.2, 9.6, 3.10).
#include <algorithm>

#include "store/raft/raft.h"

namespace store::raft {

/// May this node stand for election? Not as a learner, not outside of the configuration, and not while a received
/// snapshot waits for the disk.
bool Raft::promotable() const {
  const bool installing = log_.durable() < log_.first_index().previous();
  return voter() && !learner() && !installing;
}

/// Is a committed configuration change not applied yet? Then this node would count votes in an old configuration.
bool Raft::conf_change_unapplied() const {
  for (Index i = log_.applied().next(); i <= log_.commit(); i = i.next()) {
    if (log_.at(i).kind == EntryKind::kConfChange) return true;
  }
  return false;
}

/// A promise to the leader heard last, or a leader's own view of itself.
bool Raft::hears_leader() const {
  if (!config_.check_quorum) return false;
  return role_ == Role::kLeader || now_ < promise_until_;
}

Result<void> Raft::step(const Campaign&, TimePoint now) {
  if (auto ok = enter(now); !ok) return ok;
  if (role_ == Role::kLeader) return {};
  if (!promotable() || conf_change_unapplied()) return fail(Errc::kNotPromotable);
  hup(config_.pre_vote ? CampaignKind::kPreVote : CampaignKind::kElection);
  return {};
}

void Raft::hup(CampaignKind kind) {
  if (role_ == Role::kLeader || !promotable() || conf_change_unapplied()) return;
  campaign(kind);
}

void Raft::become_pre_candidate() {
  // Neither term nor vote change: that is the point of asking first.
  tracker_.reset_votes();
  for (std::uint64_t context : forwarded_reads_) read_states_.push_back({context, std::nullopt});
  forwarded_reads_.clear();
  leader_ = kNobody;
  promise_until_ = now_;
  role_ = Role::kPreCandidate;
  // Others may not have noticed the death yet when they are asked first.
  if (now_ < refused_until_) campaign_at_ = now_ + config_.heartbeat_interval;
}

void Raft::become_candidate() {
  reset(term_.next());
  vote_ = config_.id;
  vote_uncounted_ = true;
  promise_until_ = now_;
  role_ = Role::kCandidate;
}

void Raft::campaign(CampaignKind kind) {
  Message request;
  if (kind == CampaignKind::kPreVote) {
    become_pre_candidate();
    request.kind = MessageKind::kPreVote;
    request.term = term_.next();
  } else {
    become_candidate();
    request.kind = MessageKind::kVote;
    request.term = term_;
  }
  request.index = log_.last_index();
  request.log_term = log_.last_term();
  request.forced = kind == CampaignKind::kTransfer;
  VoterSet voters = tracker_.members().voters;
  voters.insert(tracker_.members().outgoing.begin(), tracker_.members().outgoing.end());
  voters.erase(config_.id);
  for (NodeId id : voters) {
    request.to = id;
    send(request);
  }
  // The own pre-vote promises nothing; the own vote counts when the disk holds it (step(Persisted)).
  if (kind == CampaignKind::kPreVote) poll(config_.id, true);
}

void Raft::become_leader() {
  reset(term_);
  leader_ = config_.id;
  role_ = Role::kLeader;
  reads_ = Reads();
  leader_since_ = now_;
  heartbeat_due_ = now_ + config_.heartbeat_interval;
  if (Progress* own = tracker_.find(config_.id)) {
    own->become_replicate();
    own->recent_active = true;
  }
  // There may be a configuration change among the entries that are not committed: none is taken before they are
  // applied. The one of the own term that must be committed first is the next (4.1, 6.4).
  pending_conf_ = log_.last_index();
  for (Index i = log_.commit().next(); i <= log_.last_index(); i = i.next()) {
    uncommitted_bytes_ += log_.at(i).data.size();
  }
  append_own({Entry{}});
}

void Raft::handle_vote_request(const Message& message) {
  const bool pre = message.kind == MessageKind::kPreVote;
  const bool free = vote_ == message.from || (!vote_ && !leader_) || (pre && message.term > term_);
  Message answer;
  answer.kind = pre ? MessageKind::kPreVoteResponse : MessageKind::kVoteResponse;
  answer.to = message.from;
  // Whether this node believes to be a voter is of no matter: the candidate may know a later configuration (4.2.2).
  if (free && log_.up_to_date(message.index, message.log_term)) {
    answer.term = message.term;  // for a pre-vote that is the term asked about
    send(std::move(answer));
    if (!pre) {
      vote_ = message.from;
      restart_election_timer();
    }
    return;
  }
  answer.term = term_;
  answer.reject = true;
  if (config_.commit_in_refusals) {
    answer.index = log_.commit();
    answer.log_term = log_.term(log_.commit()).value_or(Term{});
  }
  send(std::move(answer));
}

/// Committed is committed, whoever says so and in whatever term: if the own log has that very entry, all before it is
/// the same (3.5).
void Raft::learn_commit(const Message& answer) {
  const bool refusal = answer.reject && (answer.kind == MessageKind::kVoteResponse ||
                                         answer.kind == MessageKind::kPreVoteResponse);
  if (!refusal || !config_.commit_in_refusals || role_ == Role::kLeader) return;
  if (answer.index > log_.commit() && log_.matches(answer.index, answer.log_term)) commit_to(answer.index);
}

void Raft::handle_vote_response(const Message& message) {
  const MessageKind awaited =
      role_ == Role::kPreCandidate ? MessageKind::kPreVoteResponse : MessageKind::kVoteResponse;
  if (message.kind == awaited) poll(message.from, !message.reject);
}

void Raft::poll(NodeId from, bool granted) {
  tracker_.record_vote(from, granted);
  switch (tracker_.tally()) {
    case VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        campaign(CampaignKind::kElection);
      } else {
        become_leader();
        broadcast_append();
      }
      break;
    case VoteResult::kLost: become_follower(term_, kNobody); break;
    case VoteResult::kPending: break;
  }
}

}  // namespace store::raft
