#pragma once
/// One HTTP/2 connection with a client, without socket and clock: bytes in, requests out; answers in, bytes out.
/// The only files that include nghttp2 are session*.cc.
///
/// Flow control is ours in both directions. The client's windows are opened by consume(), when somebody has taken the
/// bytes; what it does not let us send is kept here, bounded by who sends: send() says when to stop.
/// Source: RFC 9113; RFC 7541 (HPACK); RFC 8441 (extended CONNECT). RFC 7540's priorities are declined (RFC 9218, 2.1).
/// Bounds per connection: streams_max streams; of each at most stream_window received bytes that nobody has taken, of all
/// at most connection_window; kStreamOutMax + one send() of answer each, kSessionOutMax + one send() per stream of all;
/// field lists as http1::Limits says; frames that must be answered as flood.h says.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/http1/codec.h"
#include "proxy/http2/flood.h"
#include "proxy/http2/head.h"
#include "proxy/stream.h"

struct nghttp2_session;

namespace proxy::http2 {

/// What a client sends first, in the clear or within TLS (RFC 9113, section 3.4).
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Limits {
  http1::Limits head;                           ///< body_bytes_max is the user's business
  std::uint32_t streams_max = 100;              ///< at a time
  std::uint32_t stream_window = 65'535;         ///< bytes of a body on their way; 65,535 .. 2^31-1
  std::uint32_t connection_window = 1U << 20;   ///< of all bodies; >= stream_window
  FloodLimits flood;
};
/// Answer bytes of one stream, and of all streams of a session, beyond which send() asks for a pause.
inline constexpr std::size_t kStreamOutMax = 64 * 1024;
inline constexpr std::size_t kSessionOutMax = 256 * 1024;

/// Codes of RFC 9113, section 7, that this side has a use for.
enum class Code : std::uint32_t {
  kNoError = 0, kProtocolError = 1, kInternalError = 2, kRefusedStream = 7, kCancel = 8, kEnhanceYourCalm = 11,
};

/// Hears what the client does with one stream. Calls come from inside Session::feed and Session::write; they may use the
/// session for any stream, but not feed or write.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void on_body(Bytes bytes) = 0;  ///< valid until feed returns; to be given back by Session::consume
  virtual void on_end(std::span<const http1::Header> trailers) = 0;  ///< views void after the call
  virtual void on_room() = 0;             ///< after a send() that returned false
  /// The stream is gone: complete, reset, or with its connection. The last call.
  virtual void on_closed() = 0;
};

/// One stream. Ownership: by its session; from Acceptor::on_request to Receiver::on_closed.
class Stream {
 public:
  [[nodiscard]] std::size_t backlog() const { return out_.size() - out_sent_; }  ///< answer bytes not framed yet
  [[nodiscard]] std::uint64_t sent_bytes() const { return sent_bytes_; }         ///< answer bytes framed
  [[nodiscard]] std::uint32_t unconsumed() const { return unconsumed_; }         ///< received, not given back
  [[nodiscard]] bool is_tunnel() const { return head_.is_tunnel(); }             ///< a WebSocket (RFC 8441)
  /// Nothing has been waiting at some moment since the last call.
  [[nodiscard]] bool was_drained() { return std::exchange(was_drained_, backlog() == 0); }

 private:
  friend class Session;
  friend struct Callbacks;
  void recycle();
  std::int32_t id_ = 0;
  Receiver* receiver_ = nullptr;
  HeadBuilder head_, trailer_;
  std::string out_;             ///< answer bytes
  std::size_t out_sent_ = 0;
  std::string tail_;            ///< trailer of the answer, field lines
  std::uint64_t sent_bytes_ = 0;
  std::uint32_t unconsumed_ = 0;
  bool request_ended_ = false, answered_ = false, ended_ = false, deferred_ = false, wants_room_ = false;
  bool reset_by_us_ = false, was_drained_ = true, abandons_request_ = false;
  bool asked_ = false;   // the acceptor has heard of it
};

