#include "agent/backend_plan.h"

#include <algorithm>
#include <set>
#include <span>

#include "agent/config_names.h"
#include "agent/io/crypto.h"

namespace agent {
namespace {

constexpr std::size_t kHashDigits = 12;  // enough to tell the settings of one cluster apart, short enough to be told by gossip

std::string word_of(PlanVerb verb) {
  switch (verb) {
    case PlanVerb::kAdded: return "added";
    case PlanVerb::kRemoved: return "removed";
    case PlanVerb::kChanged: return "changed";
  }
  return "changed";
}

using Figures = std::map<std::string, std::uint64_t>;

void add_route(const std::string& name, const Config& running, const PlanFigures& figures, Figures& out) {
  for (const auto& one : figures.totals->routes) {
    if (one.name != name) continue;
    const proxy::RouteCounters& c = one.counters;
    const std::uint64_t ended = c.responses_2xx + c.responses_3xx + c.responses_4xx + c.responses_5xx + c.unanswered;
    const proxy::Counters& all = figures.totals->counters;
    // Nobody counts a route's tunnels when they end.
    const bool exact = all.tunnels == all.tunnels_open;
    const std::uint64_t open = std::min(c.requests - std::min(ended, c.requests), all.open_exchanges);
    out[exact ? "in_flight" : "in_flight_at_most"] = open;
  }
  for (const auto& breaker : figures.breakers) {
    if (!breaker.of_app && breaker.name == name && breaker.state != "closed") ++out["breakers_not_closed"];
  }
  for (const RouteConfig& route : running.routes) {
    if (config_route_name(route) != name || !route.sticky) continue;
    const auto zone = figures.sessions.find(config_session_zone(route));
    out["sessions"] = zone == figures.sessions.end() ? 0 : zone->second;
  }
}

/// @param address  empty = of the whole pool
void add_endpoints(const std::string& pool, const std::string& address, const PlanFigures& figures, Figures& out) {
  for (const auto& one : figures.totals->endpoints) {
    if (one.pool != pool || (!address.empty() && one.address != address)) continue;
    out["in_flight"] += one.in_flight;
    out["idle_connections"] += one.idle_connections;
    out["ejected"] += one.ejected ? 1 : 0;
  }
}

void add_touched(const Config& running, const PlanFigures& figures, api::PlanTouched& one) {
  if (one.change == "added") return;  // nothing of it is there
  if (one.kind == "route") add_route(one.name, running, figures, one.now);
  if (one.kind == "upstream") add_endpoints(one.name, {}, figures, one.now);
  if (one.kind == "endpoint") add_endpoints(one.pool, one.name, figures, one.now);
  if (one.kind == "tcp_route") {
    const auto found = figures.totals->relays.find(one.name);
    one.now["open_connections"] = found == figures.totals->relays.end() ? 0 : found->second.open;
  }
  if (one.kind == "egress" && figures.totals->egress) {
    const auto found = figures.totals->egress->open.find(one.name);
    one.now["open_connections"] = found == figures.totals->egress->open.end() ? 0 : found->second;
  }
  for (const auto& breaker : figures.breakers) {
    if (one.kind == "breaker" && breaker.of_app && breaker.name == one.name) one.now["not_closed"] = breaker.state == "closed" ? 0 : 1;
  }
}

}  // namespace

std::string settings_hash(const std::string& files_text) { return io::hex_encode(io::sha256(std::as_bytes(std::span(files_text)))).substr(0, kHashDigits); }

api::PlanProblem plan_problem(const ConfigProblem& problem) {
  return {problem.source, problem.line, problem.column, problem.key, problem.message, problem.hint, problem.text()};
}

api::PlanReport plan_report(const ConfigPlan& plan, const Config& fresh) {
  api::PlanReport report;
  for (const PlanChange& change : plan.changes) {
    report.changes.push_back({word_of(change.verb), change.key, change.element, change.before, change.after, change.otherwise,
                              std::string(change.rule->name), change.rule->by == TakenBy::kReload, change.moved});
  }
  for (const PlanConcern& concern : plan.concerns)
    report.touched.push_back({std::string(name_of(concern.kind)), concern.name, concern.pool, word_of(concern.verb), {}, concern.routes, concern.kept, concern.forgotten});
  report.at_once = plan.at_once;
  report.needs_restart = plan.needs_restart;
  report.notes = plan.notes;
  for (const auto& file : fresh.files) report.files.push_back(file.string());
  return report;
}

std::vector<std::string> session_zones(const Config& running) {
  std::set<std::string> zones;
  for (const RouteConfig& route : running.routes) {
    if (route.sticky) zones.insert(config_session_zone(route));
  }
  return {zones.begin(), zones.end()};
}

void add_figures(const Config& running, const PlanFigures& figures, api::PlanReport& report) {
  for (api::PlanTouched& one : report.touched) add_touched(running, figures, one);
  const proxy::Counters& all = figures.totals->counters;
  Figures& now = report.now;
  now = {{"open_connections", all.open_connections}, {"in_flight", all.open_exchanges}, {"held_for_a_primary", all.held_now},
         {"websockets", all.tunnels_open}, {"upstream_connections", all.upstream_open}, {"bans", figures.bans}};
  for (const auto& [name, relay] : figures.totals->relays) now["tcp_connections"] += relay.open;
  if (figures.totals->egress) {
    for (const auto& [name, open] : figures.totals->egress->open) now["egress_connections"] += open;
  }
  for (const auto& [zone, count] : figures.sessions) now["sessions"] += count;
  for (const auto& one : figures.totals->endpoints) now["ejected"] += one.ejected ? 1 : 0;
  now["breakers_not_closed"] = static_cast<std::uint64_t>(std::count_if(figures.breakers.begin(), figures.breakers.end(), [](const auto& one) { return one.state != "closed"; }));
}

}  // namespace agent
