#pragma once
/// DNS on sockets: one UDP socket, one TCP listener, the resolver behind both.

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "agent/dns/resolver.h"
#include "agent/io/address.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/timer.h"
#include "agent/io/udp_socket.h"

namespace agent::drivers {

class DnsConnection;

struct DnsSettings {
  io::Address listen;                        ///< IP and port, for both; port 0 = any that is free for both
  std::size_t connections_max = 256;         ///< one more closes the one that has been quiet for longest
  io::Milliseconds idle_timeout{10000};      ///< of a connection, from its last whole query (RFC 7766 section 6.2.3)
  dns::ResolverSettings resolver;
};

/// They only grow, but `connections`.
struct DnsCounters {
  std::uint64_t datagrams_lost = 0;  ///< answers that the kernel did not take
  std::uint64_t accepted = 0;        ///< connections
  std::uint64_t evicted = 0;         ///< closed in favour of a newer one
  std::uint64_t timed_out = 0;       ///< closed after idle_timeout
  std::uint64_t refused = 0;         ///< closed because of a length that no query has
  std::uint64_t connections = 0;     ///< open now
};

/// Answers as fast as they are asked, within bounds per turn: kDatagramsPerTurn over UDP, and per connection
/// kQueriesPerTurn; the loop also carries Raft.
/// Bounds: connections_max connections, each with at most one read of the loop (80 KiB) and one query
/// (kQueryBytesMax) received and kAnswersBytesMax + 80 KiB unsent; reading stops while a bound is reached.
/// Ownership: the catalog must outlive it; destruction closes every socket at once. Thread: the loop's.
class DnsDriver final : private io::UdpSink {
 public:
  static constexpr std::size_t kDatagramsPerTurn = 256;
  static constexpr std::size_t kQueriesPerTurn = 64;
  static constexpr std::size_t kQueryBytesMax = 4096;          ///< over TCP; a query with every option there is has a few hundred
  static constexpr std::size_t kAnswersBytesMax = 32U * 1024;  ///< unsent, beyond which no query of a connection is taken

  /// Errors: those of UdpSocket::bind and TcpListener::listen, with the address and the remedy in the detail.
  [[nodiscard]] static io::Result<std::unique_ptr<DnsDriver>> start(io::Loop& loop, DnsSettings settings,
                                                                    const dns::Catalog& catalog,
                                                                    std::function<std::uint64_t(std::uint64_t)> chance);
  ~DnsDriver() override;
  DnsDriver(const DnsDriver&) = delete;
  DnsDriver& operator=(const DnsDriver&) = delete;

  [[nodiscard]] const io::Address& local_address() const { return udp_->local_address(); }  ///< with the real port
  [[nodiscard]] const dns::Resolver& core() const { return resolver_; }
  [[nodiscard]] DnsCounters counters() const;

 private:
  friend class DnsConnection;
  DnsDriver(io::Loop& loop, DnsSettings settings, const dns::Catalog& catalog,
            std::function<std::uint64_t(std::uint64_t)> chance);
  io::Result<void> open();
  io::Result<void> open_once();
  void on_datagram(const io::Address& from, std::span<const std::byte> bytes) override;
  void on_datagram_error(const io::Address& to, io::Errc code) override;
  void on_accept(std::unique_ptr<io::TcpStream> stream);
  void on_closed(DnsConnection& connection);  ///< destroys it
  void make_room();
  void sweep();

  io::Loop& loop_;
  DnsSettings settings_;
  dns::Resolver resolver_;
  DnsCounters counters_;
  std::unique_ptr<io::UdpSocket> udp_;
  std::unique_ptr<io::TcpListener> listener_;
  std::unordered_map<DnsConnection*, std::unique_ptr<DnsConnection>> connections_;
  io::Timer sweep_timer_;
};

}  // namespace agent::drivers
