#pragma once
/// Datagrams, with the kernel's word on which destination refused one.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "agent/io/address.h"
#include "agent/io/handle.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"

namespace agent::io {

/// Receives what a UdpSocket hears. Must outlive the socket, or destroy it first.
class UdpSink {
 public:
  virtual ~UdpSink() = default;
  /// @param bytes valid for the call only.
  virtual void on_datagram(const Address& from, std::span<const std::byte> bytes) = 0;
  /// An earlier datagram to `to` came back as an ICMP error. @param code kRefused (port unreachable: the process is
  /// gone, its host is up), kUnreachable, or kTooLarge (path MTU).
  virtual void on_datagram_error(const Address& to, Errc code) = 0;
  /// Everything that was waiting has been handed over (or the bound of one turn is reached): now judge time.
  virtual void on_drained() {}
};

/// One bound UDP socket, read in batches (recvmmsg) until it is empty.
/// Source: ip(7) IP_RECVERR, which names the destination of a refused datagram on an unconnected socket.
/// Bounds: 32 datagrams per system call, Options::drain_max per turn (the rest stays in the kernel's buffer for the next turn).
/// Ownership: destruction closes at once; a callback may destroy the socket. Thread: the loop's.
class UdpSocket {
 public:
  static constexpr std::size_t kDatagramBytesMax = 9216;  ///< longer ones are cut off by the kernel and dropped, counted
  static constexpr std::size_t kDrainMax = 4096;          ///< datagrams per drain (gossip.md section 5)

  struct Options {
    bool reuse_port = false;
    std::size_t receive_buffer_bytes = 4U << 20;  ///< asked for; the kernel may give less (net.core.rmem_max)
    std::size_t send_buffer_bytes = 1U << 20;
    std::size_t drain_max = kDrainMax;  ///< rounded up to whole batches of 32; fewer = others on the loop wait less
  };
  struct Counters {
    std::uint64_t received = 0, sent = 0, oversized = 0, send_failed = 0, errors_reported = 0;
  };

  /// Errors: kAddressInUse, kAddressMissing, kPermission, kLimit, kInvalidArgument (a unix address).
  static Result<std::unique_ptr<UdpSocket>> bind(Loop& loop, const Address& local, UdpSink& sink,
                                                 const Options& options);
  static Result<std::unique_ptr<UdpSocket>> bind(Loop& loop, const Address& local, UdpSink& sink);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  /// Hands one datagram to the kernel; never queues. Errors: kWouldBlock (buffer full: lost, as UDP may lose),
  /// kTooLarge, kUnreachable, kPermission, kInvalidArgument (address family differs).
  Result<void> send(const Address& to, std::span<const std::byte> bytes);

  /// Reads at once what is waiting, up to Options::drain_max, calling the sink: before a tick, so that only what was heard is
  /// judged. Calls on_drained() at its end. @return datagrams handed over.
  std::size_t drain();

  [[nodiscard]] const Address& local_address() const { return local_; }  ///< with the real port
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  struct Batch;
  UdpSocket(UdpSink& sink);
  std::size_t receive_batch(const LifeMark& life);
  void drain_errors(const LifeMark& life);
  void start_poll();

  UdpSink& sink_;
  std::size_t drain_max_ = kDrainMax;
  int fd_ = -1;
  Handle<uv_poll_s> poll_;
  Address local_;
  Counters counters_;
  std::unique_ptr<Batch> batch_;
  Life life_;
};

}  // namespace agent::io
