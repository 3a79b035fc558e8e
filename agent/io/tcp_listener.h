#pragma once
/// Accepting TCP and unix-socket connections.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "agent/io/address.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "agent/io/timer.h"
#include "agent/io/watch.h"

namespace agent::io {

/// One listening socket on one loop.
/// Bounds: kAcceptsPerTurn accepts per turn. Out of descriptors: accepting pauses for 100 ms at a time (the kernel's
/// backlog holds the callers) and `out_of_descriptors` counts it.
/// Ownership: destruction closes and removes its own unix path; the accept callback may destroy the listener.
class TcpListener final : private WatchSink {
 public:
  static constexpr int kAcceptsPerTurn = 64;
  struct Options {
    bool reuse_port = false;        ///< SO_REUSEPORT: the kernel spreads connections over the workers' listeners
    bool defer_accept = false;      ///< TCP_DEFER_ACCEPT: accept only when the first bytes are there
    int backlog = 1024;             ///< capped by net.core.somaxconn
    std::uint32_t unix_mode = 0600; ///< permissions of a unix path
  };
  struct Counters {
    std::uint64_t accepted = 0, out_of_descriptors = 0, failed = 0;
  };
  /// Gets each accepted stream: open, TCP_NODELAY set, reading off, no sink.
  using OnAccept = std::function<void(std::unique_ptr<TcpStream>)>;

  /// @param local port 0 takes a free one (see local_address). A unix path left over by a dead process is replaced;
  /// one that somebody listens on is kAddressInUse. Other errors: kAddressMissing, kPermission, kLimit, kNotFound.
  static Result<std::unique_ptr<TcpListener>> listen(Loop& loop, const Address& local, const Options& options,
                                                     OnAccept on_accept);
  ~TcpListener() override;
  TcpListener(const TcpListener&) = delete;
  TcpListener& operator=(const TcpListener&) = delete;

  void pause();   ///< callers wait in the backlog; idempotent
  void resume();  ///< idempotent
  [[nodiscard]] const Address& local_address() const { return local_; }  ///< with the real port
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  TcpListener(Loop& loop, OnAccept on_accept);
  void on_ready(Ready ready) override;
  Result<void> start_watch();

  Loop& loop_;
  std::shared_ptr<OnAccept> on_accept_;
  int fd_ = -1;
  std::uint64_t unix_inode_ = 0;  // of the path we made; a later one at the same place is not ours
  bool paused_ = false;
  Address local_;
  Counters counters_;
  std::optional<Watch> watch_;
  Timer retry_;
  Life life_;
};

}  // namespace agent::io
