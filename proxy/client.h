#pragma once
/// The client's side of an exchange, and the connection that carries it. Private to the library.
///
/// An HTTP/1 connection is both at once (downstream.h): it serves one request after the other. An HTTP/2 connection
/// (h2_connection.h) has one Client for each of its streams. Exchanges know only what stands here.

#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/proxy.h"

namespace proxy {

/// What a call of Client::send carries, for clients that send heads and bodies in different ways.
struct AnswerPart {
  bool heads = false;    ///< the first piece is heads in HTTP/1.1 form, interim ones first; body may follow the last
  bool trailer = false;  ///< the last piece ends a body: last chunk and trailers, or with Framing::kStream field lines
  bool last = false;     ///< the answer is complete
};

/// A whole answer of our own in one piece.
inline constexpr AnswerPart kWholeAnswer{.heads = true, .trailer = false, .last = true};

/// A base that is there before the Client beside it, which refers to what it holds.
struct AcceptedFacts {
  Accepted met;  ///< as the listener has met it
};

/// Who asked. Ownership: of its connection, which outlives the exchange or tells it that the client is gone.
class Client {
 public:
  /// What becomes of the client when its exchange is over and the response is sent or queued.
  enum class Next : std::uint8_t {
    kRequest,  ///< keep-alive
    kClose,    ///< finish sending, wait a moment for the client to see it, close
    kReset,    ///< the client must not take what it has for complete
  };
  /// @param accepted  must outlive this
  /// @param framing   how the client learns where a body of unknown length ends: kChunked (or the end of the connection,
  ///                  in HTTP/1.0), or kStream
  Client(const Accepted& accepted, http1::Framing framing)
      : accepted_ref_(accepted), trusted_(accepted.trusted != nullptr && accepted.trusted->trusts(accepted.client)), framing_(framing) {}
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] const Accepted& accepted() const { return accepted_ref_; }
  [[nodiscard]] bool trusted() const { return trusted_; }
  [[nodiscard]] bool is_stream() const { return framing_ == http1::Framing::kStream; }
  [[nodiscard]] std::string_view hsts() const {
    return accepted_ref_.rules ? std::string_view(accepted_ref_.rules->hsts) : std::string_view();
  }
  /// Sends; what does not fit is kept. @return false if some had to be kept: stop producing until client_writable().
  virtual bool send(std::span<const Bytes> pieces, const AnswerPart& part) = 0;
  /// Nothing waits to be sent.
  [[nodiscard]] virtual bool drained() const = 0;
  /// Reads on, or not, as far as the exchange has room (its wants_request()).
  virtual void update_reading() = 0;
  virtual void exchange_over(Next next) = 0;
  virtual void shutdown() = 0;
  virtual void set_body_limit(std::uint64_t bytes) = 0;
  /// The connection takes one more request at most: an answer that begins now says so, where it can.
  [[nodiscard]] virtual bool parting() const { return false; }
  /// The exchange has become a tunnel: hands over what came behind the request.
  virtual void start_tunnel() = 0;

 private:
  const Accepted& accepted_ref_;
  bool trusted_;
  http1::Framing framing_;
};

/// One accepted connection, whatever it speaks. Ownership: by Core::downstreams.
class ClientConnection {
 public:
  virtual ~ClientConnection() = default;
  /// The host's number of the listener where it came in, set once behind the constructor; 0 = none.
  void came_from(std::uint64_t listener) { listener_ = listener; }
  [[nodiscard]] std::uint64_t listener() const { return listener_; }
  /// Ends so that no request meets a closed connection: one more request at most where only an answer can say that it was
  /// the last; closed when it is idle at `idle_until`. As it stands here: for protocols whose drain says so itself.
  virtual void part(TimePoint idle_until) {
    static_cast<void>(idle_until);
    drain();
  }
  /// No new requests: closes now if idle, else after the present ones.
  virtual void drain() = 0;
  /// Drained long enough: half a head or an answer that nobody takes is waited for no longer.
  virtual void drain_deadline() = 0;
  /// The end, whatever is under way. @param reason  for the record; a literal
  virtual void abort(std::string_view reason) = 0;
  /// Listeners have new rules: whoever can be asked to come again is asked. HTTP/1 cannot.
  virtual void renew() {}
  /// Sends what was gathered. Called by the core after note_unsent().
  virtual void flush() {}
  bool unsent = false;  ///< the core will call flush()

 private:
  std::uint64_t listener_ = 0;
};

}  // namespace proxy
