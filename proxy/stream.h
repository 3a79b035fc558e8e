#pragma once
/// The byte pipes that the proxy asks its host for. The library owns these interfaces and holds no socket;
/// the host implements them over whatever it has (tests: over memory).
///
/// Thread: one proxy, its streams and its host live on one thread.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace proxy {

using TimePoint = std::chrono::steady_clock::time_point;  ///< filled by the host from CLOCK_BOOTTIME
using Milliseconds = std::chrono::milliseconds;
using Bytes = std::span<const std::byte>;                 ///< borrowed for the length of one call

inline constexpr std::size_t kReadBytesMax = 80 * 1024;   ///< of one StreamSink::on_data: a body of 64 KiB and its head

struct Endpoint;

/// Why a stream is over.
enum class StreamEnd : std::uint8_t {
  kRefused,      ///< connect: nobody listens there (or the unix socket does not exist); nothing was sent
  kUnreachable,  ///< connect: no route, no descriptor, name or handshake trouble; nothing was sent
  kReset,        ///< the peer, or the network, broke an open connection
};

/// Receives what happens to one stream. All calls come from the host's loop, never from inside a call to the stream.
/// The sink may destroy the stream in any of them: the stream touches nothing of itself after the call.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  /// An outgoing stream is open. Comes once, before any other event; never comes for accepted streams.
  virtual void on_connected() = 0;
  /// Bytes in order of arrival; at least 1, at most 64 KiB. `bytes` is the host's buffer and is void after the call.
  virtual void on_data(Bytes bytes) = 0;
  /// The peer sends no more. Writing is still possible. No `on_data` follows.
  virtual void on_eof() = 0;
  /// There is room again after a `write` that took less than it was offered.
  virtual void on_writable() = 0;
  /// Over in both directions, also for a connect that failed. The last event; every later call to the stream is allowed
  /// and does nothing.
  virtual void on_closed(StreamEnd end) = 0;
};

/// One connection: TCP, unix socket or TLS over either.
/// Ownership: whoever holds the unique_ptr; destruction closes at once, drops what is unsent and ends all events.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Sets who hears the events; null = nobody (then reading is off). Set before the first event.
  virtual void set_sink(StreamSink* sink) = 0;

  /// Sends the pieces in order, with one system call where that is possible.
  /// @return bytes taken. Fewer than offered: the caller keeps the rest and offers it again after `on_writable`.
  ///
  /// A stream opened with `Queueing::kNone` keeps nothing back: bytes taken are in the kernel when the call returns,
  /// so that a check made just before the call holds for all of them. Other streams may hold up to their own high
  /// watermark (256 KiB) in user space. Errors are reported later by `on_closed`; a broken stream takes nothing.
  [[nodiscard]] virtual std::size_t write(std::span<const Bytes> pieces) = 0;

  /// Bytes taken by write() that the kernel has not taken yet. Costs no system call.
  [[nodiscard]] virtual std::size_t backlog_bytes() const { return 0; }
  /// Those, and the ones in the kernel that the peer has not confirmed: what a slow reader leaves lying. May cost a
  /// system call.
  [[nodiscard]] virtual std::size_t unconfirmed_bytes() const { return backlog_bytes(); }

  /// Stops and restarts `on_data`/`on_eof`. Reading is on from the start. Stopping holds from the next event on.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;

  virtual void shutdown() = 0;  ///< half-close after everything taken is sent; reading goes on
  virtual void close() = 0;     ///< closes after everything taken is sent, at most 1 s later; no events follow
  /// As close(), towards a peer that has said that it sends no more: nobody has to listen for what cannot come.
  virtual void finish() { close(); }
  virtual void reset() = 0;     ///< closes at once and tells the peer by RST where the transport can; no events follow
};

/// How an outgoing stream treats bytes that the kernel does not take at once.
enum class Queueing : std::uint8_t {
  kNone,   ///< refuses them; needed wherever a lease is checked before each write
  kSome,   ///< may keep them, bounded
};

/// Opens outgoing streams.
class Connector {
 public:
  virtual ~Connector() = default;
  /// Begins to connect to `endpoint` (a local instance or the agent of a peer; TLS and ALPN are the host's business).
  /// Never null and never reports from inside the call: `on_connected` or `on_closed` of `sink` follows.
  /// The proxy puts its own limit on the time this may take.
  [[nodiscard]] virtual std::unique_ptr<Stream> connect(const Endpoint& endpoint, Queueing queueing,
                                                        StreamSink& sink) = 0;
};

}  // namespace proxy
