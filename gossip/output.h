#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gossip/member.h"

namespace gossip {

/// Names one stream between core and driver; chosen by the core, never reused within one core, 0 is none.
enum class StreamId : std::uint64_t {};

/// How a stream or datagram failed, as far as the driver can tell.
enum class Failure : std::uint8_t {
  kRefused,   ///< RST or ICMP port unreachable: nobody listens there
  kTimeout,   ///< the driver's own connect limit passed
  kClosed,    ///< the peer ended it in good order
  kTooBig,    ///< EMSGSIZE: datagram above the path's limit
  kNoBuffer,  ///< ENOBUFS and kin: our own host is short of something; no evidence about the peer
  kOther,
};

// --- What the driver has to do, in this order within one take_output(). ---

struct SendDatagram {
  Address to;
  std::vector<std::byte> bytes;  ///< sealed and complete; <= Config::datagram_bytes_max
};
/// Connect by TCP; answer with on_stream_opened or on_stream_closed. The core keeps its own deadline.
struct OpenStream {
  StreamId id{};
  Address to;
};
/// Append to the stream. May come before on_stream_opened only if that was already reported.
struct SendStream {
  StreamId id{};
  std::vector<std::byte> bytes;
};
/// Send what is queued, then close. The core forgets the id at once: later reports about it are ignored.
struct CloseStream {
  StreamId id{};
};

enum class EventKind : std::uint8_t {
  kJoined,        ///< a member seen for the first time (or again after it was reaped), alive; its tags are there
  kRestarted,     ///< a known member with a new generation; address and tags may be new. No leave event before it
  kAlive,         ///< back from suspect, dead or left; maybe in a new life, with new address and tags
  kSuspect,       ///< accused; `evidence` says how. Not a verdict
  kStalled,       ///< a suspect's process answers nothing though its host does: route around it now
  kDead,          ///< verdict of the cluster as seen here
  kLeft,          ///< said goodbye itself
  kReaped,        ///< forgotten: its tombstone is over or displaced
  kTagsChanged,   ///< at least one visible tag has a new value; `detail` is the key when it was a single one
  kNameConflict,  ///< `subject` (older, keeps the name) and `other` (yields) are live under one name
  kIdConflict,    ///< someone else uses our id; `detail` is its address
  kUnreachable,   ///< our probes fail, nobody else's do: a broken link, told to nobody
  kReachable,     ///< the end of kUnreachable
  kUdpBlocked,    ///< answers on streams only
  kUdpUnblocked,
  kRefuted,        ///< we contradicted a claim that we are suspect or dead
  kPaused,         ///< we were frozen; `detail` is the gap in ms
  kSeedsSilent,    ///< no seed has answered for seeds_silent_after; joining goes on
  kClusterJoined,  ///< first answer from another member since the start or since kSeedsSilent
  kLeaveDone,      ///< enough peers know that we left, or leave_timeout passed: the process may end
};
[[nodiscard]] std::string_view to_string(EventKind kind) noexcept;

struct Event {
  EventKind kind{};
  MemberId subject;  ///< whom it is about; ourselves for kRefuted, kPaused, kSeedsSilent, kLeaveDone, ...
  MemberId other;    ///< accuser, or second party; may be none
  Evidence evidence = Evidence::kSilent;
  std::string name;  ///< of `subject`, for people
  std::string detail;
};

/// Write these bytes to disk (temporary file, fsync, rename), replacing the former. Format: gossip/snapshot.h.
/// Nothing else waits for it; losing the newest costs a slower start only, except that the generation in the
/// first Persist after start must be on disk before the process may rely on "generation never repeats".
struct Persist {
  std::vector<std::byte> snapshot;
};

using Output = std::variant<SendDatagram, OpenStream, SendStream, CloseStream, Event, Persist>;

/// Why something from outside was thrown away. One counter each.
enum class Drop : std::uint8_t {
  kTruncated,
  kMalformed,
  kTooBig,
  kUnknownVersion,
  kPlaintextMixed,
  kUnknownKey,
  kNotAuthentic,
  kReplayed,
  kThrottled,         ///< these nine mirror Errc
  kUnconfirmed,       ///< well sealed, but its session has not echoed our cookie yet
  kUpdateLimit,       ///< more updates in one datagram than allowed
  kMemberLimit,       ///< the table is full
  kMemberRate,        ///< too many new members per second
  kFutureGeneration,  ///< a generation more than a day ahead
  kInvalidRecord,     ///< a record whose name, address or tags break their bounds
  kParkedOverflow,    ///< the oldest parked claim was dropped
  kQueueOverflow,     ///< the least urgent waiting update was dropped
  kStreamLimit,       ///< inbound stream refused
  kStreamOverrun,     ///< a stream sent more than its bound
  kStrayAnswer,       ///< an ack or nack nobody waits for
  kUnknownKind,       ///< a kind of a later version, skipped
  kSelfEcho,          ///< our own packet came back to us
  kCount,
};
[[nodiscard]] std::string_view to_string(Drop reason) noexcept;

/// Totals since construction; they only grow.
struct Counters {
  std::array<std::uint64_t, static_cast<std::size_t>(Drop::kCount)> drops{};
  std::uint64_t datagrams_in = 0;
  std::uint64_t datagrams_out = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t stream_bytes_in = 0;
  std::uint64_t stream_bytes_out = 0;
  std::uint64_t probes = 0;
  std::uint64_t probes_failed = 0;
  std::uint64_t indirect_saves = 0;  ///< probes saved by a helper
  std::uint64_t stream_saves = 0;    ///< probes saved by the stream
  std::uint64_t suspicions = 0;      ///< members that became suspect here
  std::uint64_t deaths = 0;
  std::uint64_t refutations = 0;  ///< of ourselves
  std::uint64_t syncs = 0;        ///< anti-entropy streams finished
  std::uint64_t urgent_pushes = 0;
  std::uint64_t pauses = 0;
  [[nodiscard]] std::uint64_t dropped(Drop reason) const { return drops[static_cast<std::size_t>(reason)]; }
};

}  // namespace gossip
