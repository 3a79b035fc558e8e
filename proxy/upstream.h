#pragma once
/// Upstreams as the control side describes them: endpoints, pools, and who is primary.
/// All of these are immutable once handed to a proxy, except the one atomic in LeaseView.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/health.h"
#include "proxy/outlier.h"
#include "proxy/static_site.h"
#include "proxy/stream.h"

namespace proxy {

/// Names one endpoint for as long as the process lives; chosen by the host, never reused for another address.
enum class EndpointId : std::uint64_t {};
/// Number of an agent's name in tables that cannot hold names, the same for as long as the process lives.
enum class NodeNumber : std::uint16_t { kNone = 0 };
/// Fencing token of a service; 0 = never held; only grows.
enum class Epoch : std::uint64_t {};

enum class EndpointKind : std::uint8_t {
  kLocal,  ///< the instance beside this agent: plain TCP or unix socket
  kStatic, ///< an address of the settings: plain TCP or unix socket, no agent
  kPeer,   ///< another agent, which passes the request to its own instance and to nobody else
};
enum class Tier : std::uint8_t {
  kActive,
  kBackup,  ///< used only while no active endpoint can be
};

/// What all workers of an agent know of one endpoint together.
struct EndpointShare {
  std::atomic<std::uint32_t> in_flight{0};  ///< requests of routes with max_conns that are there now
  alignas(64) OutlierTrack outlier;         ///< on a line of its own: read by every request, written when something fails
};

struct EgressTarget;  ///< egress.h

/// What the host needs beyond an address to open a stream there, such as TLS. The library only carries it along.
struct StreamMeans {
  virtual ~StreamMeans() = default;
};

/// One place where requests can go.
struct Endpoint {
  EndpointId id{};
  EndpointKind kind = EndpointKind::kLocal;
  std::string address;       ///< for the Connector and for people: "127.0.0.1:9000", "[::1]:9000", "unix:/run/x.sock"
  std::string node;          ///< name of the agent there; shown in logs and in X-Outrigger-Node
  std::uint32_t weight = 1;  ///< share of the traffic, 0..1000; 0 = none
  Tier tier = Tier::kActive;
  Health health = Health::kPassing;
  bool draining = false;     ///< finish what runs there, send nothing new
  std::string zone;          ///< free label of its agent; empty = none
  std::shared_ptr<EndpointShare> share;  ///< null = nobody shares it
  NodeNumber number{};       ///< of `node` in the table of sessions; kNone = sessions are not kept there
  std::shared_ptr<const StreamMeans> means;  ///< null = the address is all there is to it
  std::shared_ptr<const StaticSite> site;  ///< a folder of files in the place of an instance; null = an instance or agent
  std::shared_ptr<const EgressTarget> egress;  ///< a broker of the service: every write is permitted first; null = no such place
};

/// The endpoints behind the routes that name `pool`. At most kPoolEndpointsMax; the rest is ignored.
struct PoolEndpoints {
  std::string pool;
  std::vector<Endpoint> endpoints;
};
inline constexpr std::size_t kPoolEndpointsMax = 1024;  ///< instances of one service that the design plans for

/// Everything `all` routes may use. A snapshot: what it does not name is gone.
struct EndpointTable {
  std::vector<PoolEndpoints> pools;
};

/// The lease under which this agent's instance may get orders. Written by the control loop, read by the workers.
/// Source:    design, section 5, rule 4.
/// Invariant: `epoch` never changes; a new epoch is a new LeaseView. `valid_until_ns` may be set to 0 at any moment.
/// Ownership: shared by the control loop and every worker that has a view of it.
struct LeaseView {
  explicit LeaseView(Epoch lease_epoch) : epoch(lease_epoch) {}
  const Epoch epoch;
  /// CLOCK_BOOTTIME in nanoseconds, the clock of Host::now(); bytes may be written while now < this. 0 = not at all.
  std::atomic<std::int64_t> valid_until_ns{0};

  [[nodiscard]] bool valid_at(TimePoint now) const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count() <
           valid_until_ns.load(std::memory_order_acquire);
  }
  [[nodiscard]] TimePoint valid_until() const {
    return TimePoint(std::chrono::duration_cast<TimePoint::duration>(
        std::chrono::nanoseconds(valid_until_ns.load(std::memory_order_acquire))));
  }
};

inline constexpr std::size_t kUnarmedReasonMax = 120;

/// Where the primary of a service is, as far as this agent knows.
struct PrimaryView {
  enum class Holder : std::uint8_t { kNone, kLocal, kPeer };
  std::string service;
  Epoch epoch{};
  Holder holder = Holder::kNone;
  Endpoint endpoint;    ///< the holder's instance (kLocal) or agent (kPeer); not read with kNone
  /// kLocal: the lease that is checked before each write, never null. Not read otherwise.
  std::shared_ptr<const LeaseView> lease;
  /// kLocal: false while orders in flight may finish but no new one may start (a graceful switchover).
  bool accepts_new = true;
  /// kLocal: false while this holder may not be given new orders yet (arming), or not any more (a halt). Safe requests that open no
  /// tunnel pass; everything else is held for Route::hold and then refused with 503 `not_armed`. What is at the instance goes on.
  bool armed = true;
  std::string unarmed_reason;  ///< shown to clients with armed = false: "approval is awaited"; at most kUnarmedReasonMax bytes are
};

[[nodiscard]] bool is_usable(const Endpoint& endpoint);  ///< weight > 0, not draining, not critical

}  // namespace proxy
