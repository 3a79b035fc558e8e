#pragma once
/// Accepting TCP and unix-socket connections.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "agent/io/address.h"
#include "agent/io/life_mark.h"
#include "agent/io/listen_socket.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/timer.h"
#include "agent/io/watch.h"

namespace agent::io {

/// One listening socket on one loop.
/// Bounds: kAcceptsPerTurn accepts per turn. Out of descriptors: accepting pauses for 100 ms at a time (the kernel's
/// backlog holds the callers) and `out_of_descriptors` counts it.
/// Ownership: destruction closes the socket where it is its own; the accept callback may destroy the listener.
class TcpListener final : private WatchSink {
 public:
  static constexpr int kAcceptsPerTurn = 64;
  using Options = ListenOptions;
  struct Counters {
    std::uint64_t accepted = 0, out_of_descriptors = 0, failed = 0;
  };
  /// Gets each accepted stream: open, TCP_NODELAY set, reading off, no sink.
  using OnAccept = std::function<void(std::unique_ptr<TcpStream>)>;

  /// On a socket of its own. Parameters and errors: those of ListenSocket::open.
  static Result<std::unique_ptr<TcpListener>> listen(Loop& loop, const Address& local, const Options& options,
                                                     OnAccept on_accept);
  /// On a socket that somebody else owns and closes later than this is destroyed. Errors: those of Watch::set.
  static Result<std::unique_ptr<TcpListener>> on(Loop& loop, const ListenSocket& socket, OnAccept on_accept);
  ~TcpListener() override;
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  void pause();   ///< callers wait in the backlog; idempotent
  void resume();  ///< idempotent
  /// Accepts at once all that waits, at most `most`: before the socket is closed, which would reset them.
  void accept_waiting(int most);
  [[nodiscard]] const Address& local_address() const { return socket_->local_address(); }  ///< with the real port
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  TcpListener(Loop& loop, const ListenSocket& socket, OnAccept on_accept);
  void on_ready(Ready ready) override;
  Result<void> start_watch();

  Loop& loop_;
  std::shared_ptr<OnAccept> on_accept_;
  std::unique_ptr<ListenSocket> own_;
  const ListenSocket* socket_;
  bool paused_ = false;
  Counters counters_;
  std::optional<Watch> watch_;
  Timer retry_;
  Life life_;
};

}  // namespace agent::io
