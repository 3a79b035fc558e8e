#pragma once

#include <string>
#include <tl/expected.hpp>

/// What can go wrong in store/kv. A command that is decided against its sender (a lost CAS, a lease somebody else
/// holds) is no error but an Outcome (state_machine.h); an error of apply() means that this replica must stop.
namespace store::kv {

enum class Errc {
  kTruncated,       ///< bytes end in the middle of a value
  kMalformed,       ///< not the msgpack shape expected, or bytes left over
  kUnknownVersion,  ///< format version this build does not know: written by a newer agent
  kUnknownKind,     ///< kind of command or record this build does not know: written by a newer agent
  kTooLarge,        ///< key, value, name or count above its bound in types.h
  kBadKey,          ///< empty key or name, or one with a NUL byte
  kOutOfOrder,      ///< apply() with an index that is not above the last one: a bug of the host
  kBadState,        ///< loaded records contradict each other
  kWatchesFull,     ///< kWatchesMax waits are registered
};

/// @param detail  one sentence for people; its wording is no contract.
struct Error {
  Errc code;
  std::string detail;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(detail)});
}

/// Name of the enumerator without its k, e.g. "UnknownKind".
[[nodiscard]] const char* to_string(Errc code);

}  // namespace store::kv
