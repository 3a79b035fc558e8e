#pragma once
/// The common face of TCP, unix and TLS streams: drivers adapt once.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/io/address.h"
#include "agent/io/error.h"
#include "agent/io/loop.h"

namespace agent::io {

class TlsEngine;

/// Receives the events of one stream. Every call may destroy the stream, or the sink's owner; after on_error nothing
/// follows. No call happens inside a call of the stream's own methods.
/// Ownership: the stream holds a plain pointer: whoever destroys the sink first calls set_sink(nullptr) or destroys
/// the stream. A stream without sink neither reads nor reports; errors wait for the next sink.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  virtual void on_open() {}  ///< connected, or TLS handshake done: writes are possible. Not called for accepted plain TCP.
  /// @param bytes in the loop's slab: valid for the call only. Never empty.
  virtual void on_read(std::span<const std::byte> bytes) = 0;
  virtual void on_end() = 0;                   ///< the other side writes no more (FIN, close_notify); once. Writing is still possible.
  virtual void on_error(const Error& error) = 0;  ///< the stream is dead; destroy it. Once, last.
  virtual void on_drained() {}                 ///< the write queue has become empty after it was not
};

/// Asked before every system call that could carry bytes out, in the same call stack. This is what makes a lease
/// hold even for bytes that were queued before a pause: a process that wakes finds the gate shut before it writes.
class WriteGate {
 public:
  virtual ~WriteGate() = default;
  [[nodiscard]] virtual bool may_write() const = 0;  ///< cheap: an atomic load and one clock read
};

/// An open stream without a loop, on its way to another thread. Movable; destroying it closes the descriptor.
class DetachedStream {
 public:
  DetachedStream();  ///< invalid
  DetachedStream(int fd, std::unique_ptr<TlsEngine> tls, std::vector<std::byte> unread);
  ~DetachedStream();
  DetachedStream(DetachedStream&& other) noexcept;
  DetachedStream& operator=(DetachedStream&& other) noexcept;
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] bool is_tls() const { return tls_ != nullptr; }

 private:
  friend class TcpStream;
  friend class TlsStream;
  friend std::unique_ptr<class ByteStream> adopt(Loop& loop, DetachedStream detached);
  int fd_ = -1;
  std::unique_ptr<TlsEngine> tls_;
  std::vector<std::byte> unread_;        // received (ciphertext if TLS), not yet seen by a sink
  std::vector<std::byte> plain_unread_;  // TLS only: decrypted and given back by unread()
};

/// Who the other side of a TLS stream has proved to be. Empty strings for plain streams or without certificate.
struct PeerIdentity {
  std::string common_name;                ///< subject CN
  std::string subject;                    ///< the whole subject as text, at most 511 bytes
  std::vector<std::string> dns_names;     ///< subjectAltName dNSName entries, in order, at most 16
  std::string fingerprint;                ///< SHA-256 of the certificate, lower-case hex
};

/// A connected or connecting stream of bytes on one loop.
/// Bounds: at most write_queue_bytes_max (default kWriteQueueBytesMax) wait for the other side.
/// Ownership: unique_ptr or value of its user; destruction closes at once without a word, queued bytes are lost
/// (use shutdown() and wait for on_drained/on_end to part politely). Thread: its loop's.
class ByteStream {
 public:
  static constexpr std::size_t kWriteQueueBytesMax = 8U << 20;  ///< default bound; a snapshot chunk or two frames fit
  using Buffers = std::span<const std::span<const std::byte>>;

  virtual ~ByteStream() = default;
  virtual void set_sink(StreamSink* sink) = 0;
  /// Reading is off at first. Off means: no on_read, no on_end; the kernel's window pushes back on the sender.
  virtual void read_start() = 0;  ///< idempotent
  virtual void read_stop() = 0;   ///< idempotent; holds from the next call of the sink on
  /// Writes all buffers, in order: as much as the kernel takes at once with one gathered call, the rest is copied to
  /// the queue. Before the stream is open everything queues. At most 1024 buffers.
  /// Errors, nothing taken: kQueueFull; kClosed after shutdown() or death; kGateClosed (the connection is reset and
  /// on_error follows). Another failure of the connection found here is answered with its code, on_error follows too.
  virtual Result<void> write(Buffers buffers) = 0;
  Result<void> write(std::span<const std::byte> bytes) { return write(Buffers(&bytes, 1)); }
  /// Gives the kernel what it takes now and keeps nothing back that could leave later by itself: what was checked just
  /// before the call holds for every byte taken. Not to be mixed with bytes that wait in the queue (then it takes nothing).
  /// The gate is asked too. Over TLS a record that has left in part counts as not taken: nobody can open it. Its rest goes
  /// out first when the same bytes are offered again, so what was not taken must be offered next, or the stream dropped.
  /// @return bytes taken; fewer than offered: on_drained follows when there is room again, or on_error if it broke after
  /// them. Errors, nothing taken: as write().
  virtual Result<std::size_t> write_some(Buffers buffers) = 0;
  [[nodiscard]] virtual std::size_t write_queue_bytes() const = 0;  ///< bytes taken and not yet given to the kernel
  /// Those, and the ones that the kernel holds because the other side has not confirmed them. Costs a system call.
  [[nodiscard]] virtual std::size_t unconfirmed_bytes() const = 0;
  virtual void set_write_queue_bytes_max(std::size_t bytes) = 0;
  /// After what is queued: close_notify where TLS, then FIN. Further writes answer kClosed; reading goes on.
  virtual void shutdown() = 0;
  /// Cuts the connection at once: RST on the wire before this returns, queue thrown away. No callback follows.
  virtual void reset() = 0;
  /// From now on asked before every write system call; must outlive the stream or be cleared with nullptr. When it
  /// says no while bytes wait, they are thrown away, the connection is reset, on_error(kGateClosed) follows.
  virtual void set_write_gate(const WriteGate* gate) = 0;
  /// Puts bytes back before everything that is still to be read (for whoever looked at the first bytes).
  virtual void unread(std::span<const std::byte> bytes) = 0;
  /// Takes the open stream off this loop; this object is closed afterwards. Errors: kInvalidArgument while not open,
  /// a handshake or bytes in the write queue pending; kClosed. The stream then stays as it was.
  virtual Result<DetachedStream> detach() = 0;
  [[nodiscard]] virtual bool open() const = 0;           ///< writes may reach the kernel; false before open and after death
  [[nodiscard]] virtual Address local_address() const = 0;
  [[nodiscard]] virtual Address peer_address() const = 0;  ///< empty if unknown
  [[nodiscard]] virtual std::string alpn() const { return {}; }            ///< agreed protocol, empty if none
  [[nodiscard]] virtual PeerIdentity peer_identity() const { return {}; }  ///< proved identity, empty on plain streams
};

/// Puts a detached stream on `loop`: a TcpStream or a TlsStream, already open, reading off, no sink.
std::unique_ptr<ByteStream> adopt(Loop& loop, DetachedStream detached);

}  // namespace agent::io
