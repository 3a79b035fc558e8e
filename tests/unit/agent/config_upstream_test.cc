// [[upstream]], [[service.check]] and routes that name an upstream: what is read, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"
#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using testing::HasSubstr;

std::string upstream(const std::string& more, const std::string& endpoints = "[{ address = \"10.0.0.1:9\" }]") {
  return "[[upstream]]\nname = \"broker\"\nendpoints = " + endpoints + "\n" + more + "\n";
}

TEST(ConfigUpstream, EverythingIsRead) {
  const Config config = good(
      "[[upstream]]\nname = \"broker\"\nbalance = \"ring_hash\"\nmax_conns = 7\n"
      "endpoints = [{ address = \"10.0.2.1:9000\", weight = 3, zone = \"a\" }, { address = \"unix:/run/b.sock\", tier = \"backup\" }]\n"
      "[[upstream.check]]\nhttp = \"/health\"\nexpect = [\"200-204\", \"401\"]\nassert = [\"$.ok\"]\ncritical_assert = [\"$.up==true\"]\n"
      "address = \"127.0.0.1:9100\"\nevery = \"2s\"\ntimeout = \"1s\"\nfall = 5\nrise = 4\n"
      "[[upstream.check]]\ntcp = true\n[[upstream.check]]\nexec = [\"/bin/true\", \"x\"]\n"
      "[[route]]\npath = \"/b\"\npool = \"broker\"\n[[route]]\npath = \"/c\"\npool = \"broker\"\nbalance = \"round_robin\"\nmax_conns = 0\n"
      "[[route]]\npath = \"/\"\npool = \"all\"\n");
  ASSERT_EQ(config.upstreams.size(), 1U);
  const UpstreamConfig& broker = config.upstreams[0];
  ASSERT_EQ(broker.endpoints.size(), 2U);
  EXPECT_EQ(broker.endpoints[0].weight, 3U);
  EXPECT_EQ(broker.endpoints[0].zone, "a");
  EXPECT_EQ(broker.endpoints[1].address.unix_path, "/run/b.sock");
  EXPECT_EQ(broker.endpoints[1].tier, Tier::kBackup);
  ASSERT_EQ(broker.checks.size(), 3U);
  const CheckConfig& check = broker.checks[0];
  EXPECT_EQ(check.expect, (std::vector<std::pair<int, int>>{{200, 204}, {401, 401}}));
  EXPECT_EQ(check.asserts, std::vector<std::string>{"$.ok"});
  EXPECT_EQ(check.critical_asserts, std::vector<std::string>{"$.up==true"});
  EXPECT_EQ(check.address->text(), "127.0.0.1:9100");
  EXPECT_EQ(check.every, Milliseconds(2000));
  EXPECT_EQ(check.fall, 5U);
  EXPECT_TRUE(broker.checks[1].tcp);
  EXPECT_EQ(broker.checks[2].exec.size(), 2U);
  EXPECT_EQ(config.routes[0].upstream, "broker");
  EXPECT_EQ(config.routes[0].pool, Pool::kAll);
  EXPECT_EQ(config.routes[0].balance, BalanceKind::kRingHash) << "the upstream's";
  EXPECT_EQ(config.routes[0].max_conns, 7U);
  EXPECT_EQ(config.routes[1].balance, BalanceKind::kRoundRobin) << "its own";
  EXPECT_EQ(config.routes[1].max_conns, 0U);
  EXPECT_EQ(config.routes[2].upstream, "");
}

TEST(ConfigUpstream, ChecksOfTheInstanceAreReadToo) {
  const Config config = good("[service]\naddress = \"127.0.0.1:9001\"\n[[service.check]]\ntcp = true\n[[service.check]]\nhttp = \"/deep\"\n");
  ASSERT_EQ(config.service->checks.size(), 2U);
  EXPECT_EQ(config.service->checks[1].http, "/deep");
}

TEST(ConfigUpstream, WhatCannotBeIsRefusedWithTheFix) {
  const std::pair<std::string, std::string> cases[] = {
      {"[[upstream]]\nendpoints = [{ address = \"10.0.0.1:9\" }]\n", "upstream[0].name: [[upstream]] without a name; add name"},
      {"[[upstream]]\nname = \"all\"\nendpoints = [{ address = \"10.0.0.1:9\" }]\n", "upstream[0].name: \"all\" means something else"},
      {"[[upstream]]\nname = \"trader\"\nendpoints = [{ address = \"10.0.0.1:9\" }]\n", "means something else"},
      {"[[upstream]]\nname = \"a b\"\nendpoints = [{ address = \"10.0.0.1:9\" }]\n", "is no name"},
      {"[[upstream]]\nname = \"broker\"\n", "upstream[0].endpoints: an upstream without endpoints"},
      {upstream("", "[{ weight = 1 }]"), "upstream[0].endpoints[0].address: an endpoint without an address"},
      {upstream("", "[{ address = \"10.0.0.1:0\" }]"), "port 0"},
      {upstream("", "[{ address = \"broker example:9\" }]"), "is no address"},
      {upstream("", "[{ address = \"10.0.0.1:9\" }, { address = \"10.0.0.1:9\" }]"), "is listed twice; give it a larger weight"},
      {upstream("", "[{ address = \"10.0.0.1:9\", weight = 0 }]"), "all weights are 0"},
      {upstream("", "[{ address = \"10.0.0.1:9\", wieght = 2 }]"), "did you mean \"weight\"?"},
      {upstream("") + upstream(""), "another upstream is named \"broker\""},
      {"[[listen]]\naddress = \"127.0.0.1:8080\"\n" + upstream("", "[{ address = \"127.0.0.1:8080\" }]"), "the proxy would call itself"},
      {upstream("balance = \"ring-hash\""), "ring_hash"},
      {upstream("[[upstream.check]]\nevery = \"1s\""), "upstream[0].check[0].http: a check that does not say what it checks"},
      {upstream("[[upstream.check]]\nhttp = \"/h\"\ntcp = true"), "upstream[0].check[0].tcp: one check is made in one way"},
      {upstream("[[upstream.check]]\nhttp = \"health\""), "is no request path"},
      {upstream("[[upstream.check]]\nhttp = \"/h\"\nexpect = [\"20x\"]"), "is no status from 200 to 599"},
      {upstream("[[upstream.check]]\nhttp = \"/h\"\nexpect = [\"299-200\"]"), "is no status"},
      {upstream("[[upstream.check]]\nhttp = \"/h\"\nexpect = [\"100\"]"), "is no status"},
      {upstream("[[upstream.check]]\ntcp = true\nassert = [\"$.x\"]"), "only a check over http has an answer"},
      {upstream("[[upstream.check]]\nexec = [\"x\"]\naddress = \"10.0.0.1:9\""), "OUTRIGGER_ADDRESS"},
      {upstream("[[upstream.check]]\nexec = [\"\"]"), "the program's name is empty"},
      {"[catalog]\ncheck_scripts = \"none\"\n" + upstream("[[upstream.check]]\nexec = [\"x\"]"), "catalog.check_scripts"},
      {upstream("[[upstream.check]]\ntcp = true\nevery = \"1s\"\ntimeout = \"2s\""), "runs would overlap"},
      {upstream("") + "[[route]]\npath = \"/\"\npool = \"borker\"\n", "did you mean \"broker\"? Valid are \"primary\", \"all\", \"broker\""},
  };
  for (const auto& [text, words] : cases) EXPECT_THAT(refusal(text), HasSubstr(words)) << text;
}

}  // namespace
}  // namespace agent
