#pragma once
/// What a client sent that never became a request: bytes that are none, heads that are too long or too late, streams that
/// were not let in. It leaves a record all the same, and where it is answered a name by which somebody can ask for it.
/// Private to the library.

#include <string>
#include <string_view>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/forwarding.h"

namespace proxy {

/// Writes the answer, head and body, with Connection: close where the client speaks HTTP/1; counts it, leaves its record.
/// @param http_version  as in AccessRecord
[[nodiscard]] std::string answer_unasked(Core& core, const Client& client, const LocalReply& reply, std::uint8_t http_version);

/// Leaves the record of what gets no answer. @param head  as far as one was understood; null = none
/// @param reason  a literal
void record_unasked(Core& core, const Accepted& from, std::string_view reason, std::uint8_t http_version,
                    const http1::RequestHead* head = nullptr);

}  // namespace proxy
