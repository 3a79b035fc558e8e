#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "gossip/member.h"

namespace gossip {

/// Whom to probe next: every member once per round, in an order shuffled anew each round.
/// Source:    SWIM section 4.3 (round-robin probe target selection): it bounds the time to first detection by
///            2n - 1 periods; a new member goes to a random place of the running round.
/// Ownership: ids only; the caller says which of them may be probed.
class ProbeSchedule {
 public:
  void add(const MemberId& id, const Rng& rng);
  void remove(const MemberId& id);
  /// Next id for which `wanted(id)` holds, or none if there is none.
  template <class Wanted>
  std::optional<MemberId> next(const Rng& rng, Wanted wanted) {
    // Two rounds, since the one that is running may have passed the only wanted id already.
    for (std::size_t tried = 0; tried < 2 * order_.size(); ++tried) {
      if (place_ >= order_.size()) shuffle(rng);
      const MemberId id = order_[place_++];
      if (wanted(id)) return id;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::size_t size() const { return order_.size(); }

 private:
  void shuffle(const Rng& rng);
  std::vector<MemberId> order_;
  std::size_t place_ = 0;
};

}  // namespace gossip
