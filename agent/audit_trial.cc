#include "agent/audit_trial.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace agent {
namespace {

namespace kv = store::kv;

constexpr std::uint64_t kAtOnce = kAuditPointsMax - 2;

/// Up to kAtOnce numbers, spread evenly, above `low` and below `high`.
std::vector<std::uint64_t> between(std::uint64_t low, std::uint64_t high) {
  std::vector<std::uint64_t> numbers;
  if (high <= low + 1) return numbers;
  const std::uint64_t room = high - low - 1, count = std::min(room, kAtOnce);
  for (std::uint64_t i = 1; i <= count; ++i) numbers.push_back(low + (room == count ? i : i * (room / (count + 1) + 1)));
  std::erase_if(numbers, [high](std::uint64_t number) { return number >= high; });
  return numbers;
}

AuditTrial::Kind kind_of(kv::AuditFault::Kind kind) {
  switch (kind) {
    case kv::AuditFault::Kind::kEdited: return AuditTrial::Kind::kEdited;
    case kv::AuditFault::Kind::kDeleted: return AuditTrial::Kind::kDeleted;
    case kv::AuditFault::Kind::kTruncated: return AuditTrial::Kind::kTruncated;
    case kv::AuditFault::Kind::kDiffers: return AuditTrial::Kind::kDiffers;
  }
  return AuditTrial::Kind::kDiffers;
}

}  // namespace

const char* to_string(AuditTrial::Kind kind) {
  switch (kind) {
    case AuditTrial::Kind::kEdited: return "edited";
    case AuditTrial::Kind::kDeleted: return "deleted";
    case AuditTrial::Kind::kTruncated: return "truncated";
    case AuditTrial::Kind::kAdded: return "added";
    case AuditTrial::Kind::kDiffers: return "differs";
  }
  return "?";
}

const char* to_string(AuditTrial::By by) {
  switch (by) {
    case AuditTrial::By::kOwnHashes: return "own_hashes";
    case AuditTrial::By::kSignedHeads: return "signed_heads";
    case AuditTrial::By::kMajority: return "majority";
  }
  return "?";
}

AuditTrial::AuditTrial(std::vector<Copy> copies, std::size_t members)
    : copies_(std::move(copies)), members_(std::max(members, copies_.size())) {
  gather_statements();
  next();
}

void AuditTrial::on_points(store::NodeId node, const std::vector<AuditPoint>& points) {
  for (const AuditPoint& point : points) {
    if (std::find(wanted_.begin(), wanted_.end(), point.number) != wanted_.end()) points_[node].insert_or_assign(point.number, point);
  }
}

void AuditTrial::on_silent(store::NodeId node) { silent_.insert(node); }

void AuditTrial::next() {
  ++rounds_;
  needed_.clear();
  convictions_.clear();
  verdict_ = {};
  const bool done = decide_all();
  wanted_.clear();
  if (!done) std::copy_n(needed_.begin(), std::min<std::size_t>(needed_.size(), kAuditPointsMax), std::back_inserter(wanted_));
}

const AuditPoint* AuditTrial::point(const Copy& copy, std::uint64_t number) {
  static const AuditPoint kNone;
  auto& known = points_[copy.node];
  if (const auto found = known.find(number); found != known.end()) return &found->second;
  if (number > copy.ends.head.number || number <= copy.ends.pruned.number || silent_.contains(copy.node) || rounds_ > kRoundsMax) return &kNone;
  needed_.insert(number);
  return nullptr;
}

std::optional<kv::Digest> AuditTrial::hash(const Copy& copy, std::uint64_t number) {
  if (number == copy.ends.pruned.number) return copy.ends.pruned.hash;
  const AuditPoint* at = point(copy, number);
  if (at == nullptr) return std::nullopt;
  if (at->kept) return at->hash;
  // Its last row is gone, and the row of the ends still says what it was.
  return number == copy.ends.head.number ? std::optional(copy.ends.head.hash) : std::nullopt;
}

