// Sessions: the table that all workers share, and where a proxy sends the requests of a session.
#include "proxy/sticky.h"

#include <map>
#include <set>
#include <thread>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using Why = StickyTable::Why;

constexpr TimePoint kStart{hours(1)};

// ---- the table ----

class StickyTableTest : public ::testing::Test {
 protected:
  StickyTable table{[this] { ++rings; }};
  int rings = 0;
  ZoneNumber zone = *table.zone("web", seconds(60));
  NodeNumber n1 = table.number_of("n1"), n2 = table.number_of("n2");

  std::vector<StickyPlace> news() {
    std::vector<StickyPlace> out;
    table.take_news([&](const StickyPlace& place) { out.push_back(place); });
    return out;
  }
  static SessionHash session(int number) { return session_hash("web", "s" + std::to_string(number)); }
};

TEST_F(StickyTableTest, TheSecondRequestOfASessionAsksForARow) {
  EXPECT_EQ(table.use(session(1), kStart), NodeNumber::kNone);
  table.put(session(1), zone, n1, kStart, Why::kNew);
  EXPECT_EQ(rings, 0) << "a client that comes once must not cost the cluster a write";
  EXPECT_TRUE(news().empty());
  EXPECT_EQ(table.use(session(1), kStart), n1);
  EXPECT_EQ(table.use(session(1), kStart), n1);
  EXPECT_EQ(rings, 1);
  const auto told = news();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].session, session(1));
  EXPECT_EQ(told[0].node, n1);
  EXPECT_TRUE(told[0].wanted);
  table.pin(session(1), zone, n1, kStart);
  EXPECT_EQ(table.use(session(1), kStart + seconds(10)), n1);
  EXPECT_TRUE(news().empty());
  EXPECT_EQ(table.entries(), 1U);
}

TEST_F(StickyTableTest, MovesAndLearnedSessionsAskAtOnce) {
  table.put(session(1), zone, n1, kStart, Why::kLearned);
  EXPECT_EQ(news().size(), 1U);
  table.pin(session(1), zone, n1, kStart);
  table.put(session(1), zone, n2, kStart, Why::kMoved);
  EXPECT_EQ(table.moved(), 1U);
  ASSERT_EQ(news().size(), 1U);
  EXPECT_FALSE(table.look(session(1))->pinned);
  EXPECT_EQ(table.node_of(session(1), kStart), n2);
}

TEST_F(StickyTableTest, SessionsEndByTheirLastUseAndPinnedOnesWithTheirRow) {
  table.put(session(1), zone, n1, kStart, Why::kNew);
  EXPECT_EQ(table.use(session(1), kStart + seconds(50)), n1);
  EXPECT_EQ(table.node_of(session(1), kStart + seconds(109)), n1);
  EXPECT_EQ(table.node_of(session(1), kStart + seconds(111)), NodeNumber::kNone);
  table.pin(session(2), zone, n2, kStart);
  EXPECT_EQ(table.node_of(session(2), kStart + hours(2)), n2) << "others may use it elsewhere; its row says when it ends";
  table.forget(session(2));
  EXPECT_EQ(table.node_of(session(2), kStart), NodeNumber::kNone);
  std::size_t seen = 0;
  table.sweep(0, StickyTable::kSets, kStart + hours(1), [&](const StickyPlace&) { ++seen; });
  EXPECT_EQ(seen, 0U);
  EXPECT_EQ(table.entries(), 0U);
}

