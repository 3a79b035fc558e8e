#pragma once
/// One stream of an HTTP/2 connection, as the exchange sees its client. Private to the library.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/http2/session.h"
#include "proxy/pace.h"

namespace proxy {

class H2Connection;

/// Invariant: bytes of the request are given back to the client's window only when the exchange has room for more, so
///            that they are bounded by the windows; before a WebSocket is open they wait here, bounded likewise.
/// Ownership: recycled by its connection; the stream (of the session) comes and goes.
class H2Client final : public Client, public http2::Receiver {
 public:
  H2Client(H2Connection& connection, Core& core, const Accepted& accepted);

  // From the connection.
  void begin(http2::Stream& stream, const http1::RequestHead& head);
  /// Answers a head that is not served.
  void refuse(http2::Stream& stream, const Error& error);
  /// All that one read has brought for this stream is here.
  void gather();
  /// The connection is lost. @param reason  for the record; a literal
  void leave(std::string_view reason);
  /// Looks whether the client does its part. @return when to look again; TimePoint::max() = it owes nothing
  TimePoint watch_pace(TimePoint now);
  [[nodiscard]] bool in_use() const { return stream_ != nullptr; }
  bool touched = false;  ///< the connection will call gather()

  // Client
  bool send(std::span<const Bytes> pieces, const AnswerPart& part) override;
  [[nodiscard]] bool drained() const override { return true; }  ///< the end of a stream goes behind what was sent
  void update_reading() override;
  void exchange_over(Next next) override;
  void shutdown() override;
  void set_body_limit(std::uint64_t bytes) override { body_limit_ = bytes; }
  void start_tunnel() override;

  // http2::Receiver
  void on_body(Bytes bytes) override;
  void on_end(std::span<const http1::Header> trailers) override;
  void on_room() override;
  void on_closed() override;

 private:
  void attach(http2::Stream& stream);
  TimePoint watch_reader(TimePoint now);
  TimePoint watch_body(TimePoint now);

  H2Connection& connection_;
  Core& core_;
  http2::Stream* stream_ = nullptr;
  Exchange* exchange_ = nullptr;
  std::uint64_t body_limit_ = UINT64_MAX;
  std::uint64_t body_bytes_ = 0;
  std::string pending_;          ///< of a WebSocket that is not open yet
  Pace body_pace_, reader_pace_;
  bool tunnel_ = false;          ///< asked for as a WebSocket
  bool tunnel_open_ = false, ended_ = false;
};

}  // namespace proxy
