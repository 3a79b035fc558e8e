#pragma once
/// One `audit verify --peers`: asks every agent that keeps a copy for it, checks what was signed, and lets AuditTrial decide.
/// An agent that cannot be reached, or that does not answer in time, is named; its silence is never taken for agreement, also if
/// it falls silent in the middle: then what it had told by then counts against it and nothing for it.
/// Ownership: of AgentAudit, which feeds it answers. Thread: the control loop.
/// Bounds: kLookWait for the looks of all, kAskWait for each round of questions; kChecksMax signatures, kChecksPerTurn a turn.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/audit_backend.h"
#include "agent/audit_keeper.h"
#include "agent/audit_trial.h"
#include "agent/audit_walk.h"

namespace agent {

/// What a copy that was looked at holds at these numbers.
[[nodiscard]] std::vector<AuditPoint> points_of(const store::kv::AuditLog& copy, const std::vector<std::uint64_t>& numbers);
/// All of them, the newest of everybody first when there is more than can be told.
[[nodiscard]] std::vector<AuditStatement> statements_of(const AuditSigners& kept);

class AuditInquiry {
 public:
  static constexpr io::Milliseconds kLookWait{20'000}, kAskWait{5'000};
  static constexpr std::size_t kChecksMax = 1024, kChecksPerTurn = 4;
  using Done = std::function<void(api::AuditPeersVerdict)>;

  /// @param members  everybody who keeps a copy, this agent too  @param own  this agent's copy as looked at just now
  AuditInquiry(io::Loop& loop, std::uint64_t question, const AuditKeeper& keeper, std::vector<store::NodeId> members, AuditWalk::Walked own, Done done);
  // `done` runs in a later turn, and may destroy this.
  void on_word(store::NodeId from, const AuditWord& word);
  void on_lost(store::NodeId node);

 private:
  void on_looked(store::NodeId from, const AuditLookedWord& word);
  void unreached(store::NodeId node, std::string why);
  void silent(store::NodeId node, const std::string& why);
  void deadline();
  void gather();
  void check_some();
  [[nodiscard]] bool believes(const AuditStatement& statement) const;
  void begin_trial();
  void ask();
  void go_on();
  void finish();

  const AuditKeeper& keeper_;
  std::uint64_t question_;
  std::size_t members_;
  AuditWalk::Walked own_;
  Done done_;
  std::map<store::NodeId, std::optional<AuditLookedWord>> looks_;  // peers that were asked; none = not answered yet
  std::map<store::NodeId, std::string> unreached_;
  using Claim = std::pair<store::NodeId, AuditKey>;
  std::map<Claim, std::set<store::NodeId>> claims_;  // who says that this key is that agent's
  std::map<std::string, bool> checked_;              // statements as bytes, and whether they are what they say
  std::deque<AuditStatement> to_check_;
  std::optional<AuditTrial> trial_;
  std::set<store::NodeId> awaited_;                  // in this round
  enum class Stage : std::uint8_t { kLooking, kChecking, kAsking, kDone } stage_ = Stage::kLooking;
  io::Timer timer_;
  io::Deferral step_;
};

}  // namespace agent
