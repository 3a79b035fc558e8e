#include <algorithm>

#include "store/raft/wire.h"
#include "store/store_impl.h"

/// What a turn sends: own writes, reads and renewals; and what time brings.
namespace store {

// --- writes -------------------------------------------------------------------------------------------------------

void Store::Impl::flush_writes(TimePoint now) {
  if (writes.unsent().empty() || retry_at != TimePoint::max() || !raft->leader()) return;
  if (leads()) {
    propose_own(now);
  } else {
    forward_own(now);
  }
}

void Store::Impl::propose_own(TimePoint now) {
  const std::vector<std::uint64_t> seqs(writes.unsent().begin(), writes.unsent().end());
  std::size_t at = 0;
  while (at < seqs.size()) {
    raft::Propose proposal;
    std::size_t bytes = 0;
    const std::size_t from = at;
    for (; at < seqs.size() && (at == from || bytes < kForwardBytesMax); ++at) {
      proposal.entries.emplace_back(writes.find(seqs[at])->command);
      bytes += proposal.entries.back().size();
    }
    auto proposed = raft->step(std::move(proposal), now);
    if (!proposed) {
      // Too much is uncommitted, or leadership is being handed over: what never left may be told so at once.
      const bool full =
          proposed.error().code == raft::Errc::kUncommittedFull || proposed.error().code == raft::Errc::kLogFull;
      for (std::size_t i = from; full && i < seqs.size(); ++i)
        refuse_own(seqs[i], {Errc::kBusy, "the leader's log is ahead of its majority: ask again"});
      retry_at = now + kRetryAfter;
      return;
    }
    for (std::size_t i = from; i < at; ++i) writes.mark_sent(seqs[i], *writes.find(seqs[i]), now);
  }
}

void Store::Impl::forward_own(TimePoint now) {
  const std::vector<std::uint64_t> seqs(writes.unsent().begin(), writes.unsent().end());
  std::size_t at = 0;
  while (at < seqs.size()) {
    ForwardFrame frame;
    std::size_t bytes = 0;
    for (; at < seqs.size() && frame.commands.size() < kForwardCommandsMax; ++at) {
      Writes::Write& write = *writes.find(seqs[at]);
      if (!frame.commands.empty() && bytes + write.command.size() > kForwardBytesMax) break;
      bytes += write.command.size();
      frame.commands.push_back(write.command);
      writes.mark_sent(seqs[at], write, now);
    }
    counters.writes_forwarded += frame.commands.size();
    send(raft->leader(), frame);
  }
}

// A refusal is final only if no copy of the write can be anywhere.
void Store::Impl::refuse_own(std::uint64_t seq, Error error) {
  const Writes::Write* write = writes.find(seq);
  if (write == nullptr || write->copies > 0 || !write->request) return;
  const RequestNo request = *writes.take(seq)->request;
  reply(request, tl::unexpected<Error>(std::move(error)));
}

bool Store::Impl::propose_internal(const kv::CommandBody& body, TimePoint now) {
  if (space == disk::Space::kFull) return false;
  const kv::RequestId id{kv::NodeId{config.id.value}, writes.next_seq()};
  raft::Propose proposal;
  proposal.entries.emplace_back(kv::encode({id, body}));
  return raft->step(std::move(proposal), now).has_value();
}

// --- reads --------------------------------------------------------------------------------------------------------

void Store::Impl::flush_reads(TimePoint now) {
  if (!raft->leader() || retry_at != TimePoint::max()) return;
  ask_raft(raft::ReadMode::kLease, now);
  ask_raft(raft::ReadMode::kQuorum, now);
}

void Store::Impl::ask_raft(raft::ReadMode mode, TimePoint now) {
  const auto context = reads.ask(mode, now);
  if (!context) return;
  if (raft->step(raft::ReadIndex{*context, mode}, now)) return;
  reads.on_dropped(*context);
  retry_at = now + kRetryAfter;
}

void Store::Impl::serve_reads() {
  for (Reads::Read& read : reads.take_applied(machine.applied())) {
    if (read.renewal) {
      // The round proves that no later leader existed when the renewal arrived; the applied index, that every
      // expire of an earlier leader is known here.
      // The same holds for a session under the read lease: no later leader can have taken office before it ends, and
      // one that does grants a full fresh TTL.
      const RenewalCheck& check = *read.renewal;
      const bool current = check.session.is_none() ? keeper.renewable(check.service, check.epoch)
                                                   : session_keeper.renewable(check.session) ||
                                                         session_without_ttl(check.session);
      answer_renewal(*read.renewal, current ? RenewVerdict::kRenewed : RenewVerdict::kStaleEpoch);
    } else {
      reply(*read.request, Readable{machine.applied(), true, Duration{}});
    }
  }
}

bool Store::Impl::session_without_ttl(const kv::SessionId& id) const {
  const kv::Session* session = machine.sessions().find(id);
  return session != nullptr && session->ttl_ms == 0;
}

// --- renewals -----------------------------------------------------------------------------------------------------

void Store::Impl::flush_renewals(TimePoint now) {
  if (!raft->leader() || retry_at != TimePoint::max()) return;
  std::vector<std::uint64_t> tokens;
  for (const auto& [token, renewal] : renewals) {
    if (renewal.unsent) tokens.push_back(token);
  }
  for (const std::uint64_t token : tokens) {
    OwnRenewal& renewal = renewals.at(token);
    renewal.unsent = false;
    renewal.sent_at = now;
    if (leads()) {
      check_renewal({config.id, token, renewal.service, renewal.epoch, renewal.session}, renewal.deadline, now);
    } else if (!renewal.session.is_none()) {
      send(raft->leader(), SessionRenewFrame{token, renewal.session});
    } else {
      send(raft->leader(), RenewFrame{token, renewal.service, renewal.epoch});
    }
  }
}

void Store::Impl::check_renewal(RenewalCheck check, TimePoint deadline, TimePoint now) {
  if (!leads() || !keeper.in_office() || reads.full()) return answer_renewal(check, RenewVerdict::kNotLeader);
  Reads::Read read;
  if (check.session.is_none()) {
    keeper.on_renewal(check.service, check.epoch, now);
    read.mode = raft::ReadMode::kQuorum;
  } else {
    session_keeper.on_renewal(check.session, now);
    read.mode = raft::ReadMode::kLease;
  }
  read.renewal = std::move(check);
  read.deadline = deadline;
  reads.add(std::move(read));
}

void Store::Impl::answer_renewal(const RenewalCheck& check, RenewVerdict verdict) {
  if (check.from == config.id) return finish_renewal(check.token, verdict);
  send(check.from, RenewAnswerFrame{check.token, verdict});
}

void Store::Impl::finish_renewal(std::uint64_t token, RenewVerdict verdict) {
  const auto found = renewals.find(token);
  if (found == renewals.end()) return;
  switch (verdict) {
    case RenewVerdict::kRenewed:
      reply(found->second.request, Renewed{});
      break;
    case RenewVerdict::kStaleEpoch:
      reply(found->second.request,
            found->second.session.is_none()
                ? fail(Errc::kStaleEpoch, "the epoch is over, or its end is being decided")
                : fail(Errc::kNotFound, "no such session, or its end is being decided"));
      break;
    case RenewVerdict::kNotLeader:
      return;  // sent again when a leader is known, or after resend_after
  }
  renewals.erase(found);
}

// --- time ---------------------------------------------------------------------------------------------------------

void Store::Impl::tick(TimePoint now) {
  raft->tick(now);
  if (retry_at <= now) retry_at = TimePoint::max();
  if (cluster.is_none()) {
    founding.tick(chance, now);
    take_founding_actions(now);
  }
  tick_keepers(now);
  watch_disk(now);
  if (leads() && observe_at <= now) observe_members(now);
  for (const SnapshotSender::Ended& ended : sender.tick(now)) end_transfer(ended, now);
  resend(now);
  expire_requests(now);
}

void Store::Impl::tick_keepers(TimePoint now) {
  if (!leads() || !raft->own_term_committed()) return;  // what an earlier leader decided must be known first
  for (const kv::CommandBody& command : keeper.due(now)) {
    if (propose_internal(command, now)) {
      ++counters.expires;
    } else {
      keeper.not_proposed(command, now + kRetryAfter);
    }
  }
  for (const kv::CommandBody& command : session_keeper.due(now)) {
    if (propose_internal(command, now)) {
      ++counters.expires;
    } else {
      session_keeper.not_proposed(command, now + kRetryAfter);
    }
  }
}

// One sweep per call: at one a second that is more than orders can come for long. Clocks that differ by less than the slack matter
// for nothing; by how much they differ beyond is left to the steady clock.
void Store::Impl::on_wall_clock(std::uint64_t wall_ms, TimePoint now) {
  constexpr auto kSlack = static_cast<std::uint64_t>(kOrderClockSlack.count());
  if (wall_ms < kSlack || wall_ms > kv::kOrderTimeMsMax) return;
  order_age.on_wall_clock(wall_ms, now);
  const auto due = machine.orders().next_due_ms();
  const auto by_stamps = order_age.now_ms(now);
  if (!leads() || !raft->own_term_committed() || !due || !by_stamps) return;
  const std::uint64_t before = std::min(wall_ms - kSlack, *by_stamps);
  if (*due <= before) static_cast<void>(propose_internal(kv::OrderSweep{before}, now));
}

void Store::Impl::resend(TimePoint now) {
  const TimePoint before = now - config.resend_after;
  counters.writes_resent += writes.resend_before(before);
  reads.ask_again_before(before);
  for (auto& [token, renewal] : renewals) {
    if (!renewal.unsent && renewal.sent_at <= before) renewal.unsent = true;
  }
}

void Store::Impl::expire_requests(TimePoint now) {
  expire_operations(now);
  for (const std::uint64_t seq : writes.expired(now)) {
    const auto write = writes.take(seq);
    if (write->request) reply(*write->request, tl::unexpected<Error>(late_error(write->copies > 0, now)));
  }
  for (const Reads::Read& read : reads.take_expired(now)) {
    if (read.renewal) {
      answer_renewal(*read.renewal, RenewVerdict::kNotLeader);
    } else {
      reply(*read.request, tl::unexpected<Error>(late_error(false, now)));
    }
  }
  for (auto it = renewals.begin(); it != renewals.end();) {
    const bool late = it->second.deadline <= now;
    if (late) reply(it->second.request, tl::unexpected<Error>(late_error(false, now)));
    it = late ? renewals.erase(it) : std::next(it);
  }
}

// What never left this agent did not happen; what did may still come true.
Error Store::Impl::late_error(bool sent, TimePoint now) const {
  if (!sent && durable_cluster.is_none()) return {Errc::kNoLeader, "this agent belongs to no cluster yet"};
  if (!sent) {
    return raft->leader() ? Error{Errc::kTimeout, "no answer in time"} : Error{Errc::kNoLeader, missing_text(now)};
  }
  if (raft->leader() && !leads()) return {Errc::kTimeout, "no answer in time: the outcome is unknown"};
  return {Errc::kNoQuorum, missing_text(now) + ": the outcome is unknown"};
}

raft::TimePoint Store::Impl::next_deadline() const {
  TimePoint due = std::min({hang_due(), raft->next_deadline(), writes.next_deadline(), reads.next_deadline(),
                            sender.next_deadline(), observe_at, retry_at});
  if (cluster.is_none()) due = std::min(due, founding.next_deadline());
  // Nothing is due before office is confirmed by an entry; applying that entry wakes this core anyway.
  if (leads() && raft->own_term_committed()) due = std::min({due, keeper.next_deadline(), session_keeper.next_deadline()});
  const auto later = [this](TimePoint sent) { return sent == TimePoint::max() ? sent : sent + config.resend_after; };
  due = std::min({due, later(writes.oldest_sent()), later(reads.oldest_asked())});
  for (const auto& [token, asked] : operations) due = std::min(due, asked.deadline);
  for (const auto& [token, renewal] : renewals) {
    due = std::min(due, renewal.deadline);
    if (!renewal.unsent) due = std::min(due, renewal.sent_at + config.resend_after);
  }
  return due;
}

}  // namespace store
