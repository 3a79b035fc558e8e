#include "store/kv/record.h"

#include "store/kv/fields.h"

namespace store::kv {
namespace {

constexpr std::size_t kRequestNameBytes = 10;  // origin and slot
constexpr std::size_t kFieldsMax = 3 + 2 * kHaltGapsMax;  // the longest array is one of gaps; the next, a list of tags, has 256

std::string key_of(char kind, std::string_view name) {
  std::string key(1, kind);
  key += name;
  return key;
}

void append_big_endian(std::string& to, std::uint64_t number, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) to += static_cast<char>((number >> (8 * i)) & 0xffU);
}

std::uint64_t read_big_endian(std::string_view bytes) {
  std::uint64_t number = 0;
  for (const char byte : bytes) number = (number << 8U) | static_cast<std::uint8_t>(byte);
  return number;
}

Row decode_lease_row(std::string_view name, ArrayReader& r) {
  LeaseRow row{std::string(name), {}};
  row.lease.epoch = Epoch{r.number()};
  row.lease.holder = NodeId{r.number()};
  row.lease.holder_name = r.bytes(kNameBytesMax);
  row.lease.preferred = NodeId{r.number()};
  row.lease.lease_ms = r.number32();
  row.lease.margin_ms = r.number32();
  row.lease.create = Index{r.number()};
  row.lease.modify = Index{r.number()};
  return row;
}

Row decode_cluster_row(ArrayReader& r) {
  ClusterRow row;
  const std::string_view raw = r.bytes(row.id.bytes.size());
  if (raw.size() != row.id.bytes.size()) {
    r.reject(Errc::kMalformed, "cluster id is not 16 bytes");
    return row;
  }
  for (std::size_t i = 0; i < raw.size(); ++i) row.id.bytes[i] = static_cast<std::uint8_t>(raw[i]);
  return row;
}

Row decode_request_row(std::string_view name, ArrayReader& r) {
  if (name.size() != kRequestNameBytes) {
    r.reject(Errc::kMalformed, "request key is not 10 bytes");
    return FloorRow{};
  }
  RequestRow row{NodeId{read_big_endian(name.substr(0, 8))}, read_big_endian(name.substr(8)), {}};
  row.remembered.seq = r.number();
  row.remembered.index = Index{r.number()};
  const std::uint64_t outcome = r.number();
  if (outcome > static_cast<std::uint64_t>(kOutcomeLast)) r.reject(Errc::kUnknownKind, "outcome");
  row.remembered.outcome = static_cast<Outcome>(outcome);
  row.remembered.epoch = Epoch{r.number()};
  if (r.ok() && (row.slot >= kDedupeWindow || row.remembered.seq % kDedupeWindow != row.slot))
    r.reject(Errc::kMalformed, "request in the wrong slot");
  return row;
}

EntryRow decode_entry_row(std::string_view name, ArrayReader& r, std::uint64_t version) {
  EntryRow row{std::string(name), {}, {}};
  row.entry.create = Index{r.number()};
  row.entry.modify = Index{r.number()};
  row.entry.flags = r.number();
  row.entry.value = r.bytes(kValueBytesMax);
  if (version != kLockedEntryVersion) return row;
  row.lock.lock_index = r.number();
  row.lock.session.uuid = take_uuid(r);
  return row;
}

// The structures hold their own names; a row under another one's key was not written by us.
template <class T>
Row with_indexes(T structure, bool named_right, ArrayReader& r) {
  structure.create = Index{r.number()};
  structure.modify = Index{r.number()};
  if (r.ok() && !named_right) r.reject(Errc::kMalformed, "row under another one's key");
  return structure;
}

Row decode_session_row(std::string_view name, ArrayReader& r) {
  Session session = take_session(r);
  const bool right = session_key(session.id).substr(1) == name;
  return with_indexes(std::move(session), right, r);
}

Row decode_instance_row(std::string_view name, ArrayReader& r) {
  ServiceInstance instance = take_instance(r);
  const bool right = instance_key(instance.node, instance.id).substr(1) == name;
  return with_indexes(std::move(instance), right, r);
}

Row decode_check_row(std::string_view name, ArrayReader& r) {
  Check check = take_check(r);
  const bool right = check_key(check.node, check.id).substr(1) == name;
  return with_indexes(std::move(check), right, r);
}

Row decode_event_row(std::string_view name, ArrayReader& r) {
  UserEvent event = take_event(r);
  event.index = Index{read_big_endian(name)};
  return event;
}

Row decode_staged_row(std::string_view name, ArrayReader& r) {
  const Uuid restore = take_uuid(r);
  return StagedRow{read_big_endian(name), restore, take_text(r, kRestoreChunkBytesMax)};
}

// What a row claims must be possible, or it was not written by us.
bool sound(const Order& order) {
  const bool reserved = order.state == OrderState::kReserved;
  if (order.attempt == 0 || order.epoch == Epoch{} || order.node == NodeId{} || order.reserved == Index{}) return false;
  if (order.changed < order.reserved || reserved != (order.changed == order.reserved)) return false;
  if (order.reserved_ms > kOrderTimeMsMax || order.settled_ms > kOrderTimeMsMax) return false;
  if (order.retention_ms < kOrderRetentionMsMin || order.retention_ms > kOrderRetentionMsMax) return false;
  if (order.state != OrderState::kDone && order.answer != OrderAnswer{}) return false;
  if (order.answer.headers.size() + order.answer.body.size() > kOrderAnswerBytesMax) return false;
  if (order.source == OrderSource::kLease) return order.state == OrderState::kUnknown && order.settled_ms == 0;
  return !reserved || (order.settled_ms == 0 && order.source == OrderSource::kSender);
}

Row decode_order_row(std::string_view name, ArrayReader& r) {
  Order order;
  order.name = take_order_name(r);
  order.fingerprint = take_fingerprint(r);
  order.state = take_enum(r, kOrderStateLast, "state of an order");
  order.source = take_enum(r, kOrderSourceLast, "source of a verdict");
  order.attempt = r.number32();
  order.epoch = Epoch{r.number()};
  order.node = NodeId{r.number()};
  order.reserved = Index{r.number()};
  order.changed = Index{r.number()};
  order.reserved_ms = r.number();
  order.settled_ms = r.number();
  order.retention_ms = r.number();
  order.answer = take_answer(r);
  if (r.ok() && order_key(order.name).substr(1) != name) r.reject(Errc::kMalformed, "row under another one's key");
  if (r.ok() && !sound(order)) r.reject(Errc::kMalformed, "an order whose fields contradict each other");
  return order;
}

Row decode_halt_seen_row(std::string_view name, ArrayReader& r) {
  HaltSeenRow row{read_big_endian(name), r.number(), Index{r.number()}};
  while (!r.at_end() && r.ok()) {
    const std::uint64_t least = row.gaps.empty() ? 1 : row.gaps.back().second + 2, first = r.number(), last = r.number();
    if (r.ok() && (first < least || last < first || last >= row.number || row.gaps.size() >= kHaltGapsMax)) r.reject(Errc::kMalformed, "gaps of halts out of order");
    row.gaps.emplace_back(first, last);
  }
  if (r.ok() && (row.replica == 0 || row.number == 0 || row.number > kHaltNumberMax))
    r.reject(Errc::kMalformed, "a replica of halts without a number, or with one that is out of bounds");
  return row;
}

Row decode_halt_row(std::string_view name, ArrayReader& r) {
  HaltRow row{take_halt(r), {}};
  row.proposal = {take_text(r, kHaltWhoBytesMax), r.number()};
  if (r.ok() && halt_key(row.halt.tag).substr(1) != name) r.reject(Errc::kMalformed, "row under another one's key");
  return row;
}

AuditHead take_audit_head(ArrayReader& r) {
  AuditHead head;
  head.number = r.number();
  head.hash = take_fingerprint(r);
  return head;
}

Row decode_audit_ends_row(ArrayReader& r) {
  AuditEndsRow row;
  row.pruned = take_audit_head(r);
  row.head = take_audit_head(r);
  return row;
}

Row decode_fields(char kind, std::string_view name, ArrayReader& r, std::uint64_t version) {
  switch (kind) {
    case 'k':
      return decode_entry_row(name, r, version);
    case 't':
      return TombstoneRow{std::string(name), Index{r.number()}};
    case 'f':
      return FloorRow{Index{r.number()}};
    case 'l':
      return decode_lease_row(name, r);
    case 'e':
      return EpochRow{std::string(name), {Epoch{r.number()}, Index{r.number()}}};
    case 'm':
      return MemberRow{NodeId{read_big_endian(name)}, std::string(r.bytes(kNameBytesMax))};
    case 'c':
      return decode_cluster_row(r);
    case 'd':
      return decode_request_row(name, r);
    case 's':
      return decode_session_row(name, r);
    case 'b':
      return DelayRow{std::string(name), {r.number32(), Index{r.number()}}};
    case 'n': {
      Node node = take_node_row(r);
      const bool right = node.name == name;
      return with_indexes(std::move(node), right, r);
    }
    case 'v':
      return decode_instance_row(name, r);
    case 'h':
      return decode_check_row(name, r);
    case 'i':
      return CounterRow{std::string(name), Index{r.number()}};
    case 'E':
      return decode_event_row(name, r);
    case 'q':
      return QuotaRow{std::string(name), {r.number(), r.number()}};
    case 'r':
      return decode_staged_row(name, r);
    case 'o':
      return decode_order_row(name, r);
    case 'w':
      return decode_halt_seen_row(name, r);
    case 'x':
      return decode_halt_row(name, r);
    case 'z':
      return decode_audit_ends_row(r);
    default:
      r.reject(Errc::kUnknownKind, std::string("record kind ") + kind);
      return FloorRow{};
  }
}

bool name_fits(char kind, std::string_view name) {
  switch (kind) {
    case 'k':
    case 't':
    case 'b':
    case 'q':
      return !name.empty() && name.size() <= kKeyBytesMax;
    case 'l':
    case 'e':
    case 'n':
      return !name.empty() && name.size() <= kNameBytesMax;
    case 'f':
    case 'c':
    case 'z':
      return name.empty();
    case 'i':
      return name.size() <= kNameBytesMax + 1;
    case 'm':
    case 'E':
    case 'r':
    case 'w':
    case 'y':
      return name.size() == 8;
    default:
      return true;  // named inside, and compared there; or an unknown kind, refused there
  }
}

}  // namespace

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return "Done";
    case Outcome::kUnchanged:
      return "Unchanged";
    case Outcome::kConditionFailed:
      return "ConditionFailed";
    case Outcome::kHeld:
      return "Held";
    case Outcome::kReserved:
      return "Reserved";
    case Outcome::kStaleEpoch:
      return "StaleEpoch";
    case Outcome::kFull:
      return "Full";
    case Outcome::kForgotten:
      return "Forgotten";
    case Outcome::kNotFound:
      return "NotFound";
    case Outcome::kInvalidSession:
      return "InvalidSession";
    case Outcome::kHeldBack:
      return "HeldBack";
    case Outcome::kExists:
      return "Exists";
  }
  return "?";
}

