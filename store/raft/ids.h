#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>

/// Distinct types for the numbers of Raft, so that a term can never be passed where an index belongs.
/// Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), figure 3.1, called "thesis" below.
namespace store::raft {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

/// Chance: answers a number in [0, bound), bound > 0. Given at construction, so that a run can be repeated exactly.
using Chance = std::function<std::uint64_t(std::uint64_t bound)>;

/// One member of the Raft group. 0 = nobody (no leader known, no vote given); it is never the id of a member.
struct NodeId {
  std::uint64_t value = 0;
  auto operator<=>(const NodeId&) const = default;
  explicit operator bool() const { return value != 0; }
};
inline constexpr NodeId kNobody{};

/// Election period; grows by elections only. 0 = before the first election.
struct Term {
  std::uint64_t value = 0;
  auto operator<=>(const Term&) const = default;
  [[nodiscard]] Term next() const { return Term{value + 1}; }
};

/// Place of an entry in the log. The first entry has index 1; 0 = before the first entry.
struct Index {
  std::uint64_t value = 0;
  auto operator<=>(const Index&) const = default;
  [[nodiscard]] Index next() const { return Index{value + 1}; }
  /// The index before this one; 0 stays 0.
  [[nodiscard]] Index previous() const { return Index{value == 0 ? 0 : value - 1}; }
  [[nodiscard]] Index plus(std::uint64_t count) const { return Index{value + count}; }
};

/// Number of a batch handed to the disk; grows by one per batch within one life of the core. 0 = no batch.
struct PersistSeq {
  std::uint64_t value = 0;
  auto operator<=>(const PersistSeq&) const = default;
};

/// Number of a heartbeat round of one leadership; an echo proves that the peer followed this leader when it answered.
/// 0 = no round asked for.
struct Round {
  std::uint64_t value = 0;
  auto operator<=>(const Round&) const = default;
};

}  // namespace store::raft

template <>
struct std::hash<store::raft::NodeId> {
  std::size_t operator()(store::raft::NodeId id) const noexcept { return std::hash<std::uint64_t>{}(id.value); }
};
