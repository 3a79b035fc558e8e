// Second attempts at late safe requests: when, where, within which budget, and every way in which two attempts can end.
#include "proxy/hedge.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(3)};

// ---- the window ----

TEST(LatencyWindowTest, SaysNothingOfTooFew) {
  LatencyWindow window;
  for (std::uint32_t i = 1; i < LatencyWindow::kSamplesMin; ++i) window.observe(kStart, Milliseconds(1));
  EXPECT_FALSE(window.percentile(kStart, 95));
  window.observe(kStart, Milliseconds(1));
  EXPECT_FALSE(window.percentile(kStart + Milliseconds(99), 95)) << "counted anew every 100 ms";
  EXPECT_TRUE(window.percentile(kStart + Milliseconds(100), 95));
}

TEST(LatencyWindowTest, APercentileIsNeverTooLowAndAtMostAnEighthTooHigh) {
  for (const std::int64_t us : {1LL, 63LL, 64LL, 65LL, 100LL, 999LL, 5'000LL, 77'777LL, 3'000'000LL, 600'000'000LL}) {
    LatencyWindow window;
    for (int i = 0; i < 94; ++i) window.observe(kStart, nanoseconds(0));
    for (int i = 0; i < 6; ++i) window.observe(kStart, microseconds(us));
    const auto p = window.percentile(kStart, 95);
    ASSERT_TRUE(p);
    EXPECT_GT(*p, microseconds(us)) << us;
    EXPECT_LE(*p, std::max<nanoseconds>(microseconds(64), microseconds(us + us / 8 + 1))) << us;
    LatencyWindow fast;
    for (int i = 0; i < 96; ++i) fast.observe(kStart, nanoseconds(0));
    for (int i = 0; i < 4; ++i) fast.observe(kStart, microseconds(us));
    EXPECT_EQ(*fast.percentile(kStart, 95), microseconds(64));
  }
  LatencyWindow window;
  for (int i = 0; i < 100; ++i) window.observe(kStart, std::chrono::hours(24 * 365));
  EXPECT_TRUE(window.percentile(kStart, 95)) << "what does not fit is in the last bucket";
}

TEST(LatencyWindowTest, ForgetsWhatIsOlderThanTwoHalves) {
  LatencyWindow window;
  for (int i = 0; i < 100; ++i) window.observe(kStart, seconds(1));
  EXPECT_TRUE(window.percentile(kStart + seconds(9), 95));
  EXPECT_TRUE(window.percentile(kStart + seconds(11), 95)) << "the half before the newest counts";
  for (int i = 0; i < 100; ++i) window.observe(kStart + seconds(12), Milliseconds(1));
  EXPECT_GT(*window.percentile(kStart + seconds(13), 95), Milliseconds(900));
  EXPECT_LT(*window.percentile(kStart + seconds(22), 95), Milliseconds(2));
  EXPECT_FALSE(window.percentile(kStart + seconds(100), 95));
}

// ---- through a proxy ----