TEST_F(StickyTableTest, AFloodOfInventedSessionsTakesNoPlaceOfAPinnedOne) {
  std::vector<SessionHash> pinned;
  for (int i = 0; i < 50'000; ++i) {
    pinned.push_back(session(i));
    table.pin(pinned.back(), zone, n1, kStart);
  }
  ASSERT_EQ(table.evicted(), 0U);
  for (int i = 0; i < 600'000; ++i) table.put(SessionHash{0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(i + 1)}, zone, n2, kStart + seconds(1), Why::kNew);
  EXPECT_GT(table.evicted(), 100'000U);
  EXPECT_LE(table.entries(), StickyTable::kPlaces);
  std::size_t lost = 0;
  for (const SessionHash one : pinned) lost += table.node_of(one, kStart + seconds(2)) == n1 ? 0 : 1;
  EXPECT_EQ(lost, 0U);
}

TEST_F(StickyTableTest, WorkersNeverReadTheNodeOfAnotherSession) {
  // All sessions of one set: places change hands all the time. The node is a function of the session.
  const auto node_for = [&](std::uint64_t key) { return key / StickyTable::kSets % 2 == 0 ? n1 : n2; };
  std::atomic<std::uint64_t> wrong{0}, found{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 60'000; ++i) {
        const std::uint64_t key = (i * 7 + t * 13) % 48 * StickyTable::kSets + 5;
        const SessionHash one{key + StickyTable::kSets * 48};
        const auto expected = node_for(static_cast<std::uint64_t>(one));
        const NodeNumber got = table.use(one, kStart);
        if (got == NodeNumber::kNone) table.put(one, zone, expected, kStart, Why::kNew);
        else (got == expected ? found : wrong).fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0U);
  EXPECT_GT(found.load(), 0U);
  EXPECT_LE(table.entries(), StickyTable::kWays);
}

TEST(SessionHash, IsTheSameAtEveryAgent) {
  // Agents of different builds must agree: these may never change.
  EXPECT_EQ(static_cast<std::uint64_t>(session_hash("web", "alice")), static_cast<std::uint64_t>(session_hash("web", "alice")));
  EXPECT_NE(session_hash("web", "alice"), session_hash("api", "alice"));
  EXPECT_NE(session_hash("web", "alice"), session_hash("web", "bob"));
  std::string scratch;
  EXPECT_EQ(session_address("192.0.2.7", scratch), "192.0.2.7");
  EXPECT_EQ(session_address("2001:db8:1:2:3:4:5:6", scratch), "2001:0db8:0001:0002::/64");
  EXPECT_EQ(session_address("unix", scratch), "unix");
}

TEST(CookieSet, FindsTheValueThatAnAnswerGives) {
  EXPECT_EQ(cookie_set("sid=abc; Path=/", "sid"), "abc");
  EXPECT_EQ(cookie_set(" sid = abc ;HttpOnly", "sid"), "abc");
  EXPECT_EQ(cookie_set("sid=abc; Max-Age=3600", "sid"), "abc");
  EXPECT_EQ(cookie_set("sid=abc; max-age=0", "sid"), std::nullopt);
  EXPECT_EQ(cookie_set("sid=; Path=/", "sid"), std::nullopt);
  EXPECT_EQ(cookie_set("sid2=abc", "sid"), std::nullopt);
  EXPECT_EQ(cookie_set("abc", "sid"), std::nullopt);
  EXPECT_EQ(cookie_set("", "sid"), std::nullopt);
}

// ---- through a proxy ----

class StickyProxy : public ProxyTest {
 protected:
  std::shared_ptr<StickyTable> table = std::make_shared<StickyTable>(nullptr);
  Route route;
  std::vector<Endpoint> pool;

  StickyProxy() {
    route.name = "web";
    route.kind = PoolKind::kAll;
    route.pool = "all";
    route.sticky.emplace();
    route.sticky->key = {ClientKey::Kind::kHeader, "X-Session"};
    route.sticky->table = table;
    for (std::uint64_t id = 1; id <= 3; ++id) {
      pool.push_back(endpoint(id));
      pool.back().number = table->number_of(pool.back().node);
    }
  }
  void begin() {
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    auto made = RouteTable::make({route});
    ASSERT_TRUE(made) << made.error().detail;
    proxy->set_routes(*made);
    set_pool(pool);
  }
  /// The wire at which a request has arrived and waits for its answer; connects what connects.
  Wire* arrived() {
    for (int round = 0; round < 4; ++round) {
      for (std::size_t i = 0; i < host.upstreams.size(); ++i) {
        Wire& wire = up(i);
        if (wire.over()) continue;
        if (!wire.out.empty()) return &wire;
        if (dead.contains(wire.endpoint.id)) wire.fail(StreamEnd::kRefused);
        else if (connected.insert(&wire).second) wire.connect();
      }
    }
    return nullptr;
  }
  struct Answer {
    std::uint64_t endpoint = 0;
    std::string text;
  };
  Answer ask(const std::string& fields, const std::string& answer = ok("x")) {
    auto wire = client();
    wire->send("GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n");
    Wire* at = arrived();
    if (at == nullptr) return {0, wire->take()};
    const auto id = static_cast<std::uint64_t>(at->endpoint.id);
    at->take();
    at->send(answer);
    return {id, wire->take()};
  }
  static std::string session(const std::string& name) { return "X-Session: " + name + "\r\n"; }
  std::set<EndpointId> dead;
  std::set<Wire*> connected;
};

TEST_F(StickyProxy, ASessionStaysMovesOnceWhenItsNodeDiesAndDoesNotGoBack) {
  begin();
  std::map<std::string, std::uint64_t> first;
  std::set<std::uint64_t> used;
  for (int i = 0; i < 30; ++i) used.insert(first["s" + std::to_string(i)] = ask(session("s" + std::to_string(i))).endpoint);
  EXPECT_EQ(used.size(), 3U);
  for (const auto& [name, id] : first) EXPECT_EQ(ask(session(name)).endpoint, id);
  auto without = pool;
  without[0].health = Health::kCritical;
  set_pool(without);
  std::map<std::string, std::uint64_t> second;
  for (const auto& [name, id] : first) {
    second[name] = ask(session(name)).endpoint;
    if (id != 1) EXPECT_EQ(second[name], id);
    else EXPECT_NE(second[name], 1U);
  }
  set_pool(pool);
  for (const auto& [name, id] : second) EXPECT_EQ(ask(session(name)).endpoint, id) << "back to a node that has returned";
  EXPECT_EQ(table->moved(), static_cast<std::uint64_t>(std::count_if(first.begin(), first.end(), [](const auto& e) { return e.second == 1; })));
}

TEST_F(StickyProxy, ANodeThatRefusesTheConnectionLosesTheSession) {
  begin();
  const auto at = ask(session("a")).endpoint;
  dead.insert(EndpointId{at});
  for (const auto& wire : host.upstreams) wire->fail(StreamEnd::kReset);
  const auto moved = ask(session("a")).endpoint;
  EXPECT_NE(moved, at);
  dead.clear();
  EXPECT_EQ(ask(session("a")).endpoint, moved);
}

TEST_F(StickyProxy, OneBadAnswerIsRetriedElsewhereAndTheSessionStays) {
  begin();
  const auto at = ask(session("a")).endpoint;
  for (const auto& wire : host.upstreams) wire->fail(StreamEnd::kReset);
  auto wire = client();
  wire->send("GET / HTTP/1.1\r\nHost: h\r\n" + session("a") + "\r\n");
  Wire* there = arrived();
  ASSERT_NE(there, nullptr);
  ASSERT_EQ(static_cast<std::uint64_t>(there->endpoint.id), at);
  there->take();
  there->fail(StreamEnd::kReset);
  Wire* elsewhere = arrived();
  ASSERT_NE(elsewhere, nullptr);
  EXPECT_NE(static_cast<std::uint64_t>(elsewhere->endpoint.id), at);
  elsewhere->take();
  elsewhere->send(ok("x"));
  EXPECT_TRUE(has(wire->take(), "200 OK"));
  EXPECT_EQ(ask(session("a")).endpoint, at);
  EXPECT_EQ(table->moved(), 0U);
}

TEST_F(StickyProxy, OurCookieIsIssuedOnceAndItsHashIsWhereTheBalancerSentIt) {
  route.sticky->key = {ClientKey::Kind::kCookie, std::string(kStickyCookie)};
  route.sticky->issue = true;
  route.balance.kind = Balance::kRoundRobin;
  begin();
  std::map<std::uint64_t, int> spread;
  for (int i = 0; i < 12; ++i) {
    const Answer answer = ask("");
    ++spread[answer.endpoint];
    const std::size_t found = answer.text.find("Set-Cookie: outrigger_sticky=");
    ASSERT_NE(found, std::string::npos) << answer.text;
    EXPECT_TRUE(has(answer.text, "; Path=/; HttpOnly; SameSite=Lax\r\n")) << "no Secure over plain http";
    const std::string id = answer.text.substr(found + 29, 32);
    EXPECT_TRUE(is_session_id(id));
    table->forget(session_hash("web", id));  // as an entry node that has never heard of it
    const Answer again = ask("Cookie: a=b; outrigger_sticky=" + id + "\r\n");
    EXPECT_EQ(again.endpoint, answer.endpoint);
    EXPECT_FALSE(has(again.text, "Set-Cookie"));
  }
  EXPECT_EQ(spread, (std::map<std::uint64_t, int>{{1, 4}, {2, 4}, {3, 4}}));
  EXPECT_TRUE(has(ask("Cookie: outrigger_sticky=forged\r\n").text, "Set-Cookie: outrigger_sticky="));
}

TEST_F(StickyProxy, TheApplicationsCookieIsLearnedFromTheAnswerThatMakesIt) {
  route.sticky->key = {ClientKey::Kind::kCookie, "sid"};
  route.balance.kind = Balance::kRoundRobin;
  begin();
  for (int i = 0; i < 9; ++i) {
    const std::string id = "app" + std::to_string(i);
    const Answer login = ask("", "HTTP/1.1 200 OK\r\nSet-Cookie: sid=" + id + "; Path=/\r\nContent-Length: 0\r\n\r\n");
    ASSERT_NE(login.endpoint, 0U);
    EXPECT_FALSE(has(login.text, "outrigger_sticky"));
    EXPECT_EQ(ask("Cookie: sid=" + id + "\r\n").endpoint, login.endpoint);
    EXPECT_TRUE(table->look(session_hash("web", id))->wanted);
  }
}

TEST_F(StickyProxy, AFullNodeIsWaitedForBeforeTheSessionMoves) {
  route.max_conns = 1;
  route.queue_timeout = Milliseconds{500};
  begin();
  const auto at = ask(session("a")).endpoint;
  auto busy = client();
  busy->send("GET /busy HTTP/1.1\r\nHost: h\r\n" + session("a") + "\r\n");
  Wire* held = arrived();
  ASSERT_NE(held, nullptr);
  held->take();
  auto waiting = client(), hopeless = client();
  waiting->send("GET /second HTTP/1.1\r\nHost: h\r\n" + session("a") + "\r\n");
  EXPECT_EQ(arrived(), nullptr) << "somebody else has room, but the session is not there";
  held->send(ok("1"));
  Wire* next = arrived();
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(static_cast<std::uint64_t>(next->endpoint.id), at);
  next->take();
  hopeless->send("GET /third HTTP/1.1\r\nHost: h\r\n" + session("a") + "\r\n");
  EXPECT_EQ(arrived(), nullptr);
  // Another session passes it by in the queue.
  for (int i = 0; i < 50; ++i) {
    const std::string other = session("o" + std::to_string(i));
    auto wire = client();
    wire->send("GET /other HTTP/1.1\r\nHost: h\r\n" + other + "\r\n");
    Wire* there = arrived();
    if (there == nullptr) {
      wire->eof();
      continue;
    }
    EXPECT_NE(static_cast<std::uint64_t>(there->endpoint.id), at);
    there->take();
    there->send(ok("o"));
  }
  advance(Milliseconds{600});
  Wire* moved = arrived();
  ASSERT_NE(moved, nullptr);
  EXPECT_NE(static_cast<std::uint64_t>(moved->endpoint.id), at);
  moved->take();
  moved->send(ok("3"));
  EXPECT_TRUE(has(hopeless->take(), "200 OK"));
}

TEST_F(StickyProxy, ADrainingNodeKeepsItsSessionsForAWhileAndGetsNoNewOnes) {
  route.sticky->drain = Milliseconds{5000};
  begin();
  std::string kept;
  for (int i = 0; kept.empty(); ++i) {
    if (ask(session("s" + std::to_string(i))).endpoint == 1) kept = "s" + std::to_string(i);
  }
  auto draining = pool;
  draining[0].draining = true;
  set_pool(draining);
  EXPECT_EQ(ask(session(kept)).endpoint, 1U);
  for (int i = 0; i < 20; ++i) EXPECT_NE(ask(session("new" + std::to_string(i))).endpoint, 1U);
  advance(Milliseconds{5100});
  EXPECT_NE(ask(session(kept)).endpoint, 1U);
}

TEST_F(StickyProxy, RoutesThatCannotStickAreRefusedByName) {
  route.kind = PoolKind::kPrimary;
  route.service = "trader";
  const auto made = RouteTable::make({route});
  ASSERT_FALSE(made);
  EXPECT_TRUE(has(made.error().detail, "primary route"));
}

}  // namespace
}  // namespace proxy::testing