std::vector<AuditTrial::Group> AuditTrial::groups_at(const Active& active, std::uint64_t number) {
  std::map<kv::Digest, Group> groups;
  for (const Copy* copy : active) {
    if (const auto here = hash(*copy, number)) groups[*here].copies.push_back(copy);
  }
  std::vector<Group> out;
  for (auto& [digest, group] : groups) out.push_back(std::move(group));
  return out;
}

// --- what was signed ----------------------------------------------------------------------------------------------------

/// Each statement once, those of the newest kStatementNumbersMax numbers.
void AuditTrial::gather_statements() {
  std::map<std::uint64_t, std::map<std::pair<kv::Digest, store::NodeId>, Said>> all;
  for (Copy& copy : copies_) {
    for (const AuditStatement& one : copy.statements) {
      Said& said = all[one.number][{one.hash, one.signer}];
      said.statement = one;
      said.tellers.insert(copy.node);
      said.asker = said.asker || copy.asks;
      if (all.size() > kStatementNumbersMax) all.erase(all.begin());
    }
    copy.statements.clear();
  }
  for (auto& [number, alike] : all) {
    for (auto& [what, said] : alike) {
      for (const auto& [other, unused] : alike) {
        if (other.first == what.first) said.signers.insert(other.second);
      }
      said_.push_back(std::move(said));
    }
  }
}

/// First by what each has said and kept itself: who contradicts that has no voice among those who decide about others.
bool AuditTrial::convict_all() {
  bool known = true;
  false_.clear();
  for (const Copy& copy : copies_) known = convict(copy, Whose::kItsOwn) && known;
  for (const auto& [node, conviction] : convictions_) false_.insert(node);
  convictions_.clear();
  for (const Copy& copy : copies_) known = convict(copy, Whose::kEverybodys) && known;
  return known;
}

/// @return false: it needs points that nobody has given yet
bool AuditTrial::convict(const Copy& copy, Whose whose) {
  Conviction conviction;
  bool known = true;
  std::uint64_t agreed = 0;
  for (const auto& [one, tellers, signers, asker] : said_) {
    const bool own = one.signer == copy.node || tellers.contains(copy.node);
    const auto voices = std::count_if(signers.begin(), signers.end(), [this](store::NodeId signer) { return !false_.contains(signer); });
    const bool many = whose == Whose::kEverybodys && 2 * static_cast<std::size_t>(voices) > members_;
    if ((!own && !many) || one.number < copy.ends.pruned.number) continue;
    const bool absent = one.number > copy.ends.head.number;
    // Signed after this copy was frozen, as far as anybody knows: what was kept by itself before, or by the asker, was there already.
    if (absent && copy.applied < one.index && !(own && (asker || tellers.contains(copy.node)))) continue;
    if (!absent && one.number > copy.ends.pruned.number && point(copy, one.number) == nullptr) known = false;
    const auto here = absent ? std::nullopt : hash(copy, one.number);
    if (!absent && !here) continue;
    if (conviction.number != 0) continue;
    if (here && *here == one.hash) agreed = one.number;
    else conviction = {0, one.number, one, signers.size()};
  }
  if (conviction.number == 0) return known;
  conviction.after = std::min(agreed, conviction.number - 1);
  convictions_[copy.node] = std::move(conviction);
  return known;
}

bool AuditTrial::is_convicted(const Copy& copy, std::uint64_t number) const {
  const auto found = convictions_.find(copy.node);
  return found != convictions_.end() && found->second.after < number && number <= found->second.number;
}

// --- the comparison -----------------------------------------------------------------------------------------------------

bool AuditTrial::decide_all() {
  bool known = add_own_faults();
  compare_fronts();
  known = convict_all() && known;
  if (!known) return false;
  Active active;
  for (const Copy& copy : copies_) active.push_back(&copy);
  while (active.size() >= 2) {
    if (!compare(active)) return false;
  }
  add_convictions();
  verdict_.unfinished = rounds_ > kRoundsMax;
  if (verdict_.unfinished) verdict_.notes.emplace_back("the copies could not be compared to the end: too many questions would have been needed");
  return true;
}

