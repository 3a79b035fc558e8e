// Clients that send or take too slowly: the rule, then the whole proxy in virtual time.
#include "proxy/pace.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

TEST(Pace, EveryWindowMustBringItsShare) {
  const PaceSettings settings{100, Milliseconds{1000}};
  const TimePoint start{std::chrono::hours(1)};
  const auto at = [&](int ms) { return start + Milliseconds{ms}; };
  Pace pace;
  EXPECT_FALSE(pace.running());
  EXPECT_EQ(pace.deadline(settings), TimePoint::max());
  EXPECT_FALSE(pace.too_slow(settings, at(5000), 0)) << "nothing is owed";
  pace.begin(at(0), 50);
  pace.begin(at(500), 70);
  EXPECT_EQ(pace.deadline(settings), at(1000)) << "a window is not begun anew by bytes";
  EXPECT_FALSE(pace.too_slow(settings, at(999), 50));
  EXPECT_FALSE(pace.too_slow(settings, at(1000), 150));
  EXPECT_EQ(pace.deadline(settings), at(2000));
  EXPECT_TRUE(pace.too_slow(settings, at(2000), 249));
  pace.end();
  EXPECT_FALSE(pace.too_slow(settings, at(9000), 249));
}

class SlowClients : public ProxyTest {
 protected:
  void SetUp() override {
    settings.client_pace = {100, Milliseconds{2000}};
    start();
    set_pool({endpoint(1)});
  }
  /// A request whose body has begun, at the endpoint.
  std::shared_ptr<Wire> uploading() {
    auto c = client();
    c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nab");
    up(0).connect();
    return c;
  }
  /// A client that takes `room` bytes of a long answer and no more.
  std::shared_ptr<Wire> downloading(std::size_t room) {
    auto c = client();
    c->room = room;
    c->send(get("/long"));
    up(0).connect();
    up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(60000, 'x'));
    return c;
  }
};

TEST_F(SlowClients, ABodyBelowTheRateIs408) {
  auto c = uploading();
  for (int i = 0; i < 4 && c->out.empty(); ++i) {
    c->send("x");  // an idle limit would be content
    advance(Milliseconds{500});
  }
  advance(Milliseconds{50});
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  EXPECT_TRUE(has(answer, "body_too_slow"));
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown")) << "the head is at the instance";
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(c->shut);
  EXPECT_EQ(counters().slow_bodies, 1U);
  EXPECT_EQ(host.accesses.back().reason, "body_too_slow");
}

TEST_F(SlowClients, ABodyAboveTheRateTakesAsLongAsItTakes) {
  auto c = uploading();
  for (int i = 0; i < 40; ++i) {
    c->send(std::string(60, 'x'));
    advance(Milliseconds{500});
  }
  EXPECT_EQ(c->out, "");
  EXPECT_FALSE(c->over());
  EXPECT_EQ(counters().slow_bodies, 0U);
}

TEST_F(SlowClients, AResponseThatHasBegunIsResetWithItsBody) {
  auto c = uploading();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  advance(Milliseconds{2100});
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(counters().slow_bodies, 1U);
}

TEST_F(SlowClients, OurOwnPauseIsNotTheClients) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nab");
  up(0).connect();
  up(0).room = 0;
  c->send(std::string(65536, 'x'));
  EXPECT_TRUE(c->paused);
  advance(Milliseconds{10000});
  EXPECT_EQ(c->out, "") << "the instance does not take it";
  up(0).make_room(SIZE_MAX);
  EXPECT_FALSE(c->paused);
  advance(Milliseconds{1900});
  EXPECT_EQ(c->out, "");
  advance(Milliseconds{200});
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 408 "));
}

TEST_F(SlowClients, WhoWaitsForAContinueOwesNothing) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
  up(0).connect();
  advance(Milliseconds{5000});
  EXPECT_EQ(c->out, "");
  c->send("ab");
  advance(Milliseconds{2100});
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 408 "));
}

TEST_F(SlowClients, AReaderBelowTheRateIsCutOff) {
  auto c = downloading(1000);
  for (int i = 0; i < 3; ++i) {
    advance(Milliseconds{500});
    c->make_room(10);
  }
  EXPECT_FALSE(c->over());
  advance(Milliseconds{600});
  EXPECT_TRUE(c->reset);
  EXPECT_TRUE(up(0).over());
  EXPECT_EQ(counters().slow_readers, 1U);
  EXPECT_EQ(host.accesses.back().reason, "slow_reader");
}

TEST_F(SlowClients, AReaderAboveTheRateIsWaitedFor) {
  auto c = downloading(1000);
  for (int i = 0; i < 40; ++i) {
    advance(Milliseconds{500});
    c->make_room(80);
  }
  EXPECT_FALSE(c->over());
  EXPECT_EQ(counters().slow_readers, 0U);
}

TEST_F(SlowClients, TheKernelsShareCountsAsProgress) {
  auto c = downloading(50000);
  c->in_kernel = 50000;
  for (int i = 0; i < 20; ++i) {
    advance(Milliseconds{1000});
    c->in_kernel -= 200;  // its reader goes on, but there is no room for a write yet
  }
  EXPECT_FALSE(c->over());
  advance(Milliseconds{4100});
  EXPECT_TRUE(c->reset);
}

TEST_F(SlowClients, AnAnswerThatWaitsInTheStreamIsWatchedToo) {
  auto c = client();
  c->backlog = 5000;
  c->send(get("/x"));
  up(0).connect();
  up(0).send(ok(std::string(5000, 'x')));
  EXPECT_EQ(host.accesses.size(), 1U) << "the exchange itself is over";
  advance(Milliseconds{2100});
  EXPECT_TRUE(c->reset);
  auto d = client();
  d->backlog = 5000;
  d->send(get("/x"));
  host.upstreams.back()->send(ok(std::string(5000, 'x')));
  d->backlog = 0;
  advance(Milliseconds{10000});
  EXPECT_FALSE(d->over()) << "it has taken everything";
  EXPECT_EQ(counters().slow_readers, 1U);
}

TEST_F(SlowClients, TunnelsAreExempt) {
  auto c = client();
  c->send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  c->room = 0;
  up(0).send("news");
  advance(Milliseconds{10000});
  EXPECT_FALSE(c->over());
}

TEST_F(SlowClients, NoughtTurnsItOff) {
  settings.client_pace.bytes_per_second = 0;
  start();
  set_pool({endpoint(1)});
  auto c = downloading(1000);
  advance(Milliseconds{30000});
  EXPECT_FALSE(c->over());
}

}  // namespace
}  // namespace proxy::testing
