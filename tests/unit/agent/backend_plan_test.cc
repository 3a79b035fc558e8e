#include "agent/backend_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace agent {
namespace {

using testing::ElementsAre;
using testing::Pair;

ReadSettings settings(const std::string& toml) {
  auto read = parse_settings(toml, "f");
  if (read) return std::move(*read);
  for (const auto& problem : read.error()) ADD_FAILURE() << problem.text();
  return {};
}

class PlanFigured : public testing::Test {
 protected:
  api::PlanReport report(const std::string& before, const std::string& after) {
    const ReadSettings running = settings(before), fresh = settings(after);
    api::PlanReport made = plan_report(plan_of(running.config, running.sheet, fresh), fresh.config);
    figures.totals = &totals;
    add_figures(running.config, figures, made);
    return made;
  }
  proxy::RouteCounters& route(const std::string& name) {
    totals.routes.push_back({name, {}, {}});
    return totals.routes.back().counters;
  }
  drivers::ProxyTotals totals;
  PlanFigures figures;
};

constexpr const char* kRoute = "[[route]]\npath = \"/a\"\npool = \"all\"\nsticky = { by = \"cookie\", zone = \"z\" }\n";

TEST_F(PlanFigured, ARouteHasWhatWasBegunAndNotAnswered) {
  proxy::RouteCounters& counters = route("/a");
  counters.requests = 10;
  counters.responses_2xx = 5, counters.responses_5xx = 1, counters.unanswered = 1;
  totals.counters.open_exchanges = 7;
  figures.sessions = {{"z", 12}};
  figures.breakers = {{"/a", false, "n1", "", "open", false, {}, 0, {}, {}}, {"/a", false, "n2", "", "closed", false, {}, 0, {}, {}}};
  const api::PlanReport made = report(kRoute, std::string(kRoute) + "retry = false\n");
  ASSERT_EQ(made.touched.size(), 1U);
  EXPECT_THAT(made.touched[0].now, ElementsAre(Pair("breakers_not_closed", 1U), Pair("in_flight", 3U), Pair("sessions", 12U)));
  EXPECT_EQ(made.now.at("in_flight"), 7U);
  EXPECT_EQ(made.now.at("sessions"), 12U);
  EXPECT_THAT(made.at_once, ElementsAre("route"));
}

TEST_F(PlanFigured, AfterWebSocketsTheFigureIsABound) {
  route("/a").requests = 10;
  totals.counters.tunnels = 9;
  totals.counters.tunnels_open = 2;
  totals.counters.open_exchanges = 4;
  const api::PlanReport made = report(kRoute, "");
  ASSERT_FALSE(made.touched.empty());
  EXPECT_EQ(made.touched[0].change, "removed");
  EXPECT_EQ(made.touched[0].now.at("in_flight_at_most"), 4U);
  EXPECT_FALSE(made.touched[0].now.contains("in_flight"));
}

TEST_F(PlanFigured, PoolsEndpointsTunnelsAndBreakersOfPrograms) {
  totals.endpoints.push_back({proxy::EndpointId{1}, "u", "10.0.0.1:80", 2, 3, 0, 0, true});
  totals.endpoints.push_back({proxy::EndpointId{2}, "u", "10.0.0.2:80", 4, 0, 0, 0, false});
  totals.relays["db"].open = 6;
  figures.breakers = {{"b", true, "", "", "half_open", false, {}, 0, {}, {}}};
  const std::string listen = "[[listen]]\naddress = \"127.0.0.1:1\"\ntcp = { name = \"db\", pool = \"all\" }\n";
  const api::PlanReport made = report("[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"10.0.0.1:80\" }, { address = \"10.0.0.2:80\" }]\n[[breaker]]\nname = \"b\"\n" + listen,
                                      "[[upstream]]\nname = \"u\"\nendpoints = [{ address = \"10.0.0.2:80\" }]\n");
  std::map<std::string, std::map<std::string, std::uint64_t>> now;
  for (const api::PlanTouched& one : made.touched) now[one.kind + " " + one.name] = one.now;
  EXPECT_EQ(now["upstream u"].at("in_flight"), 6U);
  EXPECT_THAT(now["endpoint 10.0.0.1:80"], ElementsAre(Pair("ejected", 1U), Pair("idle_connections", 3U), Pair("in_flight", 2U)));
  EXPECT_EQ(now["tcp_route db"].at("open_connections"), 6U);
  EXPECT_EQ(now["breaker b"].at("not_closed"), 1U);
  EXPECT_EQ(made.now.at("tcp_connections"), 6U);
}

TEST(SettingsHash, IsShortAndOfAll) {
  EXPECT_EQ(settings_hash("a").size(), 12U);
  EXPECT_NE(settings_hash("a"), settings_hash("b"));
}

}  // namespace
}  // namespace agent
