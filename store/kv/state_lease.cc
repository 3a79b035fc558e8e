#include "store/kv/state_machine.h"

/// The commands of the state machine that are about leases, members and the cluster's name.
namespace store::kv {

void StateMachine::write_lease(Index index, const std::string& service, Lease lease) {
  lease.modify = index;
  EpochCounter& counter = epochs_[service];
  counter = EpochCounter{std::max(counter.epoch, lease.epoch), index};
  journal_.mark(epoch_key(service), encode_epoch(counter));
  journal_.mark(lease_key(service), encode_lease(lease));
  const bool is_new = leases_.insert_or_assign(service, std::move(lease)).second;
  journal_.watches.touch(Topic::Kind::kLease, service);
  if (is_new) journal_.watches.touch(Topic::Kind::kLeaseNames);
}

StateMachine::Decision StateMachine::decide(Index index, const LeaseAcquire& command) {
  const Lease* present = lease(command.service);
  const Epoch last = epoch(command.service);
  if (present != nullptr && present->holder != NodeId{} && present->holder != command.holder)
    return {Outcome::kHeld, last, {}};
  const bool vacant = present == nullptr || present->holder == NodeId{};
  if (vacant && present != nullptr && present->preferred != NodeId{} && present->preferred != command.holder)
    return {Outcome::kReserved, last, {}};
  if (!epochs_.contains(command.service) && epochs_.size() >= kServicesMax)
    return {Outcome::kFull, {}, "the " + std::to_string(kServicesMax) + " services that ever had a lease"};
  Lease granted;
  granted.epoch = Epoch{value(last) + 1};
  granted.holder = command.holder;
  granted.holder_name = command.holder_name;
  granted.lease_ms = command.lease_ms;
  granted.margin_ms = command.margin_ms;
  granted.create = present != nullptr ? present->create : index;
  const Epoch epoch = granted.epoch;
  write_lease(index, command.service, std::move(granted));
  audit(index, 0, AuditKind::kPromotion, command.holder_name, command.service, "epoch " + std::to_string(value(epoch)));
  // In this very entry: nobody ever sees the new epoch beside an order that an old holder might still be sending.
  for (const OrderRow& order : orders_.fence(index, command.service, journal_)) audit_order(index, *order, to_string(order->source), 0);
  applying_->lease_changed = command.service;
  return {Outcome::kDone, epoch, {}};
}

StateMachine::Decision StateMachine::vacate(Index index, const std::string& service, Epoch epoch, NodeId preferred, const char* why) {
  const Lease* present = lease(service);
  if (present == nullptr) return {Outcome::kNotFound, this->epoch(service), {}};
  if (present->epoch != epoch || present->holder == NodeId{}) return {Outcome::kStaleEpoch, present->epoch, {}};
  Lease vacant = *present;
  vacant.holder = NodeId{};
  vacant.holder_name.clear();
  vacant.preferred = preferred;
  audit(index, 0, AuditKind::kDemotion, present->holder_name, service, std::string(why) + ", epoch " + std::to_string(value(epoch)));
  write_lease(index, service, std::move(vacant));
  applying_->lease_changed = service;
  return {Outcome::kDone, epoch, {}};
}

StateMachine::Decision StateMachine::decide(Index index, const LeaseRelease& command) {
  return vacate(index, command.service, command.epoch, command.preferred, "gave the lease up");
}

StateMachine::Decision StateMachine::decide(Index index, const LeaseExpire& command) {
  return vacate(index, command.service, command.epoch, NodeId{}, "the lease ran out");
}

StateMachine::Decision StateMachine::decide(Index index, const LeaseOpen& command) {
  const Lease* present = lease(command.service);
  if (present == nullptr) return {Outcome::kNotFound, epoch(command.service), {}};
  if (present->epoch != command.epoch || present->holder != NodeId{} || present->preferred == NodeId{})
    return {Outcome::kStaleEpoch, present->epoch, {}};
  Lease open = *present;
  open.preferred = NodeId{};
  write_lease(index, command.service, std::move(open));
  applying_->lease_changed = command.service;
  return {Outcome::kDone, command.epoch, {}};
}

StateMachine::Decision StateMachine::decide(Index index, const LeaseForget& command) {
  const Lease* present = lease(command.service);
  if (present == nullptr) return {Outcome::kNotFound, epoch(command.service), {}};
  if (present->holder != NodeId{}) return {Outcome::kHeld, present->epoch, {}};
  leases_.erase(command.service);
  journal_.mark_gone(lease_key(command.service));
  EpochCounter& counter = epochs_[command.service];
  counter.modify = index;
  journal_.mark(epoch_key(command.service), encode_epoch(counter));
  journal_.watches.touch(Topic::Kind::kLease, command.service);
  journal_.watches.touch(Topic::Kind::kLeaseNames);
  applying_->lease_changed = command.service;
  return {Outcome::kDone, counter.epoch, {}};
}

StateMachine::Decision StateMachine::decide(Index, const MemberSet& command) {
  const auto known = members_.find(command.id);
  if (known == members_.end() && members_.size() >= kMembersMax)
    return {Outcome::kFull, {}, "the directory's " + std::to_string(kMembersMax) + " members"};
  if (known != members_.end() && known->second == command.name) return {Outcome::kUnchanged, {}, {}};
  members_.insert_or_assign(command.id, command.name);
  journal_.mark(member_key(command.id), encode_member(command.name));
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const MemberRemove& command) {
  if (members_.erase(command.id) == 0) return {Outcome::kNotFound, {}, {}};
  journal_.mark_gone(member_key(command.id));
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const ClusterSet& command) {
  if (!cluster_id_.is_none()) return {Outcome::kUnchanged, {}, {}};
  cluster_id_ = command.id;
  journal_.mark(cluster_key(), encode_cluster(command.id));
  return {};
}

const Lease* StateMachine::lease(std::string_view service) const {
  const auto found = leases_.find(service);
  return found == leases_.end() ? nullptr : &found->second;
}

Epoch StateMachine::epoch(std::string_view service) const {
  const auto found = epochs_.find(service);
  return found == epochs_.end() ? Epoch{} : found->second.epoch;
}

Index StateMachine::lease_index(std::string_view service) const {
  if (service.empty()) {
    Index last{1};
    for (const auto& [name, counter] : epochs_) last = std::max(last, counter.modify);
    return last;
  }
  const auto found = epochs_.find(service);
  return found == epochs_.end() ? Index{1} : std::max(found->second.modify, Index{1});
}

Index StateMachine::lease_names_index() const {
  Index last{1};
  for (const auto& [name, counter] : epochs_) {
    const auto found = leases_.find(name);
    last = std::max(last, found == leases_.end() ? counter.modify : found->second.create);
  }
  return last;
}

}  // namespace store::kv
