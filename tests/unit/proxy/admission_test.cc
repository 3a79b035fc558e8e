// Who may come in: rates, keys, address lists, credentials, concurrency; as rules and through a proxy.
#include <map>
#include <random>
#include <set>
#include <thread>

#include "proxy/admission.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

RateRule bucket(std::uint32_t count, std::uint32_t burst, bool nodelay = true) {
  RateRule rule;
  rule.count = count;
  rule.burst = burst;
  rule.nodelay = nodelay;
  return rule;
}
RateRule window(std::uint32_t count, Milliseconds period) {
  RateRule rule;
  rule.count = count;
  rule.period = period;
  return rule;
}

std::size_t admitted_of(const RateRule& rule, std::uint64_t& state, nanoseconds at, std::size_t tries) {
  std::size_t admitted = 0;
  for (std::size_t i = 0; i < tries; ++i) admitted += apply_rate(rule, at, state).admitted ? 1 : 0;
  return admitted;
}

// ---- the tables of the guides ----

TEST(Guide003, Api10PerSecondBurst20NodelayLets21Of31ThroughAnd10ASecondLater) {
  const RateRule rule = bucket(10, 20);
  std::uint64_t state = 0;
  EXPECT_EQ(admitted_of(rule, state, seconds(100), 31), 21U);
  EXPECT_EQ(admitted_of(rule, state, seconds(101), 31), 10U);
}

TEST(Guide003, Auth5PerSecondBurst10IsLetThroughAtTheRate) {
  const RateRule rule = bucket(5, 10, false);
  std::uint64_t state = 0;
  for (int i = 0; i < 11; ++i) {
    const RateVerdict verdict = apply_rate(rule, seconds(100), state);
    ASSERT_TRUE(verdict.admitted);
    EXPECT_EQ(verdict.delay, Milliseconds(200) * i);
  }
  EXPECT_FALSE(apply_rate(rule, seconds(100), state).admitted);
}

TEST(Guide003, Ai2PerSecondBurst5) {
  std::uint64_t state = 0;
  EXPECT_EQ(admitted_of(bucket(2, 5), state, seconds(7), 10), 6U);
}

TEST(Guide002, HttpReqRateOf10SecondsOver20RejectsThe21st) {
  const RateRule rule = window(20, seconds(10));
  std::uint64_t state = 0;
  EXPECT_EQ(admitted_of(rule, state, seconds(1003), 21), 20U);
}

// ---- the bucket ----

TEST(Bucket, AdmitsNoMoreThanBurstPlusRateOverAnySpan) {
  std::mt19937_64 chance(7);
  for (int round = 0; round < 200; ++round) {
    const RateRule rule = bucket(1 + static_cast<std::uint32_t>(chance() % 50), static_cast<std::uint32_t>(chance() % 30));
    std::uint64_t state = 0;
    std::vector<nanoseconds> admitted;
    nanoseconds now = seconds(10);
    for (int i = 0; i < 300; ++i) {
      now += nanoseconds(chance() % 100'000'000);
      if (apply_rate(rule, now, state).admitted) admitted.push_back(now);
    }
    for (std::size_t a = 0; a < admitted.size(); ++a) {
      for (std::size_t b = a; b < admitted.size(); ++b) {
        const double span = std::chrono::duration<double>(admitted[b] - admitted[a]).count();
        ASSERT_LE(static_cast<double>(b - a), *rule.burst + span * rule.count + 1e-6) << "between " << a << " and " << b;
      }
    }
  }
}

TEST(Bucket, RetryAfterIsWhenTheNextIsAdmittedAndNotEarlier) {
  const RateRule rule = bucket(3, 2);
  std::uint64_t state = 0;
  EXPECT_EQ(admitted_of(rule, state, seconds(5), 9), 3U);
  const RateVerdict refused = apply_rate(rule, seconds(5), state);
  std::uint64_t early = state, late = state;
  EXPECT_FALSE(apply_rate(rule, seconds(5) + refused.retry_after - nanoseconds(1), early).admitted);
  EXPECT_TRUE(apply_rate(rule, seconds(5) + refused.retry_after, late).admitted);
}

