#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>

namespace gossip {

/// Remembers which packet counters of one session were seen: a window of 1024 below the highest.
/// Source: the sliding window of RFC 4303 (ESP), appendix A, as a ring of bits.
class ReplayWindow {
 public:
  static constexpr std::uint64_t kSize = 1024;

  /// True for a counter that is new and not behind the window. 0 is never fresh: counters start at 1.
  [[nodiscard]] bool is_fresh(std::uint64_t counter) const {
    if (counter == 0 || counter + kSize <= highest_) return false;
    return counter > highest_ || !seen_[static_cast<std::size_t>(counter % kSize)];
  }
  /// Call only after the packet has proved authentic, so that a forged counter cannot move the window.
  void mark(std::uint64_t counter) {
    if (counter > highest_) {
      if (counter - highest_ >= kSize)
        seen_.reset();
      else
        for (std::uint64_t i = highest_ + 1; i < counter; ++i) seen_[static_cast<std::size_t>(i % kSize)] = false;
      highest_ = counter;
    }
    seen_[static_cast<std::size_t>(counter % kSize)] = true;
  }

 private:
  std::uint64_t highest_ = 0;
  std::bitset<kSize> seen_;
};

}  // namespace gossip
