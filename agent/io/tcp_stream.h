#pragma once
/// TCP and unix-socket streams. The proxy's data path: no allocation per read, one system call per write that fits.
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "agent/io/watch.h"

namespace agent::io {

/// Owns a non-blocking descriptor and watches it itself, not through uv_tcp. Why: the WriteGate must be asked before
/// *every* write system call, also the one that libuv would make by itself for a queued request after a long pause;
/// a reset must be on the wire before reset() returns; and a stream moves to another loop by moving its descriptor.
/// Reads: recv into the loop's slab, again only after a full slab, at most kReadsPerEvent times per event.
/// Interest in writability is set only while bytes wait; reading stays on, also for idle pooled connections.
class TcpStream final : public ByteStream, private WatchSink {
 public:
  static constexpr int kReadsPerEvent = 4;  ///< x one slab, then others get their turn

  /// Starts to connect and returns at once; sink->on_open or on_error follows, the latter also for errors found here.
  /// @param deadline  boottime; then on_error(kTimedOut). TCP_NODELAY is set.
  /// Errors that follow: kRefused, kUnreachable, kTimedOut, kNotFound (unix path), kLimit, kPermission.
  static std::unique_ptr<TcpStream> connect(Loop& loop, const Address& to, TimePoint deadline, StreamSink* sink);
  /// Takes ownership of a connected, non-blocking descriptor.
  /// @param peer what accept4 said, which saves asking for it.
  static std::unique_ptr<TcpStream> from_fd(Loop& loop, int fd, const Address& peer = {});
  ~TcpStream() override;

  // ByteStream; byte_stream.h says what each promises, errors included. Only what is special here is said below.
  using ByteStream::write;
  void set_sink(StreamSink* sink) override;
  void read_start() override;
  void read_stop() override;
  Result<void> write(Buffers buffers) override;
  Result<std::size_t> write_some(Buffers buffers) override;
  [[nodiscard]] std::size_t write_queue_bytes() const override { return queue_.size() - queue_head_; }
  [[nodiscard]] std::size_t unconfirmed_bytes() const override;  ///< our queue and the kernel's (SIOCOUTQ)
  void set_write_queue_bytes_max(std::size_t bytes) override { queue_bytes_max_ = bytes; }
  void shutdown() override;
  void reset() override;
  /// However it ends from now on, also with the process: RST, and what the other side has not confirmed is thrown away
  /// (unless both sides have said their last).
  void reset_at_end();
  /// Dead peers: bytes without an acknowledgement for so long end the connection with kTimedOut (TCP_USER_TIMEOUT),
  /// and an idle connection is probed as often (keep-alive). Without it a vanished host is noticed after minutes.
  /// @param limit  > 0; for the probes it is rounded up to whole seconds. Without effect on unix sockets.
  void set_unanswered_max(Milliseconds limit);
  void set_write_gate(const WriteGate* gate) override { gate_ = gate; }
  void unread(std::span<const std::byte> bytes) override;
  Result<DetachedStream> detach() override;
  [[nodiscard]] bool open() const override { return state_ == State::kOpen; }
  [[nodiscard]] Address local_address() const override;  ///< a system call each time
  [[nodiscard]] Address peer_address() const override;   ///< what from_fd was told, else a system call
  [[nodiscard]] Loop& loop() { return loop_; }

 private:
  enum class State : std::uint8_t { kConnecting, kOpen, kDead };
  TcpStream(Loop& loop, int fd, State state);
  void on_ready(Ready ready) override;
  void start_connect(const Address& to, TimePoint deadline);
  void watch();            ///< tells the loop what we wait for; a system call only when that has changed
  bool deliver_unread();   ///< @return false: the sink has destroyed this stream
  void on_readable();
  void on_writable();
  void on_socket_error();
  void finish_connect();
  /// One gathered call, the gate asked first. @return bytes that the kernel took, perhaps 0
  Result<std::size_t> send_some(Buffers buffers);
  /// Copies what is behind the first `skip` bytes of `buffers`.
  void enqueue(Buffers buffers, std::size_t skip);
  void after_queue_empty();
  void cut();              ///< RST (SO_LINGER 0) and the descriptor is gone
  // The two ways to die: from an event of the loop (tells the sink, may be destroyed by it), and from inside a call of ours.
  void die(Error error);
  void fail_later(Error error);
  void run_deferred();

  Loop& loop_;
  int fd_;        // -1 once dead
  Address peer_;  // as accepted; empty: ask the kernel
  State state_;
  bool reading_ = false;
  bool ended_ = false;         // FIN seen
  bool shutdown_wanted_ = false;
  bool room_wanted_ = false;   // write_some took less than it was offered
  StreamSink* sink_ = nullptr;
  const WriteGate* gate_ = nullptr;
  std::optional<Watch> watch_;  // none once the stream is dead
  Life life_;
  std::vector<std::byte> queue_;  // [queue_head_, size) waits for the kernel
  std::size_t queue_head_ = 0;
  std::size_t queue_bytes_max_ = kWriteQueueBytesMax;
  std::vector<std::byte> unread_;    // given back by unread(), comes before what the kernel has
  std::unique_ptr<Error> failure_;  // found inside a call, reported from the end of the turn
  Deferral deferred_;
  std::unique_ptr<Timer> connect_timer_;  // only while connecting
};

}  // namespace agent::io
