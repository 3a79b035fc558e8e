// The trail of a request: each decision leaves its step, and nobody pays for it who does not want it.
#include "proxy/trail.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Trails : public ProxyTest, public Host {
 protected:
  void TearDown() override { proxy.reset(); }  // before the host that it tells
  void begin() {
    settings.trails = true;
    proxy = std::make_unique<Proxy>(settings, *this, host, [this](std::uint64_t bound) { return chance(bound); });
    set_routes();
  }
  /// The steps of the request that ended last, with their sentences.
  [[nodiscard]] bool says(Step step, std::string_view part) const {
    return std::any_of(steps_.begin(), steps_.end(), [&](const auto& one) { return one.first == step && has(one.second, part); });
  }
  [[nodiscard]] std::string all() const {
    std::string out;
    for (const auto& [step, text] : steps_) out += text + "\n";
    return out;
  }
  std::size_t left_out = 0;

 private:
  TimePoint now() override { return host.now(); }
  void on_access(const AccessRecord& record) override {
    steps_.clear();
    left_out = record.trail_left_out;
    for (const TrailStep& step : read_trail(record.trail)) steps_.emplace_back(step.step, sentence_of(step));
    host.on_access(record);
  }
  void on_trouble(const Endpoint& endpoint, Trouble trouble) override { host.on_trouble(endpoint, trouble); }
  void on_orders_drained(std::string_view service, Epoch epoch) override { host.on_orders_drained(service, epoch); }
  std::vector<std::pair<Step, std::string>> steps_;
};

TEST_F(Trails, ARetriedReadTellsWhereItWasAndWhy) {
  begin();
  Endpoint sick = endpoint(3);
  sick.health = Health::kCritical;
  set_pool({endpoint(1), endpoint(2), sick});
  auto c = client();
  c->send(get("/x"));
  up(0).fail(StreamEnd::kRefused);
  up(1).connect();
  up(1).send(ok("hi"));
  EXPECT_TRUE(says(Step::kRoute, "route \"all\", to all")) << all();
  EXPECT_TRUE(says(Step::kCandidate, "10.0.0.3:9000: critical")) << all();
  EXPECT_TRUE(says(Step::kPicked, "among 3")) << all();
  EXPECT_TRUE(says(Step::kAttempt, "attempt 1")) << all();
  EXPECT_TRUE(says(Step::kFailed, "connect_failed; it is tried elsewhere")) << all();
  EXPECT_TRUE(says(Step::kCandidate, "tried already")) << all();
  EXPECT_TRUE(says(Step::kAttempt, "attempt 2")) << all();
  EXPECT_TRUE(says(Step::kConnected, "")) << all();
  EXPECT_TRUE(says(Step::kHead, "200")) << all();
  EXPECT_TRUE(says(Step::kEnd, "answered, status 200")) << all();
  EXPECT_TRUE(says(Step::kAttempt, "on a new connection")) << all();
}

TEST_F(Trails, AnOrderTellsOfItsHoldAndItsLease) {
  begin();
  auto c = client();
  c->send(post("/orders", "x"));
  EXPECT_EQ(host.upstreams.size(), 0U);
  host.clock += Milliseconds{30};
  become_primary(7);
  up(0).connect();
  up(0).send(ok(""));
  EXPECT_TRUE(says(Step::kRoute, "to primary")) << all();
  EXPECT_TRUE(says(Step::kHeld, "there is none")) << all();
  EXPECT_TRUE(says(Step::kReleased, "30.0 ms")) << all();
  EXPECT_TRUE(says(Step::kLease, "lease of epoch 7 holds for 1500.0 ms")) << all();
  EXPECT_TRUE(says(Step::kSent, "bytes taken")) << all();
}

TEST_F(Trails, ALeaseThatEndsAndAnAnswerOfOurOwnAreInIt) {
  begin();
  become_primary(7, Milliseconds{100});
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).connect();
  advance(Milliseconds{200});
  EXPECT_TRUE(says(Step::kLeaseLost, "lease_lost")) << all();
  EXPECT_TRUE(says(Step::kAnswer, "504 lease_lost")) << all();
  EXPECT_TRUE(says(Step::kEnd, "unknown, status 504")) << all();
}

TEST_F(Trails, RulesOfTheRouteAreInIt) {
  settings.trails = true;
  proxy = nullptr;
  begin();
  Route limited;
  limited.name = "limited";
  limited.pool = "all";
  limited.admission.rate = RateRule{1, Milliseconds{1000}, std::nullopt, true};
  limited.max_conns = 1;
  limited.queue_max = 0;
  proxy->set_routes(*RouteTable::make({limited}));
  set_pool({endpoint(1)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send(ok(""));
  EXPECT_TRUE(says(Step::kRate, "0 left")) << all();
  c->send(get("/x"));
  EXPECT_TRUE(says(Step::kAnswer, "429 rate_limited")) << all();
}

TEST_F(Trails, EndlessOnesAreCutAndStillTellHowTheyEnded) {
  settings.attempts_max = 50;
  settings.retry_burst = 1000;
  begin();
  std::vector<Endpoint> many;
  for (std::uint64_t i = 1; i <= 50; ++i) many.push_back(endpoint(i));
  set_pool(many);
  auto c = client();
  c->send(get("/x"));
  for (std::size_t i = 0; i < host.upstreams.size(); ++i) up(i).fail(StreamEnd::kRefused);
  EXPECT_GT(left_out, 0U);
  EXPECT_TRUE(says(Step::kEnd, "status 502")) << all();
}

TEST_F(ProxyTest, WithoutTrailsNothingIsWrittenDown) {
  Trail trail;
  EXPECT_TRUE(trail.bytes().empty());
  trail.add(std::chrono::microseconds(7), Step::kRoute, std::string(500, 'r'), "all", 1, 2);
  const auto steps = read_trail(trail.bytes());
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].text.size(), Trail::kTextMax);
  EXPECT_EQ(steps[0].at, std::chrono::microseconds(7));
  EXPECT_EQ(read_trail({}).size(), 0U);
  EXPECT_EQ(read_trail("short").size(), 0U);
}

}  // namespace
}  // namespace proxy::testing