/// One difference, or the end. Invariant: who returns true has made `active` smaller.
bool AuditTrial::compare(Active& active) {
  std::uint64_t shortest = active.front()->ends.head.number, low = 0;
  for (const Copy* copy : active) {
    shortest = std::min(shortest, copy->ends.head.number);
    low = std::max(low, copy->ends.pruned.number);
  }
  if (low > shortest) return compare_ends(active, std::max(shortest, low));
  bool known = true;
  for (const Copy* copy : active) known = point(*copy, shortest) != nullptr && known;
  for (const Copy* copy : active) known = (copy->ends.pruned.number == low || point(*copy, low) != nullptr) && known;
  if (!known) return false;
  if (groups_at(active, shortest).size() < 2) return compare_ends(active, shortest);
  std::uint64_t first = low;
  if (groups_at(active, low).size() < 2 && !first_difference(active, low, shortest, first)) return false;
  return judge(active, first, groups_at(active, first));
}

/// @param low  where they are equal  @param high  where they are not
bool AuditTrial::first_difference(const Active& active, std::uint64_t low, std::uint64_t high, std::uint64_t& first) {
  while (high > low + 1) {
    const auto numbers = between(low, high);
    bool known = true;
    for (const std::uint64_t number : numbers) {
      for (const Copy* copy : active) known = point(*copy, number) != nullptr && known;
    }
    if (!known) return false;
    const auto differs = std::find_if(numbers.begin(), numbers.end(), [&](std::uint64_t number) { return groups_at(active, number).size() > 1; });
    // A number that one of them does not have says nothing: the change may lie before it.
    const auto equal = [&](std::uint64_t number) {
      return std::all_of(active.begin(), active.end(), [&](const Copy* copy) { return hash(*copy, number).has_value(); });
    };
    const auto last = std::find_if(std::make_reverse_iterator(differs), numbers.rend(), equal);
    if (differs != numbers.end()) high = *differs;
    if (differs == numbers.end()) low = numbers.back();
    else if (last != numbers.rend()) low = *last;
  }
  first = high;
  return true;
}

/// All are equal as far as `level`. Who has no more, and should, against who has.
bool AuditTrial::compare_ends(Active& active, std::uint64_t level) {
  const std::uint64_t number = level + 1;
  Active longer, shorter;
  for (const Copy* copy : active) (copy->ends.head.number >= number ? longer : shorter).push_back(copy);
  bool known = true;
  kv::Index made_by{};
  for (const Copy* copy : longer) {
    const AuditPoint* at = point(*copy, number);
    known = at != nullptr && known;
    if (at != nullptr && kv::value(at->index) != 0 && (kv::value(made_by) == 0 || at->index < made_by)) made_by = at->index;
  }
  if (!known) return false;
  if (longer.empty() || shorter.empty()) return active.clear(), true;
  Group ends{{}, true};
  for (const Copy* copy : shorter) {
    if (kv::value(made_by) != 0 && copy->applied >= made_by) {
      ends.copies.push_back(copy);
      continue;
    }
    verdict_.notes.push_back(copy->name + " is behind: it was compared as far as entry " + std::to_string(copy->ends.head.number));
    std::erase(active, copy);
  }
  if (ends.copies.empty()) return true;
  std::vector<Group> groups = groups_at(longer, number);
  groups.push_back(std::move(ends));
  return judge(active, number, groups);
}

/// Groups that say what was signed where somebody in another one says something else.
bool AuditTrial::find_support(const std::vector<Group>& groups, std::uint64_t number, std::vector<const Group*>& supported, const Conviction*& evidence) {
  bool known = true;
  for (const Group& group : groups) {
    bool is_supported = false;
    for (const Group& other : groups) {
      if (&other == &group) continue;
      for (const Copy* wrong : other.copies) {
        if (!is_convicted(*wrong, number)) continue;
        const Conviction& conviction = convictions_.at(wrong->node);
        for (const Copy* copy : group.copies) {
          if (conviction.number != copy->ends.pruned.number) known = point(*copy, conviction.number) != nullptr && known;
          if (hash(*copy, conviction.number) != conviction.by.hash) continue;
          is_supported = true;
          evidence = &conviction;
        }
      }
    }
    if (is_supported) supported.push_back(&group);
  }
  return known;
}

