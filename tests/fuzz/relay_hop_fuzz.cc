#include <string>

#include "agent/drivers/relay_hop.h"
#include "tests/fuzz/fuzz.h"

using agent::drivers::HopKind;
using agent::drivers::RelayHop;

/// A beginning means the same however the network cuts it, is decided within its bound, and can be written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  RelayHop whole;
  const HopKind kind = agent::drivers::parse_relay_hop(text, whole);
  fuzz::require(kind != HopKind::kMore || size < agent::drivers::kRelayHopBytesMax, "decided within the bound");
  RelayHop slowly;
  HopKind first = HopKind::kMore;
  for (std::size_t length = 0; length <= size && first == HopKind::kMore; ++length)
    first = agent::drivers::parse_relay_hop(text.substr(0, length), slowly);
  fuzz::require(first == kind, "the same however it is cut");
  if (kind != HopKind::kRelay) return 0;
  fuzz::require(whole.bytes <= size && whole.bytes == slowly.bytes && whole.route == slowly.route, "the same line");
  RelayHop again;
  const std::string written = agent::drivers::make_relay_hop(whole.route, whole.ends);
  if (written.size() < agent::drivers::kRelayHopBytesMax)
    fuzz::require(agent::drivers::parse_relay_hop(written, again) == HopKind::kRelay && again.route == whole.route, "what we write we read");
  return 0;
}
