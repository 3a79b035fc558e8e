#pragma once
/// Bytes into HTTP/1 messages: two incremental, strict parsers. The .cc is the only file that includes llhttp.
///
/// Strict means: what two HTTP implementations could read in two ways is refused (RFC 9112 sections 2.2, 3.2, 5, 6.3, 7.1
/// and 11.2): bare CR or LF, folded fields, blanks before ':', Content-Length beside Transfer-Encoding, repeated or odd
/// Content-Length, any coding but a single "chunked", NUL, missing or repeated Host, Host against the target's authority.
/// Invariant: memory is bounded by Limits; a message that is refused produces no event after the refusal.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "proxy/error.h"
#include "proxy/http1/message.h"

namespace proxy::http1 {

/// True for the methods, in capitals, that requests may have here: one list for HTTP/1 and HTTP/2.
[[nodiscard]] bool is_known_method(std::string_view text);

/// All are upper bounds; crossing one is an error, never a cut.
struct Limits {
  std::size_t target_bytes_max = 8 * 1024;     ///< request target
  std::size_t head_bytes_max = 32 * 1024;      ///< start line, fields and leading blank lines together; trailers again
  std::size_t header_count_max = 128;          ///< fields in the head; trailers again
  std::uint64_t body_bytes_max = UINT64_MAX;   ///< payload bytes of one message
};

/// What the receiver of a head wants.
enum class Flow : std::uint8_t { kContinue, kStop };

class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// The head is complete and valid. Its views are void after the call.
  /// kStop: feed() returns at once and the parser must be reset before it is used again.
  virtual Flow on_head(const RequestHead& head) = 0;
  /// Payload, without chunk framing. Valid until the next feed() or reset(), as long as the bytes given to feed() are.
  virtual void on_body(Bytes bytes) = 0;
  /// The message is complete. Trailer views are void after the call; fields that decide framing or routing are left out.
  virtual void on_end(std::span<const Header> trailers) = 0;
};

class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  /// Comes once per interim head (no on_end for those) and once for the final one.
  virtual Flow on_head(const ResponseHead& head) = 0;
  virtual void on_body(Bytes bytes) = 0;
  virtual void on_end(std::span<const Header> trailers) = 0;
};

/// Requests of one client connection, one after the other.
/// Ownership: a value of its connection; not movable because the parser below points into it.
class RequestParser {
 public:
  explicit RequestParser(const Limits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Parses until the bytes end or one message ends, whichever is first. The sink must not destroy the parser.
  /// @return bytes consumed; fewer than given only after on_end or kStop. The rest belongs to the next message, or,
  ///         after a head with `upgrade`, perhaps to the other protocol.
  /// Errors: kBadRequestLine, kBadVersion, kBadHeader, kBadHost, kBadFraming, kBadChunk, kUnknownCoding, kTargetTooLong,
  ///         kHeadTooLarge, kBodyTooLarge, kUnknownExpectation. After one, only reset() helps.
  [[nodiscard]] Result<std::size_t> feed(Bytes bytes, RequestSink& sink);

  /// Forgets everything; the next byte begins a new message. Needed after errors, kStop and upgrades only.
  void reset();
  /// Lowers or raises the bound for the body of the message whose head is being reported (from inside on_head).
  void set_body_limit(std::uint64_t bytes);
  /// True if some byte of the next message has come but its end has not.
  [[nodiscard]] bool in_message() const;
  /// True from the first byte of a message until its head is complete.
  [[nodiscard]] bool in_head() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Responses of one server connection, one after the other.
class ResponseParser {
 public:
  explicit ResponseParser(const Limits& limits);
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  /// Says which request the next response answers; needed before its first byte. HEAD has no body in its response.
  void expect(Method request_method);
  /// As RequestParser::feed. After a 101 head nothing more is consumed: the rest is the other protocol.
  /// Errors: kBadResponse, kHeadTooLarge, kBodyTooLarge.
  [[nodiscard]] Result<std::size_t> feed(Bytes bytes, ResponseSink& sink);
  /// The server sends no more: completes a kToEof body (on_end is called). Errors: kTruncated inside a message.
  [[nodiscard]] Result<void> finish(ResponseSink& sink);
  void reset();
  [[nodiscard]] bool in_message() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace proxy::http1
