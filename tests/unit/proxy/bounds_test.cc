// Plain proxying: what is kept and stripped in heads, limits in time, upgrades, the end of a drain.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Bounds : public ProxyTest {
 protected:
  void SetUp() override {
    start();
    set_pool({endpoint(1)});
  }
};

// ---- heads ----

TEST_F(Bounds, HopByHopFieldsStayOnTheirHop) {
  auto c = client();
  c->send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
          "Proxy-Connection: x\r\nProxy-Authorization: y\r\nUpgrade: h2c\r\nX-Kept: 2\r\n\r\n");
  up(0).connect();
  const std::string request = up(0).take();
  for (const char* gone : {"X-Secret", "Keep-Alive", "TE:", "Proxy-", "Upgrade", "Connection"}) {
    EXPECT_FALSE(has(request, gone)) << gone << "\n" << request;
  }
  EXPECT_TRUE(has(request, "X-Kept: 2\r\n"));
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Odd\r\nX-Odd: 1\r\nKeep-Alive: 9\r\nX-Fine: 1\r\n\r\n");
  const std::string response = c->take();
  EXPECT_FALSE(has(response, "X-Odd"));
  EXPECT_FALSE(has(response, "Keep-Alive"));
  EXPECT_TRUE(has(response, "X-Fine: 1\r\n"));
  EXPECT_TRUE(has(response, "Connection: close\r\n"));
}

TEST_F(Bounds, SpoofedFieldsAreReplaced) {
  const std::string spoof = "GET / HTTP/1.1\r\nHost: real:1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
      "X-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Outrigger-Epoch: 99\r\n"
      "X-Outrigger-Role: primary\r\nX-Outrigger-Node: evil\r\nX-Outrigger-Hop: evil\r\n\r\n";
  auto c = client();
  c->send(spoof);
  up(0).connect();
  std::string request = up(0).take();
  EXPECT_FALSE(has(request, "6.6.6.6")) << request;
  EXPECT_FALSE(has(request, "evil")) << request;
  EXPECT_FALSE(has(request, "Epoch: 99")) << request;
  for (const char* there : {"X-Forwarded-For: 192.0.2.9\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: real:1\r\n",
                            "X-Real-IP: 192.0.2.9\r\n", "X-Outrigger-Node: node1\r\n", "X-Outrigger-Role: standby\r\n",
                            "X-Outrigger-Epoch: 0\r\n"}) {
    EXPECT_TRUE(has(request, there)) << there << request;
  }
  up(0).send(ok("x"));
  auto trusted = TrustedProxies::parse({"192.0.2.0/24"});
  ASSERT_TRUE(trusted);
  auto t = client(ListenerKind::kDownstream, &*trusted);
  t->send(spoof);
  request = up(0).take();
  EXPECT_TRUE(has(request, "X-Forwarded-For: 6.6.6.6, 192.0.2.9\r\n")) << request;
  EXPECT_TRUE(has(request, "X-Real-IP: 6.6.6.6\r\n"));
  EXPECT_TRUE(has(request, "X-Forwarded-Host: evil\r\n"));
  EXPECT_TRUE(has(request, "Forwarded: for=6.6.6.6, for=192.0.2.9;host=\"real:1\";proto=http\r\n"));
  EXPECT_FALSE(has(request, "X-Outrigger-Epoch: 99")) << "our own fields are believed from nobody";
}

TEST_F(Bounds, RequestIdsAreKeptIfTheyAreOne) {
  settings.request_id.from_anyone = true;
  start();
  set_pool({endpoint(1)});
  auto c = client();
  c->send("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc-1.2:3\r\n\r\n");
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "X-Request-Id: abc-1.2:3\r\n"));
  EXPECT_EQ((up(0).send(ok("")), host.accesses.at(0).request_id), "abc-1.2:3");
  for (const std::string& bad : {std::string("a b"), std::string(200, 'x'), std::string("<x>"), std::string()}) {
    c->send("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " + bad + "\r\n\r\n");
    up(0).take();
    up(0).send(ok(""));
    EXPECT_EQ(host.accesses.back().request_id.size(), 32U) << bad;
  }
  EXPECT_NE(host.accesses[1].request_id, host.accesses[2].request_id);
}

TEST_F(Bounds, ForwardedNeverContradictsWhatATrustedProxySaid) {
  auto trusted = TrustedProxies::parse({"192.0.2.0/24"});
  ASSERT_TRUE(trusted);
  auto c = client(ListenerKind::kDownstream, &*trusted);
  c->send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
  up(0).connect();
  EXPECT_FALSE(has(up(0).take(), "\r\nForwarded:")) << "it would name the trusted proxy as the client";
  up(0).send(ok(""));
  c->send(get("/"));
  EXPECT_TRUE(has(up(0).take(), "\r\nForwarded: for=192.0.2.9;host=h;proto=http\r\n"));
}

