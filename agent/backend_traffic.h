#pragma once
/// Operators and programs behind the API: endpoints taken out by hand, breakers, bans. What is decided here is written into the
/// words that all workers read anyway (proxy::EndpointShare, BreakerTable, GuardTable), and told to the other agents by whoever
/// carries such news.
///
/// An operator's ejection is remembered here, so that an endpoint that goes and comes again is still out. It ends by itself; a
/// new process knows nothing of it.
/// Ownership: of the agent; everything in its parts outlives it. Thread: the control loop.
/// Bounds: kHeldOutMax ejections at a time.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "agent/api/traffic_backend.h"
#include "agent/app_breakers.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/guard_exchange.h"
#include "agent/io/clock.h"

namespace agent {

struct TrafficParts {
  const drivers::ProxyDriver* proxy = nullptr;                       ///< never null
  std::function<const proxy::EndpointTable*()> endpoints;            ///< as published last; null = none yet
  std::function<std::shared_ptr<const proxy::RouteTable>()> routes;  ///< the same
  AppBreakers* app_breakers = nullptr;                               ///< never null
  GuardExchange* guard = nullptr;                                    ///< null: no [guard]
  std::function<void()> on_change;  ///< an ejection or a breaker has changed: others want to know
  std::function<void(std::string_view what, const std::string& detail)> log;
};

class AgentTraffic final : public api::TrafficBackend {
 public:
  static constexpr std::size_t kHeldOutMax = proxy::kPoolEndpointsMax;

  explicit AgentTraffic(TrafficParts parts) : parts_(std::move(parts)) {}

  api::Result<api::EjectedInfo> eject(const api::EjectCommand& command) override;
  api::Result<api::EjectedInfo> uneject(const api::EjectCommand& command) override;
  [[nodiscard]] std::vector<api::BreakerInfo> breakers() const override;
  api::Result<std::size_t> breaker_reset(const std::string& name, const std::string& endpoint) override;
  api::Result<api::BreakerPassInfo> breaker_allow(const std::string& name) override;
  api::Result<api::BreakerInfo> breaker_report(const std::string& name, bool ok, std::optional<bool> probe) override;
  [[nodiscard]] api::Result<api::GuardInfo> guard() const override;
  api::Result<api::GuardBan> guard_ban(const std::string& client, std::chrono::milliseconds for_) override;
  api::Result<api::GuardBan> guard_unban(const std::string& client) override;

  /// Endpoints were published anew: those that an operator has taken out stay out.
  void reapply();
  /// Until when an operator has taken it out; past = not.
  [[nodiscard]] io::TimePoint held_out_until(proxy::EndpointId id) const;

 private:
  /// One endpoint by the words of a command. Errors: kNotFound, kBadRequest.
  [[nodiscard]] api::Result<const proxy::Endpoint*> find(const api::EjectCommand& command) const;
  [[nodiscard]] api::EjectedInfo info_of(const proxy::Endpoint& endpoint) const;
  /// A pool in which nobody else could be asked; null = there is none.
  [[nodiscard]] const proxy::PoolEndpoints* last_in(proxy::EndpointId id) const;
  [[nodiscard]] const proxy::Route* route_with_breakers(const std::string& name) const;
  [[nodiscard]] const proxy::PoolEndpoints* pool_of(const proxy::Route& route) const;
  [[nodiscard]] api::BreakerInfo app_info(const std::string& name) const;
  [[nodiscard]] api::Error no_breaker(const std::string& name) const;
  [[nodiscard]] api::Result<std::string> app_breaker(const std::string& name) const;
  void forget_over();

  TrafficParts parts_;
  std::map<proxy::EndpointId, io::TimePoint> held_out_;
};

}  // namespace agent
