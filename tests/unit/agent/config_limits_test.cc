// Settings of routes about limits of the cluster and hedging: what is taken, and what is refused with the way out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"
#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using std::chrono::milliseconds;
using testing::Contains;
using testing::HasSubstr;

TEST(ConfigLimits, LimitsOfTheClusterSayWhatHappensWithoutAnAnswer) {
  const auto with = [](const std::string& rate, const std::string& more = "") {
    return "[[route]]\npool = \"all\"\nrate = { limit = \"20/10s\"" + rate + " }\n" + more;
  };
  const auto rate = *good(with(", scope = \"cluster\", timeout = \"50ms\", fallback = \"refuse\"")).routes.at(0).rate;
  EXPECT_EQ(rate.scope, RateScope::kCluster);
  EXPECT_EQ(rate.timeout, milliseconds(50));
  EXPECT_EQ(rate.fallback, RateFallbackKind::kRefuse);
  EXPECT_EQ(good(with("")).routes.at(0).rate->scope, RateScope::kNode);
  EXPECT_EQ(good(with(", scope = \"cluster\"")).routes.at(0).rate->timeout, milliseconds(20));
  EXPECT_THAT(problems_of(with(", timeout = \"50ms\"")), Contains(HasSubstr("add scope = \"cluster\"")));
  EXPECT_THAT(problems_of(with(", scope = \"node\", fallback = \"admit\"")), Contains(HasSubstr("asks nobody")));
  EXPECT_THAT(problems_of(with(", scope = \"world\"")), Contains(HasSubstr("cluster")));
  EXPECT_THAT(problems_of(with(", scope = \"cluster\", timeout = \"2s\"")), Contains(HasSubstr("timeout")));
  EXPECT_THAT(problems_of(with(", zone = \"z\", scope = \"cluster\"", "name = \"a\"\npath = \"/a\"\n") + with(", zone = \"z\"", "name = \"b\"\n")),
              Contains(HasSubstr("another scope")));
}

TEST(ConfigLimits, HedgingIsForRoutesThatMayAskTwice) {
  const auto with = [](const std::string& more) { return "[[route]]\npool = \"all\"\nhedge = { least = \"25ms\", budget = 10 }\n" + more; };
  const auto hedge = *good(with("")).routes.at(0).hedge;
  EXPECT_EQ(hedge.percentile, 95U);
  EXPECT_EQ(hedge.least, milliseconds(25));
  EXPECT_EQ(hedge.budget, 10U);
  EXPECT_FALSE(good("[[route]]\npool = \"all\"\n").routes.at(0).hedge);
  EXPECT_THAT(problems_of(with("retry = false\n")), Contains(HasSubstr("forbids")));
  EXPECT_THAT(problems_of(with("sticky = { by = \"cookie\" }\n")), Contains(HasSubstr("one node")));
  EXPECT_THAT(problems_of("[[route]]\npool = \"primary\"\nhedge = { budget = 10 }\n"), Contains(HasSubstr("twice")));
  EXPECT_THAT(problems_of("[[route]]\npool = \"all\"\nhedge = { budget = 60 }\n"), Contains(HasSubstr("budget")));
}

}  // namespace
}  // namespace agent
