#include "store/disk/rows.h"

#include "store/kv/wire.h"
#include "store/raft/wire.h"

namespace store::disk {
namespace {

using kv::ArrayReader;
using kv::ArrayWriter;

constexpr std::size_t kFieldsMax = 8;
constexpr std::size_t kVotersMax = 1024;
constexpr std::size_t kConfBytesMax = std::size_t{64} << 10;

std::string raw(const kv::ClusterId& id) { return {id.bytes.begin(), id.bytes.end()}; }

kv::ClusterId read_cluster(ArrayReader& reader) {
  kv::ClusterId id;
  const std::string_view bytes = reader.bytes(id.bytes.size());
  if (bytes.size() != id.bytes.size()) {
    reader.reject(kv::Errc::kMalformed, "cluster id is not 16 bytes");
    return id;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(bytes[i]);
  return id;
}

tl::unexpected<Error> corrupt(std::string_view row, const std::string& why) {
  return fail(Errc::kCorrupt, "row '" + std::string(row) + "': " + why);
}

template <class T>
Result<T> finish(const ArrayReader& reader, std::string_view row, T value) {
  if (auto done = reader.finish(); !done) return corrupt(row, done.error().detail);
  return value;
}

}  // namespace

std::string log_key(raft::Index index) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>((index.value >> shift) & 0xffU);
  return key;
}

Result<raft::Index> decode_log_key(std::string_view key) {
  if (key.size() != 8) return fail(Errc::kCorrupt, "a log key is not 8 bytes long");
  std::uint64_t index = 0;
  for (const char byte : key) index = (index << 8U) | static_cast<std::uint8_t>(byte);
  return raft::Index{index};
}

std::string encode_number(std::uint64_t number) { return ArrayWriter(1).add(number).take(); }
std::string encode_cluster(const kv::ClusterId& id) { return ArrayWriter(1).add(raw(id)).take(); }
std::string encode_start(const LogStart& start) {
  return ArrayWriter(2).add(start.index.value).add(start.term.value).take();
}

std::string encode_applied(const AppliedMark& applied) {
  return ArrayWriter(3).add(applied.index.value).add(applied.term.value).add(raft::encode(applied.conf)).take();
}

std::string encode_grant(const Grant& grant) {
  ArrayWriter writer(3);
  writer.add(raw(grant.id)).add(grant.founder.value).add_list(grant.voters.size());
  for (const raft::NodeId voter : grant.voters) writer.add(voter.value);
  return writer.take();
}

Result<std::uint64_t> decode_number(std::string_view bytes, std::string_view row) {
  ArrayReader reader(bytes, kFieldsMax);
  const std::uint64_t number = reader.number();
  return finish(reader, row, number);
}

Result<kv::ClusterId> decode_cluster(std::string_view bytes) {
  ArrayReader reader(bytes, kFieldsMax);
  const kv::ClusterId id = read_cluster(reader);
  return finish(reader, "cluster", id);
}

Result<LogStart> decode_start(std::string_view bytes) {
  ArrayReader reader(bytes, kFieldsMax);
  LogStart start;
  start.index = raft::Index{reader.number()};
  start.term = raft::Term{reader.number()};
  return finish(reader, "start", start);
}

Result<AppliedMark> decode_applied(std::string_view bytes) {
  ArrayReader reader(bytes, kFieldsMax);
  AppliedMark applied;
  applied.index = raft::Index{reader.number()};
  applied.term = raft::Term{reader.number()};
  const std::string_view conf = reader.bytes(kConfBytesMax);
  if (auto done = reader.finish(); !done) return corrupt("applied", done.error().detail);
  auto decoded = raft::decode_conf_state(conf);
  if (!decoded) return corrupt("applied", decoded.error().detail);
  applied.conf = std::move(*decoded);
  return applied;
}

Result<Grant> decode_grant(std::string_view bytes) {
  ArrayReader reader(bytes, kVotersMax);
  Grant grant;
  grant.id = read_cluster(reader);
  grant.founder = raft::NodeId{reader.number()};
  const std::size_t count = reader.begin_list(kVotersMax);
  for (std::size_t i = 0; i < count; ++i) grant.voters.push_back(raft::NodeId{reader.number()});
  if (reader.ok()) reader.end_list();
  return finish(reader, "grant", std::move(grant));
}

Result<raft::HardState> decode_hard(std::string_view bytes) {
  auto decoded = raft::decode_hard_state(bytes);
  if (!decoded) return corrupt("hard", decoded.error().detail);
  return *decoded;
}

Result<raft::Entry> decode_log_row(std::string_view key, std::string_view value) {
  const auto index = decode_log_key(key);
  if (!index) return tl::unexpected<Error>(index.error());
  auto entry = raft::decode_entry(value);
  const std::string name = "log " + std::to_string(index->value);
  if (!entry) return corrupt(name, entry.error().detail);
  if (entry->index != *index) return corrupt(name, "holds entry " + std::to_string(entry->index.value));
  return std::move(*entry);
}

}  // namespace store::disk
