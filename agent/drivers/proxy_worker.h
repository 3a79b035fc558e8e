#pragma once
/// One worker of the proxy driver: a loop's listeners, handshakes, streams and files around one proxy core and one relay.
///
/// Ownership: built, run and destroyed on its own thread; the driver speaks to it by tasks that run there.
/// Bounds:    those of its parts; `trees_` by the folders that settings ever named, `troubled_` by the endpoints that ever were.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/access_log.h"
#include "agent/drivers/egress_worker.h"
#include "agent/drivers/span_exporter.h"
#include "agent/drivers/file_stream.h"
#include "agent/drivers/packers.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/drivers/proxy_header_acceptor.h"
#include "agent/drivers/proxy_stream.h"
#include "agent/drivers/recent_requests.h"
#include "agent/drivers/relay_hop.h"
#include "agent/drivers/tls_acceptor.h"
#include "agent/io/listen_socket.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/tcp_listener.h"
#include "proxy/proxy.h"
#include "proxy/relay.h"

namespace agent::drivers {

class ProxyWorker final : public proxy::Host, public proxy::Connector, public proxy::RelayHost, public StreamHost, public FileHost {
 public:
  struct Reports {
    io::Mailbox<std::function<void()>>::Sender news;
    std::function<void(const proxy::Endpoint&, proxy::Trouble)> on_trouble;               ///< runs on the control loop
    std::function<void(const std::string& service, proxy::Epoch epoch)> on_orders_drained;  ///< the same
    std::function<void(std::uint64_t id)> on_listener_left;                               ///< the same
    std::function<void()> on_health_news;                                                 ///< the same
    std::function<void(proxy::RateMemberId owner, std::string frame)> on_rate_questions;  ///< the same
    AccessLog* access_log = nullptr;  ///< null = none; outlives the worker
    SpanExporter* spans = nullptr;    ///< the same
    std::size_t number = 0;           ///< of the worker
    std::shared_ptr<proxy::OrderLedger> ledger{};  ///< null = none
  };

  ProxyWorker(io::Loop& loop, const ProxyDriverSettings& settings, Reports reports);

  /// A listener, or newer settings of one that is there. @param sockets  empty = none of them is this worker's
  io::Result<void> listen(std::uint64_t id, std::shared_ptr<const ProxyListen> settings, const std::vector<const io::ListenSocket*>& sockets);
  void start_accepting();
  /// Newer settings for the connections that come from now on.
  void renew(std::uint64_t id, std::shared_ptr<const ProxyListen> settings);
  void renew_clients() { core_.renew_clients(); }  ///< one connection may live for days: it comes again under the new rules
  /// The sockets are let go of; closing them is the control loop's.
  void leave(std::uint64_t id);
  /// See ProxyDriver::retire; `idle` runs once, at the end of a turn.
  void retire(io::TimePoint idle_until, io::TimePoint deadline, std::function<void()> idle);
  /// A connection of somebody whose PROXY header was read and whose handshake is done, where there are such.
  void accept(std::unique_ptr<io::ByteStream> stream, proxy::Accepted accepted);
  /// A peer's, by the mesh listener.
  void adopt(io::DetachedStream stream, std::string client);
  /// See ProxyDriver::drain; `idle` runs once, at the end of a turn, and with egress not before drain_egress.
  void drain(io::TimePoint deadline, std::function<void()> idle);
  void drain_egress(io::TimePoint deadline);
  void set_tap(std::shared_ptr<RecordRing> ring) { tap_ = std::move(ring); }
  [[nodiscard]] std::optional<std::string> find_recent(std::string_view request_id) const { return recent_.find(request_id); }
  [[nodiscard]] proxy::Proxy& core() { return core_; }
  /// What the service sends out. @param view  of the primary, as published last
  void set_egress(const EgressNews& news, const proxy::PrimaryView* view);
  void set_halts(std::shared_ptr<const proxy::HaltView> halts);
  /// Brokers first: what may not be written any more is cut before anybody else hears of the change.
  void set_primary(const proxy::PrimaryView& view);
  [[nodiscard]] EgressTotals egress_totals() const { return egress_ ? egress_->totals() : EgressTotals(); }
  [[nodiscard]] const HelloCounters& hello_counters() { return hellos_.counters(); }
  [[nodiscard]] const ProxyHeaderCounters& header_counters() const { return headers_.counters(); }
  [[nodiscard]] const TlsCounters& tls_counters() const { return handshakes_.counters(); }

  // proxy::Host. What a request leaves behind goes to the rings of the access log and of those who look on.
  proxy::TimePoint now() override { return io::boottime_now(); }
  void on_access(const proxy::AccessRecord& record) override;
  /// As on_access, of what did not come from a client: the guard has no part in it.
  void note_record(const proxy::AccessRecord& record);
  void on_trouble(const proxy::Endpoint& endpoint, proxy::Trouble trouble) override;
  void on_orders_drained(std::string_view service, proxy::Epoch epoch) override;
  void on_health_news() override { reports_.news.send(reports_.on_health_news); }

