#include "agent/audit_inquiry.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace agent {
namespace {

namespace kv = store::kv;

std::string bytes_of(const AuditStatement& statement) {
  std::string bytes;
  put_statement(bytes, statement);
  return bytes;
}

std::string seconds(io::Milliseconds time) { return std::to_string(time.count() / 1000) + " s"; }

}  // namespace

std::vector<AuditPoint> points_of(const kv::AuditLog& copy, const std::vector<std::uint64_t>& numbers) {
  std::vector<AuditPoint> points;
  for (const std::uint64_t number : numbers) {
    AuditPoint point{number, false, {}, {}, {}};
    if (const auto proof = copy.proof(number)) point = {number, true, proof->index, proof->hash, kv::audit_content(proof->bytes)};
    points.push_back(point);
  }
  return points;
}

std::vector<AuditStatement> statements_of(const AuditSigners& kept) {
  std::vector<AuditStatement> statements;
  for (std::size_t back = 1; back <= kAuditKeptMax; ++back) {
    for (const auto& [node, signer] : kept) {
      if (signer.kept.size() >= back && statements.size() < kAuditStatementsMax) statements.push_back(signer.kept[signer.kept.size() - back]);
    }
  }
  return statements;
}

AuditInquiry::AuditInquiry(io::Loop& loop, std::uint64_t question, const AuditKeeper& keeper, std::vector<store::NodeId> members, AuditWalk::Walked own,
                           Done done)
    : keeper_(keeper), question_(question), members_(members.size()), own_(std::move(own)), done_(std::move(done)),
      timer_(loop, [this] { deadline(); }), step_(loop, [this] { go_on(); }) {
  const std::set<store::NodeId> reached = keeper.parts().peers();
  const std::string frame = encode_audit(AuditLookWord{question});
  for (const store::NodeId node : members) {
    if (node == keeper.parts().self) continue;
    if (!reached.contains(node)) unreached(node, "the mesh does not reach it");
    else if (!keeper.parts().send(node, frame)) unreached(node, "its queue is full");
    else looks_[node] = std::nullopt;
  }
  timer_.arm_after(kLookWait);
  step_.schedule();
}

void AuditInquiry::unreached(store::NodeId node, std::string why) {
  looks_.erase(node);
  unreached_[node] = std::move(why);
}

/// It had told what it looked at, and tells no more.
void AuditInquiry::silent(store::NodeId node, const std::string& why) {
  awaited_.erase(node);
  trial_->on_silent(node);
  unreached_.emplace(node, "to the end: " + why);
}

void AuditInquiry::on_word(store::NodeId from, const AuditWord& word) {
  if (const auto* looked = std::get_if<AuditLookedWord>(&word); looked != nullptr && looked->question == question_) return on_looked(from, *looked);
  if (const auto* told = std::get_if<AuditToldWord>(&word); told != nullptr && told->question == question_ && stage_ == Stage::kAsking) {
    if (awaited_.erase(from) == 0) return;
    trial_->on_points(from, told->points);
    step_.schedule();
  }
  if (const auto* refused = std::get_if<AuditRefusedWord>(&word); refused != nullptr && refused->question == question_) {
    if (stage_ == Stage::kLooking && looks_.contains(from)) unreached(from, "it refused: " + refused->why);
    if (stage_ == Stage::kAsking && awaited_.contains(from)) silent(from, "it refused a question: " + refused->why);
    step_.schedule();
  }
}

void AuditInquiry::on_lost(store::NodeId node) {
  if (const auto asked = looks_.find(node); stage_ == Stage::kLooking && asked != looks_.end() && !asked->second) unreached(node, "its connection was lost");
  if (stage_ == Stage::kAsking && awaited_.contains(node)) silent(node, "its connection was lost");
  step_.schedule();
}

void AuditInquiry::on_looked(store::NodeId from, const AuditLookedWord& word) {
  const auto asked = looks_.find(from);
  if (stage_ != Stage::kLooking || asked == looks_.end() || asked->second) return;
  asked->second = word;
  step_.schedule();
}

void AuditInquiry::deadline() {
  if (stage_ == Stage::kLooking) {
    std::vector<store::NodeId> silent;
    for (const auto& [node, look] : looks_) {
      if (!look) silent.push_back(node);
    }
    for (const store::NodeId node : silent) unreached(node, "it did not answer within " + seconds(kLookWait));
  } else if (stage_ == Stage::kAsking) {
    for (const store::NodeId node : std::exchange(awaited_, {})) silent(node, "it did not answer a question within " + seconds(kAskWait));
  }
  step_.schedule();
}

