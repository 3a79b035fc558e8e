// Settings of whom and what is left alone, of connections, curves and named upstreams: what is taken, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"
#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ConfigGuard, Guide001And004) {
  EXPECT_FALSE(good("").guard);
  const auto defaults = *good("[guard]\n").guard;
  EXPECT_EQ(defaults.fails, 5U);
  EXPECT_EQ(defaults.within, minutes(10));
  EXPECT_EQ(defaults.ban, hours(1));
  EXPECT_THAT(defaults.statuses, ElementsAre(401, 403));
  EXPECT_THAT(defaults.never, ElementsAre("127.0.0.0/8", "::1"));
  const auto guard = *good("[guard]\nfails = 3\nwithin = \"5m\"\nban = \"24h\"\nstatuses = [\"401\", \"429\"]\nnever = [\"10.0.0.0/8\"]\n").guard;
  EXPECT_THAT(guard.statuses, ElementsAre(401, 429));
  EXPECT_THAT(guard.never, ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(problems_of("[guard]\nstatuses = [\"500\"]\n"), Contains(HasSubstr("not the client's fault")));
  EXPECT_THAT(problems_of("[guard]\nstatuses = []\n"), Contains(HasSubstr("remove [guard]")));
  EXPECT_THAT(problems_of("[guard]\nnever = [\"here\"]\n"), Contains(HasSubstr("10.0.0.0/8")));
  EXPECT_THAT(problems_of("[guard]\nfails = 0\n"), Contains(HasSubstr("fails")));
  EXPECT_THAT(problems_of("[guard]\nban = \"31d\"\n"), Contains(HasSubstr("units")));
}

TEST(ConfigGuard, BreakersOfPrograms) {
  const auto breakers = good("[[breaker]]\nname = \"database\"\nfail = 3\nopen = \"30s\"\n").breakers;
  ASSERT_EQ(breakers.size(), 1U);
  EXPECT_EQ(breakers[0].name, "database");
  EXPECT_EQ(breakers[0].fail, 3U);
  EXPECT_THAT(problems_of("[[breaker]]\nfail = 3\n"), Contains(HasSubstr("without a name")));
  EXPECT_THAT(problems_of("[[breaker]]\nname = \"a b\"\n"), Contains(HasSubstr("no name")));
  EXPECT_THAT(problems_of("[[breaker]]\nname = \"a\"\n[[breaker]]\nname = \"a\"\n"), Contains(HasSubstr("too")));
  EXPECT_THAT(problems_of("[[route]]\nname = \"a\"\npool = \"all\"\nbreaker = { fail = 2 }\n[[breaker]]\nname = \"a\"\n"), Contains(HasSubstr("by its route")));
}

TEST(ConfigGuard, ConnectionsThatServeSoMany) {
  EXPECT_EQ(good("").proxy.upstream_requests_max, 0U);
  const auto proxy = good("[proxy]\nupstream_requests_max = 1000\nclient_requests_max = 500\n").proxy;
  EXPECT_EQ(proxy.upstream_requests_max, 1000U);
  EXPECT_EQ(proxy.client_requests_max, 500U);
}

TEST(ConfigGuard, CurvesOfAListener) {
  const auto with = [](const std::string& curves) {
    return "[[listen]]\naddress = \"127.0.0.1:8443\"\n[listen.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\ncurves = " + curves + "\n";
  };
  EXPECT_THAT(good(with("[\"X25519\", \"secp384r1\"]")).listeners.at(0).tls->curves, ElementsAre("X25519", "secp384r1"));
  EXPECT_THAT(problems_of(with("[\"secp384r\"]")), Contains(HasSubstr("did you mean \"secp384r1\"")));
  EXPECT_THAT(problems_of(with("[]")), Contains(HasSubstr("without a curve")));
  EXPECT_THAT(problems_of(with("[\"X25519\", \"X25519\"]")), Contains(HasSubstr("twice")));
}

std::string upstream(const std::string& endpoints, const std::string& more = "") {
  return "[[upstream]]\nname = \"broker\"\nendpoints = [" + endpoints + "]\n" + more;
}

TEST(ConfigGuard, UpstreamsWithHostNames) {
  const auto read = good(upstream("{ address = \"broker.example.com:443\" }, { address = \"10.0.0.1:443\" }", "resolve = \"10s\"\n")).upstreams.at(0);
  EXPECT_EQ(read.endpoints[0].name, "broker.example.com");
  EXPECT_EQ(read.endpoints[0].address.port, 443);
  EXPECT_EQ(read.endpoints[0].text(), "broker.example.com:443");
  EXPECT_EQ(read.endpoints[1].name, "");
  EXPECT_EQ(read.endpoints[1].text(), "10.0.0.1:443");
  EXPECT_EQ(read.resolve, std::chrono::seconds(10));
  for (const char* bad : {"broker.example.com", "-x.example:1", "a..b:1", "10.0.0:1", "a b:1", "x:0x1", "ex!ample:1"})
    EXPECT_THAT(problems_of(upstream("{ address = \"" + std::string(bad) + "\" }")), Contains(HasSubstr("no address"))) << bad;
  EXPECT_THAT(problems_of(upstream("{ address = \"a.example:0\" }")), Contains(HasSubstr("port 0")));
  EXPECT_THAT(problems_of(upstream("{ address = \"a.example:1\" }, { address = \"a.example:1\" }")), Contains(HasSubstr("listed twice")));
  EXPECT_THAT(problems_of(upstream("{ address = \"10.0.0.1:1\" }", "resolve = \"10s\"\n")), Contains(HasSubstr("no endpoint")));
}

TEST(ConfigGuard, UpstreamsOverTls) {
  const auto read = good(upstream("{ address = \"broker.example.com:443\" }", "tls = { ca = \"ca.pem\" }\n")).upstreams.at(0);
  ASSERT_TRUE(read.tls);
  EXPECT_EQ(read.tls->server_name, "") << "each endpoint's own";
  EXPECT_EQ(good(upstream("{ address = \"10.0.0.1:443\" }", "tls = { server_name = \"broker\" }\n")).upstreams.at(0).tls->server_name, "broker");
  EXPECT_FALSE(good(upstream("{ address = \"10.0.0.1:443\" }")).upstreams.at(0).tls);
  EXPECT_THAT(problems_of(upstream("{ address = \"unix:/run/x\" }", "tls = { ca = \"ca.pem\" }\n")), Contains(HasSubstr("server_name")));
  EXPECT_THAT(problems_of(upstream("{ address = \"10.0.0.1:1\" }, { address = \"unix:/run/x\" }", "tls = { ca = \"ca.pem\" }\n")), Contains(HasSubstr("unix socket")));
  EXPECT_THAT(problems_of(upstream("{ address = \"10.0.0.1:1\" }", "tls = { verify = false, ca = \"ca.pem\" }\n")), Contains(HasSubstr("remove one")));
}

}  // namespace
}  // namespace agent
