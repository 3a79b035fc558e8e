#pragma once
/// A plan in the API's words: what differs (config_plan.h), with what is there right now of everything that it concerns.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/plan_backend.h"
#include "agent/api/traffic_backend.h"
#include "agent/config_plan.h"
#include "agent/drivers/egress_worker.h"
#include "agent/drivers/proxy_driver.h"

namespace agent {

/// The API's way to the agent. Ownership: of the agent, which sets `ask` before anybody can call.
class AgentPlan final : public api::PlanBackend {
 public:
  using Ask = std::function<void(const api::PlanQuestion&, const api::Completion<api::PlanReport>&)>;
  void set(Ask ask) { ask_ = std::move(ask); }
  void plan(api::PlanQuestion question, api::Completion<api::PlanReport> done) override { ask_(question, done); }

 private:
  Ask ask_;
};

/// What was counted a moment ago.
struct PlanFigures {
  const drivers::ProxyTotals* totals = nullptr;   ///< never null
  std::vector<api::BreakerInfo> breakers;         ///< those of programs too
  std::map<std::string, std::uint64_t> sessions;  ///< by zone
  std::uint64_t bans = 0;                         ///< clients that the guard keeps out
};

/// The first digits of a digest of ReadSettings::files_text: by this agents are told apart.
[[nodiscard]] std::string settings_hash(const std::string& files_text);

[[nodiscard]] api::PlanProblem plan_problem(const ConfigProblem& problem);
/// Everything but figures, hashes and nodes.
[[nodiscard]] api::PlanReport plan_report(const ConfigPlan& plan, const Config& fresh);
/// Zones whose sessions have to be counted.
[[nodiscard]] std::vector<std::string> session_zones(const Config& running);
/// Adds `now` to everything that is touched, and that of the whole agent.
/// A route's requests are those begun and not yet answered, so one whose WebSockets have ended may show more than are there: then
/// the figure is called "in_flight_at_most".
void add_figures(const Config& running, const PlanFigures& figures, api::PlanReport& report);

}  // namespace agent
