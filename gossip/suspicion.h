#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gossip/member.h"

namespace gossip {

/// Shortest waits per evidence class for one size of the cluster; see suspicion_floors().
struct SuspicionFloors {
  Duration refused{};
  Duration silent{};
  Duration stalled{};
  Duration silent_braked{};  ///< for silent while many are suspect at once: a partition, or ourselves
};

/// Grace period of one suspect member: long at first, shorter with every independent accuser.
/// Source:    SWIM section 4.2; Lifeguard "LHA Suspicion": max(Min, Max - (Max-Min) * log(C+1) / log(K+1)), where C
///            counts the accusers after the first. Evidence classes: gossip.md 5.5; Min is that of the class most
///            accusers saw, and on a tie the slower one.
/// Invariant: floor <= deadline - start - shifts <= stretch * floor for the class now in the majority.
/// Ownership: a value inside the core; holds no pointer. At most kAccusersKept accusers are kept.
class Suspicion {
 public:
  static constexpr std::size_t kAccusersKept = 16;
  struct Accusation {
    MemberId accuser;
    Evidence evidence = Evidence::kSilent;
  };

  /// @param wanted   K: accusers after the first that bring the wait to its floor; 0 starts it there
  /// @param stretch  Max / Min, >= 1
  Suspicion(TimePoint start, const SuspicionFloors& floors, std::uint32_t wanted, std::uint32_t stretch,
            const Accusation& first);
  /// Counts one accusation. The first of each accuser counts; repeats change nothing. @return true if it was new
  bool confirm(const Accusation& accusation);
  /// @param braked  the mass brake is on
  [[nodiscard]] TimePoint deadline(bool braked) const;
  /// The time before which nobody may conclude that no second accuser will come: Max, counted from the start.
  [[nodiscard]] TimePoint ceiling(bool braked) const;
  /// Moves everything by the length of our own pause.
  void shift(Duration gap) { start_ += gap; }
  [[nodiscard]] Evidence evidence() const;  ///< the class in the majority
  [[nodiscard]] bool accused_by(const MemberId& id) const;
  [[nodiscard]] const std::vector<Accusation>& accusations() const { return accusations_; }
  [[nodiscard]] bool is_confirmed() const { return accusations_.size() > wanted_; }
  [[nodiscard]] TimePoint start() const { return start_; }

 private:
  [[nodiscard]] Duration floor(bool braked) const;
  TimePoint start_;
  SuspicionFloors floors_;
  std::uint32_t wanted_;
  std::uint32_t stretch_;
  std::vector<Accusation> accusations_;
};

struct Config;
/// Floors for a cluster of `live` members (>= 1).
[[nodiscard]] SuspicionFloors suspicion_floors(const Config& config, std::size_t live);

}  // namespace gossip
