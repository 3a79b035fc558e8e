#include "agent/audit_witness.h"

#include <algorithm>
#include <utility>

#include "store/kv/sha256.h"

namespace agent {

namespace kv = store::kv;

void keep_statement(std::vector<AuditStatement>& kept, const AuditStatement& statement) {
  const auto place = std::lower_bound(kept.begin(), kept.end(), statement.number,
                                      [](const AuditStatement& one, std::uint64_t number) { return one.number < number; });
  if (place != kept.end() && place->number == statement.number) *place = statement;
  else kept.insert(place, statement);
  if (kept.size() <= kAuditKeptMax) return;
  // The one goes whose gap is smallest for its age: the distances double towards the past.
  const double newest = static_cast<double>(kept.back().number);
  std::size_t least = 1;
  double least_weight = 2;
  for (std::size_t i = 1; i + 1 < kept.size(); ++i) {
    const double before = static_cast<double>(kept[i - 1].number), after = static_cast<double>(kept[i + 1].number);
    const double weight = (after - before) / (newest - before + 1);
    if (weight >= least_weight) continue;
    least = i;
    least_weight = weight;
  }
  kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(least));
}

bool AuditWitness::is_true(const AuditStatement& statement) const {
  return keys_.check(statement.key, signed_bytes(statement, cluster_), statement.signature);
}

AuditStatement AuditWitness::state(const kv::AuditProof& proof, std::uint64_t wall_ms) const {
  AuditStatement statement{self_, keys_.own, proof.number, proof.index, wall_ms, proof.hash, {}};
  statement.signature = keys_.sign(signed_bytes(statement, cluster_));
  return statement;
}

std::size_t AuditWitness::disputes() const {
  return static_cast<std::size_t>(std::count_if(signers_.begin(), signers_.end(), [this](const auto& one) {
    return one.second.disputed && (members_.empty() || members_.contains(one.first));
  }));
}

bool AuditWitness::has_heard(store::NodeId node, const AuditKey& key) const {
  const auto heard = heard_.find(node);
  return heard != heard_.end() && heard->second == key;
}

/// A member may take the place of one that is gone: of those without a dispute first, the one heard of longest ago.
bool AuditWitness::has_room_for(store::NodeId node) {
  if (signers_.contains(node) || signers_.size() < kAuditSignersMax) return true;
  if (!members_.contains(node)) return false;
  const auto rank = [](const AuditSigner& signer) { return std::pair(signer.disputed, signer.kept.empty() ? 0 : signer.kept.back().time_ms); };
  auto least = signers_.end();
  for (auto one = signers_.begin(); one != signers_.end(); ++one) {
    if (members_.contains(one->first) || one->first == self_) continue;
    if (least == signers_.end() || rank(one->second) < rank(least->second)) least = one;
  }
  if (least == signers_.end()) return false;
  waiting_.erase(least->first);
  heard_.erase(least->first);
  signers_.erase(least);
  return true;
}

void AuditWitness::look(const Copy& copy, std::size_t peers, TimePoint now, std::uint64_t wall_ms) {
  for (const auto& [node, waiting] : std::exchange(waiting_, {})) take(node, waiting.statement, waiting.wants_answer, copy, wall_ms);
  if (now < sign_at_) return;
  const auto newest = copy.log->newest_up_to(copy.durable);
  if (!newest || (end_ && end_->number == newest->number && end_->hash == newest->hash)) return;
  sign_at_ = now + std::max(kSignEvery, kSignPerPeer * static_cast<int>(std::min<std::size_t>(peers, kAuditSignersMax)));
  end_ = state(*newest, wall_ms);
  ++counters_.signed_ends;
  AuditSigner& own = signers_[self_];
  own.key = keys_.own;
  // What this agent has said of a copy that was changed since is kept: it is what shows the change.
  if (check(*copy.log).empty()) keep_statement(own.kept, *end_);
  output_.changed = true;
  output_.words.emplace_back(std::nullopt, AuditHeadWord{*end_});
}

void AuditWitness::on_connected(store::NodeId peer) {
  if (end_) output_.words.emplace_back(peer, AuditHeadWord{*end_});
}

// A peer's checks cost time of the loop: so many a second, and a burst when it has caught up.
bool AuditWitness::may_hear(store::NodeId from, TimePoint now) {
  if (heard_until_.size() >= kAuditSignersMax && !heard_until_.contains(from)) std::erase_if(heard_until_, [now](const auto& one) { return one.second < now; });
  if (heard_until_.size() >= kAuditSignersMax && !heard_until_.contains(from)) return false;
  TimePoint& until = heard_until_[from];
  const TimePoint next = std::max(until, now) + kHearCost;
  if (next - now > kHearCost * kHearBurst) return false;
  until = next;
  return true;
}

