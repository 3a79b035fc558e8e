#include <algorithm>

#include "store/kv/state_machine.h"

/// Restore: saved rows are gathered as chunks beside the state, which everybody goes on reading, and take its place in
/// one step. A state larger than one entry of the log becomes visible at once that way.
namespace store::kv {

void StateMachine::drop_staged() {
  if (staged_.id.is_none()) return;
  for (std::size_t number = 0; number <= staged_.chunks.size(); ++number) journal_.mark_gone(restore_key(number));
  staged_ = Staged{};
}

// The hash is made on the way: that of all rows at the commit would take a turn of its own.
void StateMachine::stage(std::string rows) {
  std::string bound(staged_.digest.begin(), staged_.digest.end());
  bound += rows;
  staged_.digest = sha256(bound);
  staged_.bytes += rows.size();
  staged_.chunks.push_back(std::move(rows));
}

StateMachine::Decision StateMachine::decide(Index, const RestoreBegin& command) {
  drop_staged();
  staged_.id = command.id;
  journal_.mark(restore_key(0), encode_staged(command.id, {}));
  applying_->restore_changed = true;
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const RestoreChunk& command) {
  if (staged_.id != command.id) return {Outcome::kConditionFailed, {}, "another restore is under way, or none"};
  if (command.number != staged_.chunks.size())
    return {Outcome::kConditionFailed, {}, "chunk " + std::to_string(staged_.chunks.size()) + " is the next one"};
  if (staged_.bytes + command.rows.size() > kRestoreBytesMax)
    return {Outcome::kFull, {}, "the " + std::to_string(kRestoreBytesMax >> 20U) + " MiB of one restore"};
  stage(command.rows);
  journal_.mark(restore_key(staged_.chunks.size()), encode_staged(command.id, command.rows));
  applying_->restore_changed = true;
  return {};
}

StateMachine::Decision StateMachine::decide(Index index, const RestoreCommit& command) {
  if (staged_.id != command.id) return {Outcome::kConditionFailed, {}, "another restore is under way, or none"};
  if (command.chunks != staged_.chunks.size())
    return {Outcome::kConditionFailed, {}, std::to_string(staged_.chunks.size()) + " chunks are here"};
  applying_->restore_changed = true;
  auto restored = build_staged();
  drop_staged();
  if (!restored) return {Outcome::kConditionFailed, {}, restored.error().detail};
  adopt(index, std::move(*restored));
  return {};
}

StateMachine::Decision StateMachine::decide(Index, const RestoreAbort& command) {
  if (staged_.id != command.id) return {Outcome::kNotFound, {}, {}};
  drop_staged();
  applying_->restore_changed = true;
  return {};
}

namespace {

// What a command would have to obey to make such a row.
Result<void> check_row(const Row& row) {
  if (const auto* entry = std::get_if<EntryRow>(&row)) return check(Delete{entry->key});
  if (const auto* session = std::get_if<Session>(&row)) return check(SessionCreate{*session});
  if (const auto* node = std::get_if<Node>(&row)) return check(NodeSet{*node});
  if (const auto* instance = std::get_if<ServiceInstance>(&row)) return check(ServiceSet{*instance, {}, {}, {}});
  if (const auto* one = std::get_if<Check>(&row)) return check(CheckSet{*one, {}});
  if (const auto* quota = std::get_if<QuotaRow>(&row)) return check(QuotaSet{quota->prefix, quota->quota});
  return {};
}

}  // namespace

// Saved rows come from a file that anybody may have written: whatever is wrong with them refuses the restore, and
// must never stop a replica.
Result<StateMachine::Restored> StateMachine::build_staged() const {
  StateMachine scratch;
  Restored restored;
  std::size_t number = 0;
  std::string last;
  for (const std::string& chunk : staged_.chunks) {
    const std::string where = "chunk " + std::to_string(number++) + ": ";
    const auto rows = decode_rows(chunk);
    if (!rows) return fail(rows.error().code, where + rows.error().detail);
    for (const Record& record : *rows) {
      if (!is_saved_kind(record.key)) return fail(Errc::kUnknownKind, where + "a kind of row that is not restored");
      if (record.key <= last) return fail(Errc::kMalformed, where + "rows out of order, or one of them twice");
      last = record.key;
      auto row = decode_row(record.key, *record.value);
      if (!row) return fail(row.error().code, where + row.error().detail);
      if (auto sound = check_row(*row); !sound) return fail(sound.error().code, where + sound.error().detail);
      scratch.load_row(std::move(*row));
    }
  }
  constexpr Index kAnyIndex{~std::uint64_t{0}};  // the indexes of another time are replaced anyway
  scratch.applied_ = kAnyIndex;
  scratch.epochs_.swap(restored.epochs);
  if (!scratch.kv_.finish_load(kAnyIndex) || !scratch.load_consistent())
    return fail(Errc::kBadState, "the rows contradict each other");
  if (const auto bound = scratch.exceeded_bound()) return fail(Errc::kTooLarge, "too much: " + *bound);
  restored.rows = staged_.digest;
  restored.kv = std::move(scratch.kv_);
  restored.sessions = std::move(scratch.sessions_);
  restored.catalog = std::move(scratch.catalog_);
  return restored;
}

// The bounds that commands keep one by one.
std::optional<std::string> StateMachine::exceeded_bound() const {
  if (entry_count() > kEntriesMax || entry_bytes() > kStateBytesMax) return "keys and values";
  if (quotas().rows().size() > kQuotasMax) return "quotas";
  if (sessions_.all().size() > kSessionsMax) return "sessions";
  if (catalog_.nodes().size() > kNodesMax || catalog_.instance_count() > kInstancesMax) return "nodes and services";
  if (catalog_.check_count() > kChecksMax || catalog_.bytes() > kCatalogBytesMax) return "checks";
  for (const auto& [id, session] : sessions_.all()) {
    const auto* held = kv_.held_by(id);
    if (held != nullptr && held->size() > kSessionKeysMax) return "keys of one session";
  }
  return std::nullopt;
}

// Orders, halts and the audit stay as they are: going back in time must make none of them forgotten.
void StateMachine::adopt(Index index, Restored restored) {
  const auto replaced = [this] {
    std::vector<Record> rows;
    append_rows_before_orders(rows);
    append_rows_after_orders(rows);
    return rows;
  };
  for (Record& row : replaced()) journal_.mark_gone(std::move(row.key));
  for (const auto& [id, session] : sessions_.all()) applying_->sessions_changed.push_back(id);
  for (const auto& [key, delay] : sessions_.delays()) applying_->delays_changed.push_back(key);
  kv_ = std::move(restored.kv);
  sessions_ = std::move(restored.sessions);
  catalog_ = std::move(restored.catalog);
  kv_.renumber(index);
  sessions_.renumber(index);
  catalog_.renumber(index);
  for (const auto& [id, session] : sessions_.all()) applying_->sessions_changed.push_back(id);
  // Epochs only grow: a service that had more of them in the saved state goes on from there.
  for (const auto& [service, saved] : restored.epochs) {
    EpochCounter& counter = epochs_[service];
    if (counter.epoch >= saved.epoch) continue;
    if (epochs_.size() > kServicesMax) {
      epochs_.erase(service);
      continue;
    }
    counter = {saved.epoch, index};
    journal_.watches.touch(Topic::Kind::kLease, service);
  }
  for (Record& row : replaced()) journal_.mark(std::move(row.key), std::move(*row.value));
  audit(index, 0, AuditKind::kRestore, name_of(applying_->request.origin), {},
        std::to_string(entry_count()) + " keys, " + std::to_string(catalog_.nodes().size()) + " nodes, rows " + hex(restored.rows));
  journal_.watches.touch_all();
  applying_->replaced = true;
}

}  // namespace store::kv
