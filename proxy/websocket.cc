#include "proxy/websocket.h"

#include <algorithm>

namespace proxy {
namespace {

constexpr std::uint8_t kOpcodeClose = 8, kMasked = 0x80;

}  // namespace

std::size_t FrameTrack::head_needed() const {
  if (head_size_ < 2) return 2;
  const std::uint8_t length = head_[1] & 0x7f;
  return 2 + (length == 127 ? 8U : length == 126 ? 2U : 0U) + ((head_[1] & kMasked) != 0 ? 4U : 0U);
}

void FrameTrack::feed(Bytes bytes) {
  while (!bytes.empty()) {
    if (payload_left_ > 0) {
      const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, bytes.size()));
      payload_left_ -= step;
      bytes = bytes.subspan(step);
      continue;
    }
    head_[head_size_++] = std::to_integer<std::uint8_t>(bytes.front());
    bytes = bytes.subspan(1);
    if (head_size_ < head_needed()) continue;
    const std::uint8_t length = head_[1] & 0x7f;
    const std::size_t extra = length == 127 ? 8 : length == 126 ? 2 : 0;
    std::uint64_t payload = extra == 0 ? length : 0;
    for (std::size_t i = 0; i < extra; ++i) payload = payload << 8U | head_[2 + i];
    closed_ = closed_ || (head_[0] & 0x0f) == kOpcodeClose;
    payload_left_ = payload;
    head_size_ = 0;
  }
}

CloseFrame::CloseFrame(CloseCode code, std::string_view reason, const std::uint32_t* mask) {
  reason = reason.substr(0, kReasonMax);
  const auto add = [this](unsigned value) { data[size++] = static_cast<std::byte>(value); };
  add(0x80U | kOpcodeClose);
  add((mask != nullptr ? kMasked : 0U) | static_cast<unsigned>(2 + reason.size()));
  if (mask != nullptr) {
    for (unsigned shift = 24; shift < 32; shift -= 8) add(*mask >> shift & 0xffU);
  }
  const std::size_t start = size;
  add(static_cast<unsigned>(code) >> 8U);
  add(static_cast<unsigned>(code) & 0xffU);
  for (const char c : reason) add(static_cast<unsigned char>(c));
  if (mask == nullptr) return;
  for (std::size_t i = start; i < size; ++i) data[i] ^= data[start - 4 + (i - start) % 4];
}

}  // namespace proxy
