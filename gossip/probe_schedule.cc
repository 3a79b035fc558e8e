#include "gossip/probe_schedule.h"

#include <algorithm>

namespace gossip {

void ProbeSchedule::add(const MemberId& id, const Rng& rng) {
  const auto at = static_cast<std::size_t>(rng(order_.size() + 1));
  order_.insert(order_.begin() + static_cast<std::ptrdiff_t>(at), id);
  if (at < place_) ++place_;  // behind us: the ids already probed in this round are not probed twice
}

void ProbeSchedule::remove(const MemberId& id) {
  const auto found = std::find(order_.begin(), order_.end(), id);
  if (found == order_.end()) return;
  if (static_cast<std::size_t>(found - order_.begin()) < place_) --place_;
  order_.erase(found);
}

void ProbeSchedule::shuffle(const Rng& rng) {
  for (std::size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[static_cast<std::size_t>(rng(i))]);
  }
  place_ = 0;
}

}  // namespace gossip