bool AuditTrial::judge(Active& active, std::uint64_t number, const std::vector<Group>& groups) {
  const Group *innocent = nullptr, *many = nullptr;
  std::size_t innocents = 0;
  const auto convicted = [this, number](const Copy* copy) { return is_convicted(*copy, number); };
  bool spoken = false;
  for (const Group& group : groups) {
    if (!std::all_of(group.copies.begin(), group.copies.end(), convicted)) {
      ++innocents;
      innocent = &group;
    }
    const bool any = std::any_of(group.copies.begin(), group.copies.end(), convicted);
    spoken = spoken || any;
    if (2 * group.copies.size() > members_ && !any) many = &group;
  }
  std::vector<const Group*> supported;
  const Conviction* evidence = nullptr;
  if (!find_support(groups, number, supported, evidence)) return false;
  const Group* right = supported.size() == 1 ? supported.front() : nullptr;
  if (supported.empty()) right = spoken && innocents == 1 && groups.size() > 1 ? innocent : many;
  if (right == nullptr) {
    Undecided undecided{number, {}};
    for (const Group& group : groups) {
      auto& names = undecided.groups.emplace_back();
      for (const Copy* copy : group.copies) names.push_back(copy->name);
    }
    verdict_.undecided.push_back(std::move(undecided));
    return active.clear(), true;
  }
  bool known = true;
  for (const Group& group : groups) {
    if (&group == right) continue;
    for (const Copy* copy : group.copies) {
      known = name_it(*copy, *right->copies.front(), number, convicted(copy) ? &convictions_.at(copy->node) : evidence) && known;
      std::erase(active, copy);
    }
  }
  return known;
}

// --- what was done to it ------------------------------------------------------------------------------------------------

/// The first entry from `low` on that the log made at `index` or later; head + 1 = none.
bool AuditTrial::first_made_by(const Copy& copy, std::uint64_t low, kv::Index index, std::uint64_t& first) {
  std::uint64_t before = low - 1, high = copy.ends.head.number + 1;
  while (high > before + 1) {
    const auto numbers = between(before, high);
    bool known = true;
    for (const std::uint64_t number : numbers) known = point(copy, number) != nullptr && known;
    if (!known) return false;
    const auto reached = std::find_if(numbers.begin(), numbers.end(), [&](std::uint64_t number) {
      const AuditPoint* at = point(copy, number);
      return at->kept && at->index >= index;
    });
    if (reached != numbers.end()) high = *reached;
    if (reached != numbers.begin()) before = *std::prev(reached);
  }
  first = high;
  return true;
}

/// Looks for an entry that says the same, among the next kAtOnce.
bool AuditTrial::same_content(const Copy& copy, std::uint64_t from, const AuditPoint& wanted, std::optional<std::uint64_t>& found) {
  bool known = true;
  for (std::uint64_t number = from; number < from + kAtOnce && number <= copy.ends.head.number; ++number) {
    const AuditPoint* at = point(copy, number);
    known = at != nullptr && known;
    if (at != nullptr && at->kept && at->content == wanted.content && !found) found = number;
  }
  return known || found;
}

