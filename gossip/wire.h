#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gossip/error.h"
#include "gossip/member.h"
#include "gossip/seal.h"

/// Wire format v1. A packet is header (20 bytes, big-endian, authenticated in the clear), body (msgpack, sealed)
/// and seal tag. Body = array [sender id, link, message, message, ...]; link = nil or [echo, offer];
/// message = array [kind, field, ...]. Arrays only, never maps; nesting <= 4. A decoder skips kinds it does not know
/// and ignores fields after those it knows, so later versions may add both. Numbers of kinds are never reused.
namespace gossip {

inline constexpr std::size_t kHeaderBytes = 20;
inline constexpr std::uint8_t kWireVersion = 1;
inline constexpr std::size_t kFrameBytesMax = 16 * 1024;  ///< one packet on a stream, header and tag included
inline constexpr std::size_t kMessagesMax = 1024;         ///< in one packet; a decoder refuses more
inline constexpr std::size_t kAccusersMax = 8;            ///< in one dead claim
inline constexpr std::size_t kBuckets = 64;               ///< of the anti-entropy digest

enum class Kind : std::uint8_t {
  kPing = 1,
  kAck = 2,
  kNack = 3,
  kPingReq = 4,
  kRelayAck = 5,
  kPull = 6,
  kLeaveAck = 7,
  kSyncRequest = 16,
  kSyncOffer = 17,
  kSyncDone = 18,
  kAlive = 32,
  kSuspect = 33,
  kDead = 34,
  kLeft = 35,
  kTags = 36,
  kTombstone = 37,
  // Reserved, so that a later version may speak them without a new format:
  kVouch = 38,
  kUserEvent = 39,
  kKeyOp = 40,
  kEncryptedKey = 41,
};

struct Header {
  std::uint8_t version = kWireVersion;
  bool sealed = true;  ///< flag bit 0; the other bits must be 0 in v1
  KeyId key{};
  SessionId session{};
  std::uint64_t counter = 0;
};

// --- Messages ---

struct Ping {
  std::uint32_t sequence = 0;
  std::uint64_t digest = 0;  ///< sum over the sender's live view
};
struct Ack {
  std::uint32_t sequence = 0;
  std::uint64_t digest = 0;
  std::uint8_t health_score = 0;
};
/// A helper tells in time that it is well but has no answer from the target yet (Lifeguard).
struct Nack {
  std::uint32_t sequence = 0;
};
struct PingReq {
  std::uint32_t sequence = 0;  ///< of the asker
  MemberId target;
  Address address;
  std::uint32_t budget_ms = 0;  ///< what the asker has left; the helper nacks at 0.8 of it
};
struct RelayAck {
  std::uint32_t sequence = 0;  ///< of the asker
  MemberId target;
};
/// "Send me what you hold about this member". Answered for a live one with Alive and Suspect claims; for a dead or
/// left one with Tombstone if the asker has no record at all, else with the Alive record the verdict was about and
/// the claim itself, since only an alive record raises a rank.
struct Pull {
  MemberId target;
  bool has_record = false;
};
struct LeaveAck {};
struct SyncRequest {
  std::array<std::uint64_t, kBuckets> buckets{};
};
/// Answer to SyncRequest: records of the buckets in `mask` follow, in this and further packets, until SyncDone.
struct SyncOffer {
  std::uint64_t mask = 0;
};
struct SyncDone {};
struct Alive {
  MemberId id;
  Rank rank;
  std::string name;
  Address address;
  std::uint8_t protocol_min = 1;
  std::uint8_t protocol_max = 1;
  std::vector<Tag> tags;  ///< empty when they do not fit; then Tags messages carry them
};
struct Suspect {
  MemberId id;
  Rank rank;
  MemberId accuser;
  Evidence evidence = Evidence::kSilent;
};
struct Dead {
  MemberId id;
  Rank rank;
  Evidence evidence = Evidence::kSilent;
  std::vector<MemberId> accusers;  ///< the certificate; distinct, <= kAccusersMax
};
struct Left {
  MemberId id;
  Rank rank;
};
struct Tags {
  MemberId id;
  Generation generation{};
  bool urgent = false;
  std::vector<Tag> tags;
};
/// A dead or left member as a record for the tables, not as news.
struct Tombstone {
  MemberId id;
  Rank rank;
  MemberState state = MemberState::kDead;  ///< kDead or kLeft
  std::string name;
  Address address;
  std::uint32_t age_s = 0;
};

using Message = std::variant<Ping, Ack, Nack, PingReq, RelayAck, Pull, LeaveAck, SyncRequest, SyncOffer, SyncDone,
                             Alive, Suspect, Dead, Left, Tags, Tombstone>;

/// True for claims and records about members, false for probes, answers and stream control.
[[nodiscard]] bool is_update(const Message& message);

/// Freshness proof between two sessions; zero means absent. See envelope.h.
struct Link {
  std::uint64_t echo = 0;   ///< the cookie the receiver once offered us
  std::uint64_t offer = 0;  ///< a cookie we want back
};

struct Packet {
  MemberId sender;
  Link link;
  std::vector<Message> messages;  ///< in wire order
  std::size_t unknown_kinds = 0;  ///< skipped
};

// --- Bytes ---

/// Appends exactly kHeaderBytes.
void encode_header(const Header& header, std::vector<std::byte>& out);
/// Errors: kTruncated, kUnknownVersion, kMalformed (unknown flag bits).
Result<Header> decode_header(std::span<const std::byte> packet);

/// Encoded form of one message, as it is queued and piggybacked.
[[nodiscard]] std::vector<std::byte> encode(const Message& message);

/// Builds one body within a byte budget. Usage: construct, add() while it returns true, finish() once.
class BodyWriter {
 public:
  /// @param out     the body is appended here. @param budget  most bytes of the body; >= 64
  BodyWriter(std::vector<std::byte>& out, std::size_t budget, const MemberId& sender, const Link& link);
  /// Appends an encoded message. @return false, changing nothing, if it does not fit.
  bool add(std::span<const std::byte> message);
  bool add(const Message& message) { return add(encode(message)); }
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] std::size_t count() const { return count_; }
  void finish();  ///< writes the number of elements into the space kept for it

 private:
  std::vector<std::byte>& out_;
  std::size_t start_;
  std::size_t budget_;
  std::size_t count_ = 0;
};

/// Decodes one opened body. Whole or nothing.
/// Errors: kTruncated, kMalformed (types, ranges, nesting, bytes behind the end), kTooBig (count or length).
Result<Packet> decode_body(std::span<const std::byte> body);

}  // namespace gossip
