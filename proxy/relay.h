#pragma once
/// TCP routes: bytes between a client and an endpoint, untouched, under the same health and lease rules as requests.
///
/// One Relay per worker. A connection is opened to the primary or to the least busy endpoint, then bytes go both ways with
/// at most one read slab kept per direction; an end of one direction is passed on while the other goes on.
/// R1 Not one byte goes to the local service of a `primary` route unless RelayHost::now(), read in the call that writes, is
///    before the end of the lease under which the connection was opened. When lease or holder change, it is reset.
/// R4 A connection from a peer goes to the local service or is closed; it never hops on.
/// R5 A connection of an egress route goes to a broker: egress_permit stands before every write (egress.h), nobody waits for a
///    role, and when the permit is gone all of the service's are reset before any client hears of it.
/// Bounds: RelayRoute::connections_max per route and worker; Settings' read slab per direction. Thread: its worker's.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/egress.h"
#include "proxy/observe.h"
#include "proxy/proxy.h"
#include "proxy/proxy_header.h"
#include "proxy/route.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "proxy/wheel.h"

namespace proxy {

struct HaltOrder;

/// One TCP route. Immutable; a newer one is for new connections.
struct RelayRoute {
  std::string name;       ///< the same on all agents: a peer finds its own route by it
  PoolKind kind = PoolKind::kPrimary;
  std::string pool;       ///< kAll: name in the EndpointTable
  std::string service;    ///< kPrimary: whose primary
  std::string address;    ///< of the service beside this agent, for the host; empty = there is none here
  Milliseconds hold{5000};              ///< kPrimary: how long a connection waits for a primary
  Milliseconds connect_timeout{1000};   ///< per attempt, > 0
  Milliseconds idle_timeout{3'600'000}; ///< without a byte in either direction; 0 = none
  std::uint32_t connections_max = 1000; ///< per worker
  std::uint8_t proxy_protocol = 0;      ///< 1, 2: the service is told the client by such a header
  bool access_log = true;               ///< its connections are in the access log
  std::shared_ptr<const EgressRule> egress{};  ///< kAll, with `service`: to a broker; null = no egress
};

/// Who connects.
struct RelayClient {
  ListenerKind kind = ListenerKind::kDownstream;
  std::optional<ProxyHeader::Ends> ends{};  ///< absent = unknown (a unix socket)
  std::string server_name{};                ///< for which it came by TLS; empty = not looked at, or none. Written into its record
  bool asked = false;                       ///< by CONNECT: is told by HTTP what has become of it
};

/// Plain integers of one worker about one route. They only grow, but for `open`.
struct RelayCounters {
  std::uint64_t connections = 0;
  std::uint64_t refused = 0;           ///< over connections_max
  std::uint64_t no_endpoint = 0;       ///< nobody there to connect to, or no primary in time
  std::uint64_t connect_failures = 0;  ///< attempts
  std::uint64_t bytes_in = 0, bytes_out = 0;
  std::uint64_t idle_timeouts = 0;
  std::uint64_t lease_stops = 0;       ///< cut because the lease was over or the primary moved
  std::uint64_t late_lease_writes = 0; ///< writes after which the clock stood past the lease's end
  std::uint64_t halted = 0;            ///< refused or reset because of a halt
  std::uint64_t open = 0;
  EgressCounters egress{};
  void add(const RelayCounters& other);
};

/// The relay's way to its surroundings. Must not call back into the relay.
class RelayHost {
 public:
  virtual ~RelayHost() = default;
  [[nodiscard]] virtual TimePoint relay_now() = 0;  ///< CLOCK_BOOTTIME, read anew at each call
  /// As Connector::connect, to the service of `route` beside the agent that `endpoint` is, or is reached by.
  [[nodiscard]] virtual std::unique_ptr<Stream> relay_connect(const RelayRoute& route, const Endpoint& endpoint, const RelayClient& client,
                                                              Queueing queueing, StreamSink& sink) = 0;
  virtual void relay_trouble(const Endpoint& endpoint, Trouble trouble) = 0;
  /// One record per connection, at its end: method "TCP", no target, status 0; kTunnelled once it was open, else kNotSent;
  /// `reason` says why it ended, empty when both sides had said all they wanted.
  virtual void relay_ended(const AccessRecord& record) = 0;
};

class Relay {
 public:
  static constexpr std::uint32_t kAttemptsMax = 3;

