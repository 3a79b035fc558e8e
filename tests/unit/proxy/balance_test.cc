// Where requests go: the balancing rules as properties, breakers, and both with queues through a proxy.
#include <map>
#include <random>
#include <set>
#include <thread>

#include "proxy/balancer.h"
#include "proxy/breaker.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

using std::chrono::seconds;

std::uint64_t first(std::uint64_t) { return 0; }

std::function<std::uint64_t(std::uint64_t)> seeded(std::uint64_t seed) {
  return [engine = std::mt19937_64(seed)](std::uint64_t bound) mutable { return engine() % bound; };
}

Candidate candidate(std::uint32_t weight, std::uint32_t in_flight, Tier tier = Tier::kActive, Health health = Health::kPassing) {
  Candidate c;
  c.weight = weight;
  c.in_flight = in_flight;
  c.tier = tier;
  c.health = health;
  return c;
}

/// A pool whose turns live as long as the test.
struct Pool {
  explicit Pool(const std::vector<std::uint32_t>& weights) : turns(weights.size(), 0) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      all.push_back(candidate(weights[i], 0));
      all.back().id = 1000 + i;
      all.back().turn = &turns[i];
    }
  }
  std::vector<Turn> turns;
  std::vector<Candidate> all;
};

std::vector<int> spread(Pool& pool, const BalanceRule& rule, int count, std::uint64_t seed = 1) {
  std::vector<int> got(pool.all.size());
  const auto chance = seeded(seed);
  for (int i = 0; i < count; ++i) ++got[*pick_endpoint(rule, pool.all, static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ULL, chance)];
  return got;
}

// ---- classes and tiers ----

TEST(PickEndpoint, ClassesComeInOrderUnderEveryRule) {
  for (const Balance kind : {Balance::kLeastRequest, Balance::kRoundRobin, Balance::kPeakEwma, Balance::kRingHash}) {
    BalanceRule rule;
    rule.kind = kind;
    Candidate ejected = candidate(1, 0);
    ejected.ejected = true;
    std::vector<Candidate> pool = {candidate(1, 0, Tier::kActive, Health::kCritical), ejected,
                                   candidate(1, 0, Tier::kBackup, Health::kDegraded), candidate(1, 0, Tier::kBackup),
                                   candidate(1, 50, Tier::kActive, Health::kDegraded), candidate(1, 100)};
    for (const std::size_t wanted : {5U, 4U, 3U, 2U, 1U}) {
      EXPECT_EQ(pick_endpoint(rule, pool, 7, first), wanted);
      EXPECT_TRUE(any_endpoint(pool));
      pool[wanted].available = false;
    }
    EXPECT_EQ(pick_endpoint(rule, pool, 7, first), std::nullopt) << "never a critical one";
    EXPECT_FALSE(any_endpoint(pool));
    EXPECT_EQ(pick_endpoint(rule, {}, 7, first), std::nullopt);
    const Candidate none[] = {candidate(0, 0)};
    EXPECT_EQ(pick_endpoint(rule, none, 7, first), std::nullopt);
  }
}

TEST(Guide000, LeastConnWeights2And1AndABackupThatGetsNothing) {
  Pool pool({2, 1, 1});
  pool.all[2].tier = Tier::kBackup;
  const std::vector<int> got = spread(pool, {}, 3000);
  EXPECT_NEAR(got[0], 2000, 200);
  EXPECT_NEAR(got[1], 1000, 100);
  EXPECT_EQ(got[2], 0) << "while anybody else is healthy";
  pool.all[0].health = pool.all[1].health = Health::kCritical;
  EXPECT_EQ(spread(pool, {}, 100)[2], 100);
}

TEST(Zone, OwnZoneFirstAndOthersWhenItHasNobody) {
  Pool pool({1, 1, 1});
  pool.all[0].same_zone = pool.all[2].same_zone = false;
  BalanceRule rule;
  rule.prefer_zone = true;
  EXPECT_EQ(spread(pool, rule, 99)[1], 99);
  pool.all[1].available = false;
  EXPECT_EQ(spread(pool, rule, 100), (std::vector<int>{50, 0, 50}));
  rule.prefer_zone = false;
  pool.all[1].available = true;
  EXPECT_EQ(spread(pool, rule, 99), (std::vector<int>{33, 33, 33}));
}

// ---- spread ----