/// The next step, as soon as nothing is awaited for it.
void AuditInquiry::go_on() {
  switch (stage_) {
    case Stage::kLooking:
      if (std::all_of(looks_.begin(), looks_.end(), [](const auto& one) { return one.second.has_value(); })) gather();
      return;
    case Stage::kChecking: return check_some();
    case Stage::kAsking:
      if (!awaited_.empty()) return;
      trial_->next();
      return ask();
    case Stage::kDone: return finish();
  }
}

// --- what was signed ----------------------------------------------------------------------------------------------------

void AuditInquiry::gather() {
  stage_ = Stage::kChecking;
  timer_.disarm();
  for (const AuditStatement& one : statements_of(own_->kept)) {
    claims_[{one.signer, one.key}].insert(keeper_.parts().self);
    if (checked_.emplace(bytes_of(one), false).second) to_check_.push_back(one);
  }
  for (const auto& [node, look] : looks_) {
    for (const AuditStatement& one : look->statements) {
      claims_[{one.signer, one.key}].insert(node);
      if (checked_.size() >= kChecksMax || !checked_.emplace(bytes_of(one), false).second) continue;
      to_check_.push_back(one);
    }
  }
  step_.schedule();
}

void AuditInquiry::check_some() {
  for (std::size_t i = 0; i < kChecksPerTurn && !to_check_.empty(); ++i) {
    if (believes(to_check_.front())) checked_[bytes_of(to_check_.front())] = keeper_.witness()->is_true(to_check_.front());
    to_check_.pop_front();
  }
  if (!to_check_.empty()) return step_.schedule();
  begin_trial();
}

/// Is the key that agent's? As it has told this process itself, or as the files of more than half of all say: one liar cannot give others
/// a key, and who can write this agent's own file neither.
bool AuditInquiry::believes(const AuditStatement& statement) const {
  const AuditWitness* witness = keeper_.witness();
  if (witness == nullptr) return false;
  if (statement.signer == keeper_.parts().self && statement.key == keeper_.key().public_key()) return true;
  if (witness->has_heard(statement.signer, statement.key)) return true;
  const auto claimed = claims_.find({statement.signer, statement.key});
  return claimed != claims_.end() && 2 * claimed->second.size() > members_;
}

// --- the trial ----------------------------------------------------------------------------------------------------------

void AuditInquiry::begin_trial() {
  std::vector<AuditTrial::Copy> copies;
  const auto add = [&](AuditTrial::Copy copy, const std::vector<AuditStatement>& statements) {
    for (const AuditStatement& one : statements) {
      if (const auto found = checked_.find(bytes_of(one)); found != checked_.end() && found->second) copy.statements.push_back(one);
    }
    copies.push_back(std::move(copy));
  };
  add({keeper_.parts().self, keeper_.parts().name, own_->applied, own_->copy.ends(), own_->faults, {}, true}, statements_of(own_->kept));
  for (const auto& [node, look] : looks_) add({node, keeper_.parts().name_of(node), look->applied, look->ends, look->faults, {}, false}, look->statements);
  trial_.emplace(std::move(copies), members_);
  stage_ = Stage::kAsking;
  ask();
}

void AuditInquiry::ask() {
  if (trial_->wanted().empty()) {
    stage_ = Stage::kDone;
    timer_.disarm();
    return finish();
  }
  trial_->on_points(keeper_.parts().self, points_of(own_->copy, trial_->wanted()));
  const std::string frame = encode_audit(AuditAskWord{question_, trial_->wanted()});
  for (const auto& [node, look] : looks_) {
    if (unreached_.contains(node)) continue;
    if (keeper_.parts().send(node, frame)) awaited_.insert(node);
    else silent(node, "its queue is full, or its connection was lost");
  }
  timer_.arm_after(kAskWait);
  step_.schedule();
}

void AuditInquiry::finish() {
  if (!done_) return;
  api::AuditPeersVerdict verdict;
  verdict.members = members_;
  for (const auto& [node, look] : looks_) {
    if (!unreached_.contains(node)) verdict.asked.push_back(keeper_.parts().name_of(node));
  }
  for (const auto& [node, why] : unreached_) verdict.unreached.push_back({keeper_.parts().name_of(node), why});
  for (const AuditTrial::Finding& one : trial_->verdict().findings)
    verdict.findings.push_back({one.name, to_string(one.kind), one.number, one.last, to_string(one.by), one.text});
  for (const AuditTrial::Undecided& one : trial_->verdict().undecided) verdict.undecided.push_back({one.number, one.groups});
  verdict.notes = trial_->verdict().notes;
  verdict.complete = verdict.unreached.empty() && !trial_->verdict().unfinished;
  std::exchange(done_, nullptr)(std::move(verdict));
}

}  // namespace agent
