#include <algorithm>

#include "store/store_impl.h"

/// Frames from and to peers.
namespace store {
namespace {

bool about_founding(const FrameBody& body) {
  return std::holds_alternative<GrantAskFrame>(body) || std::holds_alternative<GrantAnswerFrame>(body) ||
         std::holds_alternative<GrantWithdrawFrame>(body);
}

constexpr Milliseconds kRenewalPatience{2'000};  // a peer's renewal waits no longer for its round

}  // namespace

// An expire above all: one that outlived its leader must not come back as a forwarded command, since the next leader
// has granted a fresh period meanwhile.
bool leaders_own(const kv::CommandBody& body) {
  return std::holds_alternative<kv::LeaseExpire>(body) || std::holds_alternative<kv::LeaseOpen>(body) ||
         std::holds_alternative<kv::SessionExpire>(body) || std::holds_alternative<kv::LockDelayEnd>(body) ||
         std::holds_alternative<kv::MemberSet>(body) || std::holds_alternative<kv::MemberRemove>(body) ||
         std::holds_alternative<kv::ClusterSet>(body) || std::holds_alternative<kv::OrderSweep>(body);
}

// Bounded by the orders under way, by leases and by what people do; a long answer comes again without its bytes.
bool needed_when_low(const kv::CommandBody& body) {
  const auto is_short = [](const kv::OrderAnswer& answer) { return answer.headers.size() + answer.body.size() <= kAnswerBytesMaxWhenLow; };
  if (const auto* outcome = std::get_if<kv::OrderOutcome>(&body)) return is_short(outcome->answer);
  if (const auto* verdict = std::get_if<kv::OrderResolve>(&body)) return is_short(verdict->answer);
  return std::holds_alternative<kv::LeaseAcquire>(body) || std::holds_alternative<kv::LeaseRelease>(body) ||
         std::holds_alternative<kv::SessionDestroy>(body) || std::holds_alternative<kv::HaltMerge>(body) ||
         std::holds_alternative<kv::HaltLift>(body);
}

bool Store::Impl::has_room_for(const kv::CommandBody& body) const {
  return space == disk::Space::kPlenty || (space == disk::Space::kLow && needed_when_low(body));
}

void Store::Impl::send(NodeId to, const FrameBody& body, bool urgent) {
  output.frames.push_back({to, encode_frame(cluster, body), urgent});
}

void Store::Impl::send(std::vector<raft::Message> messages) {
  for (raft::Message& message : messages) {
    const NodeId to = message.to;
    send(to, RaftFrame{std::move(message)});
  }
}

void Store::Impl::on_frame(NodeId from, std::string_view bytes, TimePoint now) {
  auto frame = decode_frame(bytes);
  if (!frame || !from || from == config.id) {
    ++counters.frames_malformed;
    return;
  }
  if (!admit(from, *frame, now)) return;
  std::visit([&](auto& body) { handle(from, body, now); }, frame->body);
}

bool Store::Impl::admit(NodeId from, const Frame& frame, TimePoint now) {
  if (about_founding(frame.body)) return true;
  if (frame.cluster.is_none()) {  // a node without a cluster has nothing else to say
    ++counters.frames_refused;
    return false;
  }
  if (cluster.is_none()) {
    if (const auto grant = founding.founded_by_others(frame.cluster)) {
      found(*grant, now);
    } else if (std::holds_alternative<RaftFrame>(frame.body) || std::holds_alternative<ChunkFrame>(frame.body)) {
      const bool free = founding.may_join_other();
      take_founding_actions(now);
      if (free) join(frame.cluster);
    }
  }
  if (cluster != frame.cluster && !cluster.is_none()) {
    ++counters.frames_foreign;
    if (foreign_told.size() < kForeignMax && foreign_told.insert(from).second)
      output.events.emplace_back(ForeignPeer{from, frame.cluster, cluster});
    return false;
  }
  // Between the founding's batch and its arrival on disk there is no core to step: the peer repeats itself.
  if (cluster.is_none() || founding_as) {
    ++counters.frames_refused;
    return false;
  }
  return true;
}

void Store::Impl::handle(NodeId from, RaftFrame& frame, TimePoint now) {
  if (frame.message.from != from || frame.message.kind == raft::MessageKind::kSnapshot) {
    ++counters.frames_malformed;  // snapshots come as chunks only: their message needs its payload here
    return;
  }
  if (has_room_for(frame.message) && !raft->step(std::move(frame.message), now)) ++counters.frames_refused;
  if (from == raft->leader()) leader_heard_at = now;
}

void Store::Impl::handle(NodeId from, ForwardFrame& frame, TimePoint now) {
  RefuseFrame refused, no_room{Refusal::kDiskFull, {}};
  raft::Propose proposal;
  std::vector<std::uint64_t> seqs;
  for (std::string& bytes : frame.commands) {
    const auto command = kv::decode_command(bytes);
    if (!command || kv::value(command->request.origin) != from.value || leaders_own(command->body)) {
      ++counters.frames_malformed;
      if (command) refused.seqs.push_back(command->request.seq);
      continue;
    }
    if (!has_room_for(command->body)) {
      no_room.seqs.push_back(command->request.seq);
      continue;
    }
    seqs.push_back(command->request.seq);
    proposal.entries.emplace_back(std::move(bytes));
  }
  if (!refused.seqs.empty()) {
    refused.why = Refusal::kInvalid;
    send(from, refused);
  }
  counters.writes_refused_disk_full += no_room.seqs.size();
  if (!no_room.seqs.empty()) send(from, no_room);
  if (seqs.empty()) return;
  auto proposed = raft->step(std::move(proposal), now);
  if (proposed) return;
  const bool full =
      proposed.error().code == raft::Errc::kUncommittedFull || proposed.error().code == raft::Errc::kLogFull;
  send(from, RefuseFrame{full ? Refusal::kBusy : Refusal::kNotLeader, std::move(seqs)});
}

void Store::Impl::handle(NodeId, RefuseFrame& frame, TimePoint now) {
  for (const std::uint64_t seq : frame.seqs) {
    Writes::Write* write = writes.find(seq);
    if (write == nullptr || write->copies == 0) continue;
    --write->copies;  // another copy may still be in some log: then only time or its outcome ends the write
    writes.mark_unsent(seq, *write);
    if (frame.why == Refusal::kBusy) refuse_own(seq, {Errc::kBusy, "the leader is ahead of its majority: ask again"});
    if (frame.why == Refusal::kDiskFull) refuse_own(seq, {Errc::kDiskFull, "the disk of the leader is nearly full"});
    if (frame.why == Refusal::kInvalid) refuse_own(seq, {Errc::kBadRequest, "the leader does not know this command"});
  }
  retry_at = std::min(retry_at, now + kRetryAfter);
}

void Store::Impl::handle(NodeId from, RenewFrame& frame, TimePoint now) {
  check_renewal({from, frame.token, std::move(frame.service), frame.epoch, {}}, now + kRenewalPatience, now);
}

void Store::Impl::handle(NodeId from, SessionRenewFrame& frame, TimePoint now) {
  check_renewal({from, frame.token, {}, {}, frame.session}, now + kRenewalPatience, now);
}

void Store::Impl::handle(NodeId, RenewAnswerFrame& frame, TimePoint) { finish_renewal(frame.token, frame.verdict); }

void Store::Impl::handle(NodeId from, GrantAskFrame& frame, TimePoint now) {
  if (!cluster.is_none()) {
    return send(from, GrantAnswerFrame{frame.grant.id, GrantVerdict::kFounded, {}, cluster});
  }
  founding.on_ask(from, frame.grant);
  take_founding_actions(now);
}

void Store::Impl::handle(NodeId from, GrantAnswerFrame& frame, TimePoint now) {
  if (cluster.is_none()) {
    founding.on_answer(from, frame);
    take_founding_actions(now);
  } else if (frame.verdict == GrantVerdict::kGranted && frame.asked != cluster) {
    send(from, GrantWithdrawFrame{frame.asked});  // that founding never came about
  }
}

void Store::Impl::handle(NodeId from, GrantWithdrawFrame& frame, TimePoint now) {
  if (!cluster.is_none()) return;
  founding.on_withdraw(from, frame.id);
  take_founding_actions(now);
}

void Store::Impl::handle(NodeId from, ChunkFrame& frame, TimePoint now) {
  if (from == raft->leader()) leader_heard_at = now;
  on_chunk(from, std::move(frame), now);
}

void Store::Impl::handle(NodeId from, ChunkAckFrame& frame, TimePoint now) {
  if (const auto ended = sender.on_ack(from, frame, now)) end_transfer(*ended, now);
}

void Store::Impl::on_connected(NodeId peer, TimePoint now) {
  if (sender.on_connected(peer, now)) ++counters.snapshots_resumed;
  static_cast<void>(raft->step(raft::PeerConnected{peer}, now));
  if (peer != raft->leader()) return;
  writes.resend_all();  // what was under way may have gone with the old connection
  for (auto& [token, renewal] : renewals) renewal.unsent = true;
}

void Store::Impl::on_lost(NodeId peer, TimePoint now) {
  static_cast<void>(raft->step(raft::ReportUnreachable{peer}, now));
}

}  // namespace store