std::string entry_key(std::string_view key) { return key_of('k', key); }
std::string tombstone_key(std::string_view key) { return key_of('t', key); }
std::string floor_key() { return "f"; }
std::string lease_key(std::string_view service) { return key_of('l', service); }
std::string epoch_key(std::string_view service) { return key_of('e', service); }
std::string cluster_key() { return "c"; }

std::string member_key(NodeId id) {
  std::string key = "m";
  append_big_endian(key, value(id), 8);
  return key;
}

std::string request_key(NodeId origin, std::size_t slot) {
  std::string key = "d";
  append_big_endian(key, value(origin), 8);
  append_big_endian(key, slot, 2);
  return key;
}

std::string session_key(const SessionId& id) {
  return "s" + std::string(id.uuid.bytes.begin(), id.uuid.bytes.end());
}

std::string delay_key(std::string_view key) { return key_of('b', key); }
std::string node_key(std::string_view name) { return key_of('n', name); }
std::string counter_key(std::string_view name) { return key_of('i', name); }
std::string quota_key(std::string_view prefix) { return key_of('q', prefix); }

// Names hold no NUL byte, so it parts them, and all of one node lie together.
std::string instance_key(std::string_view node, std::string_view id) {
  return key_of('v', node).append(1, '\0').append(id);
}

