#pragma once
/// What a request head must say about its target, its host and its coding before anything is done with it.
/// Private to the codec. Source: RFC 9112, sections 3.2, 6.1 and 6.3.

#include <string_view>

#include "proxy/error.h"
#include "proxy/http1/message.h"

namespace proxy::http1 {

/// Takes `target` apart into `path`, `query` and, for the absolute form, `host`.
/// Errors: kBadRequestLine, kBadHost.
[[nodiscard]] Result<void> read_target(RequestHead& head);
/// Takes `host` from the fields; call after read_target. Errors: kBadHost when it is missing (HTTP/1.1), repeated,
/// malformed, or not the one of the target.
[[nodiscard]] Result<void> read_host(RequestHead& head);
/// The value of the one Transfer-Encoding field must be "chunked".
/// Errors: kBadFraming when the end of the body cannot be known (section 6.3, rule 4), kUnknownCoding when it could but
/// for a coding that is applied before "chunked".
[[nodiscard]] Result<void> check_coding(std::string_view value);

}  // namespace proxy::http1
