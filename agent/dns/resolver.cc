#include "agent/dns/resolver.h"

#include <algorithm>
#include <utility>

#include "agent/dns/answer.h"

namespace agent::dns {
namespace {

constexpr std::size_t kPlainDatagramBytes = 512;  // RFC 1035 section 4.2.1: without EDNS

}  // namespace

Resolver::Resolver(ResolverSettings settings, const Catalog& catalog, std::function<std::uint64_t(std::uint64_t)> chance)
    : settings_(std::move(settings)), catalog_(catalog), chance_(std::move(chance)) {}

Resolver::~Resolver() = default;

std::span<const std::byte> Resolver::answer(std::span<const std::byte> query, Transport transport) {
  ++counters_.queries[static_cast<std::size_t>(transport)];
  const auto parsed = parse_query(query);
  if (!parsed) {
    ++counters_.malformed[parsed.error().fault];
    if (!parsed.error().header) {
      ++counters_.silent;
      return {};
    }
    ++counters_.answers[parsed.error().rcode()];
    writer_.begin(*parsed.error().header);
    return writer_.finish(parsed.error().rcode(), {}, settings_.udp_payload_bytes_max);
  }
  std::size_t limit = MessageWriter::kMessageBytesMax;
  if (transport == Transport::kUdp) {
    const std::size_t wish = parsed->edns ? parsed->edns->payload_bytes : kPlainDatagramBytes;
    limit = std::max(kPlainDatagramBytes, std::min<std::size_t>(wish, settings_.udp_payload_bytes_max));
  }
  return Answer(*this, *parsed, limit).run();
}

}  // namespace agent::dns
