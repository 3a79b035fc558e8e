#pragma once
/// How often something may happen: two rules, and one bounded table that counts by key for all workers of an agent.
/// Pure: time is an argument, the seed of the keyed hash too.
/// Sources: ITU-T I.371, generic cell rate algorithm, for the bucket (one number says all: when it will be full again);
///          the two-window counter for the sliding window (what HAProxy's http_req_rate keeps);
///          Metwally, Agrawal and El Abbadi 2005 (Space-Saving) for what happens when the table is full;
///          Aumasson and Bernstein 2012 (SipHash) for a hash whose collisions nobody outside can aim at.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "proxy/stream.h"

namespace proxy {

/// `count` per `period`. With a burst: a bucket that holds 1 + burst and gets one back every period / count. Without: at
/// most `count` in a window of `period` that slides.
struct RateRule {
  std::uint32_t count = 10;            ///< 1..kCountMax
  Milliseconds period{1000};           ///< 1 ms .. 24 h
  std::optional<std::uint32_t> burst;  ///< bucket; 0..kCountMax
  bool nodelay = true;                 ///< bucket: false = a burst is let through one by one, at the rate
  static constexpr std::uint32_t kCountMax = 500'000;
  friend bool operator==(const RateRule&, const RateRule&) = default;
};

/// Whether the numbers are within the bounds named there.
[[nodiscard]] bool is_rate(const RateRule& rule);

/// What the rule says about one request.
struct RateVerdict {
  bool admitted = true;
  std::chrono::nanoseconds delay{0};        ///< admitted: wait so long before going on (a bucket without nodelay)
  std::chrono::nanoseconds retry_after{0};  ///< refused: a try after this time is admitted if nobody else comes
  std::uint32_t remaining = 0;              ///< requests that would be admitted now, after this one
  std::chrono::nanoseconds reset{0};        ///< until everything is forgotten, if nobody comes
};

/// The rule applied to what is known of one key. `state` is opaque; 0 = never seen. Refused requests are not counted:
/// whoever keeps trying gets the rate and no more, instead of nothing for ever.
/// @param now  since any fixed moment, >= 0
[[nodiscard]] RateVerdict apply_rate(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t& state);
/// How much of the rule's allowance `state` has used, in requests times 2^10; 0 = as good as never seen.
[[nodiscard]] std::uint64_t rate_debt(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t state);

/// What is left of a debt after a time in which nobody came: never more than there really is.
[[nodiscard]] std::uint64_t rate_debt_after(const RateRule& rule, std::uint64_t debt, std::chrono::nanoseconds time);
/// A state with that debt (at most the most that the rule leads to), as if its requests had come just now.
[[nodiscard]] std::uint64_t rate_state_of(const RateRule& rule, std::chrono::nanoseconds now, std::uint64_t debt);
/// The part of a rule that one of `parts` agents may let through by itself: all of them together the rule, or one each.
/// @param parts  1..1024
[[nodiscard]] RateRule rate_share_of(const RateRule& rule, std::uint32_t parts);

/// SipHash-2-4 of `text` under a 128-bit key.
[[nodiscard]] std::uint64_t keyed_hash(std::uint64_t key0, std::uint64_t key1, std::string_view text);

/// States by key, in kSlots places of 16 bytes, shared by all workers without a lock: one compare-and-swap per request of
/// a limited route, on a line that only requests of nearby keys touch.
/// Invariant: nobody is counted too low. A key finds no free place among its kWays: it takes the place of the one with the
///   least debt *and that debt with it*. So a flood of invented keys neither forgets an offender (who has the most debt and
///   is the last to go) nor buys anything for the flooder; a newcomer pays at most the least debt there, which under a flood
///   of single requests is one request.
/// Bound: kSlots keys, 256 KiB. Thread: any.
class RateTable {
 public:
  static constexpr std::size_t kWays = 8;
  static constexpr std::size_t kSlots = 16'384;
  /// @param seed0,seed1  chance: makes collisions unpredictable
  RateTable(const RateRule& rule, std::uint64_t seed0, std::uint64_t seed1);
  /// Counts one request of `key` at `now`.
  [[nodiscard]] RateVerdict take(std::string_view key, TimePoint now);

  /// A verdict, and what the key owes after it.
  struct Taken {
    RateVerdict verdict;
    std::uint32_t debt = 0;  ///< as rate_debt
  };
  /// The same for keys that other agents name, too, which are hashes that all of them agree on.
  /// @param known  what the asker knows that the key owes; heeded only where nothing is known here
  [[nodiscard]] Taken take(std::uint64_t key, TimePoint now, std::uint32_t known);
  /// Counts under another rule of the same kind: a share of rule().
  [[nodiscard]] RateVerdict take_share(std::uint64_t key, TimePoint now, const RateRule& share);
  /// What `key` owes; counts nothing.
  [[nodiscard]] std::uint32_t debt(std::uint64_t key, TimePoint now) const;
  [[nodiscard]] const RateRule& rule() const { return rule_; }
  [[nodiscard]] std::uint64_t rejected() const { return rejected_.load(std::memory_order_relaxed); }
  /// Keys that had to make room although they were not forgotten yet: many = a flood of keys, or a table too small.
  [[nodiscard]] std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<std::uint64_t> tag{0};    ///< 0 = free
    std::atomic<std::uint64_t> state{0};
  };
  struct alignas(64) Set {
    std::array<Slot, kWays> slots;
  };
  Slot& place_of(std::uint64_t hash, std::chrono::nanoseconds now);
  [[nodiscard]] std::uint64_t hash_of(std::uint64_t key) const;
  RateVerdict take_at(Slot& slot, const RateRule& rule, std::chrono::nanoseconds now, std::uint32_t known, std::uint64_t& state);

  RateRule rule_;
  std::uint64_t seed0_, seed1_;
  std::unique_ptr<std::array<Set, kSlots / kWays>> sets_;
  std::atomic<std::uint64_t> rejected_{0}, evicted_{0};
};

}  // namespace proxy
