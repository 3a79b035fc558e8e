#include "store/kv/record.h"

#include "store/kv/wire.h"

namespace store::kv {
namespace {

constexpr std::size_t kFieldsMax = 16;

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
  if (name.size() != 10) {
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

Row decode_fields(char kind, std::string_view name, ArrayReader& r) {
  switch (kind) {
    case 'k': {
      EntryRow row{std::string(name), {}};
      row.entry.create = Index{r.number()};
      row.entry.modify = Index{r.number()};
      row.entry.flags = r.number();
      row.entry.value = r.bytes(kValueBytesMax);
      return row;
    }
    case 't':
      return TombstoneRow{std::string(name), Index{r.number()}};
    case 'f':
      return FloorRow{Index{r.number()}};
    case 'l':
      return decode_lease_row(name, r);
    case 'e':
      return EpochRow{std::string(name), {Epoch{r.number()}, Index{r.number()}}};
    case 'm':
      if (name.size() != 8) r.reject(Errc::kMalformed, "member key is not 8 bytes");
      return MemberRow{NodeId{read_big_endian(name.substr(0, 8))}, std::string(r.bytes(kNameBytesMax))};
    case 'c':
      return decode_cluster_row(r);
    case 'd':
      return decode_request_row(name, r);
    default:
      r.reject(Errc::kUnknownKind, std::string("record kind ") + kind);
      return FloorRow{};
  }
}

bool name_fits(char kind, std::string_view name) {
  if (kind == 'k' || kind == 't') return !name.empty() && name.size() <= kKeyBytesMax;
  if (kind == 'l' || kind == 'e') return !name.empty() && name.size() <= kNameBytesMax;
  if (kind == 'f' || kind == 'c') return name.empty();
  return true;
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

std::string encode_entry(const Entry& entry) {
  return ArrayWriter(5)
      .add(kRecordVersion)
      .add(value(entry.create))
      .add(value(entry.modify))
      .add(entry.flags)
      .add(entry.value)
      .take();
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

Result<Row> decode_row(std::string_view key, std::string_view value) {
  if (key.empty()) return fail(Errc::kMalformed, "record without a key");
  const char kind = key.front();
  const std::string_view name = key.substr(1);
  if (!name_fits(kind, name)) return fail(Errc::kBadKey, "record name empty or above its bound");
  ArrayReader reader(value, kFieldsMax);
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kRecordVersion)
    return fail(Errc::kUnknownVersion, "record version " + std::to_string(version));
  Row row = decode_fields(kind, name, reader);
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  return row;
}

}  // namespace store::kv