TEST(Bucket, RemainingCountsDownToNothing) {
  const RateRule rule = bucket(10, 3);
  std::uint64_t state = 0;
  for (const std::uint32_t left : {3U, 2U, 1U, 0U}) EXPECT_EQ(apply_rate(rule, seconds(5), state).remaining, left);
  EXPECT_FALSE(apply_rate(rule, seconds(5), state).admitted);
}

// ---- the window ----

TEST(Window, RetryAfterIsRightAtEveryMoment) {
  std::mt19937_64 chance(11);
  for (int round = 0; round < 2000; ++round) {
    const RateRule rule = window(1 + static_cast<std::uint32_t>(chance() % 40), Milliseconds(1 + chance() % 20000));
    std::uint64_t state = 0;
    nanoseconds now = seconds(50);
    for (int i = 0; i < 200; ++i) {
      now += nanoseconds(chance() % static_cast<std::uint64_t>(nanoseconds(rule.period).count() / rule.count + 1));
      const RateVerdict verdict = apply_rate(rule, now, state);
      if (verdict.admitted) continue;
      std::uint64_t early = state, late = state;
      ASSERT_TRUE(apply_rate(rule, now + verdict.retry_after, late).admitted) << rule.count << " in " << rule.period.count();
      if (verdict.retry_after > nanoseconds(1)) {
        ASSERT_FALSE(apply_rate(rule, now + verdict.retry_after - nanoseconds(1), early).admitted);
      }
    }
  }
}

TEST(Window, NeverMoreThanTwiceTheLimitInASpanAndTheLimitOnAverage) {
  std::mt19937_64 chance(13);
  const RateRule rule = window(20, seconds(10));
  std::uint64_t state = 0;
  std::vector<nanoseconds> admitted;
  nanoseconds now = seconds(50);
  const nanoseconds start = now;
  for (int i = 0; i < 20000; ++i) {
    now += nanoseconds(chance() % 200'000'000);
    if (apply_rate(rule, now, state).admitted) admitted.push_back(now);
  }
  const double periods = std::chrono::duration<double>(now - start).count() / 10;
  EXPECT_LE(static_cast<double>(admitted.size()), 20 * periods * 1.05 + 20);
  EXPECT_GE(static_cast<double>(admitted.size()), 20 * periods * 0.9);
  for (std::size_t i = 40; i < admitted.size(); ++i) ASSERT_GT(admitted[i] - admitted[i - 40], seconds(10)) << i;
}

TEST(Window, RefusedTriesDoNotCount) {
  const RateRule rule = window(2, seconds(1));
  std::uint64_t state = 0;
  EXPECT_EQ(admitted_of(rule, state, seconds(10), 1000), 2U);
  EXPECT_EQ(admitted_of(rule, state, seconds(12), 1000), 2U) << "two windows later all is forgotten";
}

// ---- the table ----

TEST(RateTable, SipHashOfTheReferenceVector) {
  std::string input;
  for (char i = 0; i < 15; ++i) input += i;
  EXPECT_EQ(keyed_hash(0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, input), 0xa129ca6149be45e5ULL);
}

