#include "gossip/wire.h"
#include "tests/fuzz/fuzz.h"

/// Header and body of a packet from anyone. What is taken must survive being written and read again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto packet = fuzz::bytes_of(data, size);
  if (const auto header = gossip::decode_header(packet)) {
    std::vector<std::byte> again;
    gossip::encode_header(*header, again);
    fuzz::require(again.size() == gossip::kHeaderBytes, "a header has one length");
  }
  for (const auto body : {packet, size > gossip::kHeaderBytes ? packet.subspan(gossip::kHeaderBytes) : packet}) {
    const auto decoded = gossip::decode_body(body);
    if (!decoded) continue;
    fuzz::require(decoded->messages.size() + decoded->unknown_kinds <= gossip::kMessagesMax, "messages are bounded");
    std::vector<std::byte> out;
    gossip::BodyWriter writer(out, 4 * gossip::kFrameBytesMax + 2 * body.size(), decoded->sender, decoded->link);
    std::size_t written = 0;
    for (const auto& message : decoded->messages) written += writer.add(message) ? 1 : 0;
    writer.finish();
    const auto again = gossip::decode_body(out);
    fuzz::require(again.has_value(), "what was decoded can be encoded and decoded again");
    fuzz::require(again->messages.size() == written && written == decoded->messages.size(), "no message is lost");
  }
  return 0;
}
