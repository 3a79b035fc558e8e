#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/api/api.h"
#include "agent/api/connection.h"
#include "agent/io/address.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/timer.h"

/// The API on a socket: listener, connections, and the core behind them.
namespace agent::api {

struct ServerOptions {
  io::Address listen;                   ///< TCP or unix (mode 0660); port 0 = any free one
  std::size_t connections_max = 12000;  ///< more are accepted and closed at once
  Limits limits;
  ConnectionLimits connection;
};

/// Counters for the metrics; they only grow, but `connections` and `waiting`.
struct ServerCounters {
  std::uint64_t accepted = 0;       ///< connections
  std::uint64_t over_limit = 0;     ///< connections closed because of connections_max
  std::uint64_t requests = 0;       ///< complete ones
  std::uint64_t refused = 0;        ///< malformed, oversized or too slow ones
  std::uint64_t server_errors = 0;  ///< answers with 5xx
  std::uint64_t connections = 0, waiting = 0;
};

/// Ownership: destroy it before the Backend and the Loop. Destruction closes every connection at once.
/// Thread: the control loop.
class Server final : public ConnectionHost {
 public:
  static constexpr std::size_t kManyWaits = 256;  ///< below, their memory does not matter
  /// Errors: those of TcpListener::listen, with the address and the remedy in the detail.
  [[nodiscard]] static io::Result<std::unique_ptr<Server>> start(io::Loop& loop, Backend& backend,
                                                                 std::function<std::uint64_t(std::uint64_t)> chance,
                                                                 ServerOptions options);
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] io::Address local_address() const { return local_; }  ///< with the real port
  [[nodiscard]] ServerCounters counters() const;
  /// Takes no more connections, ends waits and streams, lets answers that are being made go out.
  /// @param stopped  called once when the last connection is closed, never inside this call; bound the wait yourself
  void stop(std::function<void()> stopped);

  // ConnectionHost
  ExchangeId on_request(Connection& connection, const Request& request) override;
  bool on_client_end(ExchangeId id) override;
  void on_stream_drained(ExchangeId id) override;
  bool many_wait() const override { return api_.waiting() > kManyWaits; }
  void on_closed(Connection& connection, ExchangeId exchange) override;
  void on_refused() override { ++counters_.refused; }

 private:
  Server(io::Loop& loop, Backend& backend, std::function<std::uint64_t(std::uint64_t)> chance, ServerOptions options);
  void on_accept(std::unique_ptr<io::TcpStream> stream);
  void flush();
  void deliver(const Output& output);
  void sweep();
  void give_memory_back();
  void arm_tick();

  io::Loop& loop_;
  ServerOptions options_;
  ServerCounters counters_;
  std::unique_ptr<io::TcpListener> listener_;
  io::Address local_;
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::unordered_map<ExchangeId, Connection*> exchanges_;
  std::uint64_t last_exchange_ = 0;
  std::function<void()> stopped_;
  bool stopping_ = false;
  std::vector<Connection*> swept_;    ///< of the sweep: a connection may end while its turn comes
  std::size_t connections_peak_ = 0;  ///< since memory was last given back
  std::size_t stragglers_ = 0;        ///< that were open when memory was last given back
  io::Timer tick_timer_, sweep_timer_;
  io::Deferral flush_;
  Api api_;
};

}  // namespace agent::api
