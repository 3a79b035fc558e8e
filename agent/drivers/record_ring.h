#pragma once
/// Bytes of one thread for one other, without a lock and without waiting: what does not fit is dropped and counted.
/// Bound:     `bytes`, given at construction; a record takes its size, 4 bytes more, and what is left over at the end.
/// Invariant: records come out whole and in order; the producer never waits for the consumer.
/// Thread:    push by one thread, drain by one other, the counts by any.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace agent::drivers {

class RecordRing {
 public:
  /// @param bytes  rounded up to a power of two, at least 4 KiB
  explicit RecordRing(std::size_t bytes) : memory_(std::bit_ceil(bytes < 4096 ? std::size_t{4096} : bytes)) {}

  /// Producer. @return false: no room, counted. Records of more than a quarter of the ring never have room.
  bool push(std::string_view record) {
    const std::size_t need = rounded(record.size() + kHead);
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    const std::size_t at = head & (memory_.size() - 1), to_end = memory_.size() - at;
    const std::size_t skip = need > to_end ? to_end : 0;
    const std::uint64_t used = head - tail_.load(std::memory_order_acquire);
    if (need > memory_.size() / 4 || used + skip + need > memory_.size()) {
      dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return false;
    }
    if (skip > 0) put_size(at, kSkip);
    const std::size_t start = skip > 0 ? 0 : at;
    put_size(start, static_cast<std::uint32_t>(record.size()));
    std::memcpy(memory_.data() + start + kHead, record.data(), record.size());
    head_.store(head + skip + need, std::memory_order_release);
    return true;
  }

  /// Consumer: hands over what is there now, oldest first; the view is valid during the call. @return how many
  template <class Take>
  std::size_t drain(Take take) {
    std::size_t count = 0;
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    for (std::uint64_t tail = tail_.load(std::memory_order_relaxed); tail != head;) {
      const std::size_t at = tail & (memory_.size() - 1);
      std::uint32_t size = 0;
      std::memcpy(&size, memory_.data() + at, sizeof size);
      if (size == kSkip) {
        tail += memory_.size() - at;
      } else {
        take(std::string_view(memory_.data() + at + kHead, size));
        ++count;
        tail += rounded(size + kHead);
      }
      tail_.store(tail, std::memory_order_release);
    }
    return count;
  }

  [[nodiscard]] std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  /// Producer: more than half of it is taken.
  [[nodiscard]] bool half_full() const {
    return head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_relaxed) > memory_.size() / 2;
  }

 private:
  static constexpr std::size_t kHead = sizeof(std::uint32_t);
  static constexpr std::uint32_t kSkip = UINT32_MAX;  // the rest up to the end is nothing
  // Multiples of 8, so that there is always room for the mark of a skip.
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }
  void put_size(std::size_t at, std::uint32_t size) { std::memcpy(memory_.data() + at, &size, sizeof size); }

  std::vector<char> memory_;
  alignas(64) std::atomic<std::uint64_t> head_{0};  // written by the producer ...
  std::atomic<std::uint64_t> dropped_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};  // ... by the consumer
};

}  // namespace agent::drivers
