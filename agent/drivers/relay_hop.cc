#include "agent/drivers/relay_hop.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "agent/io/timer.h"

namespace agent::drivers {
namespace {

constexpr std::string_view kBegin = "OUTRIGGER-TCP 1 ";

std::string_view next_word(std::string_view& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return word;
}

bool read_port(std::string_view text, std::uint16_t& port) {
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), port);
  return code == std::errc{} && stop == text.data() + text.size();
}

}  // namespace

std::string make_relay_hop(const std::string& route, const std::optional<proxy::ProxyHeader::Ends>& ends) {
  std::string out = std::string(kBegin) + route + ' ';
  if (!ends) return out + "-\n";
  return out + proxy::text_of(ends->source) + ' ' + std::to_string(ends->source_port) + ' ' + proxy::text_of(ends->destination) + ' ' +
         std::to_string(ends->destination_port) + '\n';
}

HopKind parse_relay_hop(std::string_view so_far, RelayHop& out) {
  const std::size_t shared = std::min(so_far.size(), kBegin.size());
  if (so_far.substr(0, shared) != kBegin.substr(0, shared)) return HopKind::kHttp;
  const std::size_t end = so_far.substr(0, kRelayHopBytesMax).find('\n');
  if (end == std::string_view::npos) return so_far.size() >= kRelayHopBytesMax ? HopKind::kHttp : HopKind::kMore;
  std::string_view rest = so_far.substr(kBegin.size(), end - kBegin.size());
  out.route = next_word(rest);
  out.bytes = end + 1;
  out.ends.reset();
  if (out.route.empty()) return HopKind::kHttp;
  if (rest == "-") return HopKind::kRelay;
  proxy::ProxyHeader::Ends ends;
  const auto source = proxy::parse_ip(next_word(rest));
  const bool source_port = read_port(next_word(rest), ends.source_port);
  const auto destination = proxy::parse_ip(next_word(rest));
  const bool destination_port = read_port(next_word(rest), ends.destination_port);
  if (!source || !destination || !source_port || !destination_port || !rest.empty()) return HopKind::kHttp;
  ends.source = *source;
  ends.destination = *destination;
  out.ends = ends;
  return HopKind::kRelay;
}

/// One connection that has not said what it is.
struct HopReader::Pending final : io::StreamSink {
  Pending(HopReader& reader, std::string name)
      : owner(reader), client(std::move(name)), deadline(reader.loop_, [this] { owner.take(*this); }) {}
  void on_read(std::span<const std::byte> bytes) override { owner.read(*this, bytes); }
  void on_end() override { owner.take(*this); }
  void on_error(const io::Error&) override { owner.take(*this); }

  HopReader& owner;
  std::string client;
  std::vector<std::byte> received;
  io::Timer deadline;
  std::unique_ptr<io::ByteStream> stream;
  std::list<std::unique_ptr<Pending>>::iterator place;
};

HopReader::HopReader(io::Loop& loop, OnHttp on_http, OnRelay on_relay)
    : loop_(loop), on_http_(std::move(on_http)), on_relay_(std::move(on_relay)) {}
HopReader::~HopReader() = default;

void HopReader::begin(std::unique_ptr<io::ByteStream> stream, std::string client) {
  if (pending_.size() >= kPendingMax) return;
  auto& pending = *pending_.emplace_back(std::make_unique<Pending>(*this, std::move(client)));
  pending.place = std::prev(pending_.end());
  pending.stream = std::move(stream);
  pending.deadline.arm_after(kPatience);
  pending.stream->set_sink(&pending);
  pending.stream->read_start();
}

void HopReader::clear() { pending_.clear(); }

/// Its owner may let it go, and the stream with it.
std::unique_ptr<HopReader::Pending> HopReader::take(Pending& pending) {
  std::unique_ptr<Pending> taken = std::move(*pending.place);
  pending_.erase(taken->place);
  return taken;
}

void HopReader::read(Pending& pending, std::span<const std::byte> bytes) {
  pending.received.insert(pending.received.end(), bytes.begin(), bytes.end());
  RelayHop hop;
  const HopKind kind = parse_relay_hop({reinterpret_cast<const char*>(pending.received.data()), pending.received.size()}, hop);
  if (kind == HopKind::kMore) return;
  const std::unique_ptr<Pending> done = take(pending);
  done->stream->read_stop();
  done->stream->set_sink(nullptr);
  const auto rest = std::span<const std::byte>(done->received).subspan(kind == HopKind::kRelay ? hop.bytes : 0);
  if (!rest.empty()) done->stream->unread(rest);
  if (kind == HopKind::kRelay) return on_relay_(std::move(done->stream), std::move(hop));
  on_http_(std::move(done->stream), std::move(done->client));
}

}  // namespace agent::drivers
