#pragma once

#include <string>
#include <tl/expected.hpp>

/// What can go wrong with a request to the Store. "Unknown" in a comment: the write may or may not happen later.
namespace store {

enum class Errc {
  kNoLeader,        ///< nobody leads, or no cluster yet; a write was never handed to anyone: it did not happen
  kNoQuorum,        ///< a write is in a leader's log, but no majority took it in time: unknown
  kTimeout,         ///< no answer before the deadline: a write is unknown, a read did not happen
  kBusy,            ///< a bounded table is full or the leader is behind; nothing happened, ask again a little later
  kTooLarge,        ///< key, value or name above its bound; nothing happened
  kBadRequest,      ///< empty key, NUL in a key, lease length out of bounds; detail says which; nothing happened
  kNotFound,        ///< no such member or lease
  kStaleEpoch,      ///< renew: that epoch is not current, or its end is being decided
  kNotLeader,       ///< the command must be given to the leader; detail = its decimal Raft id, "0" if unknown
  kConflict,        ///< another configuration change is under way, or it would cost the quorum; detail says which
  kAlreadyFounded,  ///< bootstrap: this node belongs to a cluster already
  kBadState,        ///< start: what was loaded contradicts itself; the node must not run with it
  kDiskFull,        ///< the disk of the leader or of this node runs out of room: new writes are refused early; nothing happened
  kStopped,         ///< a fail-stop happened (Output::fatal); only a restart helps
};

/// @param detail  one sentence for people, e.g. who is missing; no contract except for kNotLeader.
struct Error {
  Errc code;
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}

/// Name of the enumerator without its k, e.g. "NoLeader".
[[nodiscard]] const char* to_string(Errc code);

}  // namespace store
