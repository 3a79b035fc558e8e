#include "agent/api/error.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace agent::api {
namespace {

using std::chrono::milliseconds;

// 503 means: nothing was done, ask again. 504 means: we do not know whether it was done.
constexpr std::array<ErrorRow, 16> kRows{{
    {Errc::kBadRequest, "bad_request", 400, 400, "", "correct the request", milliseconds(0), 2},
    {Errc::kNotFound, "not_found", 404, 404, "", "check the name", milliseconds(0), 1},
    {Errc::kConflict, "conflict", 409, 409, "", "read the current state and decide again", milliseconds(0), 1},
    {Errc::kTooLarge, "too_large", 413, 413, "", "send or ask for less", milliseconds(0), 1},
    {Errc::kNoLeader, "no_leader", 503, 500, "No cluster leader", "nothing was written; see /outrigger/v1/raft",
     milliseconds(200), 1},
    {Errc::kNoQuorum, "no_quorum", 504, 500, "",
     "it may still come through; read before you repeat it, and see /outrigger/v1/raft", milliseconds(1000), 1},
    {Errc::kTimeout, "timeout", 504, 500, "", "it may or may not have been done; read before you repeat it",
     milliseconds(1000), 1},
    {Errc::kOutcomeUnknown, "outcome_unknown", 504, 500, "",
     "it may have been done, or be done later; read before you repeat it", milliseconds(1000), 1},
    {Errc::kRefused, "refused", 409, 500, "", "correct the request", milliseconds(0), 1},
    {Errc::kTooOld, "too_old", 410, 410, "", "list everything again and go on from the index of that answer",
     milliseconds(0), 1},
    {Errc::kForbidden, "forbidden", 403, 403, "", "write elsewhere", milliseconds(0), 1},
    {Errc::kBusy, "busy", 503, 503, "", "slow down and repeat it", milliseconds(500), 1},
    {Errc::kStopping, "stopping", 503, 500, "", "ask another agent", milliseconds(1000), 1},
    {Errc::kUnsupported, "unsupported", 501, 501, "", "see the list of endpoints in the documentation", milliseconds(0),
     1},
    {Errc::kUnavailable, "unavailable", 503, 500, "", "wait until /outrigger/v1/health/ready is fine",
     milliseconds(1000), 1},
    {Errc::kInternal, "internal", 500, 500, "", "see the agent's log", milliseconds(0), 1},
}};

}  // namespace

const ErrorRow& error_row(Errc code) {
  const auto* row = std::find_if(kRows.begin(), kRows.end(), [code](const ErrorRow& r) { return r.code == code; });
  assert(row != kRows.end());
  return *row;
}

}  // namespace agent::api
