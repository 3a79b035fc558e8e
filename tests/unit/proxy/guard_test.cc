// Clients that fail too often: what counts, how long they stay out, and what the table does when it is full.
#include <atomic>
#include <thread>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

TimePoint at(std::int64_t ms) { return TimePoint(Milliseconds(1'000'000 + ms)); }

GuardRule rule(std::vector<std::string> never = {}) {
  GuardRule out;
  out.fails = 3;
  out.within = Milliseconds(10'000);
  out.ban = Milliseconds(60'000);
  out.never = *AddressBlocks::parse(never);
  return out;
}

TEST(Guard, KeysAreAddressesAndNetworksAndReadBack) {
  EXPECT_EQ(text_of(guard_key("192.0.2.7")), "192.0.2.7");
  EXPECT_EQ(guard_key("::ffff:192.0.2.7"), guard_key("192.0.2.7"));
  EXPECT_EQ(guard_key("2001:db8:1:2:3::4"), guard_key("2001:db8:1:2:ffff::")) << "one /64 is one client";
  EXPECT_NE(guard_key("2001:db8:1:2::"), guard_key("2001:db8:1:3::"));
  for (const char* text : {"255.255.255.255", "10.0.0.1", "2001:db8:1:2::/64", "2001:db8::/64", "fe80::/64", "2001:0:0:1::/64"}) {
    const GuardKey key = guard_key(text);
    EXPECT_NE(key, GuardKey::kNone) << text;
    EXPECT_EQ(guard_key(text_of(key)), key) << text << " " << text_of(key);
  }
  for (const char* text : {"", "unix", "0.0.0.0", "::", "1.2.3", "2001:db8::/32", "host"}) EXPECT_EQ(guard_key(text), GuardKey::kNone) << text;
}

TEST(Guard, SoManyFailuresWithinTheTimeBan) {
  GuardTable guard(rule(), 7);
  EXPECT_FALSE(guard.fail("192.0.2.1", at(0)));
  EXPECT_FALSE(guard.fail("192.0.2.1", at(5000)));
  EXPECT_FALSE(guard.bans_any(at(5000)));
  EXPECT_FALSE(guard.fail("192.0.2.1", at(10'001))) << "the first was too long ago: it begins anew";
  EXPECT_FALSE(guard.fail("192.0.2.1", at(10'002)));
  EXPECT_TRUE(guard.fail("192.0.2.1", at(10'003)));
  EXPECT_TRUE(guard.bans_any(at(10'004)));
  EXPECT_TRUE(guard.bans("192.0.2.1", at(70'002)));
  EXPECT_FALSE(guard.bans("192.0.2.2", at(10'004)));
  EXPECT_FALSE(guard.bans("192.0.2.1", at(70'003)));
  EXPECT_FALSE(guard.fail("192.0.2.1", at(70'004))) << "and it begins at nothing";
  EXPECT_EQ(guard.banned(), 1U);
}

TEST(Guard, FailuresOfTheBannedMakeNothingLonger) {
  GuardTable guard(rule(), 7);
  for (int i = 0; i < 3; ++i) (void)guard.fail("192.0.2.1", at(0));
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(guard.fail("192.0.2.1", at(30'000)));
  EXPECT_FALSE(guard.bans("192.0.2.1", at(60'000)));
}

TEST(Guard, WhoIsNeverBannedIsNot) {
  GuardTable guard(rule({"192.0.2.0/24", "2001:db8::/32"}), 7);
  for (int i = 0; i < 9; ++i) {
    EXPECT_FALSE(guard.fail("192.0.2.1", at(i)));
    EXPECT_FALSE(guard.fail("2001:db8::1", at(i)));
    EXPECT_FALSE(guard.fail("unix", at(i)));
  }
  EXPECT_EQ(guard.ban(guard_key("192.0.2.1"), at(9000), GuardTable::By::kPeer, at(0)), GuardTable::Banned::kNever) << "nor at a peer's word";
  EXPECT_TRUE(guard.bans_at(at(1)).empty());
}

TEST(Guard, BansOfOthersStandBesideOurs) {
  GuardTable guard(rule(), 7);
  const GuardKey key = guard_key("192.0.2.1");
  EXPECT_EQ(guard.ban(key, at(5000), GuardTable::By::kPeer, at(0)), GuardTable::Banned::kYes);
  EXPECT_EQ(guard.ban(key, at(4000), GuardTable::By::kPeer, at(0)), GuardTable::Banned::kAlready) << "never shorter";
  EXPECT_EQ(guard.ban(key, at(2000), GuardTable::By::kHere, at(0)), GuardTable::Banned::kYes) << "our own from now on, as long as it was";
  EXPECT_EQ(guard.bans_at(at(1)), (std::vector<GuardTable::Ban>{{key, at(5000), GuardTable::By::kHere}}));
  EXPECT_EQ(guard.ban(key, at(9000), GuardTable::By::kPeer, at(0)), GuardTable::Banned::kYes);
  EXPECT_EQ(guard.bans_at(at(1)).at(0).by, GuardTable::By::kHere) << "and stays ours";
  EXPECT_TRUE(guard.unban(key, at(10)));
  EXPECT_FALSE(guard.unban(key, at(11)));
  EXPECT_FALSE(guard.bans("192.0.2.1", at(12)));
  EXPECT_EQ(guard.ban(key, at(10), GuardTable::By::kPeer, at(11)), GuardTable::Banned::kAlready) << "over before it came";
}

// 100,000 addresses that fail once must not let out who is banned, nor keep a new offender from being banned.
TEST(Guard, AFloodOfAddressesPushesOutCountsButNoBans) {
  GuardTable guard(rule(), 12345);
  for (int i = 0; i < 3; ++i) (void)guard.fail("192.0.2.1", at(0));
  for (std::uint32_t i = 0; i < 100'000; ++i)
    (void)guard.fail("10." + std::to_string(i >> 16U) + "." + std::to_string(i >> 8U & 0xffU) + "." + std::to_string(i & 0xffU), at(1));
  EXPECT_TRUE(guard.bans("192.0.2.1", at(2)));
  int tries = 0;
  while (tries < 3 && !guard.fail("192.0.2.9", at(2))) ++tries;
  EXPECT_TRUE(guard.bans("192.0.2.9", at(3)));
  EXPECT_EQ(guard.untracked(), 0U);
}

TEST(Guard, WhenEveryPlaceIsBannedTheRestIsCounted) {
  GuardTable guard(rule(), 12345);
  for (std::uint32_t i = 0; i < 40'000; ++i)
    (void)guard.ban(GuardKey{(1ULL << 32U) + 0x0a000001U + i}, at(50'000), GuardTable::By::kPeer, at(0));
  EXPECT_EQ(guard.bans_at(at(1)).size() + guard.untracked(), 40'000U);
  EXPECT_LE(guard.bans_at(at(1)).size(), GuardTable::kSlots);
  EXPECT_GT(guard.bans_at(at(1)).size(), GuardTable::kSlots * 9 / 10);
}

TEST(Guard, WorkersTogetherBanOnce) {
  GuardRule given = rule();
  given.fails = 4000;
  GuardTable guard(given, 3);
  std::atomic<int> bans{0};
  std::vector<std::thread> workers;
  for (int w = 0; w < 4; ++w)
    workers.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) bans += guard.fail("192.0.2.1", at(1)) ? 1 : 0;
    });
  for (auto& worker : workers) worker.join();
  EXPECT_EQ(bans, 1);
  EXPECT_TRUE(guard.bans("192.0.2.1", at(2)));
}

class Banned : public ProxyTest {};

TEST_F(Banned, BannedClientsGet403AndTheirConnectionEnds) {
  auto guard = std::make_shared<GuardTable>(rule(), 9);
  settings.guard = guard;
  start();
  set_pool({endpoint(1)});
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  EXPECT_EQ(body_of(c->take()), "1");
  ASSERT_EQ(guard->ban(guard_key("192.0.2.9"), host.now() + Milliseconds(5000), GuardTable::By::kHere, host.now()), GuardTable::Banned::kYes);
  c->send(get("/2"));
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "HTTP/1.1 403 ")) << answer;
  EXPECT_TRUE(has(answer, "\"code\":\"banned\""));
  EXPECT_TRUE(has(answer, "Connection: close"));
  EXPECT_EQ(host.accesses.back().reason, "banned");
  EXPECT_EQ(guard->refused(), 1U);
  EXPECT_EQ(host.upstreams.size(), 1U);
  auto peer = client(ListenerKind::kPeer);
  peer->send(get("/3"));
  EXPECT_FALSE(has(peer->take(), "banned")) << "what a peer sends on was let in there";
  advance(Milliseconds(6000));
  auto d = client();
  d->send(get("/4"));
  EXPECT_FALSE(has(d->take(), "banned"));
}

TEST_F(Banned, BehindATrustedProxyTheClientIsMeantNotTheProxy) {
  auto guard = std::make_shared<GuardTable>(rule(), 9);
  settings.guard = guard;
  start();
  set_pool({endpoint(1)});
  ASSERT_EQ(guard->ban(guard_key("203.0.113.5"), host.now() + Milliseconds(5000), GuardTable::By::kHere, host.now()), GuardTable::Banned::kYes);
  auto trusted = TrustedProxies::parse({"192.0.2.0/24"});
  ASSERT_TRUE(trusted);
  auto bad = client(ListenerKind::kDownstream, &*trusted);
  bad->send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n");
  EXPECT_TRUE(has(bad->take(), " 403 "));
  auto good = client(ListenerKind::kDownstream, &*trusted);
  good->send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.6\r\n\r\n");
  EXPECT_EQ(host.upstreams.size(), 1U);
}

}  // namespace
}  // namespace proxy::testing
