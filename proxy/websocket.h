#pragma once
/// WebSocket frames, as far as a proxy that lets them through must know them: where one ends, and how to say good-bye.
/// Pure. Source: RFC 6455, sections 5.2 (frames), 5.4 (control frames may come between fragments), 5.5.1 and 7.4 (Close).

#include <array>
#include <cstdint>
#include <string_view>

#include "proxy/stream.h"

namespace proxy {

/// Follows one direction of a tunnel. Looks at the 2 to 14 bytes of each head and steps over what they announce.
class FrameTrack {
 public:
  void feed(Bytes bytes);
  /// Nothing of a frame has begun: another frame may be put here.
  [[nodiscard]] bool at_border() const { return head_size_ == 0 && payload_left_ == 0; }
  [[nodiscard]] bool closed() const { return closed_ && at_border(); }  ///< a whole Close frame has passed: nothing may follow
  [[nodiscard]] bool closing() const { return closed_; }                ///< some of it has

 private:
  [[nodiscard]] std::size_t head_needed() const;

  std::array<std::uint8_t, 14> head_{};
  std::size_t head_size_ = 0;
  std::uint64_t payload_left_ = 0;
  bool closed_ = false;
};

/// Why we end a tunnel that nobody wanted to end.
enum class CloseCode : std::uint16_t {
  kGoingAway = 1001,       ///< to the instance: its client is sent elsewhere
  kServiceRestart = 1012,  ///< to the client: come again, at some other moment than everybody else
};
/// A Close frame; at most 125 bytes of payload, so its head has two bytes, and four more for the mask.
struct CloseFrame {
  /// @param mask  what a client must use (RFC 6455, section 5.3); null = from a server
  CloseFrame(CloseCode code, std::string_view reason, const std::uint32_t* mask);
  [[nodiscard]] Bytes bytes() const { return {data.data(), size}; }
  static constexpr std::size_t kReasonMax = 64;
  std::array<std::byte, 2 + 4 + 2 + kReasonMax> data{};
  std::size_t size = 0;
};

}  // namespace proxy
