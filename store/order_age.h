#pragma once

#include <cstdint>
#include <optional>

#include "store/types.h"

namespace store {

/// What time it is by the stamps of orders, and how far the own wall clock is from them.
/// Rows are stamped by the wall clocks of whoever held the lease, and one of these may be wrong by hours: behind, and its rows
/// look old as soon as somebody with the right time sweeps; ahead, and it makes all others look old. So the time that passed
/// since a row was settled is measured by the steady clock of whoever sweeps, and stamps are only what it is counted from.
/// Invariant: for every stamp s that was told at time t: now_ms(u) - s <= u - t. So a row that was settled before this process's eyes
///            is never kept shorter than its retention, whatever any wall clock shows or jumps to. Of rows that were there
///            before, the newest counts as settled when this process began.
/// Ownership: a value inside Store::Impl.
class OrderAge {
 public:
  /// A stamp that an order got just now; late news only keep rows longer.
  void saw(std::uint64_t stamp_ms, TimePoint now);
  /// The own wall clock, told every second or so.
  void on_wall_clock(std::uint64_t wall_ms, TimePoint now);
  /// The time by stamps, at most; nullopt: there were none.
  [[nodiscard]] std::optional<std::uint64_t> now_ms(TimePoint now) const;
  /// How far the own wall clock is ahead of the stamps (< 0: behind), by the last two stamps that were told at least a second apart:
  /// the one that is nearer to it, since news may be late. 0 = nothing to compare within the last minute.
  [[nodiscard]] std::int64_t wall_ahead_ms() const;

 private:
  struct Sample {
    std::int64_t ahead_ms = 0;
    TimePoint at;
  };
  std::optional<std::int64_t> offset_ms_;  // of stamps to the steady clock, the lowest that was seen
  std::optional<std::int64_t> wall_offset_ms_;
  std::optional<Sample> last_, before_;
};

}  // namespace store