class Hedge : public ProxyTest {
 protected:
  void SetUp() override {
    settings.trails = true;
    settings.outlier.consecutive = 2;
    rule.budget_percent = 20;
    build();
    warm(60);
  }
  void build(std::vector<Endpoint> endpoints = {endpoint(1), endpoint(2)}) {
    start();
    Route route;
    route.name = "hedged";
    route.pool = "all";
    route.timeouts = timeouts;
    route.hedge = rule;
    route.max_conns = max_conns;
    route.balance.kind = Balance::kRoundRobin;
    if (breaker) route.breaker = {1, Milliseconds(10'000), Milliseconds(10'000), 0xff};
    const auto table = RouteTable::make({route});
    ASSERT_TRUE(table) << table.error().detail;
    held = *table;
    proxy->set_routes(held);
    set_pool(std::move(endpoints));
  }
  /// The one upstream wire that has been written to; null = none or more than one.
  Wire* busy() {
    Wire* found = nullptr;
    for (const auto& wire : host.upstreams) {
      if (wire->over()) continue;
      if (wire->out.empty()) continue;
      if (found != nullptr) return nullptr;
      found = wire.get();
    }
    return found;
  }
  void warm(int count) {
    auto c = client();
    for (int i = 0; i < count; ++i) {
      const std::size_t before = host.upstreams.size();
      c->send(get("/warm"));
      if (host.upstreams.size() > before) host.upstreams.back()->connect();
      Wire* wire = busy();
      ASSERT_NE(wire, nullptr);
      wire->take();
      wire->send(ok("w"));
      c->take();
    }
    advance(Milliseconds(150));  // percentiles are counted anew every 100 ms
    host.accesses.clear();
  }
  /// Sends a GET and waits until the second attempt has begun. @return the wires of both
  struct Two {
    std::shared_ptr<Wire> client;
    Wire *first, *second;
  };
  Two two(std::string_view request = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n") {
    Two legs{client(), nullptr, nullptr};
    legs.client->send(request);
    legs.first = busy();
    EXPECT_NE(legs.first, nullptr);
    first_request = legs.first->take();
    advance(Milliseconds(20));
    legs.second = busy();
    EXPECT_NE(legs.second, nullptr) << "no second attempt";
    second_request = legs.second == nullptr ? "" : legs.second->take();
    return legs;
  }
  RouteCounters of_route() { return proxy->routes().at(0).counters; }
  std::uint64_t failures() {
    std::uint64_t sum = 0;
    for (const auto& one : proxy->endpoints()) sum += one.failures;
    return sum;
  }
  std::uint32_t in_flight() {
    std::uint32_t sum = 0;
    for (const auto& one : proxy->endpoints()) sum += one.in_flight;
    return sum;
  }
  HedgeRule rule;
  std::uint32_t max_conns = 0;
  bool breaker = false;
  std::shared_ptr<const RouteTable> held;
  std::string first_request, second_request;
};

TEST_F(Hedge, TheSecondAttemptBeginsWhenTheFirstIsLaterThanUsualAndTheFirstAnswerWins) {
  auto c = client();
  c->send(get("/x"));
  Wire* first = busy();
  first->take();
  advance(Milliseconds(9));
  EXPECT_EQ(busy(), nullptr) << "not before `least`";
  advance(Milliseconds(11));
  Wire* second = busy();
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second->endpoint.id, first->endpoint.id);
  EXPECT_TRUE(second->take().starts_with("GET /x "));
  second->send(ok("quick"));
  EXPECT_EQ(c->take(), ok("quick"));
  EXPECT_TRUE(first->reset) << "cancelled, and not kept for others";
  EXPECT_FALSE(second->over());
  EXPECT_EQ(of_route().hedges, 1U);
  EXPECT_EQ(of_route().hedges_won, 1U);
  ASSERT_EQ(host.accesses.size(), 1U);
  EXPECT_EQ(host.accesses[0].attempts, 2U);
  EXPECT_EQ(host.accesses[0].endpoint, second->endpoint.address);
  EXPECT_EQ(failures(), 0U) << "the loser says nothing about its endpoint";
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, TheFirstMayStillWin) {
  Two legs = two();
  EXPECT_EQ(first_request, second_request) << "the same request, to equals";
  legs.first->send(ok("after all"));
  EXPECT_EQ(legs.client->take(), ok("after all"));
  EXPECT_TRUE(legs.second->reset);
  EXPECT_FALSE(legs.first->over());
  EXPECT_EQ(of_route().hedges_won, 0U);
  EXPECT_EQ(host.accesses.at(0).endpoint, legs.first->endpoint.address);
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, BothAnswerInOneTurnAndOneIsTaken) {
  Two legs = two();
  StreamSink* late = legs.first->sink;
  legs.second->send(ok("one"));
  EXPECT_EQ(legs.first->sink, nullptr) << "closed streams tell nothing";
  EXPECT_NE(late, nullptr);
  legs.first->send(ok("two"));
  EXPECT_EQ(legs.client->take(), ok("one"));
  legs.client->send(get("/again"));
  EXPECT_NE(busy(), nullptr) << "the connection of the client goes on";
}

