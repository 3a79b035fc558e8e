#pragma once
/// HTTP/1 messages as views into the bytes they were read from. Nothing here owns text.
/// Source: RFC 9110 (semantics), RFC 9112 (HTTP/1.1).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace proxy::http1 {

using Bytes = std::span<const std::byte>;

/// Methods that routes can name; every other known method is kOther (its text stays in `RequestHead::method_text`).
enum class Method : std::uint8_t { kGet, kHead, kPost, kPut, kDelete, kOptions, kPatch, kTrace, kConnect, kOther };

/// @return kOther for names that are none of the others. Case-sensitive, as methods are.
[[nodiscard]] Method method_of(std::string_view text);
[[nodiscard]] std::string_view name_of(Method method);  ///< "GET"; "OTHER" for kOther
/// GET, HEAD, OPTIONS: asking twice changes nothing and nobody is harmed. (PUT and DELETE are idempotent by RFC 9110,
/// but in a trading system they place and cancel; they count as unsafe here.)
[[nodiscard]] bool is_safe(Method method);

/// Fields that the codec or the proxy has to know. Every other field is kOther.
enum class HeaderId : std::uint8_t {
  kOther, kHost, kConnection, kContentLength, kTransferEncoding, kTe, kTrailer, kUpgrade, kKeepAlive, kProxyConnection,
  kProxyAuthenticate, kProxyAuthorization, kExpect, kForwarded, kForwardedFor, kForwardedProto, kForwardedHost, kRealIp,
  kRequestId, kForwardedClientCert,
  kOutrigger,         ///< any name that begins with "x-outrigger-"
};

struct Header {
  HeaderId id = HeaderId::kOther;
  std::string_view name;   ///< as received
  std::string_view value;  ///< without blanks at either end
};
/// True if any field of that kind lists `token`.
[[nodiscard]] bool any_lists(std::span<const Header> headers, HeaderId id, std::string_view token);
/// The name of a field that the codec or the proxy knows, with '_' for some '-': "X_Forwarded_For". CGI and WSGI make one
/// variable of both, so that such a field would speak for the proxy.
[[nodiscard]] bool is_lookalike(std::string_view name);

/// Letters differ only in case. ASCII.
[[nodiscard]] bool same_text(std::string_view a, std::string_view b);
[[nodiscard]] HeaderId header_id_of(std::string_view name);
/// True if the comma-separated list holds `token` (any case), e.g. "Keep-Alive, close" holds "close".
[[nodiscard]] bool list_has(std::string_view list, std::string_view token);

/// How the end of a body is found.
enum class Framing : std::uint8_t {
  kNone,    ///< there is no body
  kLength,  ///< `content_length` bytes
  kChunked, ///< chunked, with trailers
  kToEof,   ///< until the connection ends (responses only)
  kStream,  ///< below HTTP/1: the stream of an HTTP/2 client says where it ends; never parsed
};

struct RequestHead {
  Method method = Method::kGet;
  std::string_view method_text;   ///< as received
  std::string_view target;        ///< as received: "/path?query", "http://host/path" or "*"
  std::string_view path;          ///< begins with '/' ("*" for OPTIONS of the whole server); without query
  std::string_view query;         ///< after '?', without it; empty if none
  std::string_view host;          ///< Host field or authority of an absolute target; empty only in HTTP/1.0
  std::uint8_t major = 1;         ///< 2 for a request that came over HTTP/2; only Via tells
  std::uint8_t minor = 1;         ///< 0 or 1: the x of HTTP/1.x; 1 with major 2
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;   ///< bytes; meaningful with kLength
  bool keep_alive = true;         ///< the client is willing to send another request on this connection
  bool upgrade = false;           ///< Connection: upgrade with Upgrade: websocket, without a body, HTTP/1.1. To no other
                                  ///< protocol: h2c would be a tunnel of requests that no rule sees
  bool expect_continue = false;   ///< HTTP/1.1 and Expect: 100-continue
  std::span<const Header> headers;    ///< in order of arrival

  /// First field of that kind; none = nullopt.
  [[nodiscard]] std::optional<std::string_view> find(HeaderId id) const;
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;  ///< any case
};

struct ResponseHead {
  int status = 0;                 ///< 100..599
  std::string_view reason;        ///< may be empty
  std::uint8_t minor = 1;
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;   ///< as announced, also where there is no body (HEAD, 304)
  bool has_content_length = false;
  bool keep_alive = true;         ///< the server will take another request on this connection
  std::span<const Header> headers;

  [[nodiscard]] bool interim() const { return status < 200 && status != 101; }  ///< another head follows
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;  ///< any case
};

}  // namespace proxy::http1
