#pragma once

#include <string>
#include <tl/expected.hpp>

/// What can go wrong in store/raft through no fault of this process. Bugs that break an invariant of Raft are no
/// errors: they come out as Output::fatal and stop the core (raft.h).
namespace store::raft {

enum class Errc {
  // Proposals, reads and commands of the host.
  kNotLeader,             ///< this node does not lead; detail = decimal id of the leader, "0" if none is known
  kTransferring,          ///< leadership is being handed over: ask again, most likely at the next leader
  kUncommittedFull,       ///< Config::uncommitted_bytes_max reached: nothing was appended; retry when commit moves
  kLogFull,               ///< Config::log_bytes_max reached: the host must compact first; nothing was appended
  kEntryTooLarge,         ///< one entry is over kEntryBytesMax, or the proposal is empty or over kEntriesMax entries
  kConfChangePending,     ///< an earlier configuration change is not applied yet, or a joint one is not left yet
  kConfChangeTooEarly,    ///< no entry of the own term is committed yet (thesis 4.1 erratum, 6.4)
  kConfChangeInvalid,     ///< the change cannot be made to the present configuration; detail says why
  kReadsFull,             ///< Config::reads_max reads wait already
  kUnknownPeer,           ///< the node named is not in the configuration, or may not take this role
  kNotPromotable,         ///< this node may not campaign: learner, not in the configuration, or change unapplied
  kStopped,               ///< a broken invariant stopped this core earlier; only a restart helps
  // Log window.
  kCompacted,             ///< the index lies before the log window
  kUnavailable,           ///< the index lies after the end of the log
  // Loaded state and bytes.
  kBadState,              ///< the loaded state contradicts itself (gap, commit past the end, term going back)
  kTruncated,             ///< bytes end in the middle of a value
  kMalformed,             ///< not the msgpack shape that was expected, or values that no correct node sends
  kUnknownVersion,        ///< format version that this build does not know
  kUnknownKind,           ///< kind of message, entry or change that this build does not know
  kTooLarge,              ///< more bytes, entries or nodes than the bounds in wire.h
};

/// @param detail for people; its wording is no contract, except for kNotLeader.
struct Error {
  Errc code;
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}

/// Name of the enumerator without its k, e.g. "NotLeader".
[[nodiscard]] const char* to_string(Errc code);

}  // namespace store::raft
