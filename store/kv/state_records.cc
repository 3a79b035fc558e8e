#include <algorithm>
#include <type_traits>
#include <utility>

#include "store/kv/state_machine.h"

/// The state machine as rows: taken from disk or a snapshot, handed to disk or a snapshot, hashed.
namespace store::kv {

Result<void> StateMachine::load(Index applied, std::span<const Record> records) {
  StateMachine fresh;
  auto loaded = fresh.add_rows(records);
  if (loaded) loaded = fresh.finish_load(applied);
  exchange(fresh);
  return loaded;
}

Result<void> StateMachine::add_rows(std::span<const Record> records) {
  for (const Record& record : records) {
    if (!record.value) return fail(Errc::kBadState, "a row without a value");
    auto row = decode_row(record.key, *record.value);
    if (!row) return tl::unexpected<Error>(row.error());
    load_row(std::move(*row));
  }
  return {};
}

Result<void> StateMachine::finish_load(Index applied) {
  applied_ = applied;
  if (!kv_.finish_load(applied) || !load_consistent())
    return fail(Errc::kBadState, "rows contradict each other or the applied index");
  return {};
}

void StateMachine::exchange(StateMachine& other) {
  std::swap(*this, other);
  // Who waits here goes on waiting here, and whose answers are wanted does not change either.
  std::swap(journal_.watches, other.journal_.watches);
  std::swap(answered_, other.answered_);
  journal_.clear();
  journal_.watches.touch_all();
}

void StateMachine::load_row(Row row) {
  std::visit(
      [this](auto& r) {
        using T = std::decay_t<decltype(r)>;
        if constexpr (std::is_same_v<T, EntryRow>) {
          kv_.load(std::move(r.key), std::move(r.entry), r.lock);
        } else if constexpr (std::is_same_v<T, TombstoneRow>) {
          kv_.load_tombstone(std::move(r.key), r.index);
        } else if constexpr (std::is_same_v<T, FloorRow>) {
          kv_.load_floor(r.index);
        } else if constexpr (std::is_same_v<T, LeaseRow>) {
          leases_.insert_or_assign(std::move(r.service), std::move(r.lease));
        } else if constexpr (std::is_same_v<T, EpochRow>) {
          epochs_.insert_or_assign(std::move(r.service), r.counter);
        } else if constexpr (std::is_same_v<T, MemberRow>) {
          members_.insert_or_assign(r.id, std::move(r.name));
        } else if constexpr (std::is_same_v<T, ClusterRow>) {
          cluster_id_ = r.id;
        } else if constexpr (std::is_same_v<T, Session>) {
          sessions_.load(std::move(r));
        } else if constexpr (std::is_same_v<T, DelayRow>) {
          sessions_.load_delay(std::move(r.key), r.delay);
        } else if constexpr (std::is_same_v<T, UserEvent>) {
          events_.push_back(std::move(r));
        } else if constexpr (std::is_same_v<T, QuotaRow>) {
          kv_.load_quota(std::move(r.prefix), r.quota);
        } else if constexpr (std::is_same_v<T, CounterRow>) {
          load_counter(std::move(r));
        } else if constexpr (std::is_same_v<T, StagedRow>) {
          load_staged(std::move(r));
        } else if constexpr (std::is_same_v<T, Order>) {
          orders_.load(std::move(r));
        } else if constexpr (std::is_same_v<T, HaltRow> || std::is_same_v<T, HaltSeenRow>) {
          halts_.load(std::move(r));
        } else if constexpr (std::is_same_v<T, AuditRow>) {
          audit_.load(r.number, std::move(r.value));
        } else if constexpr (std::is_same_v<T, AuditEndsRow>) {
          audit_.load_ends(r.pruned, r.head);
        } else if constexpr (std::is_same_v<T, RequestRow>) {
          load_request(r);
        } else {
          catalog_.load(std::move(r));
        }
      },
      row);
}

void StateMachine::load_request(const RequestRow& row) {
  Origin& origin = origins_[row.origin];
  if (row.slot >= origin.slots.size()) origin.slots.resize(row.slot + 1);
  origin.slots[row.slot] = row.remembered;
  origin.last = std::max(origin.last, row.remembered.index);
}

void StateMachine::load_counter(CounterRow row) {
  if (row.name.empty()) return catalog_.load_floor(row.index);
  if (row.name == SessionTable::kCounter) return sessions_.load_index(row.index);
  catalog_.load_counter(std::move(row.name), row.index);
}

void StateMachine::load_staged(StagedRow row) {
  // Row 0 names the restore, the chunks follow: records come sorted, and load_consistent() counts them.
  staged_.id = row.restore;
  if (row.number == 0) return;
  stage(std::move(row.rows));
}

// What no correct writer can have produced: then the bytes come from a defect, and serving them would spread it.
bool StateMachine::load_consistent() const {
  for (const auto& [service, lease] : leases_) {
    if (epoch(service) < lease.epoch || lease.modify > applied_) return false;
  }
  for (const auto& [key, lock] : kv_.locks()) {
    if (kv_.get(key) == nullptr) return false;
    if (!lock.session.is_none() && sessions_.find(lock.session) == nullptr) return false;
  }
  if (!events_.empty() && events_.back().index > applied_) return false;
  if (!orders_.consistent(applied_, [this](const std::string& service) { return epoch(service); })) return false;
  if (!halts_.consistent(applied_)) return false;
  return catalog_.consistent(applied_) && sessions_.consistent(catalog_, applied_);
}

void StateMachine::append_kv_rows(std::vector<Record>& rows) const {
  auto lock = kv_.locks().begin();
  for (const auto& [key, entry] : kv_.entries()) {
    while (lock != kv_.locks().end() && lock->first < key) ++lock;
    const bool locked = lock != kv_.locks().end() && lock->first == key;
    rows.push_back({entry_key(key), encode_entry(entry, locked ? &lock->second : nullptr)});
  }
}

std::vector<Record> StateMachine::records() const {
  std::vector<Record> rows;
  rows.reserve(kv_.entries().size() + kv_.tombstone_count() + 2 * leases_.size() + members_.size() + orders_.size());
  append_rows_before_orders(rows);
  orders_.append_rows(rows);
  append_rows_after_orders(rows);
  halts_.append_rows(rows);
  audit_.append_rows(rows);
  return rows;
}

// In order of the kind letters, so that the whole is sorted by key.
void StateMachine::append_rows_before_orders(std::vector<Record>& rows) const {
  for (const UserEvent& event : events_) rows.push_back({event_key(event.index), encode_event(event)});
  for (const auto& [key, delay] : sessions_.delays()) rows.push_back({delay_key(key), encode_delay(delay)});
  if (!cluster_id_.is_none()) rows.push_back({cluster_key(), encode_cluster(cluster_id_)});
  for (const auto& [id, origin] : origins_) {
    for (std::size_t slot = 0; slot < origin.slots.size(); ++slot) {
      if (origin.slots[slot].seq != 0) rows.push_back({request_key(id, slot), encode_remembered(origin.slots[slot])});
    }
  }
  for (const auto& [service, counter] : epochs_) rows.push_back({epoch_key(service), encode_epoch(counter)});
  if (kv_.tombstone_floor() != Index{}) rows.push_back({floor_key(), encode_index(kv_.tombstone_floor())});
  for (const Check* check : catalog_.all_checks()) rows.push_back({check_key(check->node, check->id), encode_check(*check)});
  append_counter_rows(rows);
  append_kv_rows(rows);
  for (const auto& [service, lease] : leases_) rows.push_back({lease_key(service), encode_lease(lease)});
  for (const auto& [id, name] : members_) rows.push_back({member_key(id), encode_member(name)});
  for (const auto& [name, node] : catalog_.nodes()) rows.push_back({node_key(name), encode_node(node)});
}

void StateMachine::append_rows_after_orders(std::vector<Record>& rows) const {
  for (const auto& [prefix, row] : quotas().rows()) rows.push_back({quota_key(prefix), encode_quota(row.quota)});
  append_staged_rows(rows);
  for (const auto& [id, session] : sessions_.all()) rows.push_back({session_key(id), encode_session(session)});
  for (const auto& [key, index] : kv_.tombstones()) rows.push_back({tombstone_key(key), encode_index(index)});
  for (const ServiceInstance* instance : catalog_.all_instances())
    rows.push_back({instance_key(instance->node, instance->id), encode_instance(*instance)});
}

void StateMachine::append_counter_rows(std::vector<Record>& rows) const {
  const IndexCounters& counters = catalog_.counters();
  if (counters.floor() != Index{}) rows.push_back({counter_key({}), encode_index(counters.floor())});
  for (const auto& [name, index] : counters.all()) rows.push_back({counter_key(name), encode_index(index)});
  // Its letter comes after all of the catalog's.
  if (sessions_.last_index() != Index{})
    rows.push_back({counter_key(SessionTable::kCounter), encode_index(sessions_.last_index())});
}

void StateMachine::append_staged_rows(std::vector<Record>& rows) const {
  if (staged_.id.is_none()) return;
  rows.push_back({restore_key(0), encode_staged(staged_.id, {})});
  for (std::size_t i = 0; i < staged_.chunks.size(); ++i)
    rows.push_back({restore_key(i + 1), encode_staged(staged_.id, staged_.chunks[i])});
}

std::vector<Record> StateMachine::saved_rows() const {
  std::vector<Record> rows;
  for (const auto& [service, counter] : epochs_) rows.push_back({epoch_key(service), encode_epoch(counter)});
  for (const Check* check : catalog_.all_checks()) rows.push_back({check_key(check->node, check->id), encode_check(*check)});
  append_kv_rows(rows);
  for (const auto& [name, node] : catalog_.nodes()) rows.push_back({node_key(name), encode_node(node)});
  for (const auto& [prefix, row] : quotas().rows()) rows.push_back({quota_key(prefix), encode_quota(row.quota)});
  for (const auto& [id, session] : sessions_.all()) rows.push_back({session_key(id), encode_session(session)});
  for (const ServiceInstance* instance : catalog_.all_instances())
    rows.push_back({instance_key(instance->node, instance->id), encode_instance(*instance)});
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