TEST_F(Hedge, ALoserThatFailsIsNoFailureOfTheRequest) {
  Two legs = two();
  legs.second->fail(StreamEnd::kReset);
  EXPECT_EQ(legs.client->out, "");
  advance(Milliseconds(50));
  EXPECT_EQ(host.upstreams.size(), 2U) << "no third attempt beside the one that is there";
  legs.first->send(ok("fine"));
  EXPECT_EQ(legs.client->take(), ok("fine"));
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, TheFirstFailsAndTheSecondGoesOn) {
  Two legs = two();
  legs.first->fail(StreamEnd::kReset);
  EXPECT_EQ(legs.client->out, "");
  legs.second->send(ok("fine"));
  EXPECT_EQ(legs.client->take(), ok("fine"));
  EXPECT_EQ(counters().retries, 0U);
  EXPECT_EQ(host.accesses.at(0).attempts, 2U);
}

TEST_F(Hedge, WhenBothFailTheRulesOfRetriesAreAsked) {
  set_pool({endpoint(1), endpoint(2), endpoint(3)});
  Two legs = two();
  legs.first->fail(StreamEnd::kReset);
  legs.second->fail(StreamEnd::kReset);
  EXPECT_EQ(counters().retries, 1U);
  ASSERT_EQ(host.upstreams.size(), 3U);
  up(2).connect();
  EXPECT_TRUE(up(2).take().starts_with("GET /x "));
  up(2).send(ok("third"));
  EXPECT_EQ(legs.client->take(), ok("third"));
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, AnErrorOfOneDoesNotWinWhileTheOtherMayAnswer) {
  for (const char* bad : {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\npart",
                          "garbage\r\n\r\n"}) {
    Two legs = two();
    legs.second->send(bad);
    EXPECT_EQ(legs.client->out, "") << bad;
    EXPECT_TRUE(legs.second->over());
    legs.first->send(ok("fine"));
    EXPECT_EQ(legs.client->take(), ok("fine")) << bad;
    EXPECT_EQ(in_flight(), 0U);
    advance(seconds(30));  // whoever was ejected is back
    warm(60);
  }
}

TEST_F(Hedge, TheErrorOfTheLastOneIsTheAnswer) {
  Two legs = two();
  legs.second->fail(StreamEnd::kReset);
  legs.first->send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_TRUE(legs.client->take().starts_with("HTTP/1.1 500 "));
}

TEST_F(Hedge, AWinnerThatBreaksOffBehindItsHeadIsNotSaved) {
  Two legs = two();
  legs.second->send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_TRUE(legs.first->reset);
  legs.second->fail(StreamEnd::kReset);
  EXPECT_TRUE(legs.client->reset) << "the client must not take it for complete";
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kUnknown);
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, AClientThatLeavesEndsBoth) {
  Two legs = two();
  legs.client->fail(StreamEnd::kReset);
  EXPECT_TRUE(legs.first->over());
  EXPECT_TRUE(legs.second->over());
  EXPECT_EQ(in_flight(), 0U);
  EXPECT_EQ(failures(), 0U);
}

TEST_F(Hedge, TheTimeForTheFirstByteIsThatOfTheFirst) {
  timeouts.first_byte = Milliseconds(500);
  build();
  host.upstreams.clear();
  warm(60);
  Two legs = two();
  advance(Milliseconds(470));
  EXPECT_EQ(legs.client->out, "");
  advance(Milliseconds(30));
  EXPECT_TRUE(legs.client->take().starts_with("HTTP/1.1 504 "));
  EXPECT_TRUE(legs.first->over());
  EXPECT_TRUE(legs.second->over());
  EXPECT_EQ(host.troubles.back(), std::make_pair(legs.first->endpoint.id, Trouble::kTimedOut));
  EXPECT_EQ(failures(), 1U) << "that of the first alone";
}

TEST_F(Hedge, DrainEndsBothAtItsDeadline) {
  Two legs = two();
  proxy->drain(host.clock + Milliseconds(100));
  advance(seconds(2));
  EXPECT_TRUE(proxy->idle());
  EXPECT_TRUE(legs.first->over());
  EXPECT_TRUE(legs.second->over());
}

