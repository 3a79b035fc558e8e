#pragma once
#include <memory>
#include <string>
#include <vector>

#include "agent/api/message.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"

/// One client connection of the API. Private to agent/api.
namespace agent::api {

class Connection;

/// What a connection asks of its server.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  /// A request is complete. @return the exchange it became; the answer comes through reply() in a later call.
  virtual ExchangeId on_request(Connection& connection, const Request& request) = 0;
  /// See Api::on_client_end.
  virtual bool on_client_end(ExchangeId id) = 0;
  /// The client of an event stream has taken everything that it was sent.
  virtual void on_stream_drained(ExchangeId id) = 0;
  /// True while so many requests wait that what reading one needed is given back at once, and made anew for the next.
  [[nodiscard]] virtual bool many_wait() const = 0;
  /// The connection is over: destroy it. `exchange` is the one that was open, or 0. Nothing follows.
  virtual void on_closed(Connection& connection, ExchangeId exchange) = 0;
  /// A request was refused before it reached the API, or a connection timed out; for counters.
  virtual void on_refused() = 0;
};

struct ConnectionLimits {
  std::size_t head_bytes_max = 32U * 1024;
  std::size_t body_bytes_max = 576U * 1024;  ///< a KV value and a little, so that the API can say what is too large
  std::string spool_path = "/v1/snapshot";     ///< a body sent there goes into a file ...
  std::uint64_t spool_bytes_max = std::uint64_t{2} << 30U;  ///< ... of at most so many bytes
  std::string spool_directory = ".";           ///< where that file is, without a name
  std::size_t ahead_bytes_max = 64U * 1024;  ///< received while an answer is made; then reading stops
  std::size_t answer_bytes_max = 40U << 20;  ///< queue towards the client; above the API's own bound
  std::size_t stream_full_bytes =
      256U << 10;  ///< an event stream's client that is so far behind gets no more for a while
  std::size_t stream_behind_bytes_max = 1U << 20;  ///< ... and one that is so far behind nevertheless is cut off
  io::Milliseconds head_timeout{10000};            ///< first byte of a request to the end of its head
  io::Milliseconds body_timeout{30000};            ///< end of the head to the end of the body
  io::Milliseconds idle_timeout{120000};           ///< between requests
  io::Milliseconds write_timeout{60000};           ///< the client takes nothing of an answer
  io::Milliseconds linger{1000};                   ///< after our last byte, for the client to read it
};

/// Requests one after the other; the next is parsed when the answer to the one before has been written.
/// Invariant: at most one exchange is open; memory is bounded by ConnectionLimits.
/// Ownership: owned by the host, which destroys it in on_closed. Thread: the control loop.
class Connection final : public io::StreamSink, public proxy::http1::RequestSink {
 public:
  Connection(ConnectionHost& host, const ConnectionLimits& limits, std::unique_ptr<io::ByteStream> stream);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Begins to read. May end in on_closed.
  void start();
  // The answer to the open exchange. Each may end in on_closed.
  void reply(const Response& response);
  void stream_begin(const Response& head);
  void stream_data(const std::string& data);
  void stream_end();
  [[nodiscard]] std::size_t stream_backlog() const { return stream_->write_queue_bytes(); }
  /// Ends at once when idle, otherwise after the open answer. May end in on_closed.
  void close_when_idle();
  /// Closes what is over its time; gives back memory that a waiting request does not need. May end in on_closed.
  void check_deadline(io::TimePoint now);

  // io::StreamSink
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  void on_drained() override;
  // proxy::http1::RequestSink
  proxy::http1::Flow on_head(const proxy::http1::RequestHead& head) override;
  void on_body(proxy::http1::Bytes bytes) override;
  void on_end(std::span<const proxy::http1::Header> trailers) override;

 private:
  enum class State { kReading, kAnswering, kSendingFile, kStreaming, kClosing };

  bool consume(std::span<const std::byte> bytes);
  void refuse(const proxy::Error& error);
  void send_file(const Response& response, std::vector<proxy::http1::TextHeader> headers);
  void send_more();
  bool write(const std::string& bytes);
  void finish_answer();
  void begin_closing();
  void closed();
  void set_deadline(io::Milliseconds after);

  ConnectionHost& host_;
  const ConnectionLimits& limits_;
  /// What reading a request needs. Thousands of clients wait for long, and then nobody reads: see check_deadline.
  struct Incoming {
    explicit Incoming(const proxy::http1::Limits& limits) : parser(limits) {}
    proxy::http1::RequestParser parser;
    Request request;
  };
  void make_incoming();
  [[nodiscard]] bool in_message() const { return incoming_ && incoming_->parser.in_message(); }

  std::unique_ptr<io::ByteStream> stream_;
  std::unique_ptr<Incoming> incoming_;  ///< there while state_ is kReading
  State state_ = State::kReading;
  bool request_complete_ = false;
  bool from_this_machine_ = false;
  bool waited_ = false;  ///< the answer was not there yet when check_deadline came by last
  bool is_head_ = false, keep_alive_ = true, chunked_ = true, old_client_ = false;
  bool wants_close_ = false;
  ExchangeId exchange_{};
  bool spools_ = false;                   ///< the body being read goes into request_.file
  std::shared_ptr<const io::Spool> file_; ///< being sent ...
  std::uint64_t file_sent_ = 0;           ///< ... up to here
  std::vector<std::byte> ahead_;  ///< received behind the request being answered
  bool reading_stopped_ = false;
  io::TimePoint deadline_ = io::TimePoint::max();
};

}  // namespace agent::api
