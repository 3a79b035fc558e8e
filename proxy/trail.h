#pragma once
/// The decisions taken about one request, one after the other, so that somebody can ask later why it went as it did.
/// Bound: kBytesMax per request; what comes after that is counted, but its last steps (answer, end) always have room.
/// Ownership: of the exchange, recycled with it; nothing is allocated once the buffer has grown.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/stream.h"

namespace proxy {

/// What was decided or seen. The texts and numbers of a step mean what stands behind it.
enum class Step : std::uint8_t {
  kRoute,        ///< name; "all" or "primary"
  kRate,         ///< how a cluster's limit was decided, who counts; a = requests left, b = ns to wait
  kRateAsked,    ///< another agent counts this client
  kOverRate,     ///< as kRate; a = ns until a try is let in
  kQueued,       ///< no endpoint has room; a = waiting before it
  kHeld,         ///< why
  kReleased,     ///< a = ns held
  kCandidate,    ///< address, why not (empty = could be picked); a = in flight, b = weight in thousandths
  kPicked,       ///< address, node; a = candidates
  kProbe,        ///< address: the one request that an open breaker lets through
  kLease,        ///< a = epoch, b = ns left at the check
  kAttempt,      ///< address, node; a = number of the attempt, b = 1 on a kept connection
  kHedge,        ///< address, node of the second attempt; a = ns that the first one has had
  kNoHedge,      ///< a second attempt that is due, but not within the budget
  kHedgeLost,    ///< address of the attempt of two that is over; why
  kConnected,    ///< connection open
  kSent,         ///< the whole request was given to the stream; a = bytes taken
  kHead,         ///< a = status of the response
  kFailed,       ///< code; verdict
  kNoBudget,     ///< a retry that the rules allow, but not the budget
  kRefusedThere, ///< another agent could not take it
  kLeaseLost,    ///< code
  kReserved,     ///< key; a = number of the reservation
  kReplayed,     ///< key; a = status that was recorded
  kRecorded,     ///< the answer is in the ledger
  kAnswer,       ///< code; a = status of our own answer
  kEnd,          ///< outcome; a = status
};
[[nodiscard]] std::string_view name_of(Step step);  ///< snake_case, stable: "picked"

/// A step as it was written down.
struct TrailStep {
  Step step = Step::kEnd;
  std::chrono::microseconds at{0};  ///< since the head was received
  std::string_view text, more;      ///< at most Trail::kTextMax bytes each
  std::uint64_t a = 0, b = 0;
};
/// The step as a sentence without a full stop.
[[nodiscard]] std::string sentence_of(const TrailStep& step);

class Trail {
 public:
  static constexpr std::size_t kBytesMax = 2048, kTextMax = 120;

  void clear() { bytes_.clear(); left_out_ = 0; }
  void add(std::chrono::nanoseconds at, Step step, std::string_view text, std::string_view more, std::uint64_t a, std::uint64_t b);
  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t left_out() const { return left_out_; }

 private:
  std::string bytes_;
  std::uint32_t left_out_ = 0;
};

/// The steps in `bytes` of a Trail of this process, in order; their texts are views into it.
[[nodiscard]] std::vector<TrailStep> read_trail(std::string_view bytes);

}  // namespace proxy
