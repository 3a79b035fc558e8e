#pragma once
/// One client connection: reads requests one after the other, gives each to an exchange, sends what comes back.
/// Private to the library.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/http1/codec.h"
#include "proxy/outlet.h"
#include "proxy/pace.h"

namespace proxy {

struct LocalReply;

/// Invariant: at most one exchange at a time; pipelined requests wait as bytes, at most one read slab of them, because
/// reading stops while any wait.
/// Ownership: by Core::downstreams; owns its stream.
class Downstream final : private AcceptedFacts, public ClientConnection, public Client, public StreamSink, public http1::RequestSink, public Timer::Owner {
 public:
  Downstream(Core& core, std::unique_ptr<Stream> stream, Accepted accepted);
  ~Downstream() override;

  // For the exchange.
  bool send(std::span<const Bytes> pieces, const AnswerPart& part) override;
  [[nodiscard]] bool drained() const override { return outlet_.empty(); }
  void update_reading() override;
  void exchange_over(Next next) override;
  void shutdown() override { stream_->shutdown(); }
  void set_body_limit(std::uint64_t bytes) override { parser_.set_body_limit(bytes); }
  void start_tunnel() override;

  // For the core.
  void part(TimePoint idle_until) override;
  [[nodiscard]] bool parting() const override {
    const std::uint32_t most = core_.settings.client_requests_max;
    return idle_until_ != TimePoint::max() || (most != 0 && requests_ >= most);
  }
  void drain() override;
  void drain_deadline() override;
  void abort(std::string_view reason) override;

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
  void answer_without_exchange(const LocalReply& reply);
  void linger();
  void close(void (Stream::*how)() = &Stream::close);
  void arm_timer();
  void watch_pace();
  void pace_deadline(TimePoint now);
  [[nodiscard]] std::uint64_t bytes_confirmed() const;

  Core& core_;
  std::unique_ptr<Stream> stream_;
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
  TimePoint idle_until_ = TimePoint::max();  ///< not max: parting
  std::uint32_t requests_ = 0;   ///< begun
  bool reading_ = true;
  bool consuming_ = false;
  bool client_done_ = false;     ///< it sends no more
  bool last_request_ = false;    ///< the client has said that it sends no other
  bool in_head_ = false;         ///< the head time-out runs
};

}  // namespace proxy
