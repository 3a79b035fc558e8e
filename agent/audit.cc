#include "agent/audit.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "agent/io/clock.h"
#include "agent/io/crypto.h"

namespace agent {
namespace {

namespace kv = store::kv;

api::AuditHeadInfo head_of(const kv::AuditHead& head) { return {head.number, kv::hex(head.hash)}; }

template <class Bytes>
std::string hex_of(const Bytes& bytes) { return io::hex_encode(std::as_bytes(std::span(bytes))); }

api::AuditStatementInfo info_of(const AuditStatement& one) {
  return {one.number, api::Index{kv::value(one.index)}, one.time_ms, kv::hex(one.hash), hex_of(one.key), hex_of(one.signature)};
}

}  // namespace

io::Result<std::unique_ptr<AgentAudit>> AgentAudit::start(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts) {
  auto keeper = AuditKeeper::start(loop, store, std::move(parts));
  if (!keeper) return tl::make_unexpected(keeper.error());
  return std::unique_ptr<AgentAudit>(new AgentAudit(loop, store, std::move(*keeper)));
}

// --- for peers ----------------------------------------------------------------------------------------------------------

void AgentAudit::on_frame(store::NodeId from, std::string_view frame) {
  const auto word = decode_audit(frame);
  if (!word) return keeper_->on_malformed();
  if (const auto* head = std::get_if<AuditHeadWord>(&*word)) return keeper_->on_statement(from, head->statement, true);
  if (const auto* cosigned = std::get_if<AuditCosignWord>(&*word)) return keeper_->on_statement(from, cosigned->statement, false);
  if (const auto* look = std::get_if<AuditLookWord>(&*word)) return look_for(from, look->question);
  if (const auto* ask = std::get_if<AuditAskWord>(&*word)) {
    const AuditWalk::Walked last = walk_.last();
    if (!last) return answer(from, AuditRefusedWord{ask->question, "nothing was looked at"});
    return answer(from, AuditToldWord{ask->question, points_of(last->copy, ask->numbers)});
  }
  if (inquiry_) inquiry_->on_word(from, *word);
}

/// Each question has a look of its own that begins after it: the asker judges the copy by what was signed before it asked.
void AgentAudit::look_for(store::NodeId peer, std::uint64_t question) {
  std::set<std::uint64_t>& asked = looking_[peer];
  if (asked.size() >= kQuestionsMax) return answer(peer, AuditRefusedWord{question, "too many questions at a time"});
  if (!asked.insert(question).second) return;
  walk_.start([this, peer, question](const api::Result<AuditWalk::Walked>& walked) {
    if (const auto questions = looking_.find(peer); questions != looking_.end()) {
      questions->second.erase(question);
      if (questions->second.empty()) looking_.erase(questions);
    }
    if (!walked) return answer(peer, AuditRefusedWord{question, walked.error().detail});
    answer(peer, AuditLookedWord{question, (*walked)->applied, (*walked)->copy.ends(), (*walked)->entries, (*walked)->faults, statements_of((*walked)->kept)});
  });
}

void AgentAudit::on_lost(store::NodeId peer) {
  if (inquiry_) inquiry_->on_lost(peer);
}

// --- for the API --------------------------------------------------------------------------------------------------------

api::AuditPage AgentAudit::page(std::uint64_t after, std::size_t limit) const {
  const kv::AuditLog& audit = store_.core().state().audit();
  api::AuditPage out;
  for (auto& [entry, hash] : audit.page(after, limit)) {
    const auto proof = audit.proof(entry.number);
    out.entries.push_back({entry.number, api::Index{kv::value(entry.index)}, entry.time_ms, kv::to_string(entry.kind), entry.actor, entry.subject, entry.text,
                           kv::hex(proof ? proof->before : kv::Digest{}), proof ? hex_of(proof->bytes) : std::string(), kv::hex(hash)});
  }
  out.head = head_of(audit.head());
  out.pruned = head_of(audit.pruned());
  out.disputes = keeper_->witness() == nullptr ? 0 : keeper_->witness()->disputes();
  out.contradicted = keeper_->contradicted();
  return out;
}

std::vector<api::AuditSignerInfo> AgentAudit::witness() const {
  std::vector<api::AuditSignerInfo> out;
  const AuditWitness* witness = keeper_->witness();
  if (witness == nullptr) return out;
  for (const auto& [node, signer] : witness->signers()) {
    api::AuditSignerInfo info{keeper_->parts().name_of(node), node.value, witness->cluster().hex(), hex_of(signer.key), signer.key_changes, signer.disputed, {}, {}};
    for (const AuditStatement& one : signer.kept) info.kept.push_back(info_of(one));
    if (signer.dispute) info.dispute = info_of(*signer.dispute);
    out.push_back(std::move(info));
  }
  return out;
}

api::AuditVerdict AgentAudit::verdict_of(const AuditWalked& walked) const {
  api::AuditVerdict verdict{walked.entries, head_of(walked.copy.head()), head_of(walked.copy.pruned()), {}, {}};
  for (const kv::AuditFault& fault : walked.faults) verdict.faults.push_back({to_string(fault.kind), fault.number, fault.last, {}});
  for (const AuditContradiction& one : contradictions(walked.kept, walked.copy)) {
    const std::uint64_t first = one.fault.kind == kv::AuditFault::Kind::kDiffers ? one.agreed + 1 : one.fault.number;
    verdict.faults.push_back({to_string(one.fault.kind), first, one.fault.last,
                              keeper_->parts().name_of(one.by.signer) + " signed entry " + std::to_string(one.by.number) + " as " + kv::hex(one.by.hash) +
                                  " (" + std::to_string(one.signers) + " agent(s) said so), and this agent's witness file has kept it"});
  }
  return verdict;
}

void AgentAudit::verify(api::AuditScope scope, api::Completion<api::AuditVerdict> done) {
  if (scope == api::AuditScope::kPeers) {
    const AuditTurns::Joined joined = turns_.join(done);
    if (joined == AuditTurns::Joined::kBegins) begin_inquiry();
    if (joined == AuditTurns::Joined::kRefused)
      loop_.post([done = std::move(done)] { done(tl::make_unexpected(api::Error{api::Errc::kBusy, "many have all peers asked just now: ask again in a minute", {}})); });
    return;
  }
  walk_.start([this, done = std::move(done)](const api::Result<AuditWalk::Walked>& walked) {
    if (!walked) return done(tl::make_unexpected(walked.error()));
    api::AuditVerdict verdict = verdict_of(**walked);
    changes_found_ += verdict.faults.size();
    done(std::move(verdict));
  });
}

void AgentAudit::begin_inquiry() {
  walk_.start([this](const api::Result<AuditWalk::Walked>& walked) {
    if (!walked) return end_inquiry(tl::make_unexpected(walked.error()));
    ask_peers(*walked);
  });
}

void AgentAudit::ask_peers(const AuditWalk::Walked& own) {
  std::vector<store::NodeId> members;
  for (const store::ServerStatus& server : store_.core().status(io::boottime_now()).servers) members.push_back(server.id);
  if (std::find(members.begin(), members.end(), keeper_->parts().self) == members.end()) members.push_back(keeper_->parts().self);
  const auto finished = [this, own](api::AuditPeersVerdict peers) {
    api::AuditVerdict verdict = verdict_of(*own);
    changes_found_ += peers.findings.size();
    verdict.peers = std::move(peers);
    end_inquiry(std::move(verdict));
  };
  inquiry_ = std::make_unique<AuditInquiry>(loop_, ++inquiry_count_, *keeper_, std::move(members), own, finished);
}

void AgentAudit::end_inquiry(const api::Result<api::AuditVerdict>& verdict) {
  inquiry_.reset();
  const std::vector<AuditTurns::Done> asked = turns_.end();
  if (turns_.is_asking()) begin_inquiry();
  for (const AuditTurns::Done& done : asked) done(verdict);
}

}  // namespace agent
