#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "store/kv/error.h"
#include "store/kv/types.h"

/// Commands: what a log entry asks of the state machine.
/// Format: one msgpack array [version, kind, origin, seq, field...]; integers unsigned, strings bin. A kind or
///   version that a build does not know stops it (fail-stop): skipping would let replicas drift apart.
/// Time enters as a value only (lease and margin lengths); chance never.
namespace store::kv {

inline constexpr std::uint64_t kCommandVersion = 1;

/// Writes `value` and `flags`. A set that changes nothing keeps the modify index and wakes nobody.
struct Set {
  std::string key, value;
  std::uint64_t flags = 0;
};
/// As Set, if the key's modify index is `expected`; 0 = the key must not exist.
struct Cas {
  std::string key, value;
  std::uint64_t flags = 0;
  Index expected{};
};
/// Removes the key; also Outcome::kDone if it was missing.
struct Delete {
  std::string key;
};
/// Removes the key if its modify index is `expected` (> 0); a missing key is Outcome::kDone.
struct DeleteCas {
  std::string key;
  Index expected{};
};
/// Removes every key that begins with `prefix` (empty = all).
struct DeleteTree {
  std::string prefix;
};

/// Takes the lease of `service` for `holder` under a new epoch: if it is vacant and not reserved for somebody else,
/// or if `holder` has it already (its process began anew, so the old epoch must end).
struct LeaseAcquire {
  std::string service;
  NodeId holder{};
  std::string holder_name;
  std::uint32_t lease_ms = 1500;  ///< kLeaseMsMin..kLeaseMsMax; how long one renewal carries the holder
  std::uint32_t margin_ms = 500;  ///< <= kLeaseMsMax; what the leader waits beyond the lease before it expires it
};
/// Gives the lease up, if `epoch` is current. `preferred` (0 = anyone) is the only one who may take it until the
/// leader proposes LeaseOpen, one lease period later.
struct LeaseRelease {
  std::string service;
  Epoch epoch{};
  NodeId preferred{};
};
/// Takes the lease away, if `epoch` is current. Proposed by the leader alone.
struct LeaseExpire {
  std::string service;
  Epoch epoch{};
};
/// Ends the reservation that a release of `epoch` made, if the lease is still vacant. Proposed by the leader alone.
struct LeaseOpen {
  std::string service;
  Epoch epoch{};
};
/// Forgets a vacant lease; its epoch counter stays for ever.
struct LeaseForget {
  std::string service;
};

/// Writes down a member's name. Proposed by the leader alone.
struct MemberSet {
  NodeId id{};
  std::string name;
};
struct MemberRemove {
  NodeId id{};
};
/// Sets the cluster id if there is none yet.
struct ClusterSet {
  ClusterId id;
};

using CommandBody = std::variant<Set, Cas, Delete, DeleteCas, DeleteTree, LeaseAcquire, LeaseRelease, LeaseExpire,
                                 LeaseOpen, LeaseForget, MemberSet, MemberRemove, ClusterSet>;
struct Command {
  RequestId request;
  CommandBody body;
};

[[nodiscard]] std::string encode(const Command& command);
/// Takes any bytes from anyone. Errors: kTruncated, kMalformed, kUnknownVersion, kUnknownKind, and those of check().
[[nodiscard]] Result<Command> decode_command(std::string_view bytes);
/// The rules that every command obeys before it may be proposed. Errors: kTooLarge, kBadKey, kMalformed.
[[nodiscard]] Result<void> check(const CommandBody& body);
/// Only the request id, without looking at the rest. Errors: as decode_command.
[[nodiscard]] Result<RequestId> decode_request_id(std::string_view bytes);

}  // namespace store::kv