/// Decides about requests.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  /// @return who hears of the stream; null = refused, the client may try again elsewhere (REFUSED_STREAM)
  virtual Receiver* on_request(Stream& stream, const http1::RequestHead& head) = 0;
  /// Valid HTTP/2, but a head that is not served: the answer is a status and nothing else.
  virtual Receiver* on_bad_head(Stream& stream, const Error& error) = 0;
};

/// Numbers of one session since the last take.
struct SessionNews {
  std::uint64_t streams = 0, resets_received = 0, refused = 0, malformed = 0;
  std::uint64_t faults = 0;  ///< connections ended with an error of ours: GOAWAY with a code
  std::uint64_t unasked_refused = 0, unasked_malformed = 0;  ///< of those two, streams that the acceptor never heard of
};

class Session {
 public:
  /// `acceptor` must outlive the session. @param chance  for keys of WebSockets that instances want
  Session(const Limits& limits, Acceptor& acceptor, std::function<std::uint64_t(std::uint64_t)> chance);
  ~Session();  ///< tells nobody
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Bytes of the client. @return false when the session is over: what write() still gives is the reason, then close.
  [[nodiscard]] bool feed(Bytes bytes, TimePoint now);
  /// Appends frames to `out` until it holds `bytes_max` or more, by at most one frame. @return more is waiting
  bool write(std::string& out, std::size_t bytes_max);
  [[nodiscard]] bool over() const;      ///< nothing will be read or written any more
  [[nodiscard]] bool in_head() const { return in_head_; }    ///< the end of a field list has not come
  [[nodiscard]] bool begun() const { return begun_; }        ///< preface and SETTINGS have come
  [[nodiscard]] std::size_t streams() const { return live_.size(); }
  [[nodiscard]] Flood flood() const { return flood_; }
  [[nodiscard]] SessionNews take_news() { return std::exchange(news_, {}); }
  [[nodiscard]] std::size_t backlog() const { return buffered_; }  ///< answer bytes of all streams

  // One stream.
  /// Part of an answer; see AnswerPart of the proxy. @param heads  the first piece is heads  @param trailer  the last one is
  /// a trailer, field lines  @param last  the answer is complete. @return false: stop until Receiver::on_room
  bool send(Stream& stream, std::span<const Bytes> pieces, bool heads, bool trailer, bool last);
  void end(Stream& stream);               ///< no more of the answer; nothing if it is complete already
  /// The rest of the request is of no use: the stream ends with the answer.
  void abandon_request(Stream& stream) { stream.abandons_request_ = true; }
  void reset(Stream& stream, Code code);
  void consume(Stream& stream);           ///< all bytes received so far have been taken

  // The connection.
  void announce_end();   ///< GOAWAY that still lets requests on their way in (RFC 9113, section 6.8)
  void refuse_new();     ///< GOAWAY with the last stream that was taken
  void terminate(Code code);

 private:
  friend struct Callbacks;
  void submit_head(Stream& stream, std::string_view text, bool ends);
  void resume(Stream& stream);
  void request_complete(Stream& stream, bool ends);
  bool note(Flood kind);
  bool note_frame(std::uint8_t type, std::uint8_t flags, std::size_t size);
  bool exceed(Flood kind);
  Stream& new_stream(std::int32_t id);
  void close_stream(Stream& stream);

  Limits limits_;
  Acceptor& acceptor_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  nghttp2_session* session_ = nullptr;
  FloodGuard guard_;
  FrameScan scan_{kPreface.size()};
  Flood flood_ = Flood::kNone;
  SessionNews news_;
  TimePoint now_{};
  std::vector<std::unique_ptr<Stream>> live_, free_;
  std::vector<Stream*> roomy_;         ///< to be told on_room at the end of write()
  std::string* sink_ = nullptr;        ///< of the present write()
  std::size_t sink_max_ = 0;
  std::size_t buffered_ = 0;
  std::uint32_t head_frames_ = 0;      ///< of the present field list
  std::size_t head_bytes_ = 0;
  std::string names_;                  ///< scratch: names in lower case
  std::int32_t head_stream_ = 0;  // of the newest field list
  bool in_head_ = false, begun_ = false, failed_ = false;
};

}  // namespace proxy::http2