TEST_F(Hedge, AnEndpointThatGoesTakesOnlyItsOwnAttemptAlong) {
  Two legs = two();
  const bool first_is_1 = legs.first->endpoint.id == EndpointId{1};
  set_pool({endpoint(first_is_1 ? 1 : 2)});  // the present attempt is the second one
  legs.first->send(ok("fine"));
  EXPECT_EQ(legs.client->take(), ok("fine"));
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, ASecondAttemptMayWaitForItsConnectionWhileTheFirstAnswers) {
  set_pool({endpoint(1), endpoint(3)});
  Wire* first = nullptr;
  auto c = client();
  while (first == nullptr || first->endpoint.id != EndpointId{1}) {
    c = client();
    const std::size_t before = host.upstreams.size();
    c->send(get("/x"));
    if (host.upstreams.size() > before) {
      up(before).fail(StreamEnd::kRefused);
      first = busy();
      break;
    }
    first = busy();
  }
  first->take();
  const std::size_t before = host.upstreams.size();
  advance(Milliseconds(20));
  if (host.upstreams.size() > before) {
    first->send(ok("fine"));
    EXPECT_TRUE(up(before).over()) << "a connection that nobody needs any more";
  } else {
    first->send(ok("fine"));
  }
  EXPECT_TRUE(has(c->take(), "fine"));
  EXPECT_EQ(in_flight(), 0U);
}

TEST_F(Hedge, AFirstThatDoesNotEvenConnectIsHelpedToo) {
  Endpoint two_again = endpoint(2);
  two_again.address = "10.0.0.9:9000";  // its kept connections go
  set_pool({endpoint(1), two_again});
  for (int i = 0; i < 4; ++i) {
    auto c = client();
    const std::size_t before = host.upstreams.size();
    c->send(get("/x"));
    if (host.upstreams.size() == before) {
      Wire* other = busy();
      other->take();
      other->send(ok("elsewhere"));
      continue;
    }
    advance(Milliseconds(20));
    Wire* second = busy();
    if (second == nullptr) {
      ASSERT_GT(host.upstreams.size(), before + 1);
      host.upstreams.back()->connect();
      second = busy();
    }
    ASSERT_NE(second, nullptr);
    EXPECT_TRUE(second->take().starts_with("GET /x "));
    up(before).connect();
    EXPECT_TRUE(up(before).take().starts_with("GET /x ")) << "the first goes on, too";
    second->send(ok("fine"));
    EXPECT_EQ(c->take(), ok("fine"));
    EXPECT_TRUE(up(before).over());
    return;
  }
  FAIL() << "no request went to the endpoint without connections";
}

