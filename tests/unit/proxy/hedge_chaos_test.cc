// Two attempts at once under many seeds: instances that connect, answer, refuse, break off or say nothing, clients that leave,
// endpoints that come and go. Whatever happens: one record per request, nothing left over, every answer whole.
#include "tests/support/random.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

constexpr std::uint64_t kSeeds = 300;

class HedgeChaos : public ProxyTest {
 protected:
  void build(std::uint64_t seed) {
    random = support::Random(seed);
    settings.trails = seed % 2 == 0;
    settings.outlier.consecutive = 3;
    host = TestHost();
    asked = whole = 0;
    clients.clear();
    start();
    Route route;
    route.name = "hedged";
    route.pool = "all";
    route.timeouts.first_byte = Milliseconds(400);
    route.timeouts.read_try = Milliseconds(100);
    route.timeouts.idle = Milliseconds(500);
    route.hedge = HedgeRule{50, Milliseconds(5), 50};
    route.max_conns = seed % 3 == 0 ? 2 : 0;
    if (seed % 5 == 0) route.breaker = {2, Milliseconds(1000), Milliseconds(200), 0xff};
    table = *RouteTable::make({route});
    proxy->set_routes(table);
    set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer), endpoint(3)});
  }
  void answer(Wire& wire) {
    wire.take();
    switch (random.below(9)) {
      case 0: return wire.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno");
      case 1: return wire.send("HTTP/1.1 421 Misdirected Request\r\nX-Outrigger-Refused: no-instance\r\nContent-Length: 0\r\n\r\n");
      case 2: return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nhalf");
      case 3: return wire.send("HTTP/1.1 103 Early Hints\r\n\r\n");
      case 4: return wire.send("nonsense\r\n\r\n");
      case 5: return wire.fail(StreamEnd::kReset);
      default: return wire.send(ok("fine"));
    }
  }
  void step() {
    switch (random.below(12)) {
      case 0:
      case 1:
      case 2: {
        clients.push_back(client());
        clients.back()->send(get("/x"));
        ++asked;
        return;
      }
      case 3: {
        if (clients.empty()) return;
        auto& one = clients[random.below(clients.size())];
        if (!one->over() && one->sink != nullptr) one->fail(StreamEnd::kReset);
        return;
      }
      case 4: return advance(Milliseconds(random.below(300)));
      case 5: {
        std::vector<Endpoint> pool{endpoint(1), endpoint(2, EndpointKind::kPeer), endpoint(3)};
        if (random.below(2) == 0) pool[random.below(3)].health = Health::kCritical;
        if (random.below(4) == 0) pool.erase(pool.begin() + static_cast<std::ptrdiff_t>(random.below(3)));
        return set_pool(pool);
      }
      case 6: return advance(Milliseconds(10));
      default: break;
    }
    if (host.upstreams.empty()) return;
    const auto wire = host.upstreams[host.upstreams.size() - 1 - random.below(std::min<std::size_t>(host.upstreams.size(), 8))];
    if (wire->over() || wire->sink == nullptr || wire->paused) return;
    if (wire->out.empty()) return random.below(6) == 0 ? wire->fail(StreamEnd::kRefused) : wire->connect();
    answer(*wire);
  }
  void finish() {
    for (int round = 0; round < 20; ++round) {
      for (std::size_t i = 0; i < host.upstreams.size(); ++i) {
        Wire& wire = *host.upstreams[i];
        if (wire.over() || wire.sink == nullptr || wire.paused) continue;
        if (wire.out.empty()) wire.connect();
        if (!wire.over() && wire.sink != nullptr && !wire.out.empty()) {
          wire.take();
          wire.send(ok("fine"));
        }
      }
      advance(Milliseconds(500));
    }
  }
  support::Random random{0};
  std::shared_ptr<const RouteTable> table;
  std::vector<std::shared_ptr<Wire>> clients;
  std::size_t asked = 0, whole = 0;
};

TEST_F(HedgeChaos, LeavesNothingBehind) {
  std::uint64_t hedges = 0, won = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    build(seed);
    // Until the route knows what is usual.
    for (int i = 0; i < 60; ++i) {
      clients.push_back(client());
      clients.back()->send(get("/x"));
      ++asked;
      for (const auto& wire : host.upstreams) {
        if (wire->over()) continue;
        if (wire->out.empty()) wire->connect();
        if (wire->out.empty()) continue;
        wire->take();
        wire->send(ok("fine"));
      }
    }
    advance(Milliseconds(150));
    for (int i = 0; i < 250; ++i) step();
    finish();
    EXPECT_EQ(host.accesses.size(), asked) << "one record for each request";
    EXPECT_EQ(counters().open_exchanges, 0U);
    for (const auto& one : proxy->endpoints()) EXPECT_EQ(one.in_flight, 0U) << one.address;
    for (const auto& one : clients) {
      if (one->over() || one->out.find(" 200 ") == std::string::npos) continue;
      EXPECT_TRUE(one->out.ends_with("\r\n\r\nfine")) << one->out;
      ++whole;
    }
    EXPECT_GT(whole, 0U);
    const RouteCounters counted = proxy->routes().at(0).counters;
    hedges += counted.hedges;
    won += counted.hedges_won;
    EXPECT_LE(counted.hedges, asked / 2);
    proxy.reset();
  }
  EXPECT_GT(hedges, kSeeds) << "the weather was too good to say anything";
  EXPECT_GT(won, kSeeds / 4);
}

}  // namespace
}  // namespace proxy::testing
