#pragma once
/// What the store refuses or decides, in the API's words. Private to the backend's files.

#include <string>

#include "agent/api/error.h"
#include "store/error.h"
#include "store/types.h"

namespace agent {

[[nodiscard]] api::Errc api_errc(store::Errc code);

/// Of a read or a request that writes nothing.
[[nodiscard]] tl::unexpected<api::Error> api_error(const store::Error& error);
[[nodiscard]] tl::unexpected<api::Error> api_error(api::Errc code, std::string detail);
/// Of a write: what may have happened nevertheless is kOutcomeUnknown, never a failure.
[[nodiscard]] tl::unexpected<api::Error> write_error(const store::Error& error);

/// The outcomes that no caller takes for an answer: kFull, kForgotten. nullopt for all others.
[[nodiscard]] std::optional<api::Error> refusal_of(const store::Written& written);

}  // namespace agent