TEST_F(Hedge, OnlyReadsWithoutBodies) {
  for (const std::string& request : {post("/x", "1"), std::string("GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"),
                                     std::string("OPTIONS /x HTTP/1.1\r\nHost: h\r\n\r\n"), std::string("DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n")}) {
    auto c = client();
    c->send(request);
    Wire* first = busy();
    ASSERT_NE(first, nullptr);
    first->take();
    advance(Milliseconds(100));
    EXPECT_EQ(busy(), nullptr) << request;
    first->send(ok("fine"));
    c->take();
  }
  EXPECT_EQ(of_route().hedges, 0U);
  Two legs = two("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
  legs.second->send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
  EXPECT_TRUE(has(legs.client->take(), "200 OK"));
  EXPECT_EQ(of_route().hedges, 1U);
}

TEST_F(Hedge, NeverWithOneEndpointAndNeverAtAWorseOne) {
  Endpoint backup = endpoint(2), ill = endpoint(2), idle = endpoint(2);
  backup.tier = Tier::kBackup;
  ill.health = Health::kDegraded;
  idle.weight = 0;
  for (const auto& pool : {std::vector{endpoint(1)}, std::vector{endpoint(1), backup}, std::vector{endpoint(1), ill}, std::vector{endpoint(1), idle}}) {
    set_pool(pool);
    auto c = client();
    const std::size_t before = host.upstreams.size();
    c->send(get("/x"));
    if (host.upstreams.size() > before) host.upstreams.back()->connect();
    Wire* first = busy();
    ASSERT_NE(first, nullptr);
    first->take();
    advance(Milliseconds(100));
    EXPECT_EQ(busy(), nullptr);
    first->send(ok("fine"));
    EXPECT_EQ(c->take(), ok("fine"));
  }
  EXPECT_EQ(of_route().hedges, 0U);
}

TEST_F(Hedge, TheBudgetHolds) {
  std::vector<Two> all;
  int hedged = 0;
  for (int i = 0; i < 40; ++i) {
    auto c = client();
    const std::size_t before = host.upstreams.size();
    c->send(get("/x"));
    if (host.upstreams.size() > before) host.upstreams.back()->connect();
    for (const auto& wire : host.upstreams) wire->take();
    const std::uint64_t so_far = of_route().hedges;
    const std::size_t again = host.upstreams.size();
    advance(Milliseconds(20));
    hedged += of_route().hedges > so_far ? 1 : 0;
    if (host.upstreams.size() > again) host.upstreams.back()->connect();
    all.push_back({c, nullptr, nullptr});
  }
  // 60 + 40 requests of which a fifth may be sent twice.
  EXPECT_LE(hedged, 20);
  EXPECT_GE(hedged, 18);
  EXPECT_GE(of_route().hedges_denied, 20U);
}

TEST_F(Hedge, PlacesAndPassesOfBothAreGivenBack) {
  max_conns = 1;
  breaker = true;
  build();
  host.upstreams.clear();
  warm(60);
  for (int i = 0; i < 4; ++i) {
    Two legs = two();
    (i % 2 == 0 ? legs.first : legs.second)->send(ok("fine"));
    EXPECT_EQ(legs.client->take(), ok("fine"));
    warm(2);
    for (const std::uint64_t id : {1, 2}) {
      EXPECT_EQ(held->routes()[0].breakers->state(EndpointId{id}), BreakerState::kClosed) << "cancelled is not failed";
    }
    host.upstreams.erase(std::remove_if(host.upstreams.begin(), host.upstreams.end(), [](const auto& wire) { return wire->over(); }), host.upstreams.end());
  }
  // With one of two full there is nobody else to ask.
  auto a = client(), b = client();
  a->send(get("/x"));
  for (const auto& wire : host.upstreams) wire->connect();
  b->send(get("/x"));
  for (const auto& wire : host.upstreams) wire->connect();
  const std::uint64_t before = of_route().hedges;
  advance(Milliseconds(50));
  EXPECT_EQ(of_route().hedges, before);
}

TEST_F(Hedge, WhatWasCancelledStillCountsAsLate) {
  // Each first attempt lasts 200 ms: after a while that is what is usual, and nobody is asked twice any more.
  for (int i = 0; i < 12; ++i) {
    Two legs = two();
    legs.second->send(ok("fine"));
    legs.client->take();
    warm(20);
    host.upstreams.erase(std::remove_if(host.upstreams.begin(), host.upstreams.end(), [](const auto& wire) { return wire->over(); }), host.upstreams.end());
  }
  EXPECT_EQ(of_route().hedges, 12U);
}

TEST(HedgeRules, AreCheckedWithTheTable) {
  Route route;
  route.pool = "all";
  route.hedge = HedgeRule{};
  EXPECT_TRUE(RouteTable::make({route}));
  for (const HedgeRule& bad : {HedgeRule{49, Milliseconds(1), 5}, HedgeRule{100, Milliseconds(1), 5}, HedgeRule{95, Milliseconds(-1), 5},
                               HedgeRule{95, Milliseconds(1), 0}, HedgeRule{95, Milliseconds(1), 51}}) {
    route.hedge = bad;
    EXPECT_FALSE(RouteTable::make({route}));
  }
  route.hedge = HedgeRule{};
  route.retry = false;
  EXPECT_FALSE(RouteTable::make({route})) << "a route without retries sends nothing twice";
}

}  // namespace
}  // namespace proxy::testing
