#include "store/row_stream.h"

#include <algorithm>

#include "store/kv/wire.h"

namespace store {
namespace {

constexpr std::string_view kMagic = "outrigger-state";
constexpr std::string_view kEnd = "end";
constexpr std::size_t kItemHeadBytes = 8;

void append_size(std::string& to, std::size_t size) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>((size >> static_cast<unsigned>(shift)) & 0xffU);
}

std::size_t read_size(std::string_view bytes) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = (size << 8U) | static_cast<std::uint8_t>(bytes[i]);
  return size;
}

}  // namespace

void RunningHash::add(std::string_view bytes) {
  for (const char byte : bytes) value_ = (value_ ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3ULL;
}

// --- writing ------------------------------------------------------------------------------------------------------

RowStreamWriter::RowStreamWriter(const RowStreamHead& head) {
  const std::string_view cluster(reinterpret_cast<const char*>(head.cluster.bytes.data()), head.cluster.bytes.size());
  item({}, kv::ArrayWriter(5)
               .add(kMagic)
               .add(kRowStreamVersion)
               .add(cluster)
               .add(head.index.value)
               .add(head.term.value)
               .take());
}

void RowStreamWriter::item(std::string_view key, std::string_view value) {
  const std::size_t from = bytes_.size();
  append_size(bytes_, key.size());
  append_size(bytes_, value.size());
  bytes_ += key;
  bytes_ += value;
  hash_.add(std::string_view(bytes_).substr(from));
}

void RowStreamWriter::add(const kv::Record& record) {
  item(record.key, *record.value);
  ++rows_;
}

void RowStreamWriter::finish() { item({}, kv::ArrayWriter(3).add(kEnd).add(rows_).add(hash_.value()).take()); }

std::string RowStreamWriter::take(std::size_t bytes_max) {
  const std::size_t count = std::min(bytes_max, size());
  std::string piece = bytes_.substr(taken_, count);
  taken_ += count;
  if (taken_ == bytes_.size() || taken_ >= (std::size_t{1} << 20)) {
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  return piece;
}

// --- reading ------------------------------------------------------------------------------------------------------

kv::Result<std::vector<kv::Record>> RowStreamReader::feed(std::string_view bytes) {
  std::vector<kv::Record> records;
  if (error_) return tl::unexpected<kv::Error>(*error_);
  waiting_ += bytes;
  std::size_t at = 0;
  kv::Result<void> taken;
  while (taken && waiting_.size() - at >= kItemHeadBytes) {
    const std::string_view rest = std::string_view(waiting_).substr(at);
    const std::size_t key_size = read_size(rest), value_size = read_size(rest.substr(4));
    if (key_size > kRowKeyBytesMax || value_size > kRowValueBytesMax) {
      taken = kv::fail(kv::Errc::kTooLarge, "a row of the snapshot is larger than any row can be");
      break;
    }
    const std::size_t size = kItemHeadBytes + key_size + value_size;
    if (rest.size() < size) break;
    const std::string_view key = rest.substr(kItemHeadBytes, key_size);
    taken = take_item(key, rest.substr(kItemHeadBytes + key_size, value_size), records);
    hash_.add(rest.substr(0, size));
    at += size;
  }
  waiting_.erase(0, at);
  if (taken && finished_ && !waiting_.empty()) taken = kv::fail(kv::Errc::kMalformed, "bytes after the snapshot's end");
  if (taken) return records;
  error_ = taken.error();
  finished_ = false;
  return tl::unexpected<kv::Error>(*error_);
}

kv::Result<void> RowStreamReader::take_item(std::string_view key, std::string_view value,
                                            std::vector<kv::Record>& to) {
  if (finished_) return kv::fail(kv::Errc::kMalformed, "bytes after the snapshot's end");
  if (key.empty()) return take_note(value);
  if (!head_) return kv::fail(kv::Errc::kMalformed, "this is no snapshot of ours");
  if (key <= std::string_view(last_key_)) return kv::fail(kv::Errc::kMalformed, "rows of the snapshot are out of order");
  last_key_ = key;
  ++rows_;
  to.push_back({std::string(key), std::string(value)});
  return {};
}

kv::Result<void> RowStreamReader::take_note(std::string_view value) {
  kv::ArrayReader array(value, 8);
  const std::string_view word = array.bytes(32);
  if (!head_) {
    if (word != kMagic) return kv::fail(kv::Errc::kMalformed, "this is no snapshot of ours");
    if (const std::uint64_t version = array.number(); array.ok() && version > kRowStreamVersion) {
      return kv::fail(kv::Errc::kUnknownVersion, "snapshot of version " + std::to_string(version) +
                                                     ", this agent knows up to " + std::to_string(kRowStreamVersion) +
                                                     "; use the newer agent");
    }
    RowStreamHead head;
    const std::string_view cluster = array.bytes(head.cluster.bytes.size());
    head.index = raft::Index{array.number()};
    head.term = raft::Term{array.number()};
    if (auto whole = array.finish(); !whole) return whole;
    if (cluster.size() != head.cluster.bytes.size()) return kv::fail(kv::Errc::kMalformed, "the snapshot names no cluster");
    std::copy(cluster.begin(), cluster.end(), head.cluster.bytes.begin());
    head_ = head;
    return {};
  }
  const std::uint64_t rows = array.number(), hash = array.number();
  if (auto whole = array.finish(); !whole) return whole;
  if (word != kEnd) return kv::fail(kv::Errc::kMalformed, "an unknown note in the snapshot");
  if (rows != rows_ || hash != hash_.value())
    return kv::fail(kv::Errc::kMalformed, "the snapshot is damaged: its checksum does not fit its rows");
  finished_ = true;
  return {};
}

}  // namespace store