TEST(RateTable, AFloodOfKeysNeitherForgetsAnOffenderNorGrows) {
  RateTable table(bucket(1, 4), 1, 2);
  const TimePoint now{seconds(100)};
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(table.take("offender", now).admitted);
  EXPECT_FALSE(table.take("offender", now).admitted);
  for (int i = 0; i < 200'000; ++i) (void)table.take("key" + std::to_string(i), now);
  EXPECT_GT(table.evicted(), 0U);
  EXPECT_FALSE(table.take("offender", now).admitted) << "the flood must not have bought a new allowance";
}

TEST(RateTable, NoKeyIsEverCountedTooLow) {
  std::mt19937_64 chance(17);
  const RateRule rule = bucket(1, 9);
  RateTable table(rule, 3, 4);
  const TimePoint now{seconds(100)};  // nothing drains: each key has its 10 and no more, however often it is evicted
  std::map<std::string, int> admitted;
  for (int i = 0; i < 600'000; ++i) {
    const std::string key = "k" + std::to_string(chance() % 60'000);
    if (table.take(key, now).admitted) ++admitted[key];
  }
  for (const auto& [key, count] : admitted) ASSERT_LE(count, 10) << key;
}

TEST(RateTable, ForgottenKeysMakeRoomFreely) {
  RateTable table(bucket(10, 0), 1, 2);
  for (int i = 0; i < 100'000; ++i) EXPECT_TRUE(table.take("k" + std::to_string(i), TimePoint(seconds(i))).admitted);
  EXPECT_EQ(table.evicted(), 0U);
}

TEST(RateTable, WorkersCountTogether) {
  RateTable table(bucket(1, 999), 5, 6);
  std::atomic<int> admitted{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w) {
    workers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) admitted += table.take("one", TimePoint(seconds(10))).admitted ? 1 : 0;
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(admitted, 1000);
}

// ---- keys ----

using Fields = std::vector<std::pair<std::string_view, std::string_view>>;
struct Head {
  std::vector<http1::Header> headers;
  http1::RequestHead head;
  explicit Head(const Fields& fields) {
    for (const auto& [name, value] : fields) headers.push_back({http1::header_id_of(name), name, value});
    head.headers = headers;
  }
};

TEST(ClientKey, ReadsWhatItWrites) {
  for (const char* text : {"ip", "path", "route", "header:X-Api-Key", "cookie:sid"}) {
    const auto key = ClientKey::parse(text);
    ASSERT_TRUE(key) << text;
    EXPECT_EQ(key->text(), text);
  }
  for (const char* text : {"", "IP", "header:", "header:a b", "cookie", "cookie:a;b", "query:x"}) EXPECT_FALSE(ClientKey::parse(text)) << text;
}

TEST(ClientKey, AMissingHeaderCountsByAddress) {
  std::string a, b, c;
  const Head with(Fields{{"X-Api-Key", "k1"}}), without(Fields{});
  const ClientKey key = *ClientKey::parse("header:X-Api-Key");
  EXPECT_EQ(client_key(key, with.head, "192.0.2.1", "/", a), client_key(key, with.head, "192.0.2.2", "/", b));
  EXPECT_NE(client_key(key, without.head, "192.0.2.1", "/", a), client_key(key, without.head, "192.0.2.2", "/", b));
  EXPECT_EQ(client_key(key, without.head, "192.0.2.1", "/", a), client_key(ClientKey{}, with.head, "192.0.2.1", "/", c));
}

TEST(ClientKey, AnIpv6HostCountsAsItsNetwork) {
  std::string a, b;
  const Head none(Fields{});
  EXPECT_EQ(client_key({}, none.head, "2001:db8:1:2::1", "/", a), client_key({}, none.head, "2001:db8:1:2:ffff::9", "/", b));
  EXPECT_NE(client_key({}, none.head, "2001:db8:1:2::1", "/", a), client_key({}, none.head, "2001:db8:1:3::1", "/", b));
  EXPECT_NE(client_key({}, none.head, "192.0.2.1", "/", a), client_key({}, none.head, "192.0.2.2", "/", b));
}

TEST(ClientKey, CookiesOfAllFields) {
  const Head head(Fields{{"Cookie", "a=1; sid=abc"}, {"cookie", "b=2;c=\"x y\""}});
  EXPECT_EQ(cookie_of(head.head, "sid"), "abc");
  EXPECT_EQ(cookie_of(head.head, "b"), "2");
  EXPECT_EQ(cookie_of(head.head, "c"), "\"x y\"");
  EXPECT_FALSE(cookie_of(head.head, "id"));
}

TEST(ClientAddress, TheLastThatIsNoTrustedProxy) {
  const auto trusted = TrustedProxies::parse({"10.0.0.0/8"});
  const Head spoofed(Fields{{"X-Forwarded-For", "1.1.1.1, 203.0.113.7"}, {"X-Forwarded-For", "10.0.0.9"}});
  EXPECT_EQ(client_address(spoofed.head, "10.0.0.1", &*trusted), "203.0.113.7");
  EXPECT_EQ(client_address(spoofed.head, "192.0.2.1", &*trusted), "192.0.2.1") << "nobody that we trust";
  EXPECT_EQ(client_address(spoofed.head, "10.0.0.1", nullptr), "10.0.0.1");
  const Head broken(Fields{{"X-Forwarded-For", "203.0.113.7, nonsense, 10.0.0.2"}});
  EXPECT_EQ(client_address(broken.head, "10.0.0.1", &*trusted), "10.0.0.2");
  const Head ported(Fields{{"X-Forwarded-For", "203.0.113.7:4711"}}), v6(Fields{{"X-Forwarded-For", "[2001:db8::1]:99"}});
  EXPECT_EQ(client_address(ported.head, "10.0.0.1", &*trusted), "203.0.113.7");
  EXPECT_EQ(client_address(v6.head, "10.0.0.1", &*trusted), "2001:db8::1");
}

// ---- credentials: a digest that a test can compute ----

Digest fake_digest(std::string_view text) {
  Digest digest{};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t word = keyed_hash(i, 99, text);
    for (std::size_t j = 0; j < 8; ++j) digest[8 * i + j] = static_cast<std::byte>(word >> (8 * j));
  }
  return digest;
}

std::string hex(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte b : digest) {
    out += kDigits[std::to_integer<unsigned>(b) >> 4];
    out += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

Credentials secrets() {
  Credentials all;
  all.entries.push_back(*Credentials::parse("sha256:" + hex(fake_digest("token-one"))));
  all.entries.push_back(*Credentials::parse("bob:sha256:saltsalt:" + hex(fake_digest("saltsalt:bob:swordfish"))));
  return all;
}

TEST(CredentialsTest, FormsThatAreNone) {
  const std::string digest(64, 'a');
  EXPECT_TRUE(Credentials::parse("sha256:" + digest));
  EXPECT_TRUE(Credentials::parse("bob:sha256:12345678:" + digest));
  for (const std::string& text : {std::string(), digest, "sha256:" + digest + "0", "sha256:" + std::string(64, 'A'), ":sha256:12345678:" + digest,
                                  "bob:sha256:short:" + digest, "bob:sha256:1234567 :" + digest, "bob:sha256:12345678" + digest, "bob:md5:12345678:" + digest}) {
    EXPECT_FALSE(Credentials::parse(text)) << text;
  }
}

TEST(CredentialsTest, TokensAndPasswords) {
  const Credentials all = secrets();
  std::string scratch;
  const auto opens = [&](const Fields& fields) {
    const Head head(fields);
    return credentials_of(all, fake_digest, head.head, scratch) != nullptr;
  };
  EXPECT_TRUE(opens({{"Authorization", "Bearer token-one"}}));
  EXPECT_TRUE(opens({{"authorization", "bearer  token-one"}}));
  EXPECT_TRUE(opens({{"X-Api-Key", "token-one"}}));
  EXPECT_TRUE(opens({{"Authorization", "Basic Ym9iOnN3b3JkZmlzaA=="}}));   // bob:swordfish
  EXPECT_FALSE(opens({{"Authorization", "Basic Ym9iOnN3b3JkZmlzaA"}})) << "without padding";
  EXPECT_FALSE(opens({{"Authorization", "Basic ZXZlOnN3b3JkZmlzaA=="}})) << "eve with bob's password";
  EXPECT_FALSE(opens({{"Authorization", "Bearer token-two"}}));
  EXPECT_FALSE(opens({{"Authorization", "token-one"}}));
  EXPECT_FALSE(opens({{"X-Api-Key", "saltsalt:bob:swordfish"}})) << "a password's preimage is no token";
  EXPECT_FALSE(opens({}));
  const Head good(Fields{{"X-Api-Key", "token-one"}});
  EXPECT_EQ(credentials_of(all, nullptr, good.head, scratch), nullptr) << "without a digest nobody gets in";
}

TEST(CredentialsTest, ATokenMayHaveANameThatOutlivesItsSecret) {
  const std::string digest(64, 'a'), other(64, 'b');
  const auto who = [](const std::string& text) {
    const auto entry = Credentials::parse(text);
    return entry ? principal_of(*entry) : std::string("none");
  };
  EXPECT_EQ(who("desk-a:sha256:" + digest), "token desk-a");
  EXPECT_EQ(who("desk-a:sha256:" + other), "token desk-a");
  EXPECT_EQ(who("sha256:" + digest), "token " + digest);
  EXPECT_EQ(who("desk-a:sha256:12345678:" + digest), "user desk-a") << "a token and a user of one name are two";
  EXPECT_EQ(who(":sha256:" + digest), "none");
  EXPECT_EQ(Credentials::parse("desk-a:sha256:" + digest)->user, "");
}

// ---- through a proxy ----

class AdmissionFlow : public ProxyTest {
 protected:
  void limit(Admission admission, Milliseconds total = Milliseconds{60000}) {
    settings.digest = fake_digest;
    if (proxy == nullptr) start();
    Route route;
    route.name = "limited";
    route.pool = "all";
    route.timeouts.total = total;
    route.admission = std::move(admission);
    auto made = RouteTable::make({route}, table.get(), {1, 2});
    ASSERT_TRUE(made) << made.error().detail;
    table = *made;
    proxy->set_routes(table);
    set_pool({endpoint(1)});
  }
  std::string ask(Wire& c, const std::string& fields = "", bool answer = true) {
    c.send("GET /x HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n");
    if (answer && !host.upstreams.empty() && !up(host.upstreams.size() - 1).out.empty()) {
      Wire& u = up(host.upstreams.size() - 1);
      u.take();
      u.send(ok("fine"));
    } else if (answer && c.out.empty() && !host.upstreams.empty()) {
      Wire& u = up(host.upstreams.size() - 1);
      u.connect();
      u.take();
      u.send(ok("fine"));
    }
    return c.take();
  }
  const RouteCounters& of_route() {
    seen = proxy->routes().at(0).counters;
    return seen;
  }
  std::shared_ptr<const RouteTable> table;
  RouteCounters seen;
};

TEST_F(AdmissionFlow, Answers429WithTheFieldsAndCounts) {
  Admission rules;
  rules.rate = bucket(1, 1);
  rules.rate_zone = "api";
  limit(rules);
  auto c = client();
  const std::string first = ask(*c);
  EXPECT_NE(first.find("200 OK"), std::string::npos) << first;
  EXPECT_NE(first.find("RateLimit-Policy: \"api\";q=1;w=1\r\n"), std::string::npos) << first;
  EXPECT_NE(first.find("RateLimit: \"api\";r=1;t=1\r\n"), std::string::npos) << first;
  EXPECT_NE(ask(*c).find("200 OK"), std::string::npos);
  const std::string third = ask(*c);
  EXPECT_NE(third.find("429 Too Many Requests"), std::string::npos) << third;
  EXPECT_NE(third.find("Retry-After: 1\r\n"), std::string::npos) << third;
  EXPECT_NE(third.find("RateLimit: \"api\";r=0;t=1\r\n"), std::string::npos) << third;
  EXPECT_NE(third.find("X-Outrigger-Outcome: not-sent"), std::string::npos) << third;
  EXPECT_FALSE(c->over()) << "the connection goes on";
  EXPECT_EQ(of_route().requests, 3U);
  EXPECT_EQ(of_route().rate_limited, 1U);
  advance(Milliseconds(1001));
  EXPECT_NE(ask(*c).find("200 OK"), std::string::npos);
}

TEST_F(AdmissionFlow, CountsGoOnInANewTableAndBeginAnewWithAnotherRule) {
  Admission rules;
  rules.rate = window(1, seconds(100));
  limit(rules);
  auto c = client();
  EXPECT_NE(ask(*c).find("200 OK"), std::string::npos);
  limit(rules);
  EXPECT_NE(ask(*c).find("429"), std::string::npos) << "a reload must not forget";
  EXPECT_EQ(of_route().requests, 2U);
  rules.rate = window(2, seconds(100));
  limit(rules);
  EXPECT_NE(ask(*c).find("200 OK"), std::string::npos);
}

TEST_F(AdmissionFlow, ABurstWithoutNodelayGoesOutAtTheRate) {
  Admission rules;
  rules.rate = bucket(10, 5, false);
  limit(rules);
  auto a = client(), b = client();
  EXPECT_NE(ask(*a).find("200 OK"), std::string::npos);
  EXPECT_EQ(ask(*b, "", false), "");
  advance(Milliseconds(80));
  EXPECT_EQ(up(0).take(), "") << "not before its turn";
  EXPECT_FALSE(b->paused) << "we still hear the client leave";
  advance(Milliseconds(30));
  EXPECT_NE(up(0).take().find("GET /x"), std::string::npos);
  up(0).send(ok("late"));
  EXPECT_NE(b->take().find("late"), std::string::npos);
  EXPECT_EQ(of_route().rate_delayed, 1U);
}

TEST_F(AdmissionFlow, AClientThatLeavesWhileItWaitsIsForgotten) {
  Admission rules;
  rules.rate = bucket(1, 5, false);
  limit(rules);
  auto a = client(), b = client();
  EXPECT_NE(ask(*a).find("200 OK"), std::string::npos);
  ask(*b, "", false);
  b->eof();
  advance(seconds(2));
  EXPECT_EQ(up(0).take(), "");
  EXPECT_EQ(host.accesses.back().outcome, Outcome::kNotSent);
}

TEST_F(AdmissionFlow, ConcurrencyIsRefusedAboveTheLimitAndFreedByEveryEnding) {
  Admission rules;
  rules.concurrency_max = 2;
  limit(rules);
  auto a = client(), b = client(), c = client();
  ask(*a, "", false);
  ask(*b, "", false);
  const std::string refused = ask(*c, "", false);
  EXPECT_NE(refused.find("503"), std::string::npos) << refused;
  EXPECT_NE(refused.find("route_busy"), std::string::npos);
  EXPECT_NE(refused.find("Retry-After: 1"), std::string::npos);
  EXPECT_EQ(of_route().busy, 1U);
  a->fail(StreamEnd::kReset);
  EXPECT_EQ(ask(*c, "", false), "") << "on its way: the one that left has made room";
  EXPECT_EQ(table->routes()[0].admission.share->running, 2U);
  limit(rules);
  EXPECT_EQ(table->routes()[0].admission.share->running, 2U) << "a new table knows who is under way";
  b->fail(StreamEnd::kReset);
  c->fail(StreamEnd::kReset);
  EXPECT_EQ(table->routes()[0].admission.share->running, 0U);
}

TEST_F(AdmissionFlow, Guide000MetricsAllow10DenyAllAndGuide002AdminNetworks) {
  Admission rules;
  rules.allow = *AddressBlocks::parse({"10.0.0.0/8", "192.168.0.0/16"});
  limit(rules);
  auto c = client();
  const std::string refused = ask(*c);
  EXPECT_NE(refused.find("403 Forbidden"), std::string::npos) << refused;
  EXPECT_EQ(of_route().address_denied, 1U);
  rules.allow = *AddressBlocks::parse({"192.0.2.0/24"});
  limit(rules);
  EXPECT_NE(ask(*c).find("200 OK"), std::string::npos);
  rules.deny = *AddressBlocks::parse({"192.0.2.9"});
  limit(rules);
  EXPECT_NE(ask(*c).find("403"), std::string::npos) << "deny wins";
}

TEST_F(AdmissionFlow, AsksForCredentials) {
  Admission rules;
  rules.credentials = secrets();
  limit(rules);
  auto c = client();
  const std::string refused = ask(*c);
  EXPECT_NE(refused.find("401 Unauthorized"), std::string::npos) << refused;
  EXPECT_NE(refused.find("WWW-Authenticate: Basic realm=\"outrigger\""), std::string::npos) << refused;
  EXPECT_NE(ask(*c, "X-Api-Key: token-one\r\n").find("200 OK"), std::string::npos);
  EXPECT_EQ(of_route().unauthorized, 1U);
}

TEST_F(AdmissionFlow, PeersHavePassedTheRulesWhereTheyCameIn) {
  Admission rules;
  rules.credentials = secrets();
  rules.rate = window(1, seconds(100));
  limit(rules);
  auto peer = client(ListenerKind::kPeer);
  EXPECT_NE(ask(*peer).find("200 OK"), std::string::npos);
  EXPECT_NE(ask(*peer).find("200 OK"), std::string::npos);
}

TEST(RouteTableLimits, OneZoneHasOneRule) {
  Route a, b;
  a.name = "a";
  a.path = "/a";
  a.pool = b.pool = "all";
  a.admission.rate = bucket(10, 20);
  a.admission.rate_zone = "api";
  b = a;
  b.name = "b";
  b.path = "/b";
  auto same = RouteTable::make({a, b});
  ASSERT_TRUE(same);
  EXPECT_EQ((*same)->routes()[0].admission.rate_table, (*same)->routes()[1].admission.rate_table);
  b.admission.rate = bucket(10, 21);
  const auto refused = RouteTable::make({a, b});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kBadRoute);
}

}  // namespace
}  // namespace proxy::testing
