#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/frames.h"
#include "store/types.h"

namespace store {

/// How N agents that know nobody's cluster found one together, once and only once (bootstrap_expect).
/// The lowest id of N live, unfounded members with the same setting is the founder. It draws a cluster id, promises
/// itself durably, and asks the others for the same durable promise. With all N promises it founds: every voter
/// starts from the same first configuration. Nobody promises twice, so of two foundings that share a member only one can
/// complete.
/// More agents than N with the setting: two foundings without a common member must not complete either. So the founder
/// waits until it has seen the same candidates for kSettle, and nobody promises who sees a live candidate that is left
/// out although its id is lower than a voter's. Two clusters then come about only if for that long not one agent of the
/// second group knows of anybody in the first: as long as that lasts they are two networks, and nobody could tell.
/// A founder that has not founded may give up (a lower id than a voter's appeared, a voter is gone): it forgets its promise durably,
/// then tells the others; its cluster id is never used again, so their promises are void and may be dropped.
/// Source:    the voting rule of Raft (thesis 3.6), used once, with unanimity in place of a majority.
/// Ownership: a value inside Store. Everything it wants comes out of take_actions().
class Founding {
 public:
  static constexpr Milliseconds kSettle{500};

  /// @param expect  0 = this node founds nothing together, but may still be asked
  /// @param grant   the promise found on disk
  Founding(NodeId self, std::uint32_t expect, std::optional<disk::Grant> grant);

  struct Actions {
    std::vector<std::pair<NodeId, FrameBody>> frames;
    /// Write this promise (or its withdrawal), then call on_durable().
    std::optional<std::optional<disk::Grant>> persist;
    /// All promises are there: found this cluster now. Given once.
    std::optional<disk::Grant> found;
    std::optional<FoundingWaits> waits;  ///< why nothing moves; only when that changed
  };
  [[nodiscard]] Actions take_actions() { return std::exchange(actions_, {}); }

  void on_members(const std::vector<MemberInfo>& members, const Chance& chance, TimePoint now);
  void on_ask(NodeId from, const disk::Grant& grant);
  void on_answer(NodeId from, const GrantAnswerFrame& answer);
  void on_withdraw(NodeId from, const kv::ClusterId& id);
  void on_durable();  ///< the last Actions::persist is on disk
  void tick(const Chance& chance, TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;

  /// A frame of this cluster reached us. @return the promise to found by, if it is the one we promised.
  [[nodiscard]] std::optional<disk::Grant> founded_by_others(const kv::ClusterId& id) const;
  /// A frame of another cluster reached us: may we join it? Yes, if we promised nobody, or only ourselves so far: that
  /// promise is then given up. @return false if a promise to somebody else stands.
  [[nodiscard]] bool may_join_other();
  [[nodiscard]] const std::optional<disk::Grant>& grant() const { return grant_; }

 private:
  [[nodiscard]] std::vector<NodeId> candidates() const;
  [[nodiscard]] NodeId left_out(const disk::Grant& grant) const;
  [[nodiscard]] bool settled(const std::vector<NodeId>& ids, TimePoint now);
  [[nodiscard]] bool alive(NodeId id) const;
  void consider(const Chance& chance, TimePoint now);
  void promise(std::optional<disk::Grant> grant);
  void give_up();
  void ask(TimePoint now);
  void check_complete();
  void report(NodeId founder, std::string reason);
  [[nodiscard]] bool own() const { return grant_ && grant_->founder == self_; }

  NodeId self_;
  std::uint32_t expect_;
  std::optional<disk::Grant> grant_;  // promised; durable unless persisting_
  bool persisting_ = false;
  bool founded_ = false;
  std::map<NodeId, bool> granted_;                        // by whom, while own()
  std::vector<std::pair<NodeId, kv::ClusterId>> askers_;  // answered once the promise is durable; at most kVotersMax
  std::vector<MemberInfo> members_;
  std::vector<NodeId> seen_;  // candidates at the last look
  TimePoint seen_since_;      // when they were first seen so
  TimePoint settle_at_ = TimePoint::max();
  TimePoint ask_at_ = TimePoint::max();
  std::string reported_;
  Actions actions_;
};

}  // namespace store
