#include <gtest/gtest.h>

#include <string>

#include "agent/config.h"

namespace agent {
namespace {

/// The section of a text that must be taken.
DnsConfig good(const std::string& keys) {
  const auto config = parse_config("[dns]\n" + keys, "f");
  EXPECT_TRUE(config) << config.error().at(0).text();
  return config ? config->dns : DnsConfig{};
}
/// The only problem of a text that must not be.
std::string problem(const std::string& keys) {
  const auto config = parse_config("[dns]\n" + keys, "f");
  EXPECT_FALSE(config);
  if (config) return {};
  EXPECT_EQ(config.error().size(), 1U);
  return config.error()[0].text();
}

TEST(ConfigDns, ByDefaultItListensForThisMachineOnly) {
  const DnsConfig dns = good("");
  EXPECT_TRUE(dns.enabled);
  EXPECT_TRUE(dns.listen_is_default);
  EXPECT_EQ(dns.listen.text(), "127.0.0.1:8600");
  EXPECT_EQ(dns.domain, "consul");
  EXPECT_EQ(dns.alt_domain, "outrigger");
  EXPECT_FALSE(dns.only_passing);
  EXPECT_EQ(dns.ttl.count(), 0);
  EXPECT_EQ(dns.answers_max, 0U);
  EXPECT_EQ(dns.udp_bytes_max, 8192);
}

TEST(ConfigDns, EveryKeyIsTaken) {
  const DnsConfig dns = good(
      "listen = \"[::1]:53\"\ninsecure = true\ndomain = \"Mesh.Example.\"\nalt_domain = \"\"\nonly_passing = true\n"
      "ttl = \"2m\"\nanswers_max = 5\ntruncate_flag = false\nudp_bytes_max = 1400\nconnections_max = 9\n");
  EXPECT_TRUE(dns.enabled && dns.insecure && dns.only_passing);
  EXPECT_FALSE(dns.listen_is_default || dns.truncate_flag);
  EXPECT_EQ(dns.listen.text(), "[::1]:53");
  EXPECT_EQ(dns.domain, "mesh.example");
  EXPECT_EQ(dns.alt_domain, "");
  EXPECT_EQ(dns.ttl, std::chrono::minutes(2));
  EXPECT_EQ(dns.answers_max, 5U);
  EXPECT_EQ(dns.udp_bytes_max, 1400);
  EXPECT_EQ(dns.connections_max, 9U);
}

TEST(ConfigDns, ItCanBeOff) {
  EXPECT_FALSE(good("listen = \"off\"\n").enabled);
}

TEST(ConfigDns, WhereOthersCanAskDatagramsAreSmall) {
  const DnsConfig dns = good("listen = \"0.0.0.0:53\"\ninsecure = true\n");
  EXPECT_EQ(dns.udp_bytes_max, 1232);
  EXPECT_EQ(good("listen = \"10.0.0.1:53\"\ninsecure = true\nudp_bytes_max = 4096\n").udp_bytes_max, 4096);
}

TEST(ConfigDns, TheSecondDomainIsAnother) {
  EXPECT_EQ(good("domain = \"outrigger\"\n").alt_domain, "");
  EXPECT_EQ(good("domain = \"a\"\nalt_domain = \"A.\"\n").alt_domain, "");
}

TEST(ConfigDns, FaultsAreNamedWithTheRemedy) {
  EXPECT_EQ(problem("listen = \"10.0.0.1:8600\"\n"),
            "f:2:10: dns.listen: 10.0.0.1:8600 can be reached from other machines, and DNS tells everyone who asks; listen on "
            "127.0.0.1, or set dns.insecure = true on a network that you trust");
  EXPECT_EQ(problem("listen = \"unix:/x\"\n"),
            "f:2:10: dns.listen: \"unix:/x\" is no address for DNS; write \"127.0.0.1:8600\", \"[::1]:8600\" or \"off\"");
  EXPECT_EQ(problem("listen = \"8600\"\n"),
            "f:2:10: dns.listen: \"8600\" is no address for DNS; write \"127.0.0.1:8600\", \"[::1]:8600\" or \"off\"");
  for (const std::string domain : {"", ".", "a..b", ".a", "a b", "x/y"})
    EXPECT_NE(problem("domain = \"" + domain + "\"\n").find("is no domain name; write a name such as"), std::string::npos) << domain;
  EXPECT_NE(problem("alt_domain = \"" + std::string(64, 'x') + "\"\n").find("is no domain name"), std::string::npos);
  EXPECT_EQ(problem("ttl = \"1500ms\"\n"), "f:2:7: dns.ttl: DNS counts in whole seconds; write \"2s\"");
  EXPECT_EQ(problem("udp_bytes_max = 500\n"), "f:2:17: dns.udp_bytes_max: 500 is out of range; allowed is 512 to 8192");
  EXPECT_EQ(problem("tll = \"1s\"\n"), "f:2:1: dns.tll: unknown key \"tll\"; did you mean \"ttl\"?");
}

}  // namespace
}  // namespace agent
