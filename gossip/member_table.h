#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "gossip/member.h"
#include "gossip/wire.h"

namespace gossip {

/// What a record or claim did to the table. Exactly one; the caller turns it into events and news.
enum class Merge : std::uint8_t {
  kStale,      ///< not above what we hold: nothing changed
  kBuried,     ///< an alive record not above a tombstone: nothing changed, the sender should hear of the tombstone
  kAhead,      ///< a claim above the highest alive record held, or about someone unknown: pull that record
  kJoined,     ///< new member, alive
  kRestarted,  ///< known live member with a higher generation
  kRevived,    ///< suspect, dead or left before, now alive
  kRaised,     ///< alive before and after, higher incarnation (address or tags may differ)
  kTagged,     ///< same rank, some tag is newer
  kDied,
  kLeft,
  kFull,     ///< refused: members_max
  kInvalid,  ///< refused: tags above their bounds
};

/// Who is alive, suspect, dead, left; the merge rule; and the digest over the live view.
/// Source:    SWIM section 4.2 (precedence), tightened by gossip.md 5.2: only an alive record raises the stored
///            rank, and failure claims count at exactly that rank. So a claim at a forged rank changes nothing.
/// Invariant: digest() is the sum over live members of a hash of id, rank and tag versions: equal views, equal
///            sums, in every process. Suspect counts as alive there, so that suspicions do not make sums differ.
/// Ownership: members by value in one vector; a pointer is valid until the next insert or remove.
class MemberTable {
 public:
  struct Outcome {
    Merge merge = Merge::kStale;
    bool tags_changed = false;
    bool address_changed = false;
    std::string tag_key;  ///< when exactly one visible tag changed
  };

  explicit MemberTable(std::size_t members_max) : members_max_(members_max) {}

  Outcome apply(const Alive& alive, TimePoint now);
  Outcome apply(const Tags& tags);
  /// @return kDied, kStale or kAhead
  Merge apply_dead(const MemberId& id, const Rank& rank, TimePoint now);
  /// @return kLeft, kStale or kAhead
  Merge apply_left(const MemberId& id, const Rank& rank, TimePoint now);
  /// Takes a tombstone of someone unknown as it is; members we know are left alone. @return true if inserted
  bool bury_unknown(const Tombstone& stone, TimePoint now);

  [[nodiscard]] Member* find(const MemberId& id);
  [[nodiscard]] const Member* find(const MemberId& id) const;
  /// A live member at this address, or null. Linear: called for errors and seeds only.
  [[nodiscard]] const Member* find_live_at(const Address& address) const;
  /// Changes the state and keeps counts and digest right. @return false if it was that already
  bool set_state(Member& member, MemberState state, TimePoint now);
  /// Call after changing rank, tags or address of a member from outside (ourselves).
  void refresh(const Member& member);
  void remove(const MemberId& id);

  [[nodiscard]] std::span<const Member> members() const { return members_; }
  [[nodiscard]] std::size_t live_count() const { return live_; }
  [[nodiscard]] std::size_t count(MemberState state) const { return counts_[static_cast<std::size_t>(state)]; }
  [[nodiscard]] std::uint64_t digest() const { return digest_; }
  [[nodiscard]] const std::array<std::uint64_t, kBuckets>& buckets() const { return buckets_; }
  [[nodiscard]] static std::size_t bucket_of(const MemberId& id);
  /// Hash of one live member as it enters the digest; 0 for a dead or left one.
  [[nodiscard]] static std::uint64_t hash_of(const Member& member);
  /// A tombstone past `keep`, or the oldest one while there are more than `max`; none if there is nothing to reap.
  [[nodiscard]] std::optional<MemberId> reapable(TimePoint now, Duration keep, std::size_t max) const;

 private:
  Member& insert(const MemberId& id);
  Outcome merge_tags(Member& member, const std::vector<Tag>& tags);

  std::size_t members_max_;
  std::vector<Member> members_;
  std::vector<std::uint64_t> hashes_;  // parallel to members_: what digest_ holds of each
  std::unordered_map<MemberId, std::size_t, MemberIdHash> index_;
  std::array<std::size_t, 4> counts_{};
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t digest_ = 0;
  std::size_t live_ = 0;
};

}  // namespace gossip
