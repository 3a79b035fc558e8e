#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "gossip/member.h"

namespace gossip {

/// Whom to knock at although gossip has no live member there: dead members, seeds, members of a former life.
/// Source:    gossip.md 5.9 (partition heal): at most one knock per interval, fresh ones first, each with its own
///            doubling back-off. Any success makes all others due soon, since a healed cut brings many back at once.
/// Bounds:    <= kMax entries; a further dead member replaces the one with the longest back-off, seeds always stay.
class HealSchedule {
 public:
  static constexpr std::size_t kMax = 256;
  enum class Origin : std::uint8_t { kSeed, kSnapshot, kDead };
  struct Target {
    Address address;
    MemberId id;  ///< none for a seed
    Origin origin = Origin::kSeed;
  };

  /// A known address gets the new id and is due at `now + first`.
  void add(const Target& target, TimePoint now, Duration first);
  void remove(const MemberId& id);
  void remove(const Address& address);
  /// The due target with the shortest back-off, which is then doubled (first .. max); it is due again after half to
  /// all of that, by chance: members that lost each other in one instant must not knock in lockstep.
  std::optional<Target> take(TimePoint now, Duration first, Duration max, const Rng& rng);
  /// Makes everything due within `first`.
  void hurry(TimePoint now, Duration first);
  [[nodiscard]] std::optional<TimePoint> next() const;
  [[nodiscard]] bool has_seeds() const;
  [[nodiscard]] bool is_seed(const Address& address) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Target target;
    TimePoint due{};
    Duration backoff{};
  };
  std::vector<Entry> entries_;
};

}  // namespace gossip
