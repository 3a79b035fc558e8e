#include "store/lease_keeper.h"

#include <algorithm>

namespace store {

using std::chrono::milliseconds;

void LeaseKeeper::take_office(const Leases& leases, TimePoint now) {
  in_office_ = true;
  watches_.clear();
  for (const auto& [service, lease] : leases) place(service, lease, now);
}

void LeaseKeeper::leave_office() {
  in_office_ = false;
  watches_.clear();
}

void LeaseKeeper::on_lease(const std::string& service, const kv::Lease* lease, TimePoint now) {
  if (!in_office_) return;
  watches_.erase(service);
  if (lease != nullptr) place(service, *lease, now);
}

void LeaseKeeper::place(const std::string& service, const kv::Lease& lease, TimePoint now) {
  const bool held = lease.holder != kv::NodeId{};
  if (!held && lease.preferred == kv::NodeId{}) return;  // vacant and open: nothing to wait for
  Watch watch;
  watch.epoch = lease.epoch;
  watch.held = held;
  watch.period = milliseconds(lease.lease_ms) + milliseconds(held ? lease.margin_ms : 0);
  watch.heard = watch.not_before = now;
  watches_.insert_or_assign(service, watch);
}

void LeaseKeeper::on_renewal(std::string_view service, kv::Epoch epoch, TimePoint now) {
  const auto found = watches_.find(service);
  if (found == watches_.end() || !found->second.held || found->second.in_flight) return;
  if (found->second.epoch == epoch) found->second.heard = std::max(found->second.heard, now);
}

bool LeaseKeeper::renewable(std::string_view service, kv::Epoch epoch) const {
  const auto found = watches_.find(service);
  return found != watches_.end() && found->second.held && found->second.epoch == epoch && !found->second.in_flight;
}

std::vector<kv::CommandBody> LeaseKeeper::due(TimePoint now) {
  std::vector<kv::CommandBody> commands;
  for (auto& [service, watch] : watches_) {
    if (watch.in_flight || now < watch.due()) continue;
    watch.in_flight = true;
    if (watch.held) {
      commands.emplace_back(kv::LeaseExpire{service, watch.epoch});
    } else {
      commands.emplace_back(kv::LeaseOpen{service, watch.epoch});
    }
  }
  return commands;
}

void LeaseKeeper::not_proposed(const kv::CommandBody& command, TimePoint retry) {
  const auto* expire = std::get_if<kv::LeaseExpire>(&command);
  const auto* open = std::get_if<kv::LeaseOpen>(&command);
  if (expire == nullptr && open == nullptr) return;
  const auto found = watches_.find(expire != nullptr ? expire->service : open->service);
  if (found == watches_.end() || found->second.epoch != (expire != nullptr ? expire->epoch : open->epoch)) return;
  found->second.in_flight = false;
  found->second.not_before = retry;
}

raft::TimePoint LeaseKeeper::next_deadline() const {
  TimePoint next = TimePoint::max();
  for (const auto& [service, watch] : watches_) {
    if (!watch.in_flight) next = std::min(next, watch.due());
  }
  return next;
}

}  // namespace store
