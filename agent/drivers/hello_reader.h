#pragma once
/// Reads the first TLS message of clients whose listener chooses a TCP route by it, and gives every byte back.
/// Nothing is answered: who serves the connection sees what the client sent, from its first byte on.
/// Bounds: kPendingMax connections at once, proxy::kClientHelloBytesMax bytes and the given time each.
/// Ownership: a member of the worker. Thread: the worker's.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "agent/io/tcp_stream.h"
#include "proxy/client_hello.h"
#include "proxy/proxy.h"

namespace agent::drivers {

/// What became of clients' first messages. They only grow.
struct HelloCounters {
  std::uint64_t named = 0;       ///< a route was found by the name
  std::uint64_t fallback = 0;    ///< no name, or one of no route, on a listener that serves such
  std::uint64_t unknown = 0;     ///< the same, on one that does not: reset
  std::uint64_t malformed = 0;   ///< no ClientHello that can be read in one way: reset
  std::uint64_t timed_out = 0;
  std::uint64_t closed = 0;      ///< by the client, before it was complete
  std::uint64_t refused = 0;     ///< more than kPendingMax at once
  void add(const HelloCounters& other);
};

class HelloReader {
 public:
  static constexpr std::size_t kPendingMax = 4096;
  using OnRead = std::function<void(std::unique_ptr<io::TcpStream>, proxy::Accepted, const std::string& server_name)>;

  explicit HelloReader(io::Loop& loop);
  ~HelloReader();
  HelloReader(const HelloReader&) = delete;
  HelloReader& operator=(const HelloReader&) = delete;
  /// `on_read` runs at most once, never inside this call; a client that is refused is reset without it.
  void begin(std::unique_ptr<io::TcpStream> stream, io::Milliseconds timeout, proxy::Accepted accepted, OnRead on_read);
  void clear();
  [[nodiscard]] std::size_t size() const { return pending_.size(); }
  [[nodiscard]] HelloCounters& counters() { return counters_; }  ///< who chooses counts what it chose

 private:
  struct Pending;
  void read(Pending& pending, std::span<const std::byte> bytes);
  void drop(Pending& pending, std::uint64_t& counter);

  io::Loop& loop_;
  HelloCounters counters_;
  std::list<std::unique_ptr<Pending>> pending_;
};

}  // namespace agent::drivers
