#include <string>

#include "agent/drivers/mesh_wire.h"
#include "tests/fuzz/fuzz.h"

/// The first bytes of a mesh connection.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto hello = agent::drivers::decode_hello(fuzz::bytes_of(data, size));
  if (!hello) return 0;
  const auto form = agent::drivers::encode_hello(*hello);
  const auto again = agent::drivers::decode_hello(std::span(form).subspan(agent::drivers::kFrameHeaderBytes));
  fuzz::require(again && again->node == hello->node && again->name == hello->name && again->cluster == hello->cluster,
                "a hello survives being written");
  return 0;
}
