#pragma once
/// The egress of one proxy worker: requests, CONNECT tunnels and TCP connections of the service to its brokers.
///
/// It has a proxy and a relay of its own, so that no client of the agent's listeners and no other agent can ever reach a
/// broker through a route of theirs, and so that cutting off what leads to brokers touches nothing else. Made when settings
/// name an egress; a worker without one pays nothing.
/// Every stream to a broker carries a write gate as well: whatever user space may still hold (handshakes, the rest of a TLS
/// record) meets the lease again before each system call.
/// Ownership: a member of the worker. Thread: its worker's.

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/proxy_stream.h"
#include "agent/io/byte_stream.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/tls_context.h"
#include "proxy/connect_head.h"
#include "proxy/egress.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"

namespace agent::drivers {

/// Where a broker is and how it is spoken to.
struct EgressPlace final : proxy::EgressTarget {
  EgressPlace(std::string whose, std::string of) : EgressTarget(std::move(whose), std::move(of)) {}
  std::shared_ptr<const io::TlsContext> tls;  ///< null = plain
  std::string server_name;                    ///< that its certificate must carry, and SNI
  [[nodiscard]] bool is_like(const EgressTarget& other) const override {
    const auto* place = dynamic_cast<const EgressPlace*>(&other);
    return place != nullptr && EgressTarget::is_like(other) && tls == place->tls && server_name == place->server_name;
  }
};

/// What comes in on a listener of the service's. Immutable.
struct EgressListen {
  struct Tunnel {
    std::string target;  ///< as proxy::canonical_target has it
    std::shared_ptr<const proxy::RelayRoute> route;
  };
  std::string name;                                ///< of the egress; empty: requests, of one or several
  std::shared_ptr<const proxy::RelayRoute> relay;  ///< bytes; null = another mode
  std::vector<Tunnel> tunnels;                     ///< CONNECT to these and nowhere else; empty = another mode
};

/// What all workers are told together.
struct EgressNews {
  std::shared_ptr<const proxy::RouteTable> routes;
  proxy::EndpointTable endpoints;  ///< with EgressPlace
};

/// Counters of one worker.
struct EgressTotals {
  std::map<std::string, proxy::EgressCounters> by_name;  ///< of the [[egress]]
  std::map<std::string, std::uint64_t> requests, open;   ///< requests, or connections; connections to brokers open now
  std::map<std::string, std::uint64_t> halted;           ///< of them, refused or ended because of a halt
  std::uint64_t late_writes = 0;    ///< after which the lease stood at its end
  std::uint64_t writes_denied = 0;  ///< stopped before their first byte
  void add(const EgressTotals& other);
};

class EgressWorker final : public proxy::Host, public proxy::Connector, public proxy::RelayHost, public StreamHost {
 public:
  using OnAccess = std::function<void(const proxy::AccessRecord&)>;
  /// @param host  outlives this
  EgressWorker(io::Loop& loop, const proxy::Settings& settings, StreamHost& host, OnAccess on_access);
  ~EgressWorker() override;

  void set(const EgressNews& news);
  void set_primary(const proxy::PrimaryView& view);
  void set_halts(const std::shared_ptr<const proxy::HaltView>& halts);
  /// A connection of the service, by the settings of its listener.
  void accept(std::unique_ptr<io::TcpStream> stream, const EgressListen& listen, proxy::Accepted accepted,
              std::optional<proxy::ProxyHeader::Ends> ends);

  void tick(proxy::TimePoint now);
  void end_turn() { core_.send_gathered(); }
  [[nodiscard]] proxy::TimePoint next_deadline() const;
  void part_with(std::optional<std::uint64_t> listener, proxy::TimePoint idle_until) { core_.part_with(listener, idle_until); }
  void drain(proxy::TimePoint deadline);
  void end_all();
  [[nodiscard]] bool idle() const;
  [[nodiscard]] EgressTotals totals() const;

  // proxy::Host
  proxy::TimePoint now() override;
  void on_access(const proxy::AccessRecord& record) override { on_access_(record); }
  void on_trouble(const proxy::Endpoint&, proxy::Trouble) override {}
  void on_orders_drained(std::string_view, proxy::Epoch) override {}  ///< orders are counted where they come in
  // proxy::Connector
  std::unique_ptr<proxy::Stream> connect(const proxy::Endpoint& endpoint, proxy::Queueing queueing, proxy::StreamSink& sink) override;
  // proxy::RelayHost
  proxy::TimePoint relay_now() override { return now(); }
  std::unique_ptr<proxy::Stream> relay_connect(const proxy::RelayRoute& route, const proxy::Endpoint& endpoint, const proxy::RelayClient& client,
                                               proxy::Queueing queueing, proxy::StreamSink& sink) override;
  void relay_trouble(const proxy::Endpoint&, proxy::Trouble) override {}
  void relay_ended(const proxy::AccessRecord& record) override { on_access_(record); }
  // StreamHost
  void touched() override { host_.touched(); }
  ClosingStreams& closing() override { return closing_; }  ///< of connections of the service; those to brokers are reset

 private:
  class Gate;
  struct Asking;
  void read(Asking& asking, std::span<const std::byte> bytes);
  void refuse(Asking& asking, int status, std::string_view code);
  void forget(Asking& asking);
  void accept_relay(std::unique_ptr<io::ByteStream> stream, std::shared_ptr<const proxy::RelayRoute> route, proxy::RelayClient client);
  std::unique_ptr<proxy::Stream> dial(const proxy::Endpoint& endpoint, proxy::Queueing queueing, proxy::StreamSink& sink);

  static constexpr std::size_t kAskingMax = 1024;  ///< connections whose CONNECT has not ended; the next one is reset
  io::Loop& loop_;
  StreamHost& host_;
  OnAccess on_access_;
  std::unique_ptr<Gate> gate_;  // outlives every stream
  ClosingStreams closing_;
  std::list<std::unique_ptr<Asking>> asking_;
  proxy::Milliseconds head_timeout_;
  proxy::Proxy core_;
  proxy::Relay relay_;
};

}  // namespace agent::drivers
