#include "agent/backend_error.h"

#include <optional>

namespace agent {

api::Errc api_errc(store::Errc code) {
  switch (code) {
    case store::Errc::kNoLeader: return api::Errc::kNoLeader;
    case store::Errc::kNoQuorum: return api::Errc::kNoQuorum;
    case store::Errc::kTimeout: return api::Errc::kTimeout;
    case store::Errc::kBusy: return api::Errc::kBusy;
    case store::Errc::kTooLarge: return api::Errc::kTooLarge;
    case store::Errc::kBadRequest: return api::Errc::kBadRequest;
    case store::Errc::kNotFound: return api::Errc::kNotFound;
    case store::Errc::kStaleEpoch:
    case store::Errc::kNotLeader:
    case store::Errc::kAlreadyFounded:
    case store::Errc::kConflict: return api::Errc::kConflict;
    case store::Errc::kDiskFull: return api::Errc::kBusy;
    case store::Errc::kStopped: return api::Errc::kStopping;
    case store::Errc::kBadState: return api::Errc::kInternal;
  }
  return api::Errc::kInternal;
}

tl::unexpected<api::Error> api_error(const store::Error& error) {
  return tl::make_unexpected(api::Error{api_errc(error.code), error.detail, {}});
}

tl::unexpected<api::Error> api_error(api::Errc code, std::string detail) {
  return tl::make_unexpected(api::Error{code, std::move(detail), {}});
}

tl::unexpected<api::Error> write_error(const store::Error& error) {
  const bool unknown = error.code == store::Errc::kNoQuorum || error.code == store::Errc::kTimeout;
  if (!unknown) return api_error(error);
  return api_error(api::Errc::kOutcomeUnknown, "outcome unknown, it may have been written: " + error.detail);
}

std::optional<api::Error> refusal_of(const store::Written& written) {
  using store::kv::Outcome;
  if (written.outcome == Outcome::kFull) {
    const std::string what = written.detail.empty() ? "a bound of the replicated state" : written.detail;
    return api::Error{api::Errc::kTooLarge, "no room: " + what + " is full; delete keys or raise the quota", {}};
  }
  if (written.outcome == Outcome::kForgotten)
    return api::Error{api::Errc::kOutcomeUnknown, "outcome unknown: it was decided so long ago that nobody remembers", {}};
  return std::nullopt;
}

}  // namespace agent
