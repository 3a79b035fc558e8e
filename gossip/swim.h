#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gossip/config.h"
#include "gossip/error.h"
#include "gossip/member.h"
#include "gossip/output.h"
#include "gossip/seal.h"

namespace gossip {

/// A tag to set or, without value, to remove.
struct TagChange {
  std::string key;
  std::optional<std::string> value;
};
/// kUrgent pushes the change to the whole cluster at once (role, health, load over a threshold); kOrdinary rides
/// along with other packets (about a second).
enum class Urgency : std::uint8_t { kOrdinary, kUrgent };

/// Membership core of one agent: SWIM with Lifeguard, sealed wire, anti-entropy and partition healing.
/// Source:    SWIM (Das, Gupta, Motivala 2002); Lifeguard (Dadgar, Phillips, Currey 2017); see README.md.
/// Contract:  a state machine. The driver reads *all* pending datagrams into on_datagram, then calls tick when
///            next_deadline() has come, then carries out take_output(), then arms one timer. Same calls with the
///            same arguments and chance give the same outputs, byte for byte.
/// Threads:   one; no locks inside. Time: `now` never goes backwards between calls.
/// Bounds:    every table and queue is bounded by Config; input beyond a bound is counted in counters().drops.
/// Gossip's verdicts are hints for routing: they never decide Raft's voters or who is primary.
class Swim {
 public:
  /// @param config         must pass validate(); anything else is a bug (assert)
  /// @param rng            chance; must be unpredictable in production, see member.h
  /// @param aead           borrowed, outlives the core; null if and only if config.plaintext
  /// @param wall_start_ms  wall clock at `now`, ms since 1970: makes the generation and bounds those of others
  Swim(Config config, Rng rng, Aead* aead, TimePoint now, std::uint64_t wall_start_ms);
  ~Swim();
  Swim(const Swim&) = delete;
  Swim& operator=(const Swim&) = delete;
  Swim(Swim&&) noexcept;
  Swim& operator=(Swim&&) noexcept;

  // --- Inputs from the network. Bytes may come from anyone; nothing here can fail from the caller's view. ---

  /// One UDP datagram. `from` is where answers go.
  void on_datagram(TimePoint now, const Address& from, std::span<const std::byte> bytes);
  /// A datagram to `to` failed; kRefused is evidence that the process there is gone, but only a hint, since
  /// ICMP is not authenticated: it starts the second stage of the probe at once.
  void on_datagram_error(TimePoint now, const Address& to, Failure failure);
  /// An inbound TCP connection. @return the id to use for it, or none: close it (bound reached; counted).
  [[nodiscard]] std::optional<StreamId> accept_stream(TimePoint now, const Address& from);
  /// The connection asked for by OpenStream stands.
  void on_stream_opened(TimePoint now, StreamId id);
  /// Bytes of a stream, in order, any split.
  void on_stream_data(TimePoint now, StreamId id, std::span<const std::byte> bytes);
  /// The stream is over or never came about. kRefused on a probe's stream is evidence of a dead process.
  void on_stream_closed(TimePoint now, StreamId id, Failure failure);

  // --- Time. ---

  /// Lets time pass. If it comes much later than next_deadline() asked for, the pause guard assumes that *we*
  /// were frozen and doubts our own view instead of the others.
  void tick(TimePoint now);
  /// When tick wants to be called next; never later than one probe interval ahead.
  [[nodiscard]] TimePoint next_deadline() const;

  // --- Commands. ---

  /// Adds seeds (numeric addresses, at most 64 in all; more: kTooBig) and members of a former life; contacts them
  /// at once, then for ever with back-off up to heal_backoff_max. Our own address is skipped. Repeats are harmless.
  Result<void> join(TimePoint now, std::span<const Address> seeds);
  /// Feeds a snapshot written by Persist: its members are tried like seeds, and its generation is respected.
  /// Call before the first tick. Errors, changing nothing: kTruncated, kMalformed, kTooBig, kUnknownVersion,
  /// kChecksum, kInvalidArgument (a snapshot of another id).
  Result<void> restore(TimePoint now, std::span<const std::byte> snapshot);
  /// Says goodbye: state left, pushed at once. kLeaveDone follows within leave_timeout; the driver keeps ticking
  /// until then. Idempotent. Afterwards the core answers probes with nothing and joins no more.
  void leave(TimePoint now);
  /// Declares a dead member gone for good, at an operator's word: as if it had said goodbye itself. If it lives after
  /// all it contradicts this and is back. A member that left already: nothing happens.
  /// Errors: kInvalidArgument (unknown, ourselves, or alive as far as we know).
  Result<void> push_out(TimePoint now, const MemberId& id);
  /// Sets or removes own tags. All or nothing. Errors: kInvalidArgument (key), kTooBig (bounds of tags.h).
  /// Setting the present value again costs nothing.
  Result<void> set_tags(TimePoint now, std::span<const TagChange> changes, Urgency urgency);

  // --- Answers. ---

  /// Everything to be done since the last call, in order. The driver owns it.
  [[nodiscard]] std::vector<Output> take_output();
  /// All known members with the dead and left ones and ourselves, in no particular order.
  /// Valid until the next non-const call.
  [[nodiscard]] std::span<const Member> members() const;
  [[nodiscard]] const Member* find(const MemberId& id) const;  ///< null if unknown; same validity
  [[nodiscard]] const Member& self() const;
  [[nodiscard]] std::size_t live_count() const;      ///< alive and suspect, with ourselves; >= 1 before leave
  [[nodiscard]] std::uint32_t health_score() const;  ///< our own local health multiplier, 0 = well
  [[nodiscard]] std::uint64_t digest() const;        ///< 64-bit sum over the live view; equal views have equal sums
  [[nodiscard]] const Counters& counters() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace gossip