std::string check_key(std::string_view node, std::string_view id) {
  return key_of('h', node).append(1, '\0').append(id);
}

std::string event_key(Index index) {
  std::string key = "E";
  append_big_endian(key, value(index), 8);
  return key;
}

std::string restore_key(std::uint64_t number) {
  std::string key = "r";
  append_big_endian(key, number, 8);
  return key;
}

// The key comes last, since it alone may hold a NUL byte.
std::string order_key(const OrderName& name) {
  return key_of('o', name.service).append(1, '\0').append(name.zone).append(1, '\0').append(name.key);
}

std::string halt_seen_key(std::uint64_t replica) {
  std::string key = "w";
  append_big_endian(key, replica, 8);
  return key;
}

std::string halt_key(const HaltTag& tag) {
  std::string key = "x";
  append_big_endian(key, tag.replica, 8);
  append_big_endian(key, tag.number, 8);
  return key;
}

std::string audit_key(std::uint64_t number) {
  std::string key = "y";
  append_big_endian(key, number, 8);
  return key;
}

std::string audit_ends_key() { return "z"; }

std::string encode_entry(const Entry& entry, const Lock* lock) {
  ArrayWriter writer(lock != nullptr ? 7 : 5);
  writer.add(lock != nullptr ? kLockedEntryVersion : kRecordVersion)
      .add(value(entry.create))
      .add(value(entry.modify))
      .add(entry.flags)
      .add(entry.value);
  if (lock != nullptr) {
    writer.add(lock->lock_index);
    add(writer, lock->session.uuid);
  }
  return writer.take();
}