  explicit Relay(RelayHost& host);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Connections to endpoints that are gone or critical are reset, so that clients connect anew.
  void set_endpoints(const EndpointTable& table);
  /// Connections under another holder or epoch are reset; those that wait are sent on. Older epochs are ignored.
  void set_primary(const PrimaryView& view);
  /// What is to stop (halt.h). Bytes say nothing of what they do: a halt that lets cancels pass leaves connections alone that are open,
  /// one that does not resets them. No new connection to a broker is made under a halt of either kind; on a TCP route, under one
  /// that stops cancels, too.
  void set_halts(std::shared_ptr<const HaltView> halts);
  void accept(std::unique_ptr<Stream> stream, std::shared_ptr<const RelayRoute> route, RelayClient client);
  void tick(TimePoint now);
  [[nodiscard]] TimePoint next_deadline() const;  ///< TimePoint::max() = nothing waits
  /// A client whose CONNECT names what no route allows, or cannot be read: counted for `route`.
  void count_unreadable(const std::string& route) { ++counters_[route].egress.unreadable; }
  void end_all();                                 ///< resets every connection: the deadline of a drain has passed
  [[nodiscard]] bool idle() const { return pipes_.empty(); }
  /// By name of the route; for as long as the relay lives.
  [[nodiscard]] const std::map<std::string, RelayCounters>& counters() const { return counters_; }

 private:
  struct Pipe;
  /// Surrounds every call from outside: what ends meanwhile is buried at its end.
  class Event;
  void dispatch(Pipe& pipe);
  void dispatch_egress(Pipe& pipe);
  [[nodiscard]] bool is_halted(const Pipe& pipe) const;
  [[nodiscard]] EgressVerdict egress_verdict(const Pipe& pipe) const;
  void cut_egress(std::string_view service);
  /// Says by HTTP why there will be no tunnel.
  void answer(Pipe& pipe, std::string_view reason) const;
  [[nodiscard]] const HaltOrder* refused_by(const Pipe& pipe) const;
  void connect(Pipe& pipe, const Endpoint& endpoint, std::shared_ptr<const LeaseView> lease);
  const Endpoint* pick(const Pipe& pipe) const;
  void hold(Pipe& pipe);
  void connected(Pipe& pipe);
  void connect_failed(Pipe& pipe, Trouble trouble);
  void moved(Pipe& pipe, bool to_service, Bytes bytes);
  void flush(Pipe& pipe, bool to_service);
  void pass_on_end(Pipe& pipe, bool to_service);
  void touch(Pipe& pipe);
  bool lease_holds(Pipe& pipe);
  /// @param reason  static text; empty = both directions have ended, and the streams may say so
  void end(Pipe& pipe, std::string_view reason);
  void tell(const Pipe& pipe, std::string_view reason);
  void left(Pipe& pipe);
  [[nodiscard]] bool a_lease_is_over(TimePoint now) const;
  template <class Which>
  void end_those(std::string_view reason, Which which);

  RelayHost& host_;
  TimePoint now_{};
  Wheel wheel_;
  std::map<std::string, PoolEndpoints> pools_;
  std::map<std::string, PrimaryView> views_;
  std::shared_ptr<const HaltView> halts_;  ///< null = nothing is stopped
  std::unordered_map<Pipe*, std::unique_ptr<Pipe>> pipes_;
  std::vector<std::unique_ptr<Pipe>> ended_;
  std::map<std::string, RelayCounters> counters_;
  std::map<EndpointId, std::uint32_t> load_;  ///< open connections to each endpoint; only those > 0
  std::uint32_t leased_ = 0;  ///< connections under a lease
  int depth_ = 0;
};

}  // namespace proxy