void AuditWitness::on_statement(store::NodeId from, const AuditStatement& statement, bool wants_answer, const Copy& copy, TimePoint now,
                                std::uint64_t wall_ms) {
  ++counters_.heard;
  if (statement.signer != from || from == self_) {
    ++counters_.refused;  // agents speak for themselves
    return;
  }
  if (!may_hear(from, now)) {
    ++counters_.too_often;
    return;
  }
  if (!is_true(statement)) {
    ++counters_.bad_signature;
    output_.events.push_back({Event::Kind::kBadSignature, from, statement, std::nullopt});
    return;
  }
  if (!has_room_for(from)) {
    ++counters_.refused;
    return;
  }
  heard_[from] = statement.key;
  take(from, statement, wants_answer, copy, wall_ms);
}

AuditWitness::Verdict AuditWitness::judge(const AuditStatement& statement, const Copy& copy) const {
  const kv::AuditLog& log = *copy.log;
  if (statement.number < log.pruned().number) return Verdict::kTooOld;
  if (statement.number > log.head().number) return copy.applied >= statement.index ? Verdict::kDiffers : Verdict::kNotYet;
  const auto here = log.hash_at(statement.number);
  if (!here || *here != statement.hash) return Verdict::kDiffers;
  // What is kept must stay true of this copy after a crash, too.
  return copy.durable >= statement.index ? Verdict::kAgrees : Verdict::kNotYet;
}

void AuditWitness::pin(store::NodeId from, AuditSigner& signer, const AuditStatement& statement) {
  if (signer.key == statement.key) return;
  if (signer.key != AuditKey{}) {
    ++signer.key_changes;
    ++counters_.key_changes;
    output_.events.push_back({Event::Kind::kKeyChanged, from, statement, std::nullopt});
  }
  signer.key = statement.key;
  output_.changed = true;
}

void AuditWitness::take(store::NodeId from, const AuditStatement& statement, bool wants_answer, const Copy& copy, std::uint64_t wall_ms) {
  AuditSigner& signer = signers_[from];
  pin(from, signer, statement);
  switch (judge(statement, copy)) {
    case Verdict::kTooOld: ++counters_.too_old; return;
    case Verdict::kNotYet:
      if (const auto known = waiting_.find(from); known == waiting_.end() || known->second.statement.number <= statement.number)
        waiting_.insert_or_assign(from, Waiting{statement, wants_answer});
      return;
    case Verdict::kAgrees:
      ++counters_.agreed;
      keep_statement(signer.kept, statement);
      if (std::exchange(signer.disputed, false)) output_.events.push_back({Event::Kind::kAgreesAgain, from, statement, std::nullopt});
      break;
    case Verdict::kDiffers:
      ++counters_.disputed;
      signer.dispute = statement;
      if (!std::exchange(signer.disputed, true))
        output_.events.push_back({Event::Kind::kDisputed, from, statement, copy.log->hash_at(statement.number)});
      break;
  }
  output_.changed = true;
  if (wants_answer) answer(from, statement, copy, wall_ms);
}

/// What stands here at the number that the peer has named; of a copy that ends before, its end.
void AuditWitness::answer(store::NodeId to, const AuditStatement& statement, const Copy& copy, std::uint64_t wall_ms) {
  if (end_ && end_->number == statement.number && copy.log->hash_at(end_->number) == end_->hash)
    return output_.words.emplace_back(to, AuditCosignWord{*end_}), void();
  auto proof = copy.log->proof(std::min(statement.number, copy.log->head().number));
  if (!proof) return;
  ++counters_.cosigned;
  output_.words.emplace_back(to, AuditCosignWord{state(*proof, wall_ms)});
}

std::vector<AuditContradiction> contradictions(const AuditSigners& kept, const kv::AuditLog& log) {
  std::vector<AuditContradiction> found;
  const AuditStatement *highest = nullptr, *lowest = nullptr;
  std::uint64_t agreed = 0;
  for (const auto& [node, signer] : kept) {
    for (const AuditStatement& one : signer.kept) {
      if (one.number > log.head().number) {
        if (highest == nullptr || highest->number < one.number) highest = &one;
        continue;
      }
      const auto here = log.hash_at(one.number);
      if (!here) continue;  // of old, or a row that cannot be read: the look at the copy itself says so
      if (*here == one.hash) agreed = std::max(agreed, one.number);
      else if (lowest == nullptr || one.number < lowest->number) lowest = &one;
    }
  }
  const auto said_by = [&kept](const AuditStatement& what) {
    return static_cast<std::size_t>(std::count_if(kept.begin(), kept.end(), [&what](const auto& signer) {
      return std::any_of(signer.second.kept.begin(), signer.second.kept.end(), [&what](const AuditStatement& one) {
        return one.number == what.number && one.hash == what.hash;
      });
    }));
  };
  std::uint64_t agreed_before = 0;
  for (const auto& [node, signer] : kept) {
    for (const AuditStatement& one : signer.kept) {
      if (lowest != nullptr && one.number < lowest->number && log.hash_at(one.number) == one.hash) agreed_before = std::max(agreed_before, one.number);
    }
  }
  if (lowest != nullptr) found.push_back({{kv::AuditFault::Kind::kDiffers, lowest->number, lowest->number}, agreed_before, *lowest, said_by(*lowest)});
  if (highest != nullptr)
    found.push_back({{kv::AuditFault::Kind::kTruncated, log.head().number + 1, highest->number}, agreed, *highest, said_by(*highest)});
  return found;
}

}  // namespace agent