std::string encode_index(Index index) { return ArrayWriter(2).add(kRecordVersion).add(value(index)).take(); }
std::string encode_member(std::string_view name) { return ArrayWriter(2).add(kRecordVersion).add(name).take(); }

std::string encode_cluster(const ClusterId& id) {
  const std::string raw(id.bytes.begin(), id.bytes.end());
  return ArrayWriter(2).add(kRecordVersion).add(raw).take();
}

std::string encode_epoch(const EpochCounter& counter) {
  return ArrayWriter(3).add(kRecordVersion).add(value(counter.epoch)).add(value(counter.modify)).take();
}

std::string encode_lease(const Lease& lease) {
  return ArrayWriter(9)
      .add(kRecordVersion)
      .add(value(lease.epoch))
      .add(value(lease.holder))
      .add(lease.holder_name)
      .add(value(lease.preferred))
      .add(lease.lease_ms)
      .add(lease.margin_ms)
      .add(value(lease.create))
      .add(value(lease.modify))
      .take();
}

std::string encode_remembered(const Remembered& remembered) {
  return ArrayWriter(5)
      .add(kRecordVersion)
      .add(remembered.seq)
      .add(value(remembered.index))
      .add(static_cast<std::uint64_t>(remembered.outcome))
      .add(value(remembered.epoch))
      .take();
}

namespace {

template <class T>
std::string encode_indexed(const T& structure) {
  ArrayWriter writer(4);
  writer.add(kRecordVersion);
  add(writer, structure);
  return writer.add(value(structure.create)).add(value(structure.modify)).take();
}

}  // namespace

std::string encode_session(const Session& session) { return encode_indexed(session); }
std::string encode_node(const Node& node) { return encode_indexed(node); }
std::string encode_instance(const ServiceInstance& instance) { return encode_indexed(instance); }
std::string encode_check(const Check& check) { return encode_indexed(check); }

std::string encode_delay(const LockDelay& delay) {
  return ArrayWriter(3).add(kRecordVersion).add(delay.delay_ms).add(value(delay.since)).take();
}

std::string encode_event(const UserEvent& event) {
  ArrayWriter writer(2);
  writer.add(kRecordVersion);
  add(writer, event);
  return writer.take();
}

std::string encode_quota(const Quota& quota) {
  return ArrayWriter(3).add(kRecordVersion).add(quota.bytes_max).add(quota.entries_max).take();
}

std::string encode_staged(const Uuid& restore, std::string_view rows) {
  ArrayWriter writer(3);
  writer.add(kRecordVersion);
  add(writer, restore);
  return writer.add(rows).take();
}

std::string encode_order(const Order& order) {
  ArrayWriter writer(1 + kOrderNameFields + 11 + kOrderAnswerFields);
  writer.add(kRecordVersion);
  add(writer, order.name);
  add(writer, order.fingerprint);
  writer.add(static_cast<std::uint64_t>(order.state)).add(static_cast<std::uint64_t>(order.source)).add(order.attempt);
  writer.add(value(order.epoch)).add(value(order.node)).add(value(order.reserved)).add(value(order.changed));
  writer.add(order.reserved_ms).add(order.settled_ms).add(order.retention_ms);
  add(writer, order.answer);
  return writer.take();
}

std::string encode_halt_seen(const HaltSeenRow& row) {
  ArrayWriter writer(3 + 2 * row.gaps.size());
  writer.add(kRecordVersion).add(row.number).add(value(row.changed));
  for (const auto& [first, last] : row.gaps) writer.add(first).add(last);
  return writer.take();
}

std::string encode_halt(const Halt& halt, const HaltProposal& proposal) {
  ArrayWriter writer(3 + kHaltFields);
  writer.add(kRecordVersion);
  add(writer, halt);
  return writer.add(proposal.by).add(proposal.time_ms).take();
}

std::string encode_audit_ends(const AuditHead& pruned, const AuditHead& head) {
  ArrayWriter writer(5);
  writer.add(kRecordVersion).add(pruned.number);
  add(writer, pruned.hash);
  writer.add(head.number);
  add(writer, head.hash);
  return writer.take();
}

Result<Row> decode_row(std::string_view key, std::string_view value) {
  if (key.empty()) return fail(Errc::kMalformed, "record without a key");
  const char kind = key.front();
  const std::string_view name = key.substr(1);
  if (!name_fits(kind, name)) return fail(Errc::kBadKey, "record name empty or above its bound");
  if (kind == 'y') return AuditRow{read_big_endian(name), std::string(value)};
  ArrayReader reader(value, kFieldsMax);
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kRecordVersion && !(kind == 'k' && version == kLockedEntryVersion))
    return fail(Errc::kUnknownVersion, "record version " + std::to_string(version));
  Row row = decode_fields(kind, name, reader, version);
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  return row;
}

}  // namespace store::kv
