#include "store/kv/record.h"
#include "store/kv/wire.h"

/// Many rows as one string: chunks of a restore, and saved states.
namespace store::kv {
namespace {

constexpr std::string_view kSavedKinds = "ehknqsv";
constexpr std::size_t kHeaderBytesMax = 5;  // of a msgpack array or bin

std::size_t encoded_bytes(const Record& row) {
  return 2 * kHeaderBytesMax + row.key.size() + (row.value ? row.value->size() : 0);
}

}  // namespace

std::string encode_rows(std::span<const Record> rows) {
  ArrayWriter writer(2 * rows.size());
  for (const Record& row : rows) writer.add(row.key).add(row.value ? std::string_view(*row.value) : std::string_view());
  return writer.take();
}

Result<std::vector<Record>> decode_rows(std::string_view bytes) {
  ArrayReader reader(bytes, bytes.size());  // an element takes a byte at least
  std::vector<Record> rows;
  while (reader.ok() && !reader.at_end()) {
    std::string key(reader.bytes(kRestoreChunkBytesMax));
    rows.push_back({std::move(key), std::string(reader.bytes(kRestoreChunkBytesMax))});
  }
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  for (const Record& row : rows) {
    if (row.key.empty() || row.value->empty()) return fail(Errc::kMalformed, "a row without a key or a value");
  }
  return rows;
}

std::vector<std::string> chunk_rows(std::span<const Record> rows) {
  std::vector<std::string> chunks;
  std::size_t from = 0;
  std::size_t bytes = kHeaderBytesMax;
  for (std::size_t at = 0; at < rows.size(); ++at) {
    const std::size_t more = encoded_bytes(rows[at]);
    if (at > from && bytes + more > kRestoreChunkBytesMax) {
      chunks.push_back(encode_rows(rows.subspan(from, at - from)));
      from = at;
      bytes = kHeaderBytesMax;
    }
    bytes += more;
  }
  if (from < rows.size()) chunks.push_back(encode_rows(rows.subspan(from)));
  return chunks;
}

bool is_saved_kind(std::string_view row_key) {
  return !row_key.empty() && kSavedKinds.find(row_key.front()) != std::string_view::npos;
}

}  // namespace store::kv
