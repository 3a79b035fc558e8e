#pragma once
/// Carries what HealthShare decides: reads the workers' memory of endpoints and the routes' breakers, tells it as a gossip tag,
/// and writes what other agents say into both. Requests meet nothing of this but words in memory that they read anyway.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "agent/app_breakers.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/health_share.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "gossip/member.h"

namespace agent {

inline constexpr std::string_view kHealthTag = "hw";

struct HealthExchangeParts {
  gossip::MemberId self;
  const drivers::ProxyDriver* proxy = nullptr;
  proxy::OutlierSettings outlier;
  std::uint16_t first_serial = 0;  ///< by chance: another one after a restart
  std::function<std::span<const gossip::Member>()> members;
  std::function<const proxy::EndpointTable*()> endpoints;  ///< null = none published yet
  std::function<std::shared_ptr<const proxy::RouteTable>()> routes;
  const AppBreakers* app_breakers = nullptr;  ///< of programs beside this agent; null = none
  /// What the agent's own checks of an endpoint say; left as it is where it makes none.
  std::function<void(HealthShare::Endpoint&)> add_checks;
  std::function<void(proxy::EndpointId)> check_now;
  std::function<bool(const std::string& text)> tell;  ///< the tag; empty = remove it. false: refused, tried again
  std::function<void(const std::string& note)> log;
};

/// Ownership: of the agent; everything in its parts outlives it. Thread: the control loop.
class HealthExchange {
 public:
  static constexpr io::Milliseconds kTellEvery{100};  ///< of a tag; gossip spreads 20 changes a second at once

  HealthExchange(io::Loop& loop, HealthExchangeParts parts);
  /// Something here has changed: a worker says so, or a check.
  void look() { look_.schedule(); }
  /// Gossip has news of anybody. Costs a comparison of tags when nobody says anything new.
  void on_members();
  [[nodiscard]] const HealthShare::Counters& counters() const { return share_.counters(); }

 private:
  using Breakers = std::vector<std::shared_ptr<proxy::BreakerTable>>;  ///< of View::routes, in their order
  void look_now();
  [[nodiscard]] HealthShare::View view(const std::vector<std::vector<std::shared_ptr<proxy::EndpointShare>>>& shares,
                                       std::span<const gossip::Member> members, Breakers& breakers) const;
  void add_app_breakers(HealthShare::View& view, Breakers& breakers) const;
  void carry_out(const Breakers& breakers, const HealthShare::Decision& decision);
  void tell();

  HealthExchangeParts parts_;
  HealthShare share_;
  std::string heard_;          // all peers' tags at the last look
  std::string text_, told_;    // what is to be told, and what was
  io::TimePoint told_at_{};
  std::shared_ptr<const proxy::RouteTable> table_;  // during a look
  io::Deferral look_;
  io::Timer timer_;
};

}  // namespace agent
