#pragma once
/// What nghttp2 calls, translated. Private to session*.cc.

struct nghttp2_session_callbacks;
struct nghttp2_option;

namespace proxy::http2 {

/// One set for all sessions of the process, made on first use.
[[nodiscard]] const nghttp2_session_callbacks* session_callbacks();
[[nodiscard]] const nghttp2_option* session_options();

}  // namespace proxy::http2