bool AuditTrial::missing_from(const Copy& wrong, const Copy& right, std::uint64_t number, Finding& finding) {
  const AuditPoint *theirs = point(wrong, number), *ours = point(right, number);
  if (theirs == nullptr || ours == nullptr) return false;
  if (!theirs->kept || !ours->kept) {  // at the front of one of them: no more is known than that they differ up to here
    finding.kind = Kind::kDiffers;
    finding.number = 1;
    return true;
  }
  std::optional<std::uint64_t> found;
  if (theirs->index > ours->index) {
    std::uint64_t first = number;
    if (!first_made_by(right, number, theirs->index, first)) return false;
    if (first > right.ends.head.number) found = first;  // all that the other one has from here on
    else if (!same_content(right, first, *theirs, found)) return false;
  } else if (theirs->index == ours->index && !same_content(right, number + 1, *theirs, found)) {
    return false;
  }
  if (found) {
    finding.kind = Kind::kDeleted;
    finding.last = *found - 1;
    // What it signed last, and the others have: if nothing behind the gap, its end was cut off before it went on.
    std::uint64_t said = 0;
    for (const Said& one : said_) {
      const AuditStatement& what = one.statement;
      if (what.signer == wrong.node && what.number >= number && hash(right, what.number) == what.hash) said = what.number;
    }
    if (said != 0 && said <= finding.last) finding.kind = Kind::kTruncated;
    return true;
  }
  if (theirs->index <= ours->index && !same_content(wrong, number + 1, *ours, found)) return false;
  if (found) {
    finding.kind = Kind::kAdded;
    finding.last = *found - 1;
  }
  return true;
}

/// @param evidence  what was signed of it; null = the majority decides
bool AuditTrial::name_it(const Copy& wrong, const Copy& right, std::uint64_t number, const Conviction* evidence) {
  if (is_named(wrong, number)) return true;
  Finding finding{wrong.node, wrong.name, Kind::kEdited, number, number, evidence == nullptr ? By::kMajority : By::kSignedHeads, {}};
  if (wrong.ends.head.number < number) {
    finding.kind = Kind::kTruncated;
    finding.number = wrong.ends.head.number + 1;
    std::uint64_t next = 0;
    if (!first_made_by(right, number, kv::Index{kv::value(wrong.applied) + 1}, next)) return false;
    finding.last = next - 1;
  } else if (right.ends.head.number < number) {
    finding.kind = Kind::kAdded;
    finding.last = wrong.ends.head.number;
  } else if (!missing_from(wrong, right, number, finding)) {
    return false;
  }
  if (evidence != nullptr) {
    finding.text = "entry " + std::to_string(evidence->by.number) + " was signed by " + std::to_string(evidence->signers) + " agent(s) as it stands elsewhere";
  } else {
    finding.text = "more than half of " + std::to_string(members_) + " agents have another entry there";
  }
  add(std::move(finding));
  return true;
}

bool AuditTrial::is_named(const Copy& copy, std::uint64_t number) const {
  return std::any_of(verdict_.findings.begin(), verdict_.findings.end(), [&](const Finding& finding) {
    return finding.node == copy.node && finding.number <= number && number <= finding.last;
  });
}

void AuditTrial::add(Finding finding) {
  if (std::find(verdict_.findings.begin(), verdict_.findings.end(), finding) == verdict_.findings.end()) verdict_.findings.push_back(std::move(finding));
}

bool AuditTrial::add_own_faults() {
  bool known = true;
  for (const Copy& copy : copies_) {
    for (const kv::AuditFault& fault : copy.faults) known = add_own_fault(copy, fault) && known;
  }
  return known;
}

