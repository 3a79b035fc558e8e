#pragma once
/// What one agent tells the others about endpoints, as the text of one gossip tag: who was ejected or fails its checks, whose
/// breaker is open, being probed, or closed again.
///
/// Format: base64url without padding of 1 byte version = 1, then 13 bytes per word, big-endian: kind (4 bits) and what is left
///         of it in tenths of a second (20 bits), serial (2 bytes), endpoint (4), route (4; 0 where none is meant).
/// Bounds: kWordsMax words, kWordsTextMax bytes: gossip gives a member 512 bytes for all its tags.
/// Durations, not moments: clocks of machines differ. A hearer counts from when it first hears a serial, so a word lasts too
/// long there by at most what it took to arrive, and ends at once when its owner no longer says it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"
#include "proxy/upstream.h"

namespace agent {

enum class WordKind : std::uint8_t {
  kEjected = 1,  ///< live requests failed there
  kFailing = 2,  ///< its health checks fail, as seen by whoever makes them
  kOpen = 3,     ///< the breaker of the route is open
  kProbing = 4,  ///< ... and the one probe is under way
  kClosed = 5,   ///< ... and the probe went well
};
[[nodiscard]] std::string_view name_of(WordKind kind);

/// An endpoint and a route in 32 bits each. Two of 1,000 endpoints share theirs with a chance of 1 in 8,600; then a word
/// about one leaves out both for a while.
enum class EndpointKey : std::uint32_t {};
enum class RouteKey : std::uint32_t { kNone = 0 };
[[nodiscard]] EndpointKey key_of(proxy::EndpointId id);
[[nodiscard]] RouteKey key_of_route(std::string_view name);

struct HealthWord {
  WordKind kind = WordKind::kEjected;
  std::uint16_t serial = 0;  ///< another one for each thing that happened
  std::chrono::milliseconds left{0};
  EndpointKey endpoint{};
  RouteKey route = RouteKey::kNone;
  friend bool operator==(const HealthWord&, const HealthWord&) = default;
};
inline constexpr std::size_t kWordsMax = 9;
inline constexpr std::size_t kWordsTextMax = 158;
inline constexpr std::chrono::milliseconds kWordLeftMax{((1 << 20) - 1) * 100};  ///< 29 hours; longer ones say so much

/// @param words  at most kWordsMax. No words make an empty text.
[[nodiscard]] std::string encode_words(std::span<const HealthWord> words);
/// Text from any member. Kinds of a later version are passed over. Errors: kInvalidArgument (alphabet, version, length).
[[nodiscard]] io::Result<std::vector<HealthWord>> decode_words(std::string_view text);

}  // namespace agent
