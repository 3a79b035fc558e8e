#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "gossip/address.h"
#include "gossip/tags.h"

namespace gossip {

/// Agent time (CLOCK_BOOTTIME behind the type of steady_clock), always an argument, never read here.
using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
using Milliseconds = std::chrono::milliseconds;
/// Chance: a number in [0, bound), bound > 0. In production it must be unpredictable (session ids and cookies).
using Rng = std::function<std::uint64_t(std::uint64_t bound)>;

/// 128-bit id of an agent, kept on its disk; all zero means "none".
struct MemberId {
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] bool is_none() const { return *this == MemberId{}; }
  [[nodiscard]] std::string to_string() const;          ///< 32 lower-case hex digits
  static Result<MemberId> parse(std::string_view hex);  ///< inverse of to_string(); kInvalidArgument
  friend bool operator==(const MemberId&, const MemberId&) = default;
  friend auto operator<=>(const MemberId&, const MemberId&) = default;
};

/// Hash of an id: FNV-1a with a final mix, equal in every process (digests are compared between agents).
struct MemberIdHash {
  std::size_t operator()(const MemberId& id) const noexcept;
};

/// Life of an agent process: wall milliseconds at its start, never below the last saved one + 1.
enum class Generation : std::uint64_t {};
/// Counter that only the member itself raises, to refute a claim. At kIncarnationMax the generation is raised.
enum class Incarnation : std::uint32_t {};
inline constexpr std::uint32_t kIncarnationMax = std::uint32_t{1} << 31;

/// Order of records about one member: generation first, then incarnation.
struct Rank {
  Generation generation{};
  Incarnation incarnation{};
  friend bool operator==(const Rank&, const Rank&) = default;
  friend auto operator<=>(const Rank&, const Rank&) = default;
};

enum class MemberState : std::uint8_t { kAlive, kSuspect, kDead, kLeft };
[[nodiscard]] std::string_view to_string(MemberState state) noexcept;

/// What an accuser saw, carried in each claim; it decides how long the suspect may take to refute (gossip.md 5.5).
enum class Evidence : std::uint8_t {
  kRefused = 1,  ///< the host answers that nobody listens: process gone
  kSilent = 2,   ///< nothing at all: host gone, cut off, or starved
  kStalled = 3,  ///< a stream opens (the kernel answers) but the process says nothing: frozen or starved
};
[[nodiscard]] std::string_view to_string(Evidence evidence) noexcept;

inline constexpr std::size_t kNameBytesMax = 64;

/// One agent as gossip sees it: a snapshot by value, valid until the next call into the core.
struct Member {
  MemberId id;
  std::string name;  ///< 1..kNameBytesMax printable ASCII; see owns_name for conflicts
  Address address;   ///< where it takes gossip (UDP and TCP)
  MemberState state = MemberState::kAlive;
  Generation generation{};
  Incarnation incarnation{};
  TagSet tags;
  std::uint8_t protocol_min = 1;  ///< wire versions it speaks, inclusive
  std::uint8_t protocol_max = 1;
  TimePoint state_since{};                ///< local time of the last change of `state`
  Evidence evidence = Evidence::kSilent;  ///< while suspect: the class that most accusers saw
  bool stalled = false;                   ///< suspect and some accuser saw a stalled process: route around it
  bool unreachable = false;               ///< only as seen from here: our probes fail, no second accuser agrees
  bool udp_blocked = false;               ///< only as seen from here: answers on streams, never on datagrams
  bool owns_name = true;                  ///< false: an older live member has the same name
  std::uint8_t health_score = 0;          ///< its Lifeguard local health multiplier as it last told us, 0 = well
  std::chrono::microseconds rtt{0};       ///< smoothed round trip; 0 = not measured
  std::chrono::microseconds rtt_variance{0};
  [[nodiscard]] Rank rank() const { return {generation, incarnation}; }
  [[nodiscard]] bool is_live() const { return state == MemberState::kAlive || state == MemberState::kSuspect; }
};

}  // namespace gossip