/// Two rows do not fit each other: which one was touched? Where the chain stands behind them as in a copy without a fault, all that
/// was before is bound to be as it is there, whoever has the majority.
bool AuditTrial::add_own_fault(const Copy& copy, const kv::AuditFault& fault) {
  Finding own{copy.node, copy.name, kind_of(fault.kind), fault.number, fault.last, By::kOwnHashes, "its own rows do not fit each other"};
  const std::uint64_t before = fault.number - 1;
  const std::uint64_t after = own.kind == Kind::kDeleted ? fault.last + 1 : fault.last;
  const auto other = std::find_if(copies_.begin(), copies_.end(), [&](const Copy& one) {
    return one.node != copy.node && one.faults.empty() && one.ends.head.number >= after && one.ends.pruned.number <= before && !silent_.contains(one.node);
  });
  if (fault.number == 0 || fault.last < fault.number || after > copy.ends.head.number || before < copy.ends.pruned.number || other == copies_.end())
    return add(std::move(own)), true;
  const Active pair{&copy, &*other};
  bool known = true;
  for (const Copy* one : pair) {
    for (const std::uint64_t number : {before, after}) known = (number <= one->ends.pruned.number || point(*one, number) != nullptr) && known;
  }
  if (!known) return false;
  const auto here = hash(copy, before), there = hash(*other, before);
  const bool bound = hash(copy, after).has_value() && hash(copy, after) == hash(*other, after);
  const bool rewritten = bound && here && there && *here != *there;
  if (rewritten) {
    std::uint64_t low = std::max(copy.ends.pruned.number, other->ends.pruned.number), first = before;
    for (const kv::AuditFault& one : copy.faults) {
      if (one.last < before) low = std::max(low, one.last);
    }
    if (low < before && !first_difference(pair, low, before, first)) return false;
    add({copy.node, copy.name, Kind::kEdited, first, before, By::kOwnHashes, "entry " + std::to_string(after) + " is bound to others, as " + other->name + " has them"});
  }
  const AuditPoint *ours = point(copy, after), *theirs = point(*other, after);
  const bool both = ours != nullptr && theirs != nullptr && ours->kept && theirs->kept;
  const bool same = bound && both && ours->content == theirs->content;
  const bool is_blamed = rewritten || std::any_of(copy.faults.begin(), copy.faults.end(), [&](const kv::AuditFault& one) {
    return one.number <= before && before <= one.last;
  });
  if (own.kind != Kind::kEdited || !same || !is_blamed) add(std::move(own));
  // Behind a gap nothing in this copy says what the row was made of.
  if (own.kind == Kind::kDeleted && bound && both && !same)
    add({copy.node, copy.name, Kind::kEdited, after, after, By::kOwnHashes, "its hash is that of the entry as " + other->name + " has it"});
  return true;
}

/// What is dropped at the front follows from the entries alone: who is not further than others has not dropped more than they have.
void AuditTrial::compare_fronts() {
  for (const Copy& copy : copies_) {
    std::size_t keepers = 0;
    std::uint64_t theirs = 0;
    std::vector<std::string> keeper_names;
    for (const Copy& other : copies_) {
      if (other.ends.head.number < copy.ends.head.number || other.ends.pruned.number >= copy.ends.pruned.number) continue;
      ++keepers;
      keeper_names.push_back(other.name);
      theirs = std::max(theirs, other.ends.pruned.number);
    }
    if (keepers == 0 || is_named(copy, copy.ends.pruned.number)) continue;
    if (2 * keepers > members_)
      add({copy.node, copy.name, Kind::kDeleted, theirs + 1, copy.ends.pruned.number, By::kMajority, "more than half of the agents are as far and still keep these"});
    else
      verdict_.undecided.push_back({theirs + 1, {{copy.name}, keeper_names}});
  }
}

/// What was signed shows a change that the comparison did not meet: all copies at hand have it alike, or it is the only one.
void AuditTrial::add_convictions() {
  for (const Copy& copy : copies_) {
    const auto found = convictions_.find(copy.node);
    if (found == convictions_.end()) continue;
    const Conviction& conviction = found->second;
    const bool explained = std::any_of(verdict_.findings.begin(), verdict_.findings.end(), [&](const Finding& finding) {
      return finding.node == copy.node && finding.number <= conviction.number;
    });
    if (explained) continue;
    const bool absent = copy.ends.head.number < conviction.number;
    add({copy.node, copy.name, absent ? Kind::kTruncated : Kind::kDiffers, (absent ? copy.ends.head.number : conviction.after) + 1, conviction.number,
         By::kSignedHeads, "entry " + std::to_string(conviction.number) + " was signed by " + std::to_string(conviction.signers) + " agent(s) with another hash"});
  }
}

}  // namespace agent