  proxy::OrderLedger* orders() override { return reports_.ledger.get(); }
  std::unique_ptr<proxy::Packer> lend_packer(int level) override { return packers_.lend(level); }
  void take_packer(std::unique_ptr<proxy::Packer> packer) override { packers_.take(std::move(packer)); }

  // proxy::Connector
  std::unique_ptr<proxy::Stream> connect(const proxy::Endpoint& endpoint, proxy::Queueing queueing,
                                         proxy::StreamSink& sink) override;

  // proxy::RelayHost
  proxy::TimePoint relay_now() override { return io::boottime_now(); }
  std::unique_ptr<proxy::Stream> relay_connect(const proxy::RelayRoute& route, const proxy::Endpoint& endpoint, const proxy::RelayClient& client,
                                               proxy::Queueing queueing, proxy::StreamSink& sink) override;
  void relay_trouble(const proxy::Endpoint& endpoint, proxy::Trouble trouble) override { on_trouble(endpoint, trouble); }
  void relay_ended(const proxy::AccessRecord& record) override;
  [[nodiscard]] proxy::Relay& relay() { return relay_; }

  // StreamHost
  void touched() override { after_turn_.schedule(); }
  ClosingStreams& closing() override { return closing_; }

  // FileHost
  io::Loop& loop() override { return loop_; }
  void file_event() override { touched(); }
  std::span<std::byte> file_slab() override;
  std::shared_ptr<const io::FileTree> tree_of(const proxy::StaticSite& site) override;

 private:
  struct Listener {
    std::shared_ptr<const ProxyListen> settings;
    std::vector<std::unique_ptr<io::TcpListener>> sockets;
  };
  [[nodiscard]] std::shared_ptr<const proxy::RelayRoute> relay_of(std::uint64_t id) const;
  void remember_relay(std::uint64_t id, const Listener& listener);
  /// A client's, fresh from the socket's queue.
  void welcome(std::uint64_t id, std::unique_ptr<io::TcpStream> stream);
  void accept_peer(std::unique_ptr<io::ByteStream> stream, std::string client);
  /// A peer's TCP connection goes by our own route of that name.
  void accept_hop(std::unique_ptr<io::ByteStream> stream, const RelayHop& hop);
  void accept_relay(std::unique_ptr<io::ByteStream> stream, const std::shared_ptr<const proxy::RelayRoute>& route, proxy::RelayClient client);
  /// @param client  the address that counts as the client's: the connection's, or what its PROXY header said
  static std::optional<proxy::ProxyHeader::Ends> ends_of(const io::ByteStream& stream, const std::string& client);
  /// What follows the PROXY header, where there is one: the handshake, a look at the client's own, or nothing.
  void secure(const std::shared_ptr<const ProxyListen>& listen, std::unique_ptr<io::TcpStream> stream, proxy::Accepted accepted);
  void accept_named(const proxy::RelayNames& names, std::unique_ptr<io::TcpStream> stream, const proxy::Accepted& accepted,
                    const std::string& server_name);
  /// The guard bans that client: of a TCP route there is nothing to answer, so its connection is reset.
  [[nodiscard]] bool keeps_out(const std::string& client) const;
  void send_rate_questions();
  void end_turn();

  io::Loop& loop_;
  const ProxyDriverSettings& settings_;
  Reports reports_;
  ClosingStreams closing_;
  io::Timer timer_;
  io::Deferral after_turn_;
  std::map<proxy::EndpointId, io::TimePoint> troubled_;  // bounded by the endpoints that ever were
  ProxyHeaderAcceptor headers_;
  HopReader hops_;
  HelloReader hellos_;
  TlsAcceptor handshakes_;
  Packers packers_;
  std::vector<std::byte> file_slab_;  // kReadBytesMax as soon as any file is shown
  std::map<std::string, std::shared_ptr<const io::FileTree>> trees_;  // bounded by the folders that settings ever named
  bool accepting_;
  std::map<std::uint64_t, Listener> listeners_;
  std::map<std::uint64_t, std::shared_ptr<const proxy::RelayRoute>> parted_relays_;  // of listeners gone while handshakes ran
  std::optional<io::TimePoint> parting_until_;  // retiring
  io::Timer retire_;
  io::Timer egress_end_;
  bool egress_ends_ = false;  // it takes nothing new any more, or what comes is parted with
  std::function<void()> idle_;
  RecentRequests recent_;
  std::shared_ptr<RecordRing> tap_;  // null: nobody looks on
  std::string scratch_;
  std::vector<proxy::RateQuestion> questions_;  // scratch
  proxy::Proxy core_;
  proxy::Relay relay_;
  std::unique_ptr<EgressWorker> egress_;  // null: settings name none
  std::shared_ptr<const proxy::HaltView> halts_;
};

}  // namespace agent::drivers
