#pragma once
/// The audit of this agent: what the API and the peers are told of the replicated chain, and what was signed about it.
/// Source:    decisions 0072 and 0075.
/// Ownership: of the agent; the store outlives it. Thread: the control loop.
/// Bounds:    one inquiry at a time (AuditTurns); kQuestionsMax looks that a peer waits for.

#include <list>
#include <map>
#include <memory>

#include "agent/api/audit_backend.h"
#include "agent/audit_inquiry.h"
#include "agent/audit_keeper.h"
#include "agent/audit_turns.h"
#include "agent/audit_walk.h"
#include "agent/metrics_families.h"

namespace agent {

class AgentAudit final : public api::AuditBackend {
 public:
  static constexpr std::size_t kQuestionsMax = 4;

  /// Errors: those of AuditKeeper::start.
  static io::Result<std::unique_ptr<AgentAudit>> start(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts);

  // From the mesh.
  void on_frame(store::NodeId from, std::string_view frame);
  void on_connected(store::NodeId peer) { keeper_->on_connected(peer); }
  void on_lost(store::NodeId peer);

  [[nodiscard]] const AuditKeeper& keeper() const { return *keeper_; }
  [[nodiscard]] std::uint64_t changes_found() const { return changes_found_; }  ///< by verify, here and at peers, since the start

  void add_metrics(Families& out) const;  ///< audit_metrics.cc

  // api::AuditBackend
  [[nodiscard]] api::AuditPage page(std::uint64_t after, std::size_t limit) const override;
  void verify(api::AuditScope scope, api::Completion<api::AuditVerdict> done) override;
  [[nodiscard]] std::vector<api::AuditSignerInfo> witness() const override;

 private:
  AgentAudit(io::Loop& loop, drivers::StoreDriver& store, std::unique_ptr<AuditKeeper> keeper)
      : loop_(loop), store_(store), keeper_(std::move(keeper)), walk_(loop, store, [this] { return kept(); }) {}
  [[nodiscard]] api::AuditVerdict verdict_of(const AuditWalked& walked) const;
  [[nodiscard]] AuditSigners kept() const { return keeper_->witness() == nullptr ? AuditSigners{} : keeper_->witness()->signers(); }
  void begin_inquiry();
  void ask_peers(const AuditWalk::Walked& own);
  void end_inquiry(const api::Result<api::AuditVerdict>& verdict);
  void look_for(store::NodeId peer, std::uint64_t question);
  void answer(store::NodeId peer, const AuditWord& word) { static_cast<void>(keeper_->parts().send(peer, encode_audit(word))); }

  io::Loop& loop_;
  drivers::StoreDriver& store_;
  std::unique_ptr<AuditKeeper> keeper_;
  AuditWalk walk_;
  std::map<store::NodeId, std::set<std::uint64_t>> looking_;  // questions of peers that wait for a look, kQuestionsMax of each
  AuditTurns turns_;
  std::unique_ptr<AuditInquiry> inquiry_;
  std::uint64_t inquiry_count_ = 0;
  std::uint64_t changes_found_ = 0;
};

}  // namespace agent
