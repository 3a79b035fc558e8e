// What workers of one agent know of an endpoint together, and what other agents' words change.
#include <atomic>
#include <set>
#include <thread>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

/// Two workers with the same endpoints.
class SharedHealth : public ProxyTest {
 protected:
  void start_two(std::uint64_t count) {
    settings.outlier.consecutive = 3;
    for (std::uint64_t id = 1; id <= count; ++id) {
      endpoints.push_back(endpoint(id));
      endpoints.back().share = std::make_shared<EndpointShare>();
    }
    start();
    second = std::make_unique<Proxy>(settings, other, other, [](std::uint64_t) { return 0; });
    Route route;
    route.name = "all";
    route.pool = "all";
    route.retry = false;
    route.balance.kind = Balance::kRoundRobin;
    auto table = RouteTable::make({std::move(route)});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    second->set_routes(*table);
    publish();
  }
  void publish() {
    for (Proxy* worker : {proxy.get(), second.get()}) worker->set_endpoints({{PoolEndpoints{"all", endpoints}}});
  }
  OutlierTrack& track(std::uint64_t id) { return endpoints[id - 1].share->outlier; }
  /// One request at a worker. @return the endpoint that got it; answers are bad for `bad`
  std::uint64_t request(Proxy& worker, TestHost& at, std::uint64_t bad) {
    auto wire = std::make_shared<Wire>();
    Accepted accepted;
    accepted.client = "192.0.2.1";
    worker.accept(std::make_unique<MemoryStream>(wire), std::move(accepted));
    wire->send(get("/x"));
    Wire& u = *at.upstreams.back();
    const auto id = static_cast<std::uint64_t>(u.endpoint.id);
    u.connect();
    u.take();
    u.send(id == bad ? "HTTP/1.1 503 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    u.eof();
    wire->take();
    return id;
  }
  std::vector<Endpoint> endpoints;
  TestHost other;
  std::unique_ptr<Proxy> second;
};

TEST_F(SharedHealth, Guide000ThreeBadRepliesWhicheverWorkerGotThem) {
  start_two(3);
  int bad = 0;
  for (int i = 0; bad < 3 && i < 20; ++i) {
    const std::uint64_t id = i % 2 == 0 ? request(*proxy, host, 2) : request(*second, other, 2);
    bad += id == 2 ? 1 : 0;
  }
  ASSERT_EQ(bad, 3);
  EXPECT_TRUE(track(2).ejected_here_at(host.clock));
  EXPECT_EQ(host.health_news + other.health_news, 1U) << "told once";
  EXPECT_EQ(proxy->counters().ejections + second->counters().ejections, 1U);
  for (int i = 0; i < 6; ++i) {
    EXPECT_NE(request(*proxy, host, 0), 2U);
    EXPECT_NE(request(*second, other, 0), 2U);
  }
  for (const auto& status : second->endpoints()) EXPECT_EQ(status.ejected, status.id == EndpointId{2});
}

TEST_F(SharedHealth, TheLastOneIsNeverEjectedWhicheverWorkerEjectedTheOthers) {
  start_two(2);
  track(1).eject(settings.outlier, host.clock);
  for (int i = 0; i < 10; ++i) request(*proxy, host, 2);
  EXPECT_FALSE(track(2).ejected_at(host.clock));
}

TEST_F(SharedHealth, AWordLeavesItOutAndOwnFailuresOfAnotherGoBeforeIt) {
  start_two(2);
  track(1).advise(host.clock + Milliseconds{5000});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(request(*proxy, host, 0), 2U);
  EXPECT_TRUE(proxy->endpoints()[0].by_word);
  EXPECT_GT(proxy->endpoints()[0].ejected_for.count(), 4000);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(request(*proxy, host, 2), 2U);
  EXPECT_TRUE(track(2).ejected_here_at(host.clock)) << "what was seen here counts more than the word about the other";
  EXPECT_EQ(host.health_news, 1U) << "so that the word is weighed again";
  track(1).advise(TimePoint{});
  EXPECT_EQ(request(*proxy, host, 0), 1U);
}

TEST_F(SharedHealth, WithEverybodyLeftOutTheyServeAllTheSame) {
  start_two(2);
  track(1).advise(host.clock + Milliseconds{5000});
  track(2).advise(host.clock + Milliseconds{5000});
  std::set<std::uint64_t> asked;
  for (int i = 0; i < 4; ++i) asked.insert(request(*proxy, host, 0));
  EXPECT_EQ(asked.size(), 2U);
}

TEST(SharedOutlierTrack, OfManyWorkersExactlyOneEjects) {
  OutlierSettings settings;
  settings.consecutive = 1000;
  OutlierTrack track;
  std::atomic<int> ejected{0};
  std::vector<std::thread> workers;
  const TimePoint now{std::chrono::hours(1)};
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      for (int n = 0; n < 250; ++n) {
        if (track.feed(settings, now, AttemptResult::kFailed) && track.eject(settings, now)) ++ejected;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(ejected, 1);
  EXPECT_TRUE(track.ejected_at(now));
}

// ---- breakers at a word ----

TEST(BreakerWord, OpensWhatIsClosedAndClosesAgainWithoutAProbe) {
  BreakerRule rule{3, Milliseconds{1000}, Milliseconds{5000}, 15};
  std::uint64_t word = 0;
  breaker_advise(word, 10'000);
  EXPECT_TRUE(breaker_by_word(word));
  EXPECT_FALSE(breaker_lets(word, 9'999));
  breaker_relent(word, 5'000);
  EXPECT_EQ(breaker_state(word), BreakerState::kClosed);
  breaker_advise(word, 10'000);
  EXPECT_EQ(breaker_enter(rule, word, 10'000), BreakerPass::kProbe) << "when the word has run out somebody has to look";
  EXPECT_FALSE(breaker_by_word(word));
  breaker_result(rule, word, 10'100, false, true);
  EXPECT_EQ(breaker_state(word), BreakerState::kOpen);
  EXPECT_FALSE(breaker_by_word(word)) << "now it has seen for itself";
}

TEST(BreakerWord, DoesNotTouchAProbeAndOnlyHastensTheProbeOfWhoHasFailures) {
  BreakerRule rule{1, Milliseconds{1000}, Milliseconds{5000}, 15};
  std::uint64_t word = 0;
  breaker_result(rule, word, 1'000, false, false);
  ASSERT_EQ(breaker_state(word), BreakerState::kOpen);
  breaker_relent(word, 2'000);
  EXPECT_EQ(breaker_state(word), BreakerState::kOpen);
  EXPECT_EQ(breaker_enter(rule, word, 2'000), BreakerPass::kProbe);
  const std::uint64_t probing = word;
  breaker_advise(word, 99'000);
  breaker_relent(word, 2'001);
  EXPECT_EQ(word, probing);
}

}  // namespace
}  // namespace proxy::testing
