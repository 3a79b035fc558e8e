#include "agent/flight_wire.h"

#include <cassert>

namespace agent {
namespace {

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}
void put_text(std::string& out, std::string_view text) {
  put(out, text.size(), 1);
  out.append(text);
}

/// Takes fields from the front; once one is missing, all are.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    if (bytes_.size() < size) return fail(), 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes_[i]);
    bytes_.remove_prefix(size);
    return value;
  }
  std::string text(std::size_t bytes_max) {
    const std::size_t size = number(1);
    if (size > bytes_max || bytes_.size() < size) return fail(), std::string();
    std::string out(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return out;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return good_ && bytes_.empty(); }

 private:
  void fail() {
    good_ = false;
    bytes_ = {};
  }
  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace

static_assert(FlightRecorder::kTextBytesMax < 256 && FlightRecorder::kNameBytesMax < 256);

bool is_flight_frame(std::string_view frame) { return !frame.empty() && frame.front() == kFlightFrame; }

std::string encode_flight(std::span<const FlightEvent> events) {
  assert(!events.empty() && events.size() <= kFlightItemsMax);
  std::string out(1, kFlightFrame);
  put(out, kFlightVersion, 1);
  put(out, events.size(), 2);
  for (const FlightEvent& event : events) {
    put(out, event.life, 8);
    put(out, event.seq, 8);
    put(out, static_cast<std::uint64_t>(event.at.wall_ms), 8);
    put(out, event.at.count, 4);
    put(out, event.epoch, 8);
    put_text(out, event.what);
    put_text(out, event.about);
    put_text(out, event.text);
  }
  return out;
}

std::optional<std::vector<FlightEvent>> decode_flight(std::string_view frame, const std::string& node) {
  if (!is_flight_frame(frame)) return std::nullopt;
  Taker taker(frame.substr(1));
  const auto version = taker.number(1);
  const auto count = taker.number(2);
  if (version != kFlightVersion || count == 0 || count > kFlightItemsMax) return std::nullopt;
  std::vector<FlightEvent> events;
  for (std::uint64_t i = 0; i < count && taker.good(); ++i) {
    FlightEvent event;
    event.node = node;
    event.life = taker.number(8);
    event.seq = taker.number(8);
    event.at.wall_ms = static_cast<std::int64_t>(taker.number(8));
    event.at.count = static_cast<std::uint32_t>(taker.number(4));
    event.epoch = taker.number(8);
    event.what = taker.text(FlightRecorder::kNameBytesMax);
    event.about = taker.text(FlightRecorder::kNameBytesMax);
    event.text = taker.text(FlightRecorder::kTextBytesMax);
    events.push_back(std::move(event));
  }
  if (!taker.at_end()) return std::nullopt;
  return events;
}

}  // namespace agent
