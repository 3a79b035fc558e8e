#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

/// What can go wrong behind the API, and the one table that says how each case looks to a client.
namespace agent::api {

enum class Errc {
  kBadRequest,      ///< the client's input is at fault; detail says which part
  kNotFound,        ///< no such key, service, member
  kConflict,        ///< decided against the caller: stale epoch, not the holder, CAS lost (own API only)
  kTooLarge,        ///< body, key, value or answer above its bound
  kNoLeader,        ///< nobody leads the replicated store; nothing was written
  kNoQuorum,        ///< a leader, but no majority behind it: a write may still come through later
  kTimeout,         ///< no answer in time, and nothing was written
  kOutcomeUnknown,  ///< a write was under way when its answer was lost: done or not, nobody knows
  kRefused,         ///< the state decided against it for a reason that Consul's clients know as 500 and parse
  kTooOld,          ///< a resume from further back than is remembered: start over with a listing
  kForbidden,       ///< never allowed, whoever asks: a read-only place
  kBusy,            ///< a bounded queue or table is full; try again
  kStopping,        ///< the agent is leaving or shutting down
  kUnsupported,     ///< understood, but this agent does not do it
  kUnavailable,     ///< a part that the answer needs is not there yet (starting, no service configured)
  kInternal,        ///< our own fault; also when the disk failed
};

struct Error {
  Errc code = Errc::kInternal;
  std::string detail;                        ///< one sentence for people, without trailing full stop
  std::chrono::milliseconds retry_after{0};  ///< 0 = the table's value
};
template <typename T>
using Result = tl::expected<T, Error>;

/// One row of the table: the same error as HTTP, as Consul's dialect, and as exit code of the CLI.
struct ErrorRow {
  Errc code;
  std::string_view name;                  ///< snake_case, `code` of our problem JSON
  int status;                             ///< /outrigger/v1
  int consul_status;                      ///< /v1: Consul answers 500 where we would say 503
  std::string_view consul_text;           ///< body under /v1 when clients parse it; empty = the detail
  std::string_view hint;                  ///< what the caller can do
  std::chrono::milliseconds retry_after;  ///< 0 = retrying the same is of no use
  int exit_code;                          ///< that `outrigger VERB` ends with when it meets `status`: 1 failed, 2 usage
};
/// Never fails: every enumerator has a row (a test walks all of them).
[[nodiscard]] const ErrorRow& error_row(Errc code);
}  // namespace agent::api