TEST(RoundRobin, SharesAreExactOverARound) {
  BalanceRule rule;
  rule.kind = Balance::kRoundRobin;
  std::mt19937_64 chance(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::uint32_t> weights(1 + chance() % 10);
    std::uint32_t total = 0;
    for (auto& weight : weights) total += weight = 1 + static_cast<std::uint32_t>(chance() % 20);
    Pool pool(weights);
    const std::vector<int> got = spread(pool, rule, static_cast<int>(total) * 3);
    for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_EQ(got[i], static_cast<int>(weights[i]) * 3);
  }
}

TEST(LeastRequest, TakesTheLeastLoadPerWeight) {
  const Candidate equal[] = {candidate(1, 5), candidate(1, 3), candidate(1, 4)};
  EXPECT_EQ(pick_endpoint({}, equal, 0, first), 1U);
  const Candidate weighted[] = {candidate(1, 2), candidate(10, 12), candidate(2, 3)};
  EXPECT_EQ(pick_endpoint({}, weighted, 0, first), 1U);
}

TEST(LeastRequest, LoadFollowsTheWeightsWhileRequestsStay) {
  Pool pool({3, 1});
  for (int i = 0; i < 40; ++i) ++pool.all[*pick_endpoint({}, pool.all, 0, first)].in_flight;
  EXPECT_EQ(pool.all[0].in_flight, 30U);
  EXPECT_EQ(pool.all[1].in_flight, 10U);
}

