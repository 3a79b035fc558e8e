#include "store/kv/halt_book.h"

#include <algorithm>
#include <set>
#include <utility>

#include "store/kv/command.h"

namespace store::kv {

const HaltProposal* HaltBook::proposal(const HaltTag& tag) const {
  const auto at = proposals_.find(tag);
  return at == proposals_.end() ? nullptr : &at->second;
}

std::string HaltBook::row_of(const Halt& halt) const {
  const HaltProposal* asked = proposal(halt.tag);
  return encode_halt(halt, asked != nullptr ? *asked : HaltProposal{});
}

void HaltBook::write_seen(Index index, std::uint64_t replica, Journal& journal) {
  index_ = changed_[replica] = index;
  journal.mark(halt_seen_key(replica), encode_halt_seen({replica, set_.seen(replica), index, set_.gaps(replica)}));
}

void HaltBook::write(Index index, const HaltSet::Change& change, Journal& journal) {
  for (const HaltTag& tag : change.removed) {
    proposals_.erase(tag);
    journal.mark_gone(halt_key(tag));
    write_seen(index, tag.replica, journal);
  }
  for (const HaltTag& tag : change.added) journal.mark(halt_key(tag), row_of(*set_.find(tag)));
  for (const auto& [replica, number] : set_.seen()) {
    const auto known = changed_.find(replica);
    const bool news = known == changed_.end() || std::any_of(change.added.begin(), change.added.end(), [&](const HaltTag& tag) { return tag.replica == replica; });
    if (news) write_seen(index, replica, journal);
  }
  journal.watches.touch(Topic::Kind::kHalts);
}

HaltBook::Verdict HaltBook::merge(Index index, const HaltSet& told, Journal& journal) {
  Verdict verdict;
  const auto change = set_.learn(told);
  if (!change) return {Outcome::kFull, change.error().detail, {}, {}, {}};
  if (!change->learned) return {Outcome::kUnchanged, {}, {}, {}, {}};
  for (const HaltTag& tag : change->added) {
    verdict.raised.push_back(*set_.find(tag));
    proposals_.erase(tag);  // of a halt that is stricter now: whoever proposed it saw another one
  }
  write(index, *change, journal);
  return verdict;
}

HaltBook::Verdict HaltBook::lift(Index index, const HaltLift& command, Journal& journal) {
  // What is to be lifted has to be in the book first, with all that its replica said before.
  Verdict verdict = merge(index, command.set, journal);
  if (verdict.outcome == Outcome::kFull) return verdict;
  std::vector<HaltTag> free;
  for (const HaltTag& tag : command.tags) {
    const Halt* halt = set_.find(tag);
    if (halt == nullptr && !set_.has_seen(tag)) return {Outcome::kNotFound, "there was never a halt " + tag.text(), std::move(verdict.raised), {}, {}};
    if (halt == nullptr) continue;
    if (!halt->second_person && !command.second_person) {
      free.push_back(tag);
      continue;
    }
    const HaltProposal* asked = proposal(tag);
    if (!command.confirm) {
      verdict.proposed.push_back(*halt);
    } else if (asked == nullptr || asked->by == command.by) {
      return {Outcome::kConditionFailed,
              asked == nullptr ? "nobody has proposed to lift " + tag.text() : asked->by + " has proposed to lift " + tag.text() + ", and somebody else has to confirm it",
              std::move(verdict.raised), {}, {}};
    } else {
      free.push_back(tag);
    }
  }
  HaltSet::Change change;
  for (const HaltTag& tag : free) {
    const Halt* halt = set_.find(tag);
    if (halt == nullptr) continue;  // named twice
    verdict.lifted.push_back(*halt);
    set_.lift(tag);
    change.removed.push_back(tag);
  }
  for (const Halt& halt : verdict.proposed) {
    proposals_.insert_or_assign(halt.tag, HaltProposal{command.by, command.time_ms});
    change.added.push_back(halt.tag);  // its row is written anew
  }
  if (change.removed.empty() && change.added.empty()) {
    verdict.outcome = Outcome::kUnchanged;
    return verdict;
  }
  write(index, change, journal);
  verdict.outcome = verdict.proposed.empty() ? Outcome::kDone : Outcome::kReserved;
  return verdict;
}

void HaltBook::load(HaltRow row) {
  if (!row.proposal.by.empty()) proposals_.insert_or_assign(row.halt.tag, std::move(row.proposal));
  set_.load(std::move(row.halt));
}

void HaltBook::load(HaltSeenRow row) {
  set_.load_seen(row.replica, row.number);
  for (const HaltSet::Span& gap : row.gaps) set_.load_gap(row.replica, gap);
  changed_.insert_or_assign(row.replica, row.changed);
  index_ = std::max(index_, row.changed);
}

bool HaltBook::consistent(Index applied) const { return set_.sound() && index_ <= applied; }

void HaltBook::append_rows(std::vector<Record>& rows) const {
  for (const auto& [replica, number] : set_.seen()) rows.push_back({halt_seen_key(replica), encode_halt_seen({replica, number, changed_.at(replica), set_.gaps(replica)})});
  for (const auto& [tag, halt] : set_.halts()) rows.push_back({halt_key(tag), row_of(halt)});
}

}  // namespace store::kv
