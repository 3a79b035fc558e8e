#include "store/kv/audit_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "store/kv/fields.h"
#include "store/kv/record.h"
#include "store/kv/wire.h"

namespace store::kv {
namespace {

constexpr std::uint64_t kEntryVersion = 1, kRowVersion = 1;
constexpr std::size_t kEntryFields = 8, kRowFields = 3;
constexpr std::size_t kEntryBytesMax = 4 * kAuditTextBytesMax;
constexpr std::size_t kRowBytesMax = kEntryBytesMax + 64;  // with its hash, and what msgpack adds

struct Parts {
  std::string_view entry;
  Digest hash{};
};

std::string_view bytes_of(const Digest& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

std::string encode_parts(std::string_view entry, const Digest& hash) {
  return ArrayWriter(kRowFields).add(kRowVersion).add(entry).add(bytes_of(hash)).take();
}

std::optional<Parts> parts_of(std::string_view row) {
  ArrayReader reader(row, kRowFields);
  if (reader.number() != kRowVersion) return std::nullopt;
  Parts parts;
  parts.entry = reader.bytes(kEntryBytesMax);
  const std::string_view hash = reader.bytes(parts.hash.size());
  if (!reader.finish() || hash.size() != parts.hash.size()) return std::nullopt;
  std::copy(hash.begin(), hash.end(), parts.hash.begin());
  return parts;
}

Digest chained(const Digest& before, std::string_view entry) {
  std::string bytes(bytes_of(before));
  bytes += entry;
  return sha256(bytes);
}

void cut(std::string& text) {
  if (text.size() > kAuditTextBytesMax) text.resize(kAuditTextBytesMax);
}

}  // namespace

const char* to_string(AuditKind kind) {
  switch (kind) {
    case AuditKind::kPromotion: return "promotion";
    case AuditKind::kDemotion: return "demotion";
    case AuditKind::kHalt: return "halt";
    case AuditKind::kResume: return "resume";
    case AuditKind::kApproval: return "approval";
    case AuditKind::kOrder: return "order";
    case AuditKind::kConfig: return "config";
    case AuditKind::kRestore: return "restore";
  }
  return "?";
}

const char* to_string(AuditFault::Kind kind) {
  switch (kind) {
    case AuditFault::Kind::kEdited: return "edited";
    case AuditFault::Kind::kDeleted: return "deleted";
    case AuditFault::Kind::kTruncated: return "truncated";
    case AuditFault::Kind::kDiffers: return "differs";
  }
  return "?";
}

std::string encode(const AuditEntry& entry) {
  return ArrayWriter(kEntryFields).add(kEntryVersion).add(entry.number).add(value(entry.index)).add(entry.time_ms)
      .add(static_cast<std::uint64_t>(entry.kind)).add(entry.actor).add(entry.subject).add(entry.text).take();
}

std::optional<AuditEntry> decode_audit_entry(std::string_view bytes) {
  ArrayReader reader(bytes, kEntryFields);
  if (reader.number() != kEntryVersion) return std::nullopt;
  AuditEntry entry;
  entry.number = reader.number();
  entry.index = Index{reader.number()};
  entry.time_ms = reader.number();
  entry.kind = take_enum(reader, kAuditKindLast, "kind of an audit entry");
  entry.actor = take_text(reader, kAuditTextBytesMax);
  entry.subject = take_text(reader, kAuditTextBytesMax);
  entry.text = take_text(reader, kAuditTextBytesMax);
  if (!reader.finish()) return std::nullopt;
  return entry;
}

Digest audit_content(std::string_view entry_bytes) {
  auto entry = decode_audit_entry(entry_bytes);
  if (!entry) return sha256(entry_bytes);
  entry->number = 0;
  return sha256(encode(*entry));
}

std::deque<AuditLog::Row>::const_iterator AuditLog::above(std::uint64_t number) const {
  return std::upper_bound(rows_.begin(), rows_.end(), number, [](std::uint64_t wanted, const Row& row) { return wanted < row.number; });
}

std::vector<AuditLog::Item> AuditLog::page(std::uint64_t after, std::size_t limit) const {
  std::vector<Item> items;
  for (auto row = above(after); row != rows_.end() && items.size() < limit; ++row) {
    const auto parts = parts_of(row->value);
    auto entry = parts ? decode_audit_entry(parts->entry) : std::nullopt;
    if (entry) items.push_back({std::move(*entry), parts->hash});
  }
  return items;
}

const AuditLog::Row* AuditLog::row_at(std::uint64_t number) const {
  const auto next = above(number);
  return next == rows_.begin() || std::prev(next)->number != number ? nullptr : &*std::prev(next);
}

std::optional<Digest> AuditLog::hash_at(std::uint64_t number) const {
  if (number == pruned_.number) return pruned_.hash;
  const Row* row = row_at(number);
  const auto parts = row != nullptr ? parts_of(row->value) : std::nullopt;
  return parts ? std::optional(parts->hash) : std::nullopt;
}

std::optional<AuditProof> AuditLog::proof(std::uint64_t number) const {
  const Row* row = row_at(number);
  const auto parts = row != nullptr ? parts_of(row->value) : std::nullopt;
  if (!parts) return std::nullopt;
  const auto entry = decode_audit_entry(parts->entry);
  return AuditProof{number, entry ? entry->index : Index{}, hash_at(number - 1).value_or(Digest{}), parts->hash, std::string(parts->entry)};
}

std::optional<AuditProof> AuditLog::newest_up_to(Index index) const {
  std::size_t steps = kNewestSteps;
  for (auto row = rows_.rbegin(); row != rows_.rend() && steps > 0; ++row, --steps) {
    const auto parts = parts_of(row->value);
    const auto entry = parts ? decode_audit_entry(parts->entry) : std::nullopt;
    if (entry && entry->index <= index) return proof(row->number);
  }
  return std::nullopt;
}

bool AuditLog::same_row(std::uint64_t number, const AuditLog& other) const {
  const Row *here = row_at(number), *there = other.row_at(number);
  return here == nullptr || there == nullptr || here->value == there->value;
}

void AuditLog::look(Look& look, std::size_t entries_max) const {
  if (!std::exchange(look.begun, true) || look.at.number < pruned_.number) look.at = pruned_;
  const auto note = [&look](AuditFault::Kind kind, std::uint64_t first, std::uint64_t last) {
    if (look.faults.size() < kAuditFaultsMax) look.faults.push_back({kind, first, last});
  };
  // Does the entry fit the hash that follows from the row before, where that one itself does not say it? Then that row was touched, not this
  // one. Behind a row that cannot be read, as behind a gap, nothing says which hash came before: the entry's own is believed.
  const auto fits_computed = [this, &look](const Parts& parts) {
    const Row* last = row_at(look.at.number);
    const auto known = last != nullptr ? parts_of(last->value) : std::nullopt;
    if (!known) return last != nullptr;
    const auto before = hash_at(look.at.number - 1);
    return before && chained(chained(*before, known->entry), parts.entry) == parts.hash;
  };
  auto row = above(look.at.number);
  for (; row != rows_.end() && entries_max > 0; ++row, --entries_max) {
    const auto parts = parts_of(row->value);
    const bool follows = row->number == look.at.number + 1;
    if (!follows) note(AuditFault::Kind::kDeleted, look.at.number + 1, row->number - 1);
    const auto entry = parts ? decode_audit_entry(parts->entry) : std::nullopt;
    const bool fits = entry && entry->number == row->number && (!follows || chained(look.at.hash, parts->entry) == parts->hash || fits_computed(*parts));
    if (!fits) note(AuditFault::Kind::kEdited, row->number, row->number);
    look.at = {row->number, parts ? parts->hash : Digest{}};
    ++look.entries;
  }
  if (row != rows_.end()) return;
  look.done = true;
  if (look.at.number < head_.number) note(AuditFault::Kind::kTruncated, look.at.number + 1, head_.number);
  else if (look.at.hash != head_.hash) note(AuditFault::Kind::kEdited, head_.number, head_.number);
  // The oldest go when one more has no room, and only then: where there is room, another hand has taken them away.
  if (pruned_.number != 0 && look.faults.empty() && rows_.size() < bounds_.entries && bytes_ + kRowBytesMax < bounds_.bytes)
    note(AuditFault::Kind::kDeleted, 1, pruned_.number);
}

std::vector<AuditFault> AuditLog::compare(const AuditEnds& peer) const {
  std::vector<AuditFault> faults;
  if (head_.number <= peer.head.number && pruned_.number > peer.pruned.number)
    faults.push_back({AuditFault::Kind::kDeleted, peer.pruned.number + 1, pruned_.number});
  for (const AuditHead& end : {peer.pruned, peer.head}) {
    const auto here = hash_at(end.number);
    if (here && *here != end.hash) faults.push_back({AuditFault::Kind::kDiffers, end.number, end.number});
  }
  return faults;
}

void AuditLog::append(AuditEntry entry, Journal& journal) {
  entry.number = head_.number + 1;
  cut(entry.actor);
  cut(entry.subject);
  cut(entry.text);
  const std::string bytes = encode(entry);
  head_ = {entry.number, chained(head_.hash, bytes)};
  Row row{entry.number, encode_parts(bytes, head_.hash)};
  journal.mark(audit_key(row.number), row.value);
  bytes_ += row.value.size();
  rows_.push_back(std::move(row));
  while (rows_.size() > bounds_.entries || bytes_ > bounds_.bytes) drop_oldest(journal);
  journal.mark(audit_ends_key(), encode_audit_ends(pruned_, head_));
}

void AuditLog::drop_oldest(Journal& journal) {
  const Row& oldest = rows_.front();
  const auto parts = parts_of(oldest.value);
  pruned_ = {oldest.number, parts ? parts->hash : Digest{}};
  bytes_ -= oldest.value.size();
  journal.mark_gone(audit_key(oldest.number));
  rows_.pop_front();
}

void AuditLog::load(std::uint64_t number, std::string row) {
  bytes_ += row.size();
  rows_.push_back({number, std::move(row)});
}

void AuditLog::load_ends(const AuditHead& pruned, const AuditHead& head) {
  pruned_ = pruned;
  head_ = head;
}

void AuditLog::append_rows(std::vector<Record>& rows) const {
  for (const Row& row : rows_) rows.push_back({audit_key(row.number), row.value});
  if (head_.number != 0) rows.push_back({audit_ends_key(), encode_audit_ends(pruned_, head_)});
}

}  // namespace store::kv
