#pragma once
/// Static upstreams: pools of addresses that the settings name, asked by this agent itself, with the checks that it makes there.
/// Names and ids follow from the settings, so the same settings make the same table at every agent and after every reload;
/// what the proxy remembers of an endpoint (turns, latencies, ejections, breakers) goes on.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/drivers/check_driver.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/io/error.h"
#include "agent/io/loop.h"
#include "proxy/upstream.h"

namespace agent {

/// Conditions that config has let pass. Errors: kInvalidArgument naming `key`.
[[nodiscard]] io::Result<std::vector<drivers::JsonAssert>> parse_asserts(const std::vector<std::string>& texts, const std::string& key);
/// Checks of the place at `address`. @param pool  told to programs  @param key  of the list, for errors
/// Errors: kInvalidArgument naming the key (an address that this machine cannot have).
[[nodiscard]] io::Result<std::vector<drivers::CheckSettings>> checks_of(const std::vector<CheckConfig>& checks, const HostPort& address,
                                                                        const std::string& pool, const std::string& key);

/// The id of an endpoint of a pool, the same at every agent. The top bit is set, which no id of an agent has.
[[nodiscard]] proxy::EndpointId upstream_id(const std::string& pool, const HostPort& address);
/// TLS towards upstreams: by pool and the name that a certificate has to carry.
using UpstreamTlsMap = std::map<std::string, std::map<std::string, std::shared_ptr<const drivers::UpstreamTls>>>;
/// Loads what [upstream.tls] names. Errors: those of TlsContext::load, naming the upstream.
[[nodiscard]] io::Result<UpstreamTlsMap> upstream_tls(const std::vector<UpstreamConfig>& upstreams, std::int64_t wall_ms);
/// What the certificate of an endpoint has to carry; empty = a unix socket, or no name is asked for.
[[nodiscard]] std::string upstream_server_name(const UpstreamConfig& upstream, const UpstreamEndpointConfig& endpoint);
/// The pools, without what checks say. Endpoints whose name has no address yet are left out.
[[nodiscard]] std::vector<proxy::PoolEndpoints> upstream_pools(const std::vector<UpstreamConfig>& upstreams, const UpstreamTlsMap& tls = {});

/// Ownership: of the agent. Thread: the control loop.
class UpstreamChecks {
 public:
  /// @param on_change  an endpoint's health is another one; must not call set()
  using OnChange = std::function<void(const std::string& pool, const std::string& address, drivers::InstanceHealth health, const std::string& reason)>;
  UpstreamChecks(io::Loop& loop, std::function<std::uint64_t(std::uint64_t)> chance, OnChange on_change);

  /// What set() would say of them; changes nothing.
  [[nodiscard]] static io::Result<void> valid(const std::vector<UpstreamConfig>& upstreams);
  /// Replaces the whole set. Endpoints whose checks are the same go on undisturbed.
  [[nodiscard]] io::Result<void> set(const std::vector<UpstreamConfig>& upstreams, const UpstreamTlsMap& tls = {});
  /// Puts what is known into endpoints of upstream_pools: those without checks are taken to be well; what is not known yet
  /// is degraded, so it is asked only when nobody better is there.
  void judge(proxy::PoolEndpoints& pool) const;
  /// null = no checks are made there; valid until the next set().
  [[nodiscard]] const drivers::CheckDriver* find(proxy::EndpointId id) const;
  void check_now(proxy::EndpointId id);

 private:
  struct Place {
    std::vector<CheckConfig> checks;
    std::shared_ptr<const drivers::UpstreamTls> tls;
    std::unique_ptr<drivers::CheckDriver> driver;
  };
  io::Loop& loop_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  OnChange on_change_;
  std::shared_ptr<drivers::ProgramSlots> slots_ = std::make_shared<drivers::ProgramSlots>();
  std::map<proxy::EndpointId, Place> places_;  // bounded by the settings
};

}  // namespace agent
