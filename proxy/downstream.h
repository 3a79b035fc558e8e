#pragma once
/// One client connection: reads requests one after the other, gives each to an exchange, sends what comes back.
/// Private to the library.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/core.h"
#include "proxy/http1/codec.h"
#include "proxy/outlet.h"
#include "proxy/pace.h"

namespace proxy {

/// Invariant: at most one exchange at a time; pipelined requests wait as bytes, at most one read slab of them, because
/// reading stops while any wait.
/// Ownership: by Core::downstreams; owns its stream.
class Downstream final : public StreamSink, public http1::RequestSink, public Timer::Owner {
 public:
  Downstream(Core& core, std::unique_ptr<Stream> stream, Accepted accepted);
  ~Downstream() override;

  // For the exchange.
  [[nodiscard]] const Accepted& accepted() const { return accepted_; }
  [[nodiscard]] bool trusted() const { return trusted_; }
  [[nodiscard]] std::string_view hsts() const { return accepted_.rules ? std::string_view(accepted_.rules->hsts) : std::string_view(); }
  /// Sends; what does not fit is kept. @return false if some had to be kept: stop producing until client_writable().
  bool send(std::span<const Bytes> pieces);
  [[nodiscard]] bool drained() const { return outlet_.empty(); }
  /// Reads on, or not, as far as the exchange has room (its wants_request()).
  void update_reading();
  /// The exchange is over and its response is sent or queued.
  enum class Next : std::uint8_t {
    kRequest,  ///< keep-alive
    kClose,    ///< finish sending, wait a moment for the client to see it, close
    kReset,    ///< the client must not take what it has for complete
  };
  void exchange_over(Next next);
  void shutdown() { stream_->shutdown(); }
  void set_body_limit(std::uint64_t bytes) { parser_.set_body_limit(bytes); }
  /// The exchange has become a tunnel: hands over what came behind the request.
  void start_tunnel();

  // For the core.
  /// No new requests: closes now if idle, else after the present one.
  void drain();
  /// Drained long enough: half a head or an answer that nobody takes is waited for no longer.
  void drain_deadline();
  /// The end, whatever is under way. @param reason  for the record; a literal
  void abort(std::string_view reason = "client_gone");

  void on_connected() override {}
  void on_data(Bytes bytes) override;
  void on_eof() override;
  void on_writable() override;
  void on_closed(StreamEnd end) override;
  http1::Flow on_head(const http1::RequestHead& head) override;
  void on_body(Bytes bytes) override;
  void on_end(std::span<const http1::Header> trailers) override;
  void on_deadline(Timer& timer, TimePoint now) override;

 private:
  enum class Phase : std::uint8_t { kServing, kTunnel, kLingering, kClosed };
  void consume(Bytes bytes);
  void consume_pending();
  void refuse(const Error& error);
  void linger();
  void close(void (Stream::*how)() = &Stream::close);
  void arm_timer();
  void watch_pace();
  void pace_deadline(TimePoint now);
  [[nodiscard]] std::uint64_t bytes_confirmed() const;

  Core& core_;
  std::unique_ptr<Stream> stream_;
  Accepted accepted_;
  http1::RequestParser parser_;
  Outlet outlet_;
  Timer timer_;                  ///< head, keep-alive and lingering time-outs
  Timer pace_timer_;             ///< end of the windows of the two below
  Pace body_pace_;               ///< the client owes bytes of a body
  Pace reader_pace_;             ///< it owes that it takes what was sent
  std::uint64_t received_bytes_ = 0, offered_bytes_ = 0;
  Exchange* exchange_ = nullptr;
  std::string pending_;          ///< bytes of requests whose turn has not come
  std::string work_;             ///< `pending_` while it is parsed
  Phase phase_ = Phase::kServing;
  bool trusted_;
  bool reading_ = true;
  bool consuming_ = false;
  bool client_done_ = false;     ///< it sends no more
  bool last_request_ = false;    ///< the client has said that it sends no other
  bool in_head_ = false;         ///< the head time-out runs
};

}  // namespace proxy
