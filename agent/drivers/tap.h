#pragma once
/// Requests as they end, for people who look on: workers leave records in rings, readers take those that they asked for.
///
/// Without a reader nothing of this exists and a request costs nothing. A worker never waits: a full ring drops, and so
/// does a reader that is behind; each reader is told how many it has missed.
/// Bounds: one ring of kRingBytes per worker while anybody reads; kReadersMax readers with kBufferBytes each.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/drivers/record_ring.h"
#include "agent/drivers/request_record.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent::drivers {

/// Which requests a reader wants; what is empty or zero lets all pass.
struct TapFilter {
  std::string route, method, path_prefix;
  int status_min = 0, status_max = 999;     ///< 0 = the client left before an answer
  std::chrono::nanoseconds slower_than{0};
  [[nodiscard]] bool wants(const proxy::AccessRecord& record) const;
};

/// One reader. Dropping the pointer ends it.
class TapReader {
 public:
  explicit TapReader(TapFilter filter, std::function<void()> on_news) : filter_(std::move(filter)), on_news_(std::move(on_news)) {}
  /// Lines of JSON, each with its line feed, that have come since the last call.
  [[nodiscard]] std::string take() { return std::exchange(lines_, {}); }
  /// Requests that it wanted, or may have wanted, and did not get since the last call.
  [[nodiscard]] std::uint64_t take_missed() { return std::exchange(missed_, 0); }
  [[nodiscard]] bool empty() const { return lines_.empty() && missed_ == 0; }

 private:
  friend class Tap;
  TapFilter filter_;
  std::function<void()> on_news_;
  std::string lines_;
  std::uint64_t missed_ = 0;
};

/// Ownership: of the proxy driver. Thread: the control loop.
class Tap {
 public:
  static constexpr std::size_t kRingBytes = 512U << 10, kBufferBytes = 256U << 10, kReadersMax = 32;
  static constexpr io::Milliseconds kLook{50};

  using Rings = std::vector<std::shared_ptr<RecordRing>>;
  /// @param publish  gives each worker its ring, or takes them away (empty list)
  Tap(io::Loop& loop, std::size_t workers, std::string node, std::function<void(const Rings&)> publish);
  /// @param on_news  there is something to take; called once per look, not inside this call. May drop the reader.
  /// @return null: kReadersMax are there
  [[nodiscard]] std::shared_ptr<TapReader> open(TapFilter filter, std::function<void()> on_news);

 private:
  void look();
  void hand_out(const proxy::AccessRecord& record, std::uint64_t target_bytes, const ClockPair& clocks);

  std::size_t workers_;
  std::string node_json_;
  std::function<void(const Rings&)> publish_;
  Rings rings_;
  std::vector<std::uint64_t> dropped_;  // of each ring, as told
  std::vector<std::weak_ptr<TapReader>> readers_;
  std::string line_;
  io::Timer timer_;
};

}  // namespace agent::drivers