TEST_F(Bounds, NamesOfOneHopHoldForTrailersAndLookalikesGo) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nConnection: X-Sum\r\nX_Outrigger_Epoch: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
          "1\r\na\r\n0\r\nX-Sum: 1\r\nX-Kept: 2\r\nX_Real_IP: 3\r\n\r\n");
  up(0).connect();
  const std::string request = up(0).take();
  EXPECT_TRUE(has(request, "0\r\nX-Kept: 2\r\n\r\n")) << request;
  EXPECT_FALSE(has(request, "X-Sum"));
  EXPECT_FALSE(has(request, "X_Outrigger"));
  EXPECT_FALSE(has(request, "X_Real"));
  EXPECT_TRUE(has(request, "\r\nVia: 1.1 outrigger\r\n"));
}

TEST_F(Bounds, OptionsForTheWholeServerGoesWhereItsRootGoes) {
  auto c = client();
  c->send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("OPTIONS * HTTP/1.1\r\n"));
  up(0).send(ok(""));
  c->send("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(up(0).take().starts_with("OPTIONS * HTTP/1.1\r\n"));
}

TEST_F(Bounds, ConnectAndTraceAreRefusedAndNothingBehindConnectIsRead) {
  auto c = client(), t = client();
  c->send("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n" + get("/"));
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(has(answer, "\r\nAllow: GET, "));
  EXPECT_TRUE(c->shut);
  t->send("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(has(t->take(), "\r\nAllow: GET, "));
  EXPECT_FALSE(t->shut);
  EXPECT_TRUE(host.upstreams.empty());
}

TEST_F(Bounds, OnlyWebSocketIsUpgradedAndOnlyWhenItWasAskedFor) {
  const std::string fields = " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: ";
  auto c = client();
  c->send("GET /h2" + fields + "h2c\r\n\r\n");
  up(0).connect();
  EXPECT_FALSE(has(up(0).take(), "h2c"));
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
  auto w = client();
  w->send("GET /ws" + fields + "websocket, h2c\r\n\r\n");
  up(1).connect();
  EXPECT_TRUE(has(up(1).take(), "\r\nUpgrade: websocket\r\n"));
  up(1).send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  EXPECT_TRUE(w->take().starts_with("HTTP/1.1 502 "));
  EXPECT_EQ(counters().tunnels, 0U);
}

TEST_F(Bounds, AnAbsoluteTargetBecomesAPath) {
  auto c = client();
  c->send("GET http://h:80/p?q=1 HTTP/1.1\r\nHost: h:80\r\n\r\n");
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("GET /p?q=1 HTTP/1.1\r\nHost: h:80\r\n"));
}

TEST_F(Bounds, AnInstanceCannotSpeakForUs) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: not-primary\r\n"
             "X-Outrigger-Outcome: not-sent\r\n\r\n");
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 421 "));
  EXPECT_FALSE(has(answer, "X-Outrigger"));
}

// ---- time ----

TEST_F(Bounds, ASlowHeadIs408AndAnIdleConnectionIsClosedQuietly) {
  auto slow = client(), idle = client();
  slow->send("GET / HT");
  advance(Milliseconds{5000});
  slow->send("TP/1.1\r\n");
  advance(Milliseconds{5050});
  EXPECT_TRUE(slow->take().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(slow->shut);
  advance(Milliseconds{1100});
  EXPECT_TRUE(slow->closed);
  EXPECT_FALSE(idle->over());
  advance(settings.keep_alive_timeout);
  EXPECT_TRUE(idle->closed);
  EXPECT_EQ(idle->take(), "");
}

TEST_F(Bounds, ASlowBodyIs408) {
  timeouts.idle = Milliseconds{5000};
  set_routes();
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nab");
  up(0).connect();
  advance(timeouts.idle - Milliseconds{1000});
  EXPECT_EQ(c->out, "");
  advance(Milliseconds{1050});
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(up(0).reset);
}

TEST_F(Bounds, ASilentInstanceIs504) {
  auto c = client();
  c->send(post("/x", "1"));
  up(0).connect();
  advance(timeouts.first_byte - Milliseconds{50});
  EXPECT_EQ(c->out, "");
  advance(Milliseconds{100});
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 504 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_EQ(counters().first_byte_timeouts, 1U);
  EXPECT_EQ(host.troubles.at(0).second, Trouble::kTimedOut);
  EXPECT_FALSE(c->shut) << "the client's connection is in order";
}

TEST_F(Bounds, AStalledResponseIsCutOff) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  advance(timeouts.idle + Milliseconds{50});
  EXPECT_TRUE(c->reset);
  EXPECT_TRUE(up(0).reset);
  EXPECT_GE(counters().idle_timeouts + counters().total_timeouts, 1U);
}

TEST_F(Bounds, TheWholeExchangeHasALimitToo) {
  timeouts.total = Milliseconds{3000};
  timeouts.idle = Milliseconds{2000};
  set_routes();
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  for (int i = 0; i < 2; ++i) {
    advance(Milliseconds{1400});
    up(0).send("x");
    EXPECT_FALSE(c->reset);
  }
  advance(Milliseconds{300});
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(counters().total_timeouts, 1U);
}

