#pragma once
/// What agents tell each other about banned clients, as bytes of a frame of the mesh. Pure functions over bytes from anyone.
///
/// Frame: 'G' (no frame of the store begins so) · version u8 (1) · count u16 · so many items, and nothing behind them. Numbers
///        are big-endian. Item: kind u8 (1 ban, 2 unban) · key u64 (proxy::GuardKey) · left u32, in seconds (0 with an unban).
/// Durations, not moments: clocks of machines differ. Source: layout of our own.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/guard.h"

namespace agent {

enum class GuardWordKind : std::uint8_t { kBan = 1, kUnban = 2 };

struct GuardWord {
  GuardWordKind kind = GuardWordKind::kBan;
  proxy::GuardKey key{};
  std::chrono::seconds left{0};  ///< of a ban, 1 s .. kBanMax
  friend bool operator==(const GuardWord&, const GuardWord&) = default;
};
inline constexpr std::chrono::seconds kBanMax{30LL * 24 * 3600};
inline constexpr std::size_t kGuardWordsMax = 1024;  ///< in one frame: 13 KiB

[[nodiscard]] bool is_guard_frame(std::string_view frame);
/// @param words  1 .. kGuardWordsMax; `left` above kBanMax is told as that
[[nodiscard]] std::string encode_guard(std::span<const GuardWord> words);
/// @return nullopt: too short, too long, another version or kind, nobody's key, a ban of no or endless length.
[[nodiscard]] std::optional<std::vector<GuardWord>> decode_guard(std::string_view frame);

}  // namespace agent
