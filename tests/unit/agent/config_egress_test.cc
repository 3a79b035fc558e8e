// [[egress]] and [kernel_permit]: what is taken, and what is refused with the way out.
#include "agent/config_egress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using std::chrono::milliseconds;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kService = "[service]\naddress = \"127.0.0.1:9001\"\n";

std::string egress(const std::string& rest, const std::string& name = "broker", const std::string& port = "9100") {
  return "[[egress]]\nname = \"" + name + "\"\nlisten = \"127.0.0.1:" + port + "\"\n" + rest + "\n";
}

TEST(ConfigEgress, ReadsTheThreeWaysOut) {
  const Config config = good(kService + egress("url = \"https://API.broker/v2/\"\nepoch_header = \"X-Epoch\"\ninject = [\"Authorization: Bearer kv:secret/token\"]\n"
                                               "max_conns = 4\nrate = { limit = \"10/s\" }\nbreaker = { fail = 3 }\nretry = false\nbody_max = \"1MiB\"\n"
                                               "timeouts = { first_byte = \"2s\" }\nresolve_every = \"5s\"") +
                             egress("connect = [\"api.broker:443\", \"[::1]:4\"]\ntimeout = \"1s\"\nidle = \"0ms\"", "tunnel", "9101") +
                             egress("to = \"fix.broker:4001\"", "fix", "9102"));
  ASSERT_EQ(config.egress.size(), 3U);
  const EgressConfig& url = config.egress[0];
  EXPECT_EQ(url.host, "api.broker");
  EXPECT_EQ(url.port, 443);
  EXPECT_EQ(url.base, "/v2");
  EXPECT_EQ(url.service, "trader");
  ASSERT_TRUE(url.tls);
  EXPECT_TRUE(url.tls->verify);
  EXPECT_EQ(url.tls->server_name, "api.broker");
  EXPECT_EQ(url.limits.max_conns, 4U);
  EXPECT_EQ(url.limits.rate->count, 10U);
  EXPECT_EQ(url.limits.breaker->fail, 3U);
  EXPECT_FALSE(url.limits.retry);
  EXPECT_EQ(url.limits.body_max, 1U << 20);
  EXPECT_EQ(url.limits.first_byte_timeout, milliseconds(2000));
  EXPECT_EQ(url.resolve_every, milliseconds(5000));
  EXPECT_EQ(config.egress[1].connect.size(), 2U);
  EXPECT_EQ(config.egress[1].idle_timeout, milliseconds(0));
  EXPECT_EQ(config.egress[2].to, "fix.broker:4001");
  EXPECT_EQ(good(kService + egress("url = \"http://127.0.0.1:8000\"")).egress[0].port, 8000);
}

TEST(ConfigEgress, RefusesWhatWouldNotDo) {
  const auto says = [](const std::string& text, const char* words) { EXPECT_THAT(problems_of(text), Contains(HasSubstr(words))) << text; };
  says(kService + egress(""), "does not say where it leads");
  says(kService + egress("url = \"https://a\"\nto = \"b:1\""), "one way to be used");
  says(egress("url = \"https://a\""), "without [service]");
  says(kService + egress("url = \"ftp://a\""), "no address of a broker");
  says(kService + egress("url = \"https://a/x?y\""), "plain prefix");
  says(kService + egress("url = \"http://api.broker\""), "in the clear");
  says(kService + egress("url = \"http://127.0.0.1\"\ntls = { verify = false }"), "http has no TLS");
  says(kService + egress("url = \"https://a\"\nservice = \"other\""), "holds no other lease");
  says(kService + egress("url = \"https://a\"\nidle = \"1s\""), "only connect and to");
  says(kService + egress("to = \"a:1\"\nrate = { limit = \"1/s\" }"), "a tunnel is bytes");
  says(kService + egress("to = \"a:0\""), "no host with a port");
  says(kService + egress("connect = []"), "no place is allowed");
  says(kService + egress("url = \"https://a\"\nrate = { limit = \"1/s\", scope = \"cluster\" }"), "nobody to count with");
  says(kService + egress("url = \"https://a\"\nepoch_header = \"Host\""), "cannot be told");
  says(kService + egress("url = \"https://a\"\ninject = [\"Content-Length: kv:x\"]"), "no field that can be added");
  says(kService + egress("url = \"https://a\"\ninject = [\"A: kv:x\", \"A: kv:y\"]"), "added twice");
  says(kService + egress("to = \"a:1\"") + egress("to = \"b:1\"", "other"), "taken by egress");
  says(kService + egress("to = \"a:1\"") + egress("to = \"b:1\"", "broker", "9103"), "another egress is named");
  says(kService + "[[listen]]\naddress = \"127.0.0.1:9100\"\n" + egress("to = \"a:1\""), "taken by another section");
  says(kService + "[[egress]]\nname = \"b\"\nlisten = \"10.0.0.1:9100\"\nto = \"a:1\"\n", "set insecure = true");
  says(kService + "[kernel_permit]\n", "not named");
  says(kService + "[kernel_permit]\nexec = [\"/x\"]\ntimeout = \"5s\"\n", "longer than service.lease");
  says("[kernel_permit]\nexec = [\"/x\"]\n", "never primary");
  EXPECT_THAT(problems_of(kService + egress("url = \"https://a\"") + egress("url = \"https://b\"", "other")), IsEmpty()) << "requests share a listener";
}

TEST(ConfigEgress, ASecretThatStandsInTheSettingsIsNotRepeated) {
  for (const auto& problem : problems_of(kService + egress("url = \"https://a\"\ninject = [\"Authorization: hunter2\"]"))) EXPECT_THAT(problem, testing::Not(HasSubstr("hunter2")));
}

TEST(ConfigEgress, InjectedFieldsSayWhereTheirValueIs) {
  const auto plain = config_inject("X-Key: kv:a/b");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->field + "|" + plain->prefix + "|" + plain->place, "X-Key||a/b");
  const auto file = config_inject("Authorization: Bearer  file:/run/token");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->from_file);
  EXPECT_EQ(file->prefix + "|" + file->place, "Bearer  |/run/token");
  for (const char* bad : {"", "A", "A:", "A: x", "A: kv:", "A: file:relative", "A: kv:x\n"}) EXPECT_FALSE(config_inject(bad)) << bad;
}

}  // namespace
}  // namespace agent
