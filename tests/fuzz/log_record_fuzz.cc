#include <string>

#include "store/disk/rows.h"
#include "store/kv/record.h"
#include "tests/fuzz/fuzz.h"

namespace disk = store::disk;

/// Rows of the three column families after a bad disk: the input is one length byte, the key, and the value.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = fuzz::text_of(data + 1, size - 1);
  const auto cut = std::min<std::size_t>(data[0], bytes.size());
  const auto key = bytes.substr(0, cut), value = bytes.substr(cut);
  if (const auto entry = disk::decode_log_row(key, value)) {
    const std::string same_key = disk::log_key(entry->index);
    fuzz::require(same_key == key, "an entry stands at its index");
  }
  if (const auto index = disk::decode_log_key(key))
    fuzz::require(disk::log_key(*index) == key, "a log key has one form");
  static_cast<void>(disk::decode_number(value, "fuzz"));
  if (const auto cluster = disk::decode_cluster(value))
    fuzz::require(disk::decode_cluster(disk::encode_cluster(*cluster)).has_value(), "cluster");
  if (const auto start = disk::decode_start(value))
    fuzz::require(disk::decode_start(disk::encode_start(*start)).has_value(), "start");
  if (const auto applied = disk::decode_applied(value))
    fuzz::require(disk::decode_applied(disk::encode_applied(*applied)).has_value(), "applied");
  if (const auto grant = disk::decode_grant(value))
    fuzz::require(disk::decode_grant(disk::encode_grant(*grant)).has_value(), "grant");
  static_cast<void>(disk::decode_hard(value));
  static_cast<void>(store::kv::decode_row(key, value));
  return 0;
}
