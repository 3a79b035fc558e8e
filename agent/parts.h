#pragma once
/// Settings into what each part wants: translations of the checked Config. Paths and sockets stay untouched but where said.

#include <functional>
#include <memory>
#include <string>

#include "agent/arming_driver.h"
#include "agent/config.h"
#include "agent/drivers/check_driver.h"
#include "agent/drivers/dns_driver.h"
#include "agent/drivers/gossip_driver.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/identity.h"
#include "agent/io/error.h"
#include "agent/primary_driver.h"
#include "proxy/route.h"
#include "store/types.h"

namespace agent {

/// Threads that serve traffic: as set, or one per processor.
[[nodiscard]] std::uint32_t worker_count(const Config& config);

/// Label of clusters without `mesh.cluster`.
inline constexpr const char* kDefaultCluster = "outrigger";

/// Service whose primary and pool the routes mean: the own one, or "trader" on an agent without instance.
[[nodiscard]] std::string routed_service(const Config& config);
[[nodiscard]] store::Config store_config(const Config& config, store::NodeId id);
/// Errors of all: kInvalidArgument naming the key (a value that only this machine can judge, such as an address).
[[nodiscard]] io::Result<drivers::GossipSettings> gossip_settings(const Config& config, const Identity& identity);
/// [service.health], then [[service.check]].
[[nodiscard]] io::Result<std::vector<drivers::CheckSettings>> check_settings(const ServiceConfig& service);
[[nodiscard]] io::Result<PrimaryDriverSettings> primary_settings(const Config& config, store::NodeId id);
/// none = a primary is armed at once.
[[nodiscard]] io::Result<std::optional<ArmingDriverSettings>> arming_settings(const Config& config);
[[nodiscard]] io::Result<drivers::ProxyDriverSettings> proxy_settings(const Config& config);
/// Opens the file or socket of the log; none = there is no log. Errors: also those of open_log_file.
[[nodiscard]] io::Result<std::optional<drivers::AccessLogSettings>> access_log_settings(const Config& config);
/// @param policies  one for each of `config.listeners`
[[nodiscard]] io::Result<std::vector<drivers::ProxyListen>> proxy_listeners(const Config& config, std::vector<drivers::ListenPolicy> policies);
/// Loads what TLS to the collector needs; none = there are no spans. `schemes` is left to the caller.
[[nodiscard]] io::Result<std::optional<drivers::SpanExportSettings>> span_settings(const Config& config, std::int64_t wall_ms);
/// Only for a config with DNS on.
[[nodiscard]] io::Result<drivers::DnsSettings> dns_settings(const Config& config);
/// @param previous  whose counts of limits go on; null = begin at nothing
/// @param sessions  the agent's table; asked for only when a route keeps sessions
[[nodiscard]] io::Result<std::shared_ptr<const proxy::RouteTable>> route_table(
    const Config& config, const proxy::RouteTable* previous, const std::function<std::shared_ptr<proxy::StickyTable>()>& sessions);
/// The route of an egress with a url: limits and timeouts; where it leads and what is written is the caller's. `rule` is kept.
[[nodiscard]] io::Result<proxy::Route> egress_route(const EgressConfig& egress, std::uint64_t body_bytes_max, std::shared_ptr<const proxy::EgressRule> rule);
/// What a TCP connection or tunnel of an egress goes by. @param pool  of the egress's table
[[nodiscard]] std::shared_ptr<const proxy::RelayRoute> egress_relay(const Config& config, const EgressConfig& egress, const std::string& pool);
[[nodiscard]] io::Result<io::Address> address_of(const HostPort& place, const std::string& key);

}  // namespace agent
