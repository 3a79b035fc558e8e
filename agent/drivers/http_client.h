#pragma once
/// A small HTTP/1.1 client for the agent's own calls: health checks and HTTP hooks.
/// One connection, one request at a time, kept open in between so that the end of the other process is seen at once.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/address.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/error.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/tls_stream.h"
#include "agent/io/timer.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"

namespace agent::drivers {

/// A whole answer. Bodies above what the client allows are an error, not cut.
struct HttpAnswer {
  int status = 0;  ///< 200..599; interim answers are skipped
  std::string body;
  std::string location{};  ///< the field of that name, as received; empty: there is none
  std::string retry_after{};  ///< the same for Retry-After
};

/// Ownership: by value or unique_ptr of its user; destruction cancels without a callback. Thread: its loop's.
/// A request that finds its kept connection closed before the first byte is tried once more on a new one, since
/// the other side may close an idle connection at any time.
class HttpClient final : private io::StreamSink, private proxy::http1::ResponseSink {
 public:
  static constexpr std::size_t kBodyBytesMax = 256U << 10;
  using Done = std::function<void(io::Result<HttpAnswer>)>;

  /// @param to    where the other side listens (TCP or unix)
  /// @param host  Host field of every request
  HttpClient(io::Loop& loop, io::Address to, std::string host);
  ~HttpClient() override;
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Called when the kept, idle connection is closed by the other side. May destroy the client.
  void set_on_idle_closed(std::function<void()> closed) { idle_closed_ = std::move(closed); }
  /// From now on over TLS; before the first request. `offload` outlives the client.
  /// @param server_name  that the certificate must carry, where `context` verifies at all
  void use_tls(std::shared_ptr<const io::TlsContext> context, std::string server_name, io::TlsOffload* offload);
  /// Bytes that begin each connection, before TLS; before the first request.
  void begin_with(std::string preface) { preface_ = std::move(preface); }
  /// Bodies of up to `bytes` instead of kBodyBytesMax. Before the first request.
  void allow_body(std::size_t bytes) { parser_.emplace(proxy::http1::Limits{.body_bytes_max = bytes}); }
  /// Only the first `bytes` of a body are wanted: once they are here the answer is complete and the connection closed,
  /// instead of kTooLarge. A body that breaks off or does not end in time is the answer, too: its head said how it is.
  /// Before the first request.
  void keep_beginning(std::size_t bytes);
  /// An answer with a Location is complete with its head. Before the first request.
  void end_at_location() { ends_at_location_ = true; }
  /// Sends one request. A bug while another one runs.
  /// @param deadline  boottime; then the connection is cut and `done` gets kTimedOut
  /// @param done      once, never inside this call; may destroy the client.
  /// Errors: those of TcpStream::connect, kReset, kTimedOut, kTooLarge, kIo (an answer that is no HTTP).
  void request(std::string_view method, std::string_view target, const std::vector<proxy::http1::TextHeader>& headers,
               std::string_view body, io::TimePoint deadline, Done done);
  [[nodiscard]] bool busy() const { return static_cast<bool>(done_); }
  void close();  ///< drops the connection; a running request ends without callback

 private:
  void on_open() override;
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  proxy::http1::Flow on_head(const proxy::http1::ResponseHead& head) override;
  void on_body(proxy::http1::Bytes bytes) override;
  void on_end(std::span<const proxy::http1::Header> trailers) override;
  void connect();
  void send();
  void fail(io::Error error);
  void finish(io::Result<HttpAnswer> result);

  io::Loop& loop_;
  io::Address to_;
  std::string host_;
  std::function<void()> idle_closed_;
  std::shared_ptr<const io::TlsContext> tls_;  // null = plain
  std::string server_name_, preface_;
  io::TlsOffload* offload_ = nullptr;
  std::size_t kept_bytes_max_ = 0;  // 0 = whole bodies
  std::unique_ptr<io::ByteStream> stream_;
  std::optional<proxy::http1::ResponseParser> parser_;  // never empty
  proxy::http1::Method method_ = proxy::http1::Method::kGet;
  io::Timer timer_;
  io::TimePoint deadline_{};
  std::string out_;
  Done done_;
  HttpAnswer answer_;
  bool fresh_ = true;      // the connection was opened for this request
  bool answered_ = false;  // some byte of the answer has come
  bool ends_at_location_ = false;
  bool headed_ = false;    // the final head has come
  bool complete_ = false;
  bool keep_ = false;
};

}  // namespace agent::drivers
