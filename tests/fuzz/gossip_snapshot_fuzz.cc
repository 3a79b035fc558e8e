#include "gossip/snapshot.h"
#include "tests/fuzz/fuzz.h"

/// The file in which an agent remembers its mesh.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto decoded = gossip::decode_snapshot(fuzz::bytes_of(data, size));
  if (!decoded) return 0;
  const auto again = gossip::decode_snapshot(gossip::encode_snapshot(*decoded));
  fuzz::require(again.has_value() && again->peers.size() == decoded->peers.size(), "a snapshot survives being written");
  return 0;
}
