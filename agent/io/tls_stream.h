#pragma once
/// TLS over a TcpStream, with the same face as a TcpStream.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/life_mark.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/timer.h"
#include "agent/io/tls_context.h"

namespace agent::io {

struct TlsWork;

/// Runs handshake steps in libuv's thread pool, so that a loop never spends the 3 ms that one costs, with a cap so
/// that a flood of callers cannot take the whole pool (and the processor) away from everybody else.
/// Bounds: `running_max` steps at once, `waiting_max` streams queued; over that, new handshakes fail with kQueueFull.
/// Ownership: outlives the streams that use it; one per loop. Thread: the loop's.
class TlsOffload {
 public:
  /// @param running_max >= 1; the pool has four threads, shared with name look-ups.
  explicit TlsOffload(Loop& loop, std::size_t running_max = 2, std::size_t waiting_max = 1024);
  ~TlsOffload();
  TlsOffload(const TlsOffload&) = delete;
  TlsOffload& operator=(const TlsOffload&) = delete;
  /// Steps in the pool now, and streams that wait for their turn: for metrics and tests.
  [[nodiscard]] std::size_t running() const { return running_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

 private:
  friend class TlsStream;
  bool submit(std::unique_ptr<TlsWork>& work);
  void start(std::unique_ptr<TlsWork> work);
  void forget(const TlsWork* work);
  void finished();

  Loop& loop_;
  std::size_t running_max_;
  std::size_t waiting_max_;
  std::size_t running_ = 0;
  std::deque<std::unique_ptr<TlsWork>> waiting_;
  std::shared_ptr<TlsOffload*> self_;  // null inside after destruction; running work looks here
};

/// One TLS connection. on_open comes when the handshake is done and the other side has proved itself; before that
/// writes queue (bounded) and nothing is read. Errors of the handshake arrive as on_error: kTlsPeer, kTlsProtocol,
/// kTimedOut, kReset, kRefused, kQueueFull.
/// End of stream without close_notify is on_error(kTlsProtocol): a cut must not look like an end.
/// TLS 1.3 messages after the handshake (tickets) are consumed without a trace.
/// write_queue_bytes counts ciphertext that waits plus plaintext that waits for the handshake.
class TlsStream final : public ByteStream {
 public:
  /// @param tcp       connected or still connecting; its sink is replaced.
  /// @param deadline  boottime; connect plus handshake must be over by then, else on_error(kTimedOut).
  /// @param offload   where handshake steps run; nullptr = on the loop itself (proxy workers).
  static std::unique_ptr<TlsStream> server(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                           TimePoint deadline, TlsOffload* offload, StreamSink* sink);
  /// @param server_name  name that the server's certificate must carry (SNI too), or a numeric address that it must carry
  ///                     as one (no SNI); empty = any name that our CA has signed (mesh: the CA is the cluster's own,
  ///                     members are told apart by peer_identity()).
  static std::unique_ptr<TlsStream> client(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                           const std::string& server_name, TimePoint deadline, TlsOffload* offload,
                                           StreamSink* sink);
  ~TlsStream() override;

  using ByteStream::write;
  void set_sink(StreamSink* sink) override;
  void read_start() override;
  void read_stop() override;
  Result<void> write(Buffers buffers) override;
  Result<std::size_t> write_some(Buffers buffers) override;
  [[nodiscard]] std::size_t write_queue_bytes() const override;
  [[nodiscard]] std::size_t unconfirmed_bytes() const override;
  void set_write_queue_bytes_max(std::size_t bytes) override { queue_bytes_max_ = bytes; }
  void shutdown() override;
  void reset() override;
  void set_write_gate(const WriteGate* gate) override;
  void unread(std::span<const std::byte> bytes) override;
  Result<DetachedStream> detach() override;
  [[nodiscard]] bool open() const override { return state_ == State::kOpen; }
  [[nodiscard]] Address local_address() const override { return tcp_->local_address(); }
  [[nodiscard]] Address peer_address() const override { return tcp_->peer_address(); }
  [[nodiscard]] std::string alpn() const override;
  [[nodiscard]] PeerIdentity peer_identity() const override;
  [[nodiscard]] std::string_view version() const;  ///< "TLSv1.2" or "TLSv1.3"; empty while not open

 private:
  friend class TlsOffload;
  friend std::unique_ptr<ByteStream> adopt(Loop& loop, DetachedStream detached);
  enum class State : std::uint8_t { kConnecting, kHandshake, kOpen, kDead };
  struct Lower;  // the StreamSink below, kept apart so that our own face stays small
  TlsStream(std::unique_ptr<TlsEngine> engine, std::unique_ptr<TcpStream> tcp, TlsOffload* offload, State state);
  static std::unique_ptr<TlsStream> begin(std::shared_ptr<const TlsContext> context, std::unique_ptr<TcpStream> tcp,
                                          const std::string& server_name, TimePoint deadline, TlsOffload* offload,
                                          StreamSink* sink);
  // What the connection below reports.
  void lower_open();
  void lower_read(std::span<const std::byte> bytes);
  void lower_end();
  void lower_error(const Error& error);
  // Handshake: one step at a time, here or in the pool; the engine is in the work meanwhile.
  void advance_handshake();
  void handshake_stepped(TlsWork& work);
  void after_step(int step);
  void handshake_done();
  // Data, then the two ways to die: from an event of the loop, and from inside a call of ours.
  void pump(std::span<const std::byte> cipher);
  bool pump_slab(std::span<const std::byte>& cipher, const LifeMark& life);
  void judge_lower_end();
  Result<void> encrypt(Buffers buffers);
  Result<bool> send_tail();
  Result<bool> send_record(std::span<const std::byte> plain);
  void flush_engine();
  void send_close();
  void drop_work();
  void die(Error error);
  void fail_later(Error error);
  void run_deferred();

  Loop& loop_;
  State state_;
  bool reading_ = false;
  bool ended_ = false;        // close_notify seen
  bool lower_ended_ = false;  // FIN seen
  bool shutdown_wanted_ = false;
  Life life_;
  StreamSink* sink_ = nullptr;
  TlsOffload* offload_;
  TlsWork* work_ = nullptr;               // the step now in the pool; it holds the engine meanwhile
  std::unique_ptr<TlsEngine> engine_;
  std::vector<std::byte> cipher_in_;      // received, not yet given to the engine; <= 64 KiB + one slab
  std::vector<std::byte> early_plain_;    // written before the handshake was done
  std::vector<std::byte> tail_;           // write_some: rest of a record that left in part, and what TLS has added since
  std::size_t owed_ = 0;                  // plaintext in it that was not counted as taken
  std::vector<std::byte> pushed_back_;    // plaintext given back by unread()
  std::size_t queue_bytes_max_ = kWriteQueueBytesMax;
  std::unique_ptr<Error> failure_;        // found inside a call, told at the end of the turn
  std::unique_ptr<Lower> lower_;
  std::unique_ptr<TcpStream> tcp_;
  std::unique_ptr<Timer> deadline_;
  Deferral deferred_;
};

}  // namespace agent::io
