#pragma once
/// Work that a client can have done for next to nothing, counted per connection and bounded.
///
/// HTTP/2 lets a few bytes cause a lot: a stream opened and reset at once (CVE-2023-44487), a head that never ends
/// (CVE-2024-27316), frames that must be answered (CVE-2019-9512, -9515) or that carry nothing (-9518), windows opened
/// byte by byte (-9511). Each kind has its own budget per window of time; who exceeds one is sent away.
/// Source: RFC 9113, sections 5.4.1, 7 (ENHANCE_YOUR_CALM) and 10.5 (denial of service).

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "proxy/stream.h"

namespace proxy::http2 {

/// Why a session was ended with ENHANCE_YOUR_CALM.
enum class Flood : std::uint8_t {
  kNone,
  kResets,         ///< streams that ended before their answer, by the client or by its fault; refused ones too
  kControl,        ///< SETTINGS, PING, PRIORITY, RST_STREAM, GOAWAY and frames of unknown types
  kHeadFrames,     ///< one head in too many frames or bytes (CONTINUATION)
  kEmptyData,      ///< DATA without payload that does not end its stream
  kWindowUpdates,  ///< far more WINDOW_UPDATE frames than what was sent could need
};
inline constexpr std::size_t kFloodKinds = 6;

/// All hold for one connection.
struct FloodLimits {
  std::uint32_t resets_max = 200;          ///< per window
  std::uint32_t control_frames_max = 1000; ///< per window
  std::uint32_t empty_data_max = 100;      ///< per window
  std::uint32_t window_updates_max = 1000; ///< per window, and one more for each kWindowUpdateBytes that were sent in it
  std::uint32_t head_frames_max = 9;       ///< HEADERS and its CONTINUATIONs
  Milliseconds window{10'000};
};
/// A client that opens its windows by less than this at a time has them opened too often.
inline constexpr std::uint64_t kWindowUpdateBytes = 256;

/// Invariant: nothing is counted longer than two windows; no memory grows.
/// Ownership: a value inside its session.
class FloodGuard {
 public:
  explicit FloodGuard(const FloodLimits& limits) : limits_(limits) {}
  /// One more of `kind`. @return false when that is too many
  [[nodiscard]] bool count(Flood kind, TimePoint now);
  /// Payload that went out: it earns WINDOW_UPDATE frames.
  void note_sent(std::uint64_t bytes) { sent_bytes_ += bytes; }

 private:
  [[nodiscard]] std::uint64_t limit_of(Flood kind) const;
  FloodLimits limits_;
  std::array<std::uint64_t, kFloodKinds> counts_{};
  std::uint64_t sent_bytes_ = 0;
  TimePoint start_{};
};

/// Frame headers as they pass, whatever is made of the frames: those that are ignored (of unknown types, on closed streams)
/// cost something as well, and nobody else reports them.
/// Ownership: a value inside its session.
class FrameScan {
 public:
  static constexpr std::size_t kHeaderBytes = 9;
  /// @param skip  bytes before the first frame
  explicit FrameScan(std::size_t skip) : skip_(skip) {}
  /// Calls `seen(type, flags, payload bytes)` for each header that is complete with these bytes.
  /// @return false as soon as `seen` does; the scan is over then
  template <class Seen>
  [[nodiscard]] bool scan(Bytes bytes, Seen seen) {
    for (;;) {
      const std::size_t passed = std::min(skip_, bytes.size());
      skip_ -= passed;
      bytes = bytes.subspan(passed);
      if (bytes.empty()) return true;
      header_[have_++] = std::to_integer<std::uint8_t>(bytes.front());
      bytes = bytes.subspan(1);
      if (have_ < kHeaderBytes) continue;
      have_ = 0;
      skip_ = std::size_t{header_[0]} << 16 | std::size_t{header_[1]} << 8 | header_[2];
      if (!seen(header_[3], header_[4], skip_)) return false;
    }
  }

 private:
  std::array<std::uint8_t, kHeaderBytes> header_{};
  std::size_t have_ = 0;
  std::size_t skip_;
};

}  // namespace proxy::http2
