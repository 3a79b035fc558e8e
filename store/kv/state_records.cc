#include <algorithm>
#include <type_traits>

#include "store/kv/state_machine.h"

/// The state machine as rows: taken from disk or a snapshot, handed to disk or a snapshot, hashed.
namespace store::kv {

Result<void> StateMachine::load(Index applied, std::span<const Record> records) {
  entries_.clear();
  entry_bytes_ = 0;
  tombstones_.clear();
  tombstones_by_age_.clear();
  tombstone_floor_ = kv_index_ = Index{};
  leases_.clear();
  epochs_.clear();
  members_.clear();
  cluster_id_ = ClusterId{};
  origins_.clear();
  dirty_.clear();
  applied_ = applied;
  for (const Record& record : records) {
    if (!record.value) return fail(Errc::kBadState, "a row without a value");
    auto row = decode_row(record.key, *record.value);
    if (!row) return tl::unexpected<Error>(row.error());
    load_row(std::move(*row));
  }
  watches_.touch_all();
  if (!load_consistent()) return fail(Errc::kBadState, "rows contradict each other or the applied index");
  return {};
}

void StateMachine::load_row(Row row) {
  std::visit(
      [this](auto& r) {
        using T = std::decay_t<decltype(r)>;
        if constexpr (std::is_same_v<T, EntryRow>) {
          entry_bytes_ += r.key.size() + r.entry.value.size();
          kv_index_ = std::max(kv_index_, r.entry.modify);
          entries_.insert_or_assign(std::move(r.key), std::move(r.entry));
        } else if constexpr (std::is_same_v<T, TombstoneRow>) {
          kv_index_ = std::max(kv_index_, r.index);
          tombstones_by_age_.emplace(r.index, r.key);
          tombstones_.insert_or_assign(std::move(r.key), r.index);
        } else if constexpr (std::is_same_v<T, FloorRow>) {
          tombstone_floor_ = r.index;
        } else if constexpr (std::is_same_v<T, LeaseRow>) {
          leases_.insert_or_assign(std::move(r.service), std::move(r.lease));
        } else if constexpr (std::is_same_v<T, EpochRow>) {
          epochs_.insert_or_assign(std::move(r.service), r.counter);
        } else if constexpr (std::is_same_v<T, MemberRow>) {
          members_.insert_or_assign(r.id, std::move(r.name));
        } else if constexpr (std::is_same_v<T, ClusterRow>) {
          cluster_id_ = r.id;
        } else {
          static_assert(std::is_same_v<T, RequestRow>);
          Origin& origin = origins_[r.origin];
          if (r.slot >= origin.slots.size()) origin.slots.resize(r.slot + 1);
          origin.slots[r.slot] = r.remembered;
          origin.last = std::max(origin.last, r.remembered.index);
        }
      },
      row);
}

// What no correct writer can have produced: then the bytes come from a defect, and serving them would spread it.
bool StateMachine::load_consistent() const {
  if (kv_index_ > applied_ || tombstone_floor_ > applied_) return false;
  for (const auto& [service, lease] : leases_) {
    if (epoch(service) < lease.epoch || lease.modify > applied_) return false;
  }
  return std::none_of(tombstones_.begin(), tombstones_.end(),
                      [this](const auto& grave) { return entries_.contains(grave.first); });
}

std::vector<Record> StateMachine::take_dirty() {
  std::vector<Record> records;
  records.reserve(dirty_.size());
  while (!dirty_.empty()) {
    auto node = dirty_.extract(dirty_.begin());
    records.push_back(Record{std::move(node.key()), std::move(node.mapped())});
  }
  return records;
}

std::vector<Record> StateMachine::records() const {
  // In order of the kind letters, so that the whole is sorted by key.
  std::vector<Record> rows;
  rows.reserve(entries_.size() + tombstones_.size() + 2 * leases_.size() + members_.size());
  if (!cluster_id_.is_none()) rows.push_back({cluster_key(), encode_cluster(cluster_id_)});
  for (const auto& [id, origin] : origins_) {
    for (std::size_t slot = 0; slot < origin.slots.size(); ++slot) {
      if (origin.slots[slot].seq != 0) rows.push_back({request_key(id, slot), encode_remembered(origin.slots[slot])});
    }
  }
  for (const auto& [service, counter] : epochs_) rows.push_back({epoch_key(service), encode_epoch(counter)});
  if (tombstone_floor_ != Index{}) rows.push_back({floor_key(), encode_index(tombstone_floor_)});
  for (const auto& [key, entry] : entries_) rows.push_back({entry_key(key), encode_entry(entry)});
  for (const auto& [service, lease] : leases_) rows.push_back({lease_key(service), encode_lease(lease)});
  for (const auto& [id, name] : members_) rows.push_back({member_key(id), encode_member(name)});
  for (const auto& [key, index] : tombstones_) rows.push_back({tombstone_key(key), encode_index(index)});
  return rows;
}

std::uint64_t StateMachine::content_hash() const {
  // FNV-1a, with lengths mixed in so that rows cannot run into each other.
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&hash](std::string_view bytes) {
    for (const char byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3ULL;
    hash = (hash ^ bytes.size()) * 0x100000001b3ULL;
  };
  for (const Record& record : records()) {
    mix(record.key);
    mix(*record.value);
  }
  return hash;
}

}  // namespace store::kv
