#pragma once
/// The PROXY protocol at the beginning of a client's connection: between accept and TLS or the first request.

#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "proxy/proxy.h"
#include "proxy/proxy_header.h"
#include "proxy/trusted_proxies.h"

namespace agent::drivers {

/// Who says for whom it connects. Immutable once published.
struct ProxyHeaderRule {
  proxy::TrustedProxies from;             ///< these must send a header; from everybody else one is a malformed request
  bool from_unix = false;                 ///< ... and whoever reaches the unix socket
  io::Milliseconds timeout{3000};         ///< accept to the end of the header

  [[nodiscard]] bool expects(const std::string& client) const { return client == "unix" ? from_unix : from.trusts(client); }
};

/// How headers have ended. They only grow.
struct ProxyHeaderCounters {
  std::uint64_t told = 0;       ///< named a client
  std::uint64_t local = 0;      ///< the balancer's own connections
  std::uint64_t malformed = 0;  ///< no header, or a broken one: closed
  std::uint64_t timed_out = 0;
  std::uint64_t closed = 0;     ///< the balancer left before the end
  std::uint64_t refused = 0;    ///< closed at once: too many are under way
  void add(const ProxyHeaderCounters& other);
};

/// Reads each header on the worker's own loop and hands the stream on with the client's address.
/// Bounds: kPendingMax at once, proxy::kProxyHeaderBytesMax bytes each, a deadline each.
/// Ownership: a member of the worker. Thread: the worker's.
class ProxyHeaderAcceptor {
 public:
  static constexpr std::size_t kPendingMax = 1024;
  using OnRead = std::function<void(std::unique_ptr<io::TcpStream>, proxy::Accepted)>;

  explicit ProxyHeaderAcceptor(io::Loop& loop);
  ~ProxyHeaderAcceptor();
  /// @param on_read  gets the stream with reading off and no sink; what followed the header is read first. Must not destroy us
  void begin(std::unique_ptr<io::TcpStream> stream, io::Milliseconds timeout, proxy::Accepted accepted, OnRead on_read);
  void clear();  ///< breaks off what is under way
  [[nodiscard]] std::size_t size() const { return pending_.size(); }
  [[nodiscard]] const ProxyHeaderCounters& counters() const { return counters_; }

 private:
  struct Pending;
  void read(Pending& pending, std::span<const std::byte> bytes);
  void drop(Pending& pending, std::uint64_t& counter);

  io::Loop& loop_;
  std::list<std::unique_ptr<Pending>> pending_;
  ProxyHeaderCounters counters_;
};

}  // namespace agent::drivers
