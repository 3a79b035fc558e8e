#pragma once
/// Which content codings a client takes. Source: RFC 9110, section 12.5.3.

#include <string_view>

#include "proxy/http1/message.h"

namespace proxy {

/// True if the client takes gzip, and would not rather have the body as it is: the greater weight wins, gzip on a tie.
/// "x-gzip" is gzip; "*" speaks for what is not named; weight 0 refuses. No field at all: false, since somebody who does not
/// ask may not be able to. A weight that cannot be read counts as 0.
[[nodiscard]] bool accepts_gzip(std::span<const http1::Header> headers);

/// True if one of the comma-separated entity tags of `list` is `tag`, weak marks aside (RFC 9110, section 8.8.3.2), or it is "*".
[[nodiscard]] bool matches_weakly(std::string_view list, std::string_view tag);
/// The same, but no weak tag equals anything.
[[nodiscard]] bool matches_strongly(std::string_view list, std::string_view tag);

}  // namespace proxy
