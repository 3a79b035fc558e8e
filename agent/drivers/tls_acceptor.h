#pragma once
/// Handshakes of a proxy worker's clients: between accept and the first request.

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agent/drivers/proxy_header_acceptor.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/tls_context.h"
#include "agent/io/tls_stream.h"
#include "proxy/proxy.h"

namespace agent::drivers {

/// What a listener does with a connection. Immutable once published; a newer one is for connections to come.
struct ListenPolicy {
  std::shared_ptr<const io::TlsContext> tls{};            ///< null = plain
  io::Milliseconds handshake_timeout{10'000};             ///< accept to the end of the handshake
  bool h2c = false;                                       ///< without TLS: HTTP/2 too, by its preface
  bool tell_client_certificate = false;                   ///< X-Forwarded-Client-Cert to the instance
  std::shared_ptr<const proxy::ListenerRules> rules{};    ///< null = none
  std::shared_ptr<const ProxyHeaderRule> header{};        ///< PROXY protocol; null = not spoken
};

/// How handshakes have ended.
struct TlsCounters {
  std::uint64_t tls12 = 0, tls13 = 0;    ///< good ones, by version
  std::uint64_t certificate = 0;         ///< failed: the client's certificate, or its word that ours is none for it
  std::uint64_t protocol = 0;            ///< failed: an old version, no common suite or protocol, no TLS at all
  std::uint64_t timed_out = 0;           ///< failed: over its deadline
  std::uint64_t closed = 0;              ///< failed: the client left or broke off
  std::uint64_t refused = 0;             ///< closed at once: too many are under way

  void add(const TlsCounters& other);
};

/// What an instance is told of a proved client: `Hash=<SHA-256>;Subject="CN=..."` and one `;DNS=` for each dNSName; the
/// first pairs of Envoy's field of that name. Safe as a field value whatever the certificate says; "" without one.
[[nodiscard]] std::string client_certificate_text(const io::PeerIdentity& peer);

/// Runs each handshake on the worker's own loop and hands the open stream on.
/// Bound: kHandshakesMax at once; one more is closed at once and counted. Each has a deadline.
/// Ownership: a member of the worker. Thread: the worker's.
class TlsAcceptor {
 public:
  static constexpr std::size_t kHandshakesMax = 1024;
  using OnOpen = std::function<void(std::unique_ptr<io::ByteStream>, proxy::Accepted)>;

  /// @param on_open  gets streams that are open, reading off, without sink; must not destroy the acceptor
  explicit TlsAcceptor(OnOpen on_open);
  ~TlsAcceptor();
  /// @param policy  with a TLS context
  void begin(std::unique_ptr<io::TcpStream> stream, const ListenPolicy& policy, proxy::Accepted accepted);
  void clear();  ///< breaks off what is under way
  [[nodiscard]] std::size_t size() const { return pending_.size(); }
  [[nodiscard]] const TlsCounters& counters() const { return counters_; }

 private:
  struct Pending;
  void opened(Pending& pending);
  void failed(Pending& pending, const io::Error& error);

  OnOpen on_open_;
  std::list<std::unique_ptr<Pending>> pending_;
  TlsCounters counters_;
};

}  // namespace agent::drivers
