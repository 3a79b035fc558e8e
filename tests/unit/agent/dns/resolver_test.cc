#include "agent/dns/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/unit/agent/dns/fake_catalog.h"

namespace agent::dns {
namespace {

using test::dns::Message;
using test::dns::QueryBytes;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Strings = std::vector<std::string>;

constexpr int kNoError = 0, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5, kBadVers = 16;

class ResolverTest : public testing::Test {
 protected:
  ResolverTest() {
    catalog.add_node("n1", "10.0.0.1");
    catalog.add_node("n2", "10.0.0.2");
    catalog.add_node("N3", "2001:db8::3");
  }
  std::span<const std::byte> raw(const std::string& query, Transport transport = Transport::kUdp) {
    if (!resolver) resolver.emplace(settings, catalog, [this](std::uint64_t bound) { return draw(bound); });
    return resolver->answer(bytes_of(query), transport);
  }
  Message ask(const QueryBytes& query, Transport transport = Transport::kUdp) {
    const auto read = test::dns::decode(raw(query.bytes(), transport));
    EXPECT_TRUE(read) << "no well-formed answer";
    return read.value_or(Message{});
  }
  Message ask(const std::string& name, int type, Transport transport = Transport::kTcp) {
    return ask(QueryBytes(name, static_cast<std::uint16_t>(type)), transport);
  }
  Strings answers(const std::string& name, int type) { return Message::data_of(ask(name, type).answers, type); }
  /// NOERROR or NXDOMAIN without answers, with the SOA of `domain`.
  void expect_negative(const Message& got, int rcode, const std::string& domain = "consul.") {
    EXPECT_EQ(got.rcode(), rcode);
    EXPECT_THAT(got.answers, IsEmpty());
    EXPECT_TRUE(got.authoritative());
    ASSERT_EQ(got.authority.size(), 1U);
    EXPECT_EQ(got.authority[0].type, kTypeSoa);
    EXPECT_EQ(got.authority[0].name, domain);
    EXPECT_EQ(got.authority[0].ttl, 0U);
    EXPECT_EQ(got.authority[0].data, "ns." + domain + " hostmaster." + domain + " 42 3600 600 86400 0");
  }
  std::uint64_t draw(std::uint64_t bound) {
    EXPECT_GT(bound, 0U);
    return chance % bound;
  }