TEST_F(Bounds, AConnectThatTakesTooLongIs502NotSent) {
  auto c = client();
  c->send(post("/x", "1"));
  advance(timeouts.connect + Milliseconds{20});
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
  EXPECT_TRUE(up(0).reset || up(0).closed);
}

// ---- upgrade ----

const char* const kUpgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const char* const kSwitch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n";

TEST_F(Bounds, AnUpgradeBecomesATunnel) {
  auto c = client();
  c->send(std::string(kUpgrade) + "early");
  up(0).connect();
  const std::string request = up(0).take();
  EXPECT_TRUE(has(request, "Connection: Upgrade\r\nUpgrade: websocket\r\n")) << request;
  EXPECT_TRUE(has(request, "Sec-WebSocket-Key: k\r\n"));
  EXPECT_FALSE(has(request, "early")) << "not before the server has agreed";
  up(0).send(std::string(kSwitch) + "welcome");
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nwelcome")) << answer;
  EXPECT_EQ(up(0).take(), "early");
  c->send("ping");
  EXPECT_EQ(up(0).take(), "ping");
  up(0).send("pong");
  EXPECT_EQ(c->take(), "pong");
  EXPECT_EQ(counters().tunnels_open, 1U);
  c->eof();
  EXPECT_TRUE(up(0).shut);
  up(0).send("last words");
  EXPECT_EQ(c->take(), "last words");
  up(0).eof();
  EXPECT_TRUE(c->shut || c->closed);
  EXPECT_EQ(counters().tunnels_open, 0U);
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kTunnelled);
  EXPECT_EQ(host.accesses.at(0).status, 101);
}

TEST_F(Bounds, ATunnelHasWatermarksAndIdleLimit) {
  auto c = client();
  c->send(kUpgrade);
  up(0).connect();
  up(0).send(kSwitch);
  c->take();
  up(0).take();
  up(0).room = 2;
  c->send("abcdef");
  EXPECT_TRUE(c->paused);
  up(0).make_room(SIZE_MAX);
  EXPECT_FALSE(c->paused);
  EXPECT_EQ(up(0).take(), "abcdef");
  c->room = 1;
  up(0).send("xyz");
  EXPECT_TRUE(up(0).paused);
  c->make_room(SIZE_MAX);
  EXPECT_FALSE(up(0).paused);
  EXPECT_EQ(c->take(), "xyz");
  advance(timeouts.total + Milliseconds{1} - timeouts.idle);
  up(0).send("x");
  advance(timeouts.idle - Milliseconds{100});
  EXPECT_FALSE(c->over());
  advance(Milliseconds{200});
  EXPECT_TRUE(up(0).over());
}

TEST_F(Bounds, ARefusedUpgradeIsAnOrdinaryResponse) {
  auto c = client();
  c->send(kUpgrade);
  up(0).connect();
  up(0).send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: foo\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c->take(), "Upgrade: foo\r\n"));
  c->send(get("/next"));
  EXPECT_TRUE(has(up(0).take(), "GET /next"));
}

TEST_F(Bounds, ABrokenTunnelBreaksBothSides) {
  auto c = client(), d = client();
  c->send(kUpgrade);
  up(0).connect();
  up(0).send(kSwitch);
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(has(c->take(), "connect again"));
  EXPECT_TRUE(c->shut);
  d->send(kUpgrade);
  up(1).connect();
  up(1).send(kSwitch);
  d->fail(StreamEnd::kReset);
  EXPECT_TRUE(up(1).reset);
  EXPECT_EQ(counters().tunnels_open, 0U);
}

TEST_F(Bounds, ADrainEndsAtItsDeadlineWhateverHappens) {
  auto busy = client(), in_head = client(), stuck = client();
  busy->send(post("/1", "x"));
  up(0).connect();
  in_head->send("GET / HT");
  stuck->room = 5;
  stuck->send("BAD\r\n\r\n");
  proxy->drain(host.clock + Milliseconds{500});
  advance(Milliseconds{400});
  EXPECT_EQ(busy->out, "");
  EXPECT_FALSE(in_head->shut);
  advance(Milliseconds{150});
  const std::string answer = busy->take();
  EXPECT_TRUE(has(answer, "HTTP/1.1 504 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_TRUE(in_head->shut);
  advance(Milliseconds{1100});
  EXPECT_TRUE(proxy->idle());
}

TEST_F(Bounds, TunnelsEndAtTheDrainDeadline) {
  auto c = client();
  c->send(kUpgrade);
  up(0).connect();
  up(0).send(kSwitch);
  proxy->drain(host.clock + Milliseconds{500});
  EXPECT_FALSE(c->over());
  advance(Milliseconds{600});
  EXPECT_TRUE(c->shut);
  EXPECT_TRUE(up(0).closed);
}

}  // namespace
}  // namespace proxy::testing
