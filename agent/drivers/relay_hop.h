#pragma once
/// How a TCP route goes from one agent to another: over the hop that requests use, begun by a line that names the route.
///
///     OUTRIGGER-TCP 1 NAME SOURCE PORT DESTINATION PORT\n        or    OUTRIGGER-TCP 1 NAME -\n
///
/// No request begins like that (the methods with an O are OPTIONS and ORDERPATCH), so one mesh protocol serves both.

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"
#include "agent/io/loop.h"
#include "proxy/proxy_header.h"

namespace agent::drivers {

inline constexpr std::size_t kRelayHopBytesMax = 256;

/// What the line says.
struct RelayHop {
  std::string route;
  std::optional<proxy::ProxyHeader::Ends> ends;  ///< of the client's connection; absent = unknown
  std::size_t bytes = 0;                         ///< of the line; what follows is the connection's
};
[[nodiscard]] std::string make_relay_hop(const std::string& route, const std::optional<proxy::ProxyHeader::Ends>& ends);

/// What the beginning of a peer's connection is. kMore: not decided yet. A line that is broken is kHttp as well: the
/// parser of requests will refuse it.
enum class HopKind : std::uint8_t { kMore, kHttp, kRelay };
[[nodiscard]] HopKind parse_relay_hop(std::string_view so_far, RelayHop& out);

/// Looks at the first bytes of each connection from a peer and gives them back.
/// Bounds: kPendingMax at once, kRelayHopBytesMax bytes and kPatience each. Peers have proved who they are.
/// Ownership: a member of the worker. Thread: the worker's.
class HopReader {
 public:
  static constexpr std::size_t kPendingMax = 4096;
  /// Idle pooled connections send nothing for long: then it is HTTP's business to close them.
  static constexpr io::Milliseconds kPatience{10'000};
  using OnHttp = std::function<void(std::unique_ptr<io::ByteStream>, std::string client)>;
  using OnRelay = std::function<void(std::unique_ptr<io::ByteStream>, RelayHop)>;

  HopReader(io::Loop& loop, OnHttp on_http, OnRelay on_relay);
  ~HopReader();
  void begin(std::unique_ptr<io::ByteStream> stream, std::string client);
  void clear();
  [[nodiscard]] std::size_t size() const { return pending_.size(); }

 private:
  struct Pending;
  void read(Pending& pending, std::span<const std::byte> bytes);
  std::unique_ptr<Pending> take(Pending& pending);

  io::Loop& loop_;
  OnHttp on_http_;
  OnRelay on_relay_;
  std::list<std::unique_ptr<Pending>> pending_;
};

}  // namespace agent::drivers