  FakeCatalog catalog;
  ResolverSettings settings = settings_of_test();
  std::uint64_t chance = 0;
  std::optional<Resolver> resolver;
};

// ---------------------------------------------------------------- nodes

TEST_F(ResolverTest, ANodeHasItsAddress) {
  const auto got = ask("n1.node.consul", kTypeA);
  EXPECT_EQ(got.rcode(), kNoError);
  EXPECT_TRUE(got.authoritative());
  EXPECT_EQ(got.flags & 0x0080, 0) << "recursion is not offered";
  ASSERT_EQ(got.answers.size(), 1U);
  EXPECT_EQ(got.answers[0], (test::dns::Record{"n1.node.consul.", 1, 1, 0, "10.0.0.1"}));
  EXPECT_THAT(answers("n3.node.consul", kTypeAaaa), ElementsAre("2001:db8:0:0:0:0:0:3"));
}

TEST_F(ResolverTest, TheDatacenterMayStandInTheName) {
  EXPECT_THAT(answers("n1.node.dc1.consul", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_THAT(answers("n1.node.DC1.consul", kTypeA), ElementsAre("10.0.0.1"));
  expect_negative(ask("n1.node.dc2.consul", kTypeA), kNxDomain);
  expect_negative(ask("n1.node.dc1.dc1.consul", kTypeA), kNxDomain);
}

TEST_F(ResolverTest, ADatacenterOfSeveralLabels) {
  settings.datacenter = "eu.Prod";
  catalog.add("web", "n1", 80);
  EXPECT_THAT(answers("n1.node.eu.prod.consul", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_THAT(answers("n1.node.consul", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_EQ(ask("n1.node.prod.consul", kTypeA).rcode(), kNxDomain);
  EXPECT_THAT(answers("web.service.consul", kTypeSrv), ElementsAre("1 1 80 n1.node.eu.Prod.consul."));
}

TEST_F(ResolverTest, WithoutDatacenterNamesAreShorter) {
  settings.datacenter = "";
  catalog.add("web", "n1", 80);
  EXPECT_THAT(answers("web.service.consul", kTypeSrv), ElementsAre("1 1 80 n1.node.consul."));
  EXPECT_EQ(ask("n1.node.dc1.consul", kTypeA).rcode(), kNxDomain);
}

TEST_F(ResolverTest, CaseIsKeptAndMakesNoDifference) {
  const auto got = ask("N1.nOdE.CONSUL", kTypeA);
  EXPECT_EQ(got.question->name, "N1.nOdE.CONSUL.");
  ASSERT_EQ(got.answers.size(), 1U);
  EXPECT_EQ(got.answers[0].name, "N1.nOdE.CONSUL.");
}

TEST_F(ResolverTest, NodeNamesMayHaveDotsAndAnyBytes) {
  catalog.add_node("web1.rack2", "10.0.0.9");
  catalog.add_node("a b\xff", "10.0.0.8");
  EXPECT_THAT(answers("web1.rack2.node.consul", kTypeA), ElementsAre("10.0.0.9"));
  EXPECT_THAT(answers("A B\xff.node.consul", kTypeA), ElementsAre("10.0.0.8"));
}

TEST_F(ResolverTest, AnUnknownNodeIsNoName) { expect_negative(ask("n9.node.consul", kTypeA), kNxDomain); }

TEST_F(ResolverTest, AnotherTypeIsNoData) {
  expect_negative(ask("n1.node.consul", kTypeAaaa), kNoError);
  expect_negative(ask("n1.node.consul", kTypeSrv), kNoError);
  expect_negative(ask("n1.node.consul", 15), kNoError);   // MX
  expect_negative(ask("n1.node.consul", 257), kNoError);  // CAA
  expect_negative(ask("n3.node.consul", kTypeA), kNoError);
  expect_negative(ask("n1.node.consul", kTypeTxt), kNoError);
}

TEST_F(ResolverTest, MetaIsText) {
  catalog.nodes["n1"].meta = {{"empty", ""}, {"rack", "r 2"}, {"rfc1035-note", "v=spf1 -all"}};
  EXPECT_THAT(answers("n1.node.consul", kTypeTxt), ElementsAre("empty=", "rack=r 2", "v=spf1 -all"));
  const auto any = ask("n1.node.consul", kTypeAny);
  EXPECT_EQ(any.answers.size(), 4U);
  EXPECT_THAT(Message::data_of(any.answers, kTypeA), ElementsAre("10.0.0.1"));
}

TEST_F(ResolverTest, ANodeWithAHostNameIsAnAlias) {
  catalog.add_node("ext", "db.example.com");
  const auto got = ask("ext.node.consul", kTypeA);
  EXPECT_EQ(got.rcode(), kNoError);
  EXPECT_THAT(Message::data_of(got.answers, kTypeCname), ElementsAre("db.example.com."));
  catalog.nodes["ext"].meta = {{"a", "b"}};
  EXPECT_EQ(ask("ext.node.consul", kTypeAny).answers.size(), 1U) << "an alias stands alone";
}

TEST_F(ResolverTest, ANodeWithAnUnusableAddressHasNone) {
  catalog.add_node("odd", "10.0.0.256");
  expect_negative(ask("odd.node.consul", kTypeA), kNoError);
}

// ---------------------------------------------------------------- services

TEST_F(ResolverTest, AServiceHasTheAddressesOfItsInstances) {
  catalog.add("web", "n1", 80);
  catalog.add("web", "n2", 80, "10.9.9.9");
  catalog.add("web", "n3", 80);
  EXPECT_THAT(answers("web.service.consul", kTypeA), UnorderedElementsAre("10.0.0.1", "10.9.9.9"));
  EXPECT_THAT(answers("web.service.dc1.consul", kTypeAaaa), ElementsAre("2001:db8:0:0:0:0:0:3"));
  expect_negative(ask("web.service.dc2.consul", kTypeA), kNxDomain);
  expect_negative(ask("web.service.consul", kTypeTxt), kNoError);
}

TEST_F(ResolverTest, AnAddressIsSaidOnce) {
  for (std::uint16_t port = 1; port <= 5; ++port) catalog.add("web", "n1", port);
  EXPECT_THAT(answers("web.service.consul", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_EQ(answers("web.service.consul", kTypeSrv).size(), 5U) << "but every port of it";
}

TEST_F(ResolverTest, CriticalOnesAreOutWarningOnesStay) {
  catalog.add("web", "n1", 80).health = Health::kWarning;
  catalog.add("web", "n2", 80).health = Health::kCritical;
  EXPECT_THAT(answers("web.service.consul", kTypeA), ElementsAre("10.0.0.1"));
  catalog.services["web"][0].health = Health::kCritical;
  expect_negative(ask("web.service.consul", kTypeA), kNxDomain);
  expect_negative(ask("web.service.consul", kTypeSrv), kNxDomain);
}

TEST_F(ResolverTest, OnlyPassingLeavesWarningsOut) {
  settings.only_passing = true;
  catalog.add("web", "n1", 80).health = Health::kWarning;
  catalog.add("web", "n2", 80);
  EXPECT_THAT(answers("web.service.consul", kTypeA), ElementsAre("10.0.0.2"));
}

TEST_F(ResolverTest, ATagChooses) {
  catalog.add("web", "n1", 80).tags = {"Blue", "v1.2"};
  catalog.add("web", "n2", 80).tags = {"green", "v1.2"};
  EXPECT_THAT(answers("blue.web.service.consul", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_THAT(answers("GREEN.web.service.consul", kTypeA), ElementsAre("10.0.0.2"));
  EXPECT_THAT(answers("v1.2.web.service.consul", kTypeA), UnorderedElementsAre("10.0.0.1", "10.0.0.2"));
  expect_negative(ask("red.web.service.consul", kTypeA), kNxDomain);
  // A resolver that asks label by label must not be told that nothing is below (RFC 8020).
  expect_negative(ask("2.web.service.consul", kTypeA), kNoError);
}

TEST_F(ResolverTest, RolesAreTagsThatAreNeverCached) {
  settings.ttl_seconds = 30;
  catalog.add("trader", "n1", 80).tags = {"replica"};
  catalog.add("trader", "n2", 80).tags = {"eu", "primary"};
  const auto got = ask("primary.trader.service.consul", kTypeA);
  EXPECT_THAT(Message::data_of(got.answers, kTypeA), ElementsAre("10.0.0.2"));
  EXPECT_EQ(got.answers[0].ttl, 0U);
  EXPECT_EQ(ask("_trader._replica.service.consul", kTypeSrv).answers[0].ttl, 0U);
  EXPECT_EQ(ask("eu.trader.service.consul", kTypeA).answers[0].ttl, 30U);
}

TEST_F(ResolverTest, TheTimeToLiveIsASetting) {
  settings.ttl_seconds = 7;
  catalog.add("web", "n1", 80, "10.0.0.5");
  EXPECT_EQ(ask("n1.node.consul", kTypeA).answers[0].ttl, 7U);
  const auto got = ask("web.service.consul", kTypeSrv);
  EXPECT_EQ(got.answers[0].ttl, 7U);
  EXPECT_EQ(got.additional[0].ttl, 7U);
  expect_negative(ask("nobody.service.consul", kTypeA), kNxDomain);  // checks that these are never kept
}

TEST_F(ResolverTest, SrvNamesPortWeightAndTarget) {
  catalog.add("web", "n1", 8080).weight = 10;
  catalog.add("web", "n2", 8081, "10.9.9.9").weight = 0;
  catalog.add("web", "n3", 8082);
  catalog.add("web", "n1", 8083, "2001:db8::a");
  const auto got = ask("web.service.consul", kTypeSrv);
  EXPECT_THAT(Message::data_of(got.answers, kTypeSrv),
              UnorderedElementsAre("1 10 8080 n1.node.dc1.consul.", "1 0 8081 0a090909.addr.dc1.consul.",
                                   "1 1 8082 N3.node.dc1.consul.",
                                   "1 1 8083 20010db800000000000000000000000a.addr.dc1.consul."));
  Strings glue;
  for (const auto& one : got.additional) glue.push_back(one.name + " " + one.data);
  EXPECT_THAT(glue, UnorderedElementsAre("n1.node.dc1.consul. 10.0.0.1", "0a090909.addr.dc1.consul. 10.9.9.9",
                                         "N3.node.dc1.consul. 2001:db8:0:0:0:0:0:3",
                                         "20010db800000000000000000000000a.addr.dc1.consul. 2001:db8:0:0:0:0:0:a"));
  for (const auto& one : got.additional) EXPECT_EQ(ask(one.name, one.type).answers.size(), 1U) << one.name;
}

TEST_F(ResolverTest, Rfc2782NamesAreServed) {
  catalog.add("web", "n1", 80).tags = {"blue"};
  catalog.add("web", "n2", 81);
  EXPECT_EQ(answers("_web._tcp.service.consul", kTypeSrv).size(), 2U);
  EXPECT_THAT(answers("_WEB._Blue.service.consul", kTypeSrv), ElementsAre("1 1 80 n1.node.dc1.consul."));
  EXPECT_EQ(answers("_web._tcp.consul", kTypeSrv).size(), 2U);
  EXPECT_EQ(answers("_web._tcp.dc1.consul", kTypeSrv).size(), 2U);
  EXPECT_EQ(answers("_web._tcp.service.dc1.consul", kTypeA).size(), 2U);
  expect_negative(ask("_web._udp.service.consul", kTypeSrv), kNxDomain);
  expect_negative(ask("_web._tcp.consul", kTypeA), kNxDomain);
  expect_negative(ask("_._tcp.service.consul", kTypeSrv), kNxDomain);
  expect_negative(ask("_web._.service.consul", kTypeSrv), kNxDomain);
  expect_negative(ask("_tcp.service.consul", kTypeSrv), kNoError);  // a branch of the names above
}

TEST_F(ResolverTest, SrvForNodesThatNoNameCanSay) {
  catalog.add_node(std::string(64, 'x'), "10.0.0.64");
  catalog.add_node("a..b", "db.example");
  catalog.add("web", std::string(64, 'x'), 80);
  catalog.add("web", "a..b", 81);
  EXPECT_THAT(answers("web.service.consul", kTypeSrv),
              UnorderedElementsAre("1 1 80 0a000040.addr.dc1.consul.", "1 1 81 db.example."));
}

TEST_F(ResolverTest, AServiceBehindAHostName) {
  catalog.add("ext", "n1", 443, "Api.example.com");
  const auto got = ask("ext.service.consul", kTypeA);
  EXPECT_THAT(Message::data_of(got.answers, kTypeCname), ElementsAre("Api.example.com."));
  EXPECT_EQ(got.answers.size(), 1U);
  EXPECT_THAT(got.authority, IsEmpty());
  EXPECT_THAT(answers("ext.service.consul", kTypeSrv), ElementsAre("1 1 443 Api.example.com."));
  EXPECT_THAT(answers("ext.service.consul", kTypeCname), ElementsAre("Api.example.com."));
  // Several aliases at one name are no answer: one of them, or the addresses if there are any.
  catalog.add("ext", "n1", 443, "api2.example.com");
  EXPECT_EQ(ask("ext.service.consul", kTypeA).answers.size(), 1U);
  catalog.add("ext", "n2", 443);
  EXPECT_THAT(answers("ext.service.consul", kTypeA), ElementsAre("10.0.0.2"));
  expect_negative(ask("ext.service.consul", kTypeAaaa), kNoError);
}

TEST_F(ResolverTest, AnAliasOfOursIsFollowed) {
  catalog.add("front", "n1", 80, "back.service.consul");
  catalog.add("back", "n2", 81);
  auto got = ask("front.service.consul", kTypeA);
  ASSERT_EQ(got.answers.size(), 2U);
  EXPECT_EQ(got.answers[0].data, "back.service.consul.");
  EXPECT_EQ(got.answers[1], (test::dns::Record{"back.service.consul.", 1, 1, 0, "10.0.0.2"}));
  got = ask("front.service.consul", kTypeAaaa);
  EXPECT_EQ(got.answers.size(), 1U);
  EXPECT_EQ(got.rcode(), kNoError);
  EXPECT_EQ(got.authority.size(), 1U);
  catalog.services["back"][0].place = Place::parse("n1.node.consul");
  EXPECT_EQ(ask("front.service.consul", kTypeA).answers.size(), 3U) << "further on";
  catalog.services.erase("back");
  got = ask("front.service.consul", kTypeA);
  EXPECT_EQ(got.rcode(), kNxDomain);
  EXPECT_EQ(got.answers.size(), 1U);
}

TEST_F(ResolverTest, ACircleOfAliasesEnds) {
  catalog.add("a", "n1", 80, "b.service.consul");
  catalog.add("b", "n1", 80, "a.service.consul");
  const auto got = ask("a.service.consul", kTypeA);
  EXPECT_EQ(got.rcode(), kServFail);
  EXPECT_LE(got.answers.size(), 4U);
}

TEST_F(ResolverTest, AnyMeansAddressesAndPorts) {
  catalog.add("web", "n1", 80);
  catalog.add("web", "n3", 80);
  const auto got = ask("web.service.consul", kTypeAny);
  EXPECT_EQ(Message::data_of(got.answers, kTypeA).size(), 1U);
  EXPECT_EQ(Message::data_of(got.answers, kTypeAaaa).size(), 1U);
  EXPECT_EQ(Message::data_of(got.answers, kTypeSrv).size(), 2U);
  EXPECT_EQ(got.additional.size(), 2U);
}

TEST_F(ResolverTest, ChanceShufflesEveryOrderAsOften) {
  for (int i = 0; i < 3; ++i) catalog.add("web", "n1", 80, "10.1.0." + std::to_string(i));
  std::map<Strings, int> orders;
  for (chance = 0; chance < 60; ++chance) ++orders[answers("web.service.consul", kTypeA)];  // every pair below 3 and 2
  EXPECT_EQ(orders.size(), 6U);
  for (const auto& [order, count] : orders) EXPECT_EQ(count, 10);
}

// ---------------------------------------------------------------- addresses, apex, reverse

TEST_F(ResolverTest, AddressesSpelledAsNames) {
  EXPECT_THAT(answers("0a00002A.addr.dc1.consul", kTypeA), ElementsAre("10.0.0.42"));
  EXPECT_THAT(answers("0a00002a.addr.consul", kTypeA), ElementsAre("10.0.0.42"));
  EXPECT_THAT(answers("20010db8000000000000000000000001.addr.dc1.consul", kTypeAaaa),
              ElementsAre("2001:db8:0:0:0:0:0:1"));
  expect_negative(ask("0a00002a.addr.dc1.consul", kTypeAaaa), kNoError);
  for (const std::string name : {"0a0000", "0a00002g", "0a00002a0", "x.0a00002a"})
    expect_negative(ask(name + ".addr.dc1.consul", kTypeA), kNxDomain);
}

TEST_F(ResolverTest, TheDomainItself) {
  EXPECT_THAT(answers("consul", kTypeSoa), ElementsAre("ns.consul. hostmaster.consul. 42 3600 600 86400 0"));
  expect_negative(ask("consul", kTypeA), kNoError);
  expect_negative(ask("consul", kTypeNs), kNoError);  // no server is registered
  for (const char* node : {"n1", "n2", "n3"}) catalog.add("consul", node, 8300);
  catalog.add_node("n4", "10.0.0.4");
  catalog.add("consul", "n4", 8300);
  catalog.services["consul"][0].health = Health::kCritical;
  const auto got = ask("consul", kTypeNs);
  catalog.add_node("n5", "10.0.0.5");
  catalog.add("consul", "n5", 8300);
  EXPECT_EQ(answers("consul", kTypeNs).size(), 3U) << "three are enough";
  EXPECT_THAT(Message::data_of(got.answers, kTypeNs),
              UnorderedElementsAre("n2.node.dc1.consul.", "N3.node.dc1.consul.", "n4.node.dc1.consul."));
  EXPECT_EQ(got.additional.size(), 3U);
  EXPECT_EQ(ask("consul", kTypeAny).answers.size(), 4U);
  EXPECT_EQ(answers("ns.consul", kTypeA).size(), 3U) << "the server that SOA names is to be found";
}

TEST_F(ResolverTest, BranchesExistThoughTheyHoldNothing) {
  for (const std::string name : {"service", "node", "addr", "dc1", "service.dc1", "node.dc1"})
    expect_negative(ask(name + ".consul", kTypeA), kNoError);
  for (const std::string name : {"x", "query", "a.query", "x.y.z"}) expect_negative(ask(name + ".consul", kTypeA), kNxDomain);
}

TEST_F(ResolverTest, TheSecondDomainSpeaksItsOwnWords) {
  catalog.add("web", "n1", 80);
  const auto got = ask("web.service.Outrigger", kTypeSrv);
  EXPECT_THAT(Message::data_of(got.answers, kTypeSrv), ElementsAre("1 1 80 n1.node.dc1.outrigger."));
  expect_negative(ask("nobody.service.outrigger", kTypeA), kNxDomain, "outrigger.");
}

TEST_F(ResolverTest, WithoutSecondDomainItIsForeign) {
  settings.alt_domain = Name();
  EXPECT_EQ(ask("web.service.outrigger", kTypeA).rcode(), kRefused);
  EXPECT_EQ(ask("", kTypeA).rcode(), kRefused);
}

TEST_F(ResolverTest, ADomainOfSeveralLabels) {
  settings.domain = *Name::parse("mesh.example.com");
  EXPECT_THAT(answers("n1.node.mesh.example.com", kTypeA), ElementsAre("10.0.0.1"));
  EXPECT_EQ(ask("n1.node.example.com", kTypeA).rcode(), kRefused);
  EXPECT_EQ(ask("n1.node.xmesh.example.com", kTypeA).rcode(), kRefused);
}

TEST_F(ResolverTest, ForeignNamesAreRefused) {
  for (const std::string name : {"", "com", "www.example.com", "consul.com", "xconsul", "arpa", "in-addr.arpa"}) {
    const auto got = ask(name, kTypeA);
    EXPECT_EQ(got.rcode(), kRefused) << name;
    EXPECT_FALSE(got.authoritative());
    EXPECT_THAT(got.authority, IsEmpty());
  }
}

TEST_F(ResolverTest, AddressesHaveNames) {
  catalog.add("web", "n1", 80, "10.1.1.1");
  catalog.add("web", "n2", 80, "10.1.1.1");
  EXPECT_THAT(answers("1.0.0.10.in-addr.arpa", kTypePtr), ElementsAre("n1.node.dc1.consul."));
  EXPECT_THAT(answers("1.1.1.10.IN-ADDR.arpa", kTypePtr), ElementsAre("web.service.consul."));
  const std::string v6 = "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
  EXPECT_THAT(answers(v6, kTypePtr), ElementsAre("N3.node.dc1.consul."));
  EXPECT_TRUE(ask(v6, kTypePtr).authoritative());
  EXPECT_EQ(ask("1.0.0.10.in-addr.arpa", kTypeA).rcode(), kNoError);
  EXPECT_THAT(ask("1.0.0.10.in-addr.arpa", kTypeA).answers, IsEmpty());
}

TEST_F(ResolverTest, OtherAddressesAreForeign) {
  for (const std::string name : {"9.9.9.9.in-addr.arpa", "0.0.10.in-addr.arpa", "1.0.0.10.10.in-addr.arpa",
                                 "01.0.0.10.in-addr.arpa", "256.0.0.10.in-addr.arpa", "x.0.0.10.in-addr.arpa",
                                 "1.0.0.10.ip6.arpa"})
    EXPECT_EQ(ask(name, kTypePtr).rcode(), kRefused) << name;
  std::string nibbles;
  for (int i = 0; i < 31; ++i) nibbles += "0.";
  EXPECT_EQ(ask(nibbles + "g.ip6.arpa", kTypePtr).rcode(), kRefused);
  EXPECT_EQ(ask(nibbles + "00.ip6.arpa", kTypePtr).rcode(), kRefused);
}

// ---------------------------------------------------------------- what is refused, and how much is said

TEST_F(ResolverTest, BeforeTheStateIsKnownNothingIsDenied) {
  catalog.is_ready = false;
  EXPECT_EQ(ask("n1.node.consul", kTypeA).rcode(), kServFail);
  EXPECT_EQ(ask("nobody.service.consul", kTypeA).rcode(), kServFail);
  EXPECT_EQ(ask("1.0.0.10.in-addr.arpa", kTypePtr).rcode(), kServFail);
  EXPECT_EQ(ask("www.example.com", kTypeA).rcode(), kRefused);
}

TEST_F(ResolverTest, TypesAndClassesThatAreNoQuestions) {
  for (const int type : {251, 252}) EXPECT_EQ(ask("consul", type).rcode(), kRefused);
  for (const int type : {253, 254}) EXPECT_EQ(ask("consul", type).rcode(), kNotImp);
  for (const int type : {41, 249, 250}) EXPECT_EQ(ask("consul", type).rcode(), 1);
  QueryBytes chaos("version.bind", 16);
  chaos.klass = 3;
  EXPECT_EQ(ask(chaos).rcode(), kRefused);
  QueryBytes any_class("n1.node.consul");
  any_class.klass = 255;
  EXPECT_EQ(ask(any_class).answers.size(), 1U);
}

TEST_F(ResolverTest, EdnsIsAnsweredWithEdns) {
  const auto with = ask(QueryBytes("n1.node.consul").edns(4096, 0, 0x8000));
  EXPECT_EQ(with.payload, 1232);
  EXPECT_EQ(with.additional.back().data, "OPT 0 32768");
  EXPECT_FALSE(ask(QueryBytes("n1.node.consul")).payload);
  const auto later = ask(QueryBytes("n1.node.consul").edns(4096, 1));
  EXPECT_EQ(later.rcode(), kBadVers);
  EXPECT_THAT(later.answers, IsEmpty());
  EXPECT_TRUE(later.payload);
}

/// Bytes of the answer to a query over UDP for a service that would fill any message.
class SizeTest : public ResolverTest {
 protected:
  SizeTest() {
    for (int i = 0; i < 250; ++i) catalog.add("big", "n1", static_cast<std::uint16_t>(1000 + i), "10.2.0." + std::to_string(i));
  }
  std::size_t udp_bytes(int type, std::optional<unsigned> payload) {
    QueryBytes query("big.service.consul", static_cast<std::uint16_t>(type));
    if (payload) query.edns(*payload);
    const auto bytes = raw(query.bytes());
    const auto read = test::dns::decode(bytes);
    EXPECT_TRUE(read && read->truncated());
    return bytes.size();
  }
};

TEST_F(SizeTest, ADatagramIsAsLargeAsTheClientTakesAndWeGive) {
  for (const int type : {kTypeA, kTypeSrv}) {
    const std::size_t one = type == kTypeA ? 16 : 60;  // the next record would not have fitted
    const auto near = [one](std::size_t bytes, std::size_t limit) { return bytes <= limit && bytes + one > limit; };
    EXPECT_PRED2(near, udp_bytes(type, std::nullopt), 512);
    EXPECT_PRED2(near, udp_bytes(type, 100), 512) << "less than 512 means 512 (RFC 6891 section 6.2.3)";
    EXPECT_PRED2(near, udp_bytes(type, 600), 600);
    EXPECT_PRED2(near, udp_bytes(type, 1232), 1232);
    EXPECT_PRED2(near, udp_bytes(type, 65535), 1232);
  }
}

TEST_F(SizeTest, ACutAnswerMayKeepQuiet) {
  settings.truncate_flag = false;
  const auto got = ask("big.service.consul", kTypeA, Transport::kUdp);
  EXPECT_FALSE(got.truncated());
  EXPECT_LT(got.answers.size(), 250U);
  EXPECT_EQ(resolver->counters().truncated, 1U);
}

TEST_F(SizeTest, TheCapIsASetting) {
  settings.udp_payload_bytes_max = 2048;
  EXPECT_LE(udp_bytes(kTypeA, 65535), 2048U);
  EXPECT_GT(udp_bytes(kTypeA, 65535), 2000U);
}

TEST_F(SizeTest, AStreamCarriesEverything) {
  const auto got = ask("big.service.consul", kTypeSrv, Transport::kTcp);
  EXPECT_FALSE(got.truncated());
  EXPECT_EQ(got.answers.size(), 250U);
  EXPECT_EQ(got.additional.size(), 250U);
}

TEST_F(SizeTest, AStreamHasAnEndToo) {
  settings.domain = *Name::parse(std::string(63, 'd') + "." + std::string(63, 'e') + "." + std::string(50, 'f'));
  auto& big = catalog.services["big"];
  for (int i = 0; i < 6; ++i) big.insert(big.end(), big.begin(), big.begin() + 250);
  for (std::size_t i = 0; i < big.size(); ++i) big[i].port = static_cast<std::uint16_t>(i);
  const auto got = ask("big.service." + settings.domain.text(), kTypeSrv, Transport::kTcp);
  EXPECT_TRUE(got.truncated());
  EXPECT_GT(got.answers.size(), 250U);
}

TEST_F(SizeTest, GlueIsAFavour) {
  settings.udp_payload_bytes_max = 8192;
  catalog.services["big"].resize(24);
  const auto got = ask(QueryBytes("big.service.consul", 33).edns(1232));
  EXPECT_EQ(got.answers.size(), 24U);
  EXPECT_FALSE(got.truncated()) << "missing glue cuts nothing";
  EXPECT_GT(got.additional.size(), 1U);
  EXPECT_LT(got.additional.size(), 24U);
}

TEST_F(SizeTest, TheNumberOfAnswersIsASetting) {
  settings.answers_max = 3;
  for (const auto transport : {Transport::kUdp, Transport::kTcp})
    for (const int type : {kTypeA, kTypeSrv, kTypeAny}) {
      const auto got = ask("big.service.consul", type, transport);
      EXPECT_EQ(got.answers.size(), 3U);
      EXPECT_FALSE(got.truncated()) << "the wish of the operator is no lack of room";
    }
}

TEST_F(ResolverTest, MalformedQueriesAreAnsweredBriefly) {
  const std::string whole = QueryBytes("n1.node.consul").bytes();
  const auto cut = test::dns::decode(raw(whole.substr(0, 20)));
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->rcode(), 1);
  EXPECT_EQ(cut->id, 0x1234);
  EXPECT_FALSE(cut->question);
  EXPECT_TRUE(raw(whole.substr(0, 11)).empty());
  QueryBytes response("n1.node.consul");
  response.flags = 0x8180;
  EXPECT_TRUE(raw(response.bytes()).empty());
  QueryBytes update("consul");
  update.flags = 5 << 11;
  EXPECT_EQ(ask(update).rcode(), kNotImp);
}

TEST_F(ResolverTest, EverythingIsCounted) {
  catalog.add("web", "n1", 80);
  ask("web.service.consul", kTypeA);
  ask("web.service.consul", kTypeA, Transport::kUdp);
  ask("no.service.consul", kTypeA, Transport::kUdp);
  raw("short");
  raw(QueryBytes("x").bytes() + "trailing");
  const auto& counted = resolver->counters();
  EXPECT_EQ(counted.queries[0], 4U);
  EXPECT_EQ(counted.queries[1], 1U);
  EXPECT_EQ(counted.answers, (std::map<Rcode, std::uint64_t>{{Rcode::kNoError, 2}, {Rcode::kFormErr, 1}, {Rcode::kNxDomain, 1}}));
  EXPECT_EQ(counted.malformed, (std::map<Fault, std::uint64_t>{{Fault::kTooShort, 1}, {Fault::kTrailing, 1}}));
  EXPECT_EQ(counted.silent, 1U);
  EXPECT_EQ(counted.truncated, 0U);
}

}  // namespace
}  // namespace agent::dns
