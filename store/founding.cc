#include "store/founding.h"

#include <algorithm>

namespace store {
namespace {

constexpr Milliseconds kAskEvery{200};  // a question may be lost with its connection
constexpr std::size_t kAskersMax = 16;

}  // namespace

Founding::Founding(NodeId self, std::uint32_t expect, std::optional<disk::Grant> grant)
    : self_(self), expect_(expect), grant_(std::move(grant)) {
  if (own()) ask_at_ = TimePoint::min();
}

std::vector<NodeId> Founding::candidates() const {
  std::vector<NodeId> ids{self_};
  for (const MemberInfo& member : members_) {
    if (member.id != self_ && member.liveness == Liveness::kAlive && member.cluster_id.is_none() &&
        member.bootstrap_expect == expect_)
      ids.push_back(member.id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

/// Who, by what is seen here, should be a voter of this founding and is not; nobody if all is well.
NodeId Founding::left_out(const disk::Grant& grant) const {
  for (const NodeId id : candidates()) {
    const bool within = std::binary_search(grant.voters.begin(), grant.voters.end(), id);
    if (!within && id < grant.voters.back()) return id;
  }
  return NodeId{};
}

/// Have the candidates been the same for long enough? If not, tick() looks again.
bool Founding::settled(const std::vector<NodeId>& ids, TimePoint now) {
  if (ids != seen_) {
    seen_ = ids;
    seen_since_ = now;
  }
  settle_at_ = now - seen_since_ < kSettle ? seen_since_ + kSettle : TimePoint::max();
  return settle_at_ == TimePoint::max();
}

bool Founding::alive(NodeId id) const {
  if (id == self_) return true;
  return std::any_of(members_.begin(), members_.end(),
                     [id](const MemberInfo& member) { return member.id == id && member.liveness == Liveness::kAlive; });
}

void Founding::on_members(const std::vector<MemberInfo>& members, const Chance& chance, TimePoint now) {
  members_ = members;
  if (founded_) return;
  // A founder that belongs to another cluster never completed the founding it asked for: the promise is void.
  if (grant_ && !own() && !persisting_) {
    for (const MemberInfo& member : members_) {
      if (member.id == grant_->founder && !member.cluster_id.is_none() && member.cluster_id != grant_->id) {
        promise(std::nullopt);
        break;
      }
    }
  }
  consider(chance, now);
}

void Founding::consider(const Chance& chance, TimePoint now) {
  if (founded_ || persisting_) return;
  const std::vector<NodeId> ids = candidates();
  // Where a cluster is already, none is to be founded beside it: its leader will add us.
  const bool cluster_near = std::any_of(members_.begin(), members_.end(), [this](const MemberInfo& member) {
    return member.liveness == Liveness::kAlive && !member.cluster_id.is_none() &&
           !(grant_ && member.cluster_id == grant_->id);
  });
  if (cluster_near && own()) return give_up();
  if (cluster_near && !grant_) return;
  if (own()) {
    const bool undercut = expect_ >= 2 && ids.size() >= expect_ && ids.front() < self_;
    const bool incomplete = std::any_of(grant_->voters.begin(), grant_->voters.end(), [&](NodeId voter) {
      return std::find(ids.begin(), ids.end(), voter) == ids.end();
    });
    // A candidate that came to be known only now: others know it too, and will not promise.
    const bool narrow = expect_ >= 2 && static_cast<bool>(left_out(*grant_));
    if (undercut || narrow || (incomplete && ids.size() >= expect_)) return give_up();
    if (incomplete) report(self_, "a member that was asked to found the cluster is not alive");
    return;
  }
  if (grant_) {
    if (!alive(grant_->founder)) report(grant_->founder, "this agent promised to be founded by a member that is gone");
    return;
  }
  if (expect_ < 2) return;
  if (ids.size() < expect_) {
    report(NodeId{}, "waiting for members: " + std::to_string(ids.size()) + " of " + std::to_string(expect_));
    return;
  }
  if (ids.front() != self_ || !settled(ids, now)) return;
  disk::Grant grant;
  for (std::uint8_t& byte : grant.id.bytes) byte = static_cast<std::uint8_t>(chance(256));
  if (grant.id.is_none()) return;  // once in 2^128: next time
  grant.founder = self_;
  grant.voters.assign(ids.begin(), ids.begin() + expect_);
  ask_at_ = now;
  promise(std::move(grant));
}

void Founding::promise(std::optional<disk::Grant> grant) {
  grant_ = std::move(grant);
  granted_.clear();
  persisting_ = true;
  actions_.persist = grant_;
}

// The voters of the founding that is given up hear of it only after the withdrawal is durable here.
void Founding::give_up() {
  for (const NodeId voter : grant_->voters) {
    if (voter != self_) askers_.emplace_back(voter, grant_->id);
  }
  promise(std::nullopt);
}

void Founding::on_durable() {
  persisting_ = false;
  const auto askers = std::exchange(askers_, {});
  for (const auto& [who, id] : askers) {
    if (grant_ && grant_->id == id) {
      actions_.frames.emplace_back(who, GrantAnswerFrame{id, GrantVerdict::kGranted, grant_->founder, {}});
    } else {
      actions_.frames.emplace_back(who, GrantWithdrawFrame{id});
    }
  }
  ask_at_ = TimePoint::min();  // ask, or look anew whether to found
}

void Founding::on_ask(NodeId from, const disk::Grant& grant) {
  const bool names_us = std::binary_search(grant.voters.begin(), grant.voters.end(), self_);
  if (founded_ || grant.founder != from || !names_us || expect_ < 2 || grant.voters.size() != expect_) {
    actions_.frames.emplace_back(from, GrantAnswerFrame{grant.id, GrantVerdict::kNotExpecting, {}, {}});
    return;
  }
  if (persisting_) {
    if (grant_ && grant_->id == grant.id && askers_.size() < kAskersMax) askers_.emplace_back(from, grant.id);
    return;  // it asks again
  }
  if (grant_ && grant_->id == grant.id) {
    actions_.frames.emplace_back(from, GrantAnswerFrame{grant.id, GrantVerdict::kGranted, from, {}});
    return;
  }
  if (const NodeId other = left_out(grant)) {
    actions_.frames.emplace_back(from, GrantAnswerFrame{grant.id, GrantVerdict::kOtherView, other, {}});
    return;  // it asks again: either it sees that candidate too by then, or this agent no longer does
  }
  if (own() && from < self_) return give_up();  // asks again, then nothing is promised any more
  // A founder asks for one founding at a time: a new id means that it gave the old one up.
  if (!grant_ || (!own() && grant_->founder == from)) {
    promise(grant);
    if (askers_.size() < kAskersMax) askers_.emplace_back(from, grant.id);
    return;
  }
  actions_.frames.emplace_back(from, GrantAnswerFrame{grant.id, GrantVerdict::kPromised, grant_->founder, {}});
  // The withdrawal of that other one may have been lost: show it the promise, and it answers with another.
  if (!own())
    actions_.frames.emplace_back(grant_->founder, GrantAnswerFrame{grant_->id, GrantVerdict::kGranted, {}, {}});
}

void Founding::on_answer(NodeId from, const GrantAnswerFrame& answer) {
  if (founded_ || persisting_) return;
  if (!own() || answer.asked != grant_->id) {
    if (answer.verdict == GrantVerdict::kGranted) actions_.frames.emplace_back(from, GrantWithdrawFrame{answer.asked});
    return;
  }
  switch (answer.verdict) {
    case GrantVerdict::kGranted:
      if (std::binary_search(grant_->voters.begin(), grant_->voters.end(), from)) granted_[from] = true;
      check_complete();
      return;
    case GrantVerdict::kPromised:
      report(from, "a member promised to be founded by another one");
      if (answer.founder < self_) give_up();
      return;
    case GrantVerdict::kFounded:
      if (answer.cluster != grant_->id) give_up();  // that cluster will add us
      return;
    case GrantVerdict::kNotExpecting:
      report(from, "a member has another bootstrap_expect");
      return;
    case GrantVerdict::kOtherView:
      report(from, "a member sees another candidate with a lower id, unknown here so far");
      return;
  }
}

void Founding::check_complete() {
  if (granted_.size() + 1 < grant_->voters.size()) return;
  founded_ = true;
  ask_at_ = TimePoint::max();
  actions_.found = grant_;
}

void Founding::on_withdraw(NodeId from, const kv::ClusterId& id) {
  if (!founded_ && !persisting_ && grant_ && grant_->id == id && grant_->founder == from && from != self_)
    promise(std::nullopt);
}

void Founding::tick(const Chance& chance, TimePoint now) {
  if (founded_ || persisting_ || now < std::min(ask_at_, settle_at_)) return;
  settle_at_ = TimePoint::max();
  const bool asks = now >= ask_at_;
  consider(chance, now);
  if (!asks) return;
  ask_at_ = TimePoint::max();
  if (own() && !persisting_) ask(now);
}

void Founding::ask(TimePoint now) {
  for (const NodeId voter : grant_->voters) {
    if (voter != self_ && !granted_.contains(voter)) actions_.frames.emplace_back(voter, GrantAskFrame{*grant_});
  }
  ask_at_ = now + kAskEvery;
}

raft::TimePoint Founding::next_deadline() const {
  return founded_ || persisting_ ? TimePoint::max() : std::min(ask_at_, settle_at_);
}

std::optional<disk::Grant> Founding::founded_by_others(const kv::ClusterId& id) const {
  return grant_ && grant_->id == id ? grant_ : std::nullopt;
}

bool Founding::may_join_other() {
  if (founded_) return false;
  if (!grant_) return !persisting_;
  if (own() && !persisting_) give_up();
  return false;  // not before the promise is gone from the disk
}

void Founding::report(NodeId founder, std::string reason) {
  if (reason == reported_) return;
  reported_ = reason;
  actions_.waits = FoundingWaits{founder, std::move(reason)};
}

}  // namespace store
