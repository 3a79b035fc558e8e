#pragma once
/// Limits that all agents of a cluster count together: the words that who asks (rate_desk.h) and who answers
/// (rate_zones.h) have in common.
///
/// Every key of a zone has one owner among the live agents (rendezvous hashing: Thaler and Ravishankar 1998), which counts it in
/// memory; the others ask it. Decision 0058 has the reasons, what happens when the owner is silent, and the bounds.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/rate_limit.h"

namespace proxy {

/// What an agent does with a request whose key is counted elsewhere when it gets no answer.
enum class RateFallback : std::uint8_t {
  kShare,   ///< lets through its part of the limit: that of all agents together is the limit
  kAdmit,   ///< lets it through
  kRefuse,  ///< refuses it
};

/// How agents count together.
struct ClusterRate {
  Milliseconds timeout{20};  ///< for an answer; 1 ms .. 1 s, kept to 8 ms
  RateFallback fallback = RateFallback::kShare;
  friend bool operator==(const ClusterRate&, const ClusterRate&) = default;
};

/// Names an agent, the same at all of them.
enum class RateMemberId : std::uint64_t {};

struct RateMember {
  RateMemberId id{};
  std::string name;
  bool reachable = false;  ///< a connection to it stands
  friend bool operator==(const RateMember&, const RateMember&) = default;
};

/// Who counts. A snapshot; agents with the same one agree on every owner.
struct RateMembers {
  static constexpr std::size_t kMax = 1024;
  RateMemberId self{};
  std::vector<RateMember> members;  ///< live ones, this agent among them; at most kMax. Empty = it counts alone
  /// Whose `key` is. Two agents with views that differ by one member differ in the keys of that member only.
  /// @return an index of `members`, which must not be empty
  [[nodiscard]] std::size_t owner_of(std::uint64_t key) const;
  friend bool operator==(const RateMembers&, const RateMembers&) = default;
};

/// The counts of one zone at one agent. Made by RouteTable::make, goes on in a new table.
struct RateZone {
  /// @param counts  of the keys that this agent owns
  /// @param seed    chance, for the table of its share
  RateZone(std::string_view name, ClusterRate how, std::shared_ptr<RateTable> counts, std::uint64_t seed0, std::uint64_t seed1);
  /// Key of a client: what client_key() says, hashed with the zone, so that no agent tells another who its clients are.
  [[nodiscard]] std::uint64_t key_of(std::string_view client) const;
  [[nodiscard]] const RateRule& rule() const { return counts->rule(); }
  const std::uint64_t id;  ///< hash of name and rule: agents whose settings differ do not count together
  const ClusterRate how;
  const std::shared_ptr<RateTable> counts;
  RateTable alone;         ///< what this agent let through as its share
};

/// "Count one request of that key, and say whether it may pass."
struct RateQuestion {
  RateMemberId owner{};      ///< whom to ask
  std::uint32_t ticket = 0;  ///< comes back with the answer; 0 never does
  std::uint64_t zone = 0;    ///< RateZone::id
  RateRule rule;             ///< of the zone: its owner may have no route of it
  std::uint64_t key = 0;
  std::uint32_t known = 0;   ///< what the asker knows that it owes, for an owner that is new to it
  friend bool operator==(const RateQuestion&, const RateQuestion&) = default;
};

struct RateAnswer {
  std::uint32_t ticket = 0;
  bool counted = true;       ///< false: the agent asked has no room for the zone
  RateVerdict verdict;
  std::uint32_t debt = 0;    ///< of the key, for RateQuestion::known of later questions
};

}  // namespace proxy
