#pragma once
/// agent/io's byte streams as the proxy library wants them.
///
/// The two differ in three ways, and this file is where they meet. The proxy wants one `on_closed` with a reason where io
/// tells of end and error apart; it wants to know at once how many bytes of a write were taken; and it drops a stream the
/// moment it is done with it, while the kernel still has bytes of ours to deliver.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "proxy/stream.h"

namespace agent::drivers {

/// Parts politely with closed connections: their last bytes go out, what the other side still sends is thrown away
/// (a close with unread bytes would turn into an RST that can overtake our answer), and after a second they are cut.
/// Bound: kLingeringMax; the oldest is cut when one more comes. Thread: its worker's.
class ClosingStreams {
 public:
  static constexpr std::size_t kLingeringMax = 1024;
  static constexpr io::Milliseconds kLinger{1000};

  explicit ClosingStreams(io::Loop& loop);
  ~ClosingStreams();  ///< cuts what is left
  /// @param ended the other side has said its last byte already.
  void take(std::unique_ptr<io::ByteStream> stream, bool ended);
  [[nodiscard]] std::size_t size() const { return lingering_.size(); }  ///< 0..kLingeringMax

 private:
  struct Lingering;
  void sweep();  ///< cuts those whose second is over
  void let_go(Lingering& one);
  io::Timer timer_;
  std::list<std::unique_ptr<Lingering>> lingering_;  // oldest first
};

/// What every stream of a worker shares.
class StreamHost {
 public:
  virtual ~StreamHost() = default;
  virtual void touched() = 0;  ///< the proxy has been given an event: its deadline may have moved. Cheap, often called
  [[nodiscard]] virtual ClosingStreams& closing() = 0;  ///< outlives every stream
};

/// One connection of the proxy, to a client, an instance or another agent; plain or TLS makes no difference here.
/// Life: connecting (attach_connecting) or open (attach_open) -> open -> parted with. After close, finish, reset or
/// on_closed no call of the sink follows, and the proxy destroys this object.
/// Bound: with Queueing::kSome kQueueBytesMax wait for a slow reader; with kNone nothing waits here: what the kernel does not
/// take at once is offered again by the proxy, so that a lease checked just before a write holds for all of its bytes.
/// Ownership: of the proxy; the host outlives it. Thread: its worker's.
class ProxyStream final : public proxy::Stream, private io::StreamSink {
 public:
  static constexpr std::size_t kQueueBytesMax = 256U << 10;  ///< kept back for a slow reader with Queueing::kSome

  /// How a connection that is not over on both sides is parted with.
  enum class Parting : std::uint8_t {
    kPolite,  ///< what was written arrives
    kReset,   ///< at once, and what the other side has not confirmed is thrown away: nothing may leave later by itself
  };
  ProxyStream(StreamHost& host, proxy::Queueing queueing, Parting parting = Parting::kPolite)
      : host_(host), queueing_(queueing), parting_(parting) {}
  ~ProxyStream() override;

  /// An open stream (accepted or adopted). Once, before anything else.
  void attach_open(std::unique_ptr<io::ByteStream> stream);
  /// A stream under way, whose sink is io_sink(); on_connected or on_closed follows.
  /// @param preface  goes out as the first bytes, before what the proxy writes; empty = none
  void attach_connecting(std::unique_ptr<io::ByteStream> stream, std::string preface);
  [[nodiscard]] io::StreamSink* io_sink() { return this; }  ///< where the stream below reports

  // proxy::Stream; its header says what each promises. Sizes are bytes.
  void set_sink(proxy::StreamSink* sink) override;
  [[nodiscard]] std::size_t write(std::span<const proxy::Bytes> pieces) override;
  [[nodiscard]] std::size_t backlog_bytes() const override { return stream_ ? stream_->write_queue_bytes() : 0; }
  [[nodiscard]] std::size_t unconfirmed_bytes() const override { return stream_ ? stream_->unconfirmed_bytes() : 0; }
  void pause_reading() override;
  void resume_reading() override;
  void shutdown() override;
  void close() override;
  void finish() override;
  void reset() override;

 private:
  void on_open() override;
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  void on_drained() override;
  /// Hands the stream to the host's ClosingStreams. @param nothing_comes  the other side has said its last byte
  void part(bool nothing_comes);

  StreamHost& host_;
  proxy::Queueing queueing_;
  Parting parting_;
  proxy::StreamSink* sink_ = nullptr;
  std::unique_ptr<io::ByteStream> stream_;  // null before attach_ and after the end
  std::string preface_;         // not yet sent
  bool open_ = false;
  bool reading_ = true;
  bool ended_ = false;          // the other side has said its last byte
  bool refused_bytes_ = false;  // a write took less than it was offered
};

}  // namespace agent::drivers