TEST(LeastRequest, AboveEightTwoChoicesKeepTheMostLoadedNearTheMean) {
  Pool pool(std::vector<std::uint32_t>(100, 1));
  const auto chance = seeded(5);
  for (int i = 0; i < 10'000; ++i) ++pool.all[*pick_endpoint({}, pool.all, 0, chance)].in_flight;
  for (const Candidate& c : pool.all) EXPECT_NEAR(c.in_flight, 100, 8) << "one random choice would be off by 30";
}

TEST(LeastRequest, AboveEightIdleOnesGetTheirWeights) {
  std::vector<std::uint32_t> weights(12, 1);
  weights[3] = 4;
  Pool pool(weights);
  const std::vector<int> got = spread(pool, {}, 15'000);
  EXPECT_NEAR(got[3], 4000, 400);
  EXPECT_NEAR(got[0], 1000, 150);
}

TEST(Guide002, LeastResponseTimeASlowNodeGetsUnderATenth) {
  BalanceRule rule;
  rule.kind = Balance::kPeakEwma;
  Pool pool({1, 1, 1});
  std::array<LatencyTrack, 3> tracks;
  const auto chance = seeded(9);
  std::vector<int> got(3);
  TimePoint now{seconds(100)};
  for (int i = 0; i < 3000; ++i, now += Milliseconds(5)) {
    for (std::size_t k = 0; k < 3; ++k) pool.all[k].latency_ns = tracks[k].at(now);
    const std::size_t chosen = *pick_endpoint(rule, pool.all, 0, chance);
    ++got[chosen];
    tracks[chosen].observe(now, chosen == 1 ? Milliseconds(202) : Milliseconds(2));
  }
  EXPECT_LT(got[1], 300);
  EXPECT_GT(got[1], 0) << "asked again from time to time";
  EXPECT_GT(std::min(got[0], got[2]), 1000);
}

TEST(LatencyTrack, RisesAtOnceAndFallsSlowly) {
  LatencyTrack track;
  const TimePoint now{seconds(50)};
  track.observe(now, Milliseconds(10));
  track.observe(now, Milliseconds(500));
  EXPECT_DOUBLE_EQ(track.at(now), 5e8);
  track.observe(now + Milliseconds(1), Milliseconds(10));
  EXPECT_GT(track.at(now + Milliseconds(1)), 4.9e8);
  EXPECT_LT(track.at(now + seconds(60)), 2e6) << "what is not asked is forgotten";
  EXPECT_EQ(LatencyTrack().at(now), 0);
}

// ---- ring hash ----

TEST(Guide002, RingHashMovesNoMoreThanItsKeysWhenAnEndpointGoesOrComes) {
  BalanceRule rule;
  rule.kind = Balance::kRingHash;
  rule.load_percent = 0;
  Pool pool(std::vector<std::uint32_t>(5, 1));
  std::mt19937_64 keys(21);
  constexpr int kTries = 20'000;
  int moved = 0, of_gone = 0;
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t key = keys();
    pool.all[2].available = true;
    const std::size_t before = *pick_endpoint(rule, pool.all, key, first);
    pool.all[2].available = false;
    const std::size_t after = *pick_endpoint(rule, pool.all, key, first);
    of_gone += before == 2 ? 1 : 0;
    moved += before != 2 && before != after ? 1 : 0;
  }
  EXPECT_EQ(moved, 0) << "only the keys of the one that went may move";
  EXPECT_NEAR(of_gone, kTries / 5, kTries / 50) << "which are 1/N";
}

TEST(RingHash, SharesFollowTheWeights) {
  BalanceRule rule;
  rule.kind = Balance::kRingHash;
  rule.load_percent = 0;
  Pool pool({1, 2, 3});
  std::mt19937_64 keys(23);
  std::vector<int> got(3);
  for (int i = 0; i < 60'000; ++i) ++got[*pick_endpoint(rule, pool.all, keys(), first)];
  EXPECT_NEAR(got[0], 10'000, 600);
  EXPECT_NEAR(got[2], 30'000, 900);
}

TEST(RingHash, TheBoundOnLoadIsNeverExceeded) {
  std::mt19937_64 chance(29);
  for (int round = 0; round < 300; ++round) {
    BalanceRule rule;
    rule.kind = Balance::kRingHash;
    rule.load_percent = 100 + static_cast<std::uint32_t>(chance() % 100);
    std::vector<std::uint32_t> weights(1 + chance() % 12);
    std::uint64_t weight_total = 0;
    for (auto& weight : weights) weight_total += weight = 1 + static_cast<std::uint32_t>(chance() % 5);
    Pool pool(weights);
    std::uint64_t total = 0;
    for (int i = 0; i < 300; ++i) {
      // One hot key in three: without the bound its endpoint would take them all.
      const std::uint64_t key = chance() % 3 == 0 ? 42 : chance();
      const auto chosen = pick_endpoint(rule, pool.all, key, first);
      ASSERT_TRUE(chosen) << "a bound of 100 % or more leaves room somewhere";
      Candidate& c = pool.all[*chosen];
      ++c.in_flight;
      ASSERT_LE(c.in_flight, bounded_load(rule, total, c.weight, weight_total));
      ++total;
      if (chance() % 4 == 0) {
        Candidate& done = pool.all[chance() % pool.all.size()];
        if (done.in_flight > 0) {
          --done.in_flight;
          --total;
        }
      }
    }
  }
}

// ---- slow start ----

TEST(SlowStart, RampsFromATenthToAllAndNeverBack) {
  std::uint32_t last = 0;
  for (int ms = 0; ms <= 31'000; ms += 100) {
    const std::uint32_t weight = ramped_weight(10, Milliseconds(ms), seconds(30));
    EXPECT_GE(weight, last);
    last = weight;
  }
  EXPECT_EQ(ramped_weight(10, Milliseconds(0), seconds(30)), 1000U);
  EXPECT_EQ(ramped_weight(10, seconds(15), seconds(30)), 5000U);
  EXPECT_EQ(ramped_weight(10, seconds(30), seconds(30)), 10'000U);
  EXPECT_EQ(ramped_weight(10, Milliseconds(0), Milliseconds(0)), 10'000U) << "off";
  EXPECT_EQ(ramped_weight(0, seconds(99), seconds(1)), 0U);
}

// ---- breakers ----

BreakerRule breaker_rule(std::uint32_t fail, Milliseconds open) {
  BreakerRule rule;
  rule.fail = fail;
  rule.open = open;
  return rule;
}

TEST(Guide001, ApiCalls3FailuresOpenFor30SecondsThenOneProbe) {
  BreakerTable breakers(breaker_rule(3, seconds(30)));
  const EndpointId id{7};
  TimePoint now{seconds(1000)};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(breakers.enter(id, now), BreakerPass::kFree);
    breakers.result(id, now, false, false);
  }
  EXPECT_EQ(breakers.state(id), BreakerState::kOpen);
  EXPECT_EQ(breakers.opened(), 1U);
  now += seconds(30) - Milliseconds(1);
  EXPECT_FALSE(breakers.lets(id, now));
  EXPECT_EQ(breakers.enter(id, now), BreakerPass::kDenied);
  now += Milliseconds(1);
  EXPECT_TRUE(breakers.lets(id, now));
  EXPECT_EQ(breakers.enter(id, now), BreakerPass::kProbe);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(breakers.enter(id, now), BreakerPass::kDenied) << "one probe only";
  breakers.result(id, now, true, false);
  EXPECT_EQ(breakers.state(id), BreakerState::kHalfOpen) << "an answer to an older request is no verdict";
  breakers.result(id, now, false, true);
  EXPECT_EQ(breakers.enter(id, now + seconds(29)), BreakerPass::kDenied) << "open for another 30 s";
  EXPECT_EQ(breakers.enter(id, now + seconds(30)), BreakerPass::kProbe);
  breakers.result(id, now + seconds(30), true, true);
  EXPECT_EQ(breakers.state(id), BreakerState::kClosed);
}

TEST(Guide001, Default5FailuresOpenFor60Seconds) {
  std::uint64_t word = 0;
  const BreakerRule rule;
  for (std::uint64_t i = 0; i < 4; ++i) breaker_result(rule, word, 100 + i, false, false);
  EXPECT_EQ(breaker_state(word), BreakerState::kClosed);
  breaker_result(rule, word, 104, true, false);
  for (std::uint64_t i = 0; i < 4; ++i) breaker_result(rule, word, 105 + i, false, false);
  EXPECT_EQ(breaker_state(word), BreakerState::kClosed) << "a good answer begins the count anew";
  breaker_result(rule, word, 105 + 10'001, false, false);
  EXPECT_EQ(breaker_state(word), BreakerState::kClosed) << "and so does time";
  for (std::uint64_t i = 0; i < 4; ++i) breaker_result(rule, word, 10'200 + i, false, false);
  EXPECT_EQ(breaker_state(word), BreakerState::kOpen);
  EXPECT_FALSE(breaker_lets(word, 10'203 + 59'999));
  EXPECT_TRUE(breaker_lets(word, 10'203 + 60'000));
}

TEST(Breaker, AProbeThatIsLostOrGivenUpMakesRoomForAnother) {
  const BreakerRule rule = breaker_rule(1, Milliseconds(100));
  std::uint64_t word = 0;
  breaker_result(rule, word, 1000, false, false);
  EXPECT_EQ(breaker_enter(rule, word, 1100), BreakerPass::kProbe);
  breaker_abandon(word, 1105);
  EXPECT_EQ(breaker_enter(rule, word, 1105), BreakerPass::kProbe);
  EXPECT_EQ(breaker_enter(rule, word, 1204), BreakerPass::kDenied);
  EXPECT_EQ(breaker_enter(rule, word, 1205), BreakerPass::kProbe) << "a probe has as long as the breaker was open";
}

TEST(Breaker, WorkersElectOneProbe) {
  BreakerTable breakers(breaker_rule(1, Milliseconds(10)));
  for (int round = 0; round < 50; ++round) {
    const TimePoint now{seconds(100 + round)};
    breakers.result(EndpointId{5}, now, false, false);
    std::atomic<int> probes{0};
    std::vector<std::thread> workers;
    for (int w = 0; w < 4; ++w) {
      workers.emplace_back([&] { probes += breakers.enter(EndpointId{5}, now + Milliseconds(10)) == BreakerPass::kProbe ? 1 : 0; });
    }
    for (std::thread& worker : workers) worker.join();
    ASSERT_EQ(probes, 1);
    breakers.result(EndpointId{5}, now + Milliseconds(10), true, true);
  }
}

TEST(Breaker, TheTableHoldsOnToOpenOnesAndForgetsClosedOnes) {
  BreakerTable breakers(breaker_rule(1, seconds(1000)));
  const TimePoint now{seconds(10)};
  breakers.result(EndpointId{1}, now, false, false);
  for (std::uint64_t i = 2; i < 100'000; ++i) {
    breakers.result(EndpointId{i}, now, false, false);
    if (breakers.state(EndpointId{i}) == BreakerState::kOpen && i > 900) break;
  }
  EXPECT_EQ(breakers.state(EndpointId{1}), BreakerState::kOpen);
  EXPECT_EQ(breakers.enter(EndpointId{999'999}, now), BreakerPass::kFree);
}

// ---- through a proxy ----

class BalanceFlow : public ProxyTest {
 protected:
  void use(Route route) {
    if (proxy == nullptr) start();
    route.name = "all";
    route.pool = "all";
    auto made = RouteTable::make({std::move(route)}, table.get());
    ASSERT_TRUE(made) << made.error().detail;
    table = *made;
    proxy->set_routes(table);
  }
  std::shared_ptr<Wire> asking() {
    auto c = client();
    c->send(get("/x"));
    return c;
  }
  void answer(std::size_t index, const std::string& response = ok("fine")) {
    Wire& u = up(index);
    if (u.out.empty()) u.connect();
    u.take();
    u.send(response);
  }
  RouteCounters of_route() { return proxy->routes().at(0).counters; }
  std::shared_ptr<const RouteTable> table;
};

TEST_F(BalanceFlow, Guide000Maxconn100The101stWaitsAndGoesWhenThereIsRoom) {
  Route route;
  route.max_conns = 100;
  use(route);
  set_pool({endpoint(1)});
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 101; ++i) clients.push_back(asking());
  EXPECT_EQ(host.upstreams.size(), 100U);
  EXPECT_EQ(clients[100]->take(), "") << "it waits instead of a 503";
  EXPECT_EQ(of_route().queued, 1U);
  answer(7);
  EXPECT_NE(clients[7]->take().find("fine"), std::string::npos);
  EXPECT_NE(up(7).take().find("GET /x"), std::string::npos) << "the place that came free is used at once";
  up(7).send(ok("waited"));
  EXPECT_NE(clients[100]->take().find("waited"), std::string::npos);
}

TEST_F(BalanceFlow, QueuedRequestsGoInOrderTimeOutAndLeave) {
  Route route;
  route.max_conns = 1;
  route.queue_max = 3;
  route.queue_timeout = Milliseconds(500);
  use(route);
  set_pool({endpoint(1)});
  auto a = asking(), b = asking(), c = asking(), d = asking(), e = asking();
  EXPECT_NE(e->take().find("queue_full"), std::string::npos);
  c->eof();
  answer(0);
  EXPECT_NE(up(0).take().find("GET"), std::string::npos);
  advance(Milliseconds(400));
  up(0).send(ok("for b"));
  EXPECT_NE(b->take().find("for b"), std::string::npos);
  auto f = asking();
  EXPECT_NE(up(0).take().find("GET"), std::string::npos) << "d is next";
  advance(Milliseconds(520));
  const std::string late = f->take();
  EXPECT_NE(late.find("503"), std::string::npos) << late;
  EXPECT_NE(late.find("queue_timeout"), std::string::npos);
  EXPECT_NE(late.find("Retry-After: 1"), std::string::npos);
  up(0).send(ok("for d"));
  EXPECT_NE(d->take().find("for d"), std::string::npos);
  EXPECT_EQ(of_route().queue_full, 1U);
  EXPECT_EQ(of_route().queue_timeouts, 1U);
}

TEST_F(BalanceFlow, APlaceThatAnotherWorkerFreesIsFoundSoon) {
  Route route;
  route.max_conns = 1;
  use(route);
  Endpoint shared = endpoint(1);
  shared.share = std::make_shared<EndpointShare>();
  shared.share->in_flight = 1;
  set_pool({shared});
  auto c = asking();
  advance(Milliseconds(100));
  EXPECT_TRUE(host.upstreams.empty());
  shared.share->in_flight = 0;
  advance(Milliseconds(20));
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(shared.share->in_flight, 1U);
  answer(0);
  EXPECT_EQ(shared.share->in_flight, 0U);
}

TEST_F(BalanceFlow, Guide001ThreeTimeoutsAndTheFourthTouchesNobody) {
  Route route;
  route.breaker = breaker_rule(3, seconds(30));
  route.timeouts.first_byte = Milliseconds(100);
  route.retry = false;
  settings.outlier.consecutive = 0;
  use(route);
  set_pool({endpoint(1)});
  for (std::size_t i = 0; i < 3; ++i) {
    auto c = asking();
    up(i).connect();
    advance(Milliseconds(150));
    EXPECT_NE(c->take().find("504"), std::string::npos);
  }
  auto fourth = asking();
  const std::string refused = fourth->take();
  EXPECT_NE(refused.find("503"), std::string::npos) << refused;
  EXPECT_NE(refused.find("breaker_open"), std::string::npos);
  EXPECT_EQ(host.upstreams.size(), 3U) << "nothing was opened for it";
  EXPECT_EQ(of_route().breaker_denied, 1U);
  use(route);
  EXPECT_NE(asking()->take().find("breaker_open"), std::string::npos) << "a new table remembers";
  advance(seconds(30));
  auto probe = asking(), other = asking();
  EXPECT_EQ(host.upstreams.size(), 4U);
  EXPECT_NE(other->take().find("breaker_open"), std::string::npos) << "one probe only";
  answer(3);
  EXPECT_NE(probe->take().find("fine"), std::string::npos);
  EXPECT_EQ(table->routes()[0].breakers->state(EndpointId{1}), BreakerState::kClosed);
}

TEST_F(BalanceFlow, AProbeWhoseClientLeavesDoesNotBlockTheNext) {
  Route route;
  route.breaker = breaker_rule(1, seconds(5));
  settings.outlier.consecutive = 0;
  use(route);
  set_pool({endpoint(1)});
  auto a = asking();
  answer(0, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(table->routes()[0].breakers->state(EndpointId{1}), BreakerState::kOpen);
  advance(seconds(6));
  auto b = asking();
  b->fail(StreamEnd::kReset);
  auto c = asking();
  answer(host.upstreams.size() - 1);
  EXPECT_NE(c->take().find("fine"), std::string::npos);
}

TEST_F(BalanceFlow, AnEndpointWithAnOpenBreakerIsPassedOver) {
  Route route;
  route.breaker = breaker_rule(1, seconds(30));
  route.balance.kind = Balance::kRoundRobin;
  settings.outlier.consecutive = 0;
  use(route);
  set_pool({endpoint(1), endpoint(2)});
  auto a = asking();
  const EndpointId bad = up(0).endpoint.id;
  answer(0, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
  for (int i = 0; i < 6; ++i) {
    auto c = asking();
    for (std::size_t k = 1; k < host.upstreams.size(); ++k) EXPECT_NE(up(k).endpoint.id, bad);
    answer(1);
    EXPECT_NE(c->take().find("fine"), std::string::npos);
  }
}

TEST_F(BalanceFlow, TurnsAndSharesSurviveANewTable) {
  Route route;
  route.balance.kind = Balance::kRoundRobin;
  use(route);
  set_pool({endpoint(1), endpoint(2), endpoint(3)});
  std::map<EndpointId, int> got;
  for (int i = 0; i < 9; ++i) {
    auto c = asking();
    for (std::size_t k = 0; k < host.upstreams.size(); ++k) {
      if (host.upstreams[k]->write_calls == 0) up(k).connect();
      if (up(k).out.empty()) continue;
      ++got[up(k).endpoint.id];
      up(k).take();
      up(k).send(ok("x"));
    }
    use(route);
    set_pool({endpoint(1), endpoint(2), endpoint(3)});
  }
  for (const auto& [id, count] : got) EXPECT_EQ(count, 3) << static_cast<std::uint64_t>(id);
}

TEST_F(BalanceFlow, TheSameKeyGoesToTheSameEndpointWhileThatHasRoom) {
  Route route;
  route.balance.kind = Balance::kRingHash;
  route.balance.load_percent = 0;
  route.hash_key = *ClientKey::parse("header:X-User");
  use(route);
  set_pool({endpoint(1), endpoint(2), endpoint(3)});
  std::map<std::string, std::set<EndpointId>> places;
  std::set<EndpointId> all;
  for (int i = 0; i < 60; ++i) {
    const std::string user = "u" + std::to_string(i % 20);
    auto c = client();
    c->send("GET / HTTP/1.1\r\nHost: h\r\nX-User: " + user + "\r\n\r\n");
    for (std::size_t k = 0; k < host.upstreams.size(); ++k) {
      if (host.upstreams[k]->write_calls == 0) up(k).connect();
      if (up(k).out.empty()) continue;
      places[user].insert(up(k).endpoint.id);
      all.insert(up(k).endpoint.id);
      up(k).take();
      up(k).send(ok("x"));
    }
  }
  for (const auto& [user, ids] : places) EXPECT_EQ(ids.size(), 1U) << user;
  EXPECT_EQ(all.size(), 3U);
}

}  // namespace
}  // namespace proxy::testing
