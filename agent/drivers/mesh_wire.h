#pragma once
/// Bytes of the mesh's Raft streams: preface, hello, frames. Pure functions over bytes from anyone.
///
/// A stream runs one way for frames, from the dialer to the listener. Plain mesh only: it begins with a preface line
/// of kPrefaceBytes (with TLS the ALPN says the same). Then both sides send one hello, then the dialer sends frames.
/// Frame: length u32 big-endian (1 .. kFrameBytesMax), then that many bytes. A hello is the body of a frame:
///   version u8 (1) · lane u8 (0 urgent, 1 bulk, 2 answer) · node id u64 BE · label length u8 · label
///   · name length u8 · name. More bytes behind them are skipped (a later version's fields).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/types.h"

namespace agent::drivers {

inline constexpr std::size_t kPrefaceBytes = 17;
inline constexpr std::string_view kRaftPreface = "OUTRIGGER-RAFT/1\n";
inline constexpr std::string_view kHttpPreface = "OUTRIGGER-HTTP/1\n";
inline constexpr std::string_view kRaftAlpn = "outrigger-raft";
inline constexpr std::string_view kHttpAlpn = "outrigger-http";
inline constexpr std::size_t kFrameHeaderBytes = 4;
inline constexpr std::size_t kFrameBytesMax = 4U << 20;
inline constexpr std::size_t kHelloBytesMax = 1024;
inline constexpr std::uint8_t kMeshVersion = 1;

/// Two streams per direction and pair, so that a snapshot never delays a heartbeat.
enum class Lane : std::uint8_t { kUrgent = 0, kBulk = 1 };
inline constexpr std::size_t kLanes = 2;

struct Hello {
  std::uint8_t version = kMeshVersion;
  std::optional<Lane> lane;  ///< none in the listener's answer
  store::NodeId node{};
  std::string cluster;  ///< label, <= 64 bytes: agents with another label are refused
  std::string name;     ///< of the agent, <= 64 bytes; must be in its certificate
};

/// With its frame header. `cluster` and `name` are cut at 255 bytes.
[[nodiscard]] std::vector<std::byte> encode_hello(const Hello& hello);
/// @param body  a frame's body. @return none: too short, lengths that do not fit, unknown lane, node id 0, version 0.
[[nodiscard]] std::optional<Hello> decode_hello(std::span<const std::byte> body);
[[nodiscard]] std::array<std::byte, kFrameHeaderBytes> frame_header(std::size_t bytes);

/// Cuts a byte stream into frames. Bodies that arrive whole are handed on without a copy.
/// Bound: one incomplete frame, so kFrameBytesMax plus what one receive brings.
class FrameReader {
 public:
  /// Most bytes the next frame may have; raised after the hello.
  explicit FrameReader(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  void set_bytes_max(std::size_t bytes) { bytes_max_ = bytes; }

  /// Takes new bytes; then next() until it has no more. The bytes must stay where they are until then.
  void feed(std::span<const std::byte> bytes);
  /// @return the next whole frame's body, valid until the next call; none if more bytes are needed or broken().
  std::optional<std::span<const std::byte>> next();
  /// Keeps what is left over until more comes. Call after the last next() of a feed.
  void keep_rest();
  [[nodiscard]] bool broken() const { return broken_; }  ///< a length of 0 or over the bound; nothing more is read

 private:
  std::size_t bytes_max_;
  std::vector<std::byte> kept_;         // an incomplete frame of earlier feeds
  std::vector<std::byte> current_;      // the frame that kept_ grew into, while its user reads it
  std::span<const std::byte> incoming_;
  bool broken_ = false;
};

}  // namespace agent::drivers
