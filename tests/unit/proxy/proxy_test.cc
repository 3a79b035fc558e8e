// Plain proxying: one request, keep-alive, streaming, framing, refusals, endings.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Plain : public ProxyTest {
 protected:
  void SetUp() override {
    start();
    set_pool({endpoint(1)});
  }
};

TEST_F(Plain, OneRequestOneWriteEachWay) {
  auto c = client();
  c->send(get("/hello?x=1"));
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(up(0).write_calls, 0U) << "nothing is written before the connection is open";
  up(0).connect();
  EXPECT_EQ(up(0).write_calls, 1U);
  const std::string request = up(0).take();
  EXPECT_TRUE(request.starts_with("GET /hello?x=1 HTTP/1.1\r\nHost: h\r\n")) << request;
  EXPECT_TRUE(request.ends_with("\r\n\r\n"));
  up(0).send(ok("hi"));
  EXPECT_EQ(c->write_calls, 1U);
  EXPECT_EQ(c->take(), ok("hi"));
  EXPECT_FALSE(c->over());
  ASSERT_EQ(host.accesses.size(), 1U);
  const SeenAccess& access = host.accesses[0];
  EXPECT_EQ(access.method, "GET");
  EXPECT_EQ(access.target, "/hello?x=1");
  EXPECT_EQ(access.route, "all");
  EXPECT_EQ(access.status, 200);
  EXPECT_EQ(access.outcome, Outcome::kAnswered);
  EXPECT_EQ(access.attempts, 1U);
  EXPECT_EQ(access.response_bytes, 2U);
  EXPECT_EQ(access.endpoint, "10.0.0.1:9000");
  EXPECT_EQ(access.request_id.size(), 32U);
}

TEST_F(Plain, KeepAliveOnBothSides) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  up(0).take();
  c->take();
  for (int i = 0; i < 3; ++i) {
    c->send(post("/n", "order"));
    EXPECT_EQ(up(0).write_calls, 2U + static_cast<unsigned>(i)) << "head and body in one write";
    EXPECT_TRUE(up(0).take().ends_with("\r\n\r\norder"));
    up(0).send(ok("x"));
    EXPECT_EQ(c->take(), ok("x"));
  }
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(counters().upstream_reuses, 3U);
  EXPECT_EQ(counters().responses_2xx, 4U);
  EXPECT_EQ(counters().open_exchanges, 0U);
}

TEST_F(Plain, PipelinedRequestsAreServedInTurn) {
  auto c = client();
  c->send(get("/1") + get("/2") + post("/3", "abc"));
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("GET /1 "));
  EXPECT_TRUE(c->paused) << "what waits is bounded by not reading on";
  up(0).send(ok("1"));
  EXPECT_TRUE(up(0).take().starts_with("GET /2 "));
  up(0).send(ok("2"));
  EXPECT_TRUE(up(0).take().ends_with("abc"));
  EXPECT_FALSE(c->paused);
  up(0).send(ok("3"));
  EXPECT_EQ(c->take(), ok("1") + ok("2") + ok("3"));
}

TEST_F(Plain, ABodyIsStreamedAsItComes) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  up(0).connect();
  EXPECT_TRUE(up(0).take().ends_with("\r\n\r\nabc"));
  c->send("defg");
  EXPECT_EQ(up(0).take(), "defg");
  c->send("hij");
  EXPECT_EQ(up(0).take(), "hij");
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123");
  EXPECT_TRUE(c->take().ends_with("\r\n\r\n123"));
  up(0).send("456");
  EXPECT_EQ(c->take(), "456");
  EXPECT_EQ(host.accesses.at(0).request_bytes, 10U);
}

TEST_F(Plain, ChunkedBothWaysWithTrailers) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n");
  up(0).connect();
  const std::string head = up(0).take();
  EXPECT_TRUE(has(head, "Transfer-Encoding: chunked\r\n")) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n5\r\nabcde\r\n")) << head;
  c->send("0\r\nX-Sum: 7\r\n\r\n");
  EXPECT_EQ(up(0).take(), "0\r\nX-Sum: 7\r\n\r\n");
  up(0).send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1\r\ny\r\n0\r\nX-End: 8\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\nX-End: 8\r\n\r\n");
  EXPECT_FALSE(c->over());
}

TEST_F(Plain, ManyTinyChunksAreGathered) {
  auto c = client();
  std::string chunks;
  std::string plain;
  for (int i = 0; i < 500; ++i) {
    chunks += "1\r\nx\r\n";
    plain += "x";
  }
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n");
  up(0).connect();
  EXPECT_EQ(body_of(up(0).take()), "1f4\r\n" + plain + "\r\n0\r\n\r\n");
  up(0).send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n");
  EXPECT_EQ(c->write_calls, 1U);
  EXPECT_EQ(body_of(c->take()), "1f4\r\n" + plain + "\r\n0\r\n\r\n");
}

TEST_F(Plain, AnOldClientGetsWhatItUnderstands) {
  auto c = client();
  c->send("GET /old HTTP/1.0\r\n\r\n");
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("GET /old HTTP/1.1\r\nHost: localhost\r\n"));
  up(0).send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nxy");
  EXPECT_TRUE(c->finished) << "HTTP/1.0 without keep-alive: nothing more can come";
  auto k = client();
  k->send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  up(0).send(ok("a"));
  EXPECT_TRUE(has(k->take(), "Connection: keep-alive\r\n"));
  EXPECT_FALSE(k->shut);
}

TEST_F(Plain, AClientThatSaidItsLastIsNotListenedToAnyMore) {
  auto c = client();
  c->send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  up(0).connect();
  up(0).send(ok("a"));
  EXPECT_TRUE(has(c->take(), "Connection: close\r\n"));
  EXPECT_TRUE(c->finished);
  EXPECT_FALSE(c->shut);
}

TEST_F(Plain, ALastRequestThatIsNotWholeOrNotTheLastIsListenedTo) {
  auto half = client();
  half->send("POST /only-get HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 100000\r\n\r\nabc");
  up(0).connect();
  up(0).send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(has(half->take(), "403"));
  EXPECT_FALSE(half->finished);
  EXPECT_TRUE(half->shut) << "bytes of the body are still on their way: a close would answer them with a reset";
  auto liar = client();
  liar->send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /more HTTP/1.1\r\nHost: h\r\n\r\n");
  up(1).connect();
  up(1).send(ok("a"));
  EXPECT_FALSE(liar->finished);
  EXPECT_TRUE(liar->shut);
}

TEST_F(Plain, AResponseUntilTheEndIsChunkedForANewClient) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.0 200 OK\r\n\r\npart");
  EXPECT_TRUE(c->take().ends_with("Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"));
  up(0).eof();
  EXPECT_EQ(c->take(), "0\r\n\r\n");
  EXPECT_TRUE(up(0).closed);
  EXPECT_FALSE(c->over());
}

TEST_F(Plain, NoBodyForHead204And304) {
  auto c = client();
  c->send("HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
  c->send(get("/2"));
  up(0).send("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 204 No Content\r\n\r\n");
  c->send(get("/3"));
  up(0).send("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(counters().open_exchanges, 0U);
}

TEST_F(Plain, ContinueAndEarlyHintsPassThrough) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "Expect: 100-continue\r\n"));
  up(0).send("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 100 Continue\r\n\r\n");
  c->send("abc");
  up(0).send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok("y"));
  EXPECT_EQ(c->take(), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok("y"));
  EXPECT_EQ(counters().responses_1xx, 2U);
}

TEST_F(Plain, AFinalAnswerBeforeTheBodyEndsTheConnection) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\nabc");
  up(0).connect();
  up(0).send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(has(c->take(), "Connection: close\r\n"));
  EXPECT_TRUE(c->shut);
  EXPECT_TRUE(up(0).closed) << "half a request went there";
  c->send("more that nobody wants");
  c->eof();
  EXPECT_TRUE(c->closed);
}

TEST_F(Plain, WatermarksHoldBackTheClient) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
  up(0).connect();
  up(0).take();
  up(0).room = 1000;
  c->send(std::string(60000, 'a'));
  EXPECT_EQ(up(0).out.size(), 1000U);
  EXPECT_TRUE(c->paused);
  up(0).make_room(20000);
  EXPECT_EQ(up(0).out.size(), 21000U);
  EXPECT_TRUE(c->paused);
  up(0).make_room(SIZE_MAX);
  EXPECT_EQ(up(0).out.size(), 60000U);
  EXPECT_FALSE(c->paused);
  c->send(std::string(60000, 'b'));
  c->send(std::string(60000, 'c'));
  c->send(std::string(20000, 'd'));
  EXPECT_EQ(up(0).take(), std::string(60000, 'a') + std::string(60000, 'b') + std::string(60000, 'c') + std::string(20000, 'd'));
  up(0).send(ok("ok"));
  EXPECT_EQ(c->take(), ok("ok"));
}

TEST_F(Plain, WatermarksHoldBackTheInstance) {
  auto c = client();
  c->send(get("/big"));
  up(0).connect();
  c->room = 100;
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + std::string(30000, 'a'));
  EXPECT_TRUE(up(0).paused);
  c->make_room(SIZE_MAX);
  EXPECT_FALSE(up(0).paused);
  up(0).send(std::string(70000, 'b'));
  EXPECT_EQ(body_of(c->take()), std::string(30000, 'a') + std::string(70000, 'b'));
  EXPECT_EQ(up(0).closed, false);
}

TEST_F(Plain, TheNextRequestWaitsUntilTheLastAnswerHasLeft) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  c->room = 10;
  up(0).send(ok("first"));
  c->send(get("/2"));
  EXPECT_FALSE(has(up(0).take(), "/2"));
  c->make_room(SIZE_MAX);
  EXPECT_TRUE(has(up(0).take(), "/2"));
  EXPECT_FALSE(c->paused);
}

TEST_F(Plain, ABodyLargerThanTheReplayBufferWaitsForTheConnection) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
  c->send(std::string(65000, 'a'));
  EXPECT_FALSE(c->paused);
  c->send(std::string(1000, 'b'));
  EXPECT_TRUE(c->paused) << "no connection yet: nothing more is read";
  up(0).connect();
  EXPECT_FALSE(c->paused);
  c->send(std::string(34000, 'c'));
  EXPECT_EQ(body_of(up(0).take()), std::string(65000, 'a') + std::string(1000, 'b') + std::string(34000, 'c'));
}

TEST_F(Plain, MalformedRequestsGetOneStatusAndNothingIsForwarded) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", "431"},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", "414"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", "413"},
      {"GET / HTTP/3.1\r\nHost: h\r\n\r\n", "505"},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"},
      {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"GET /../x HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "405"},
      {"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405"},
  };
  for (const auto& [text, status] : cases) {
    auto c = client();
    c->send(text + get("/smuggled"));
    const std::string answer = c->take();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + status + " ")) << text.substr(0, 60) << "\n" << answer;
    EXPECT_TRUE(has(answer, "\"code\":\"")) << answer;
    if (status != "405") {
      EXPECT_TRUE(c->shut) << text.substr(0, 60);
      EXPECT_TRUE(has(answer, "Connection: close\r\n")) << answer;
      EXPECT_TRUE(host.upstreams.empty()) << text.substr(0, 60);
    }
    host.upstreams.clear();
  }
}

TEST_F(Plain, ABodyThatTurnsOutMalformedEndsBothSides) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  up(0).connect();
  c->send("zzz\r\n");
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_TRUE(up(0).reset) << "the instance must not take the half for a whole";
  EXPECT_TRUE(c->shut);
}

TEST_F(Plain, AChunkedBodyOverTheLimitIs413) {
  auto c = client();
  c->send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  up(0).connect();
  for (int i = 0; i < 40 && !c->shut; ++i) c->send("8000\r\n" + std::string(0x8000, 'x') + "\r\n");
  EXPECT_TRUE(has(c->take(), "HTTP/1.1 413 "));
  EXPECT_TRUE(up(0).reset);
}

TEST_F(Plain, UnknownPathsAndMethods) {
  catch_all = false;
  set_routes();
  auto c = client();
  c->send(get("/nowhere"));
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 404 "));
  c->send(post("/narrow", "x"));
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << answer;
  EXPECT_TRUE(has(answer, "Allow: GET, PUT\r\n")) << answer;
  EXPECT_FALSE(c->shut) << "well-formed requests keep the connection";
  EXPECT_EQ(host.accesses.at(0).reason, "no_route");
}

TEST_F(Plain, NoEndpointIs503) {
  set_pool({});
  auto c = client();
  c->send(get("/"));
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(has(answer, "Retry-After: 1\r\n"));
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
  EXPECT_TRUE(has(answer, R"({"code":"no_endpoint","message":")"));
  EXPECT_TRUE(has(answer, R"("retry_after_ms":1000})"));
  EXPECT_TRUE(has(answer, "X-Request-Id: "));
}

TEST_F(Plain, ATruncatedResponseIsNotPassedOnAsAWhole) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(c->reset);
  EXPECT_FALSE(has(c->take(), "0\r\n\r\n"));
  EXPECT_EQ(host.accesses.at(0).reason, "truncated");
}

TEST_F(Plain, AMalformedResponseIs502) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\nX: y\n\n");
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(up(0).reset);
}

TEST_F(Plain, A101ThatNobodyAskedForIs502) {
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
}

TEST_F(Plain, ConnectionsOfAnIdlePoolAreNotTrusted) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1") + "HTTP/1.1 200 OK\r\n");
  EXPECT_TRUE(up(0).closed) << "more than one answer";
  c->send(get("/2"));
  up(1).connect();
  up(1).send(ok("2"));
  up(1).send("HTTP/1.1 408 Request Timeout\r\n\r\n");
  EXPECT_TRUE(up(1).closed) << "unasked bytes on an idle connection";
  c->send(get("/3"));
  up(2).connect();
  up(2).send(ok("3"));
  up(2).eof();
  EXPECT_TRUE(up(2).closed);
  c->send(get("/4"));
  up(3).connect();
  up(3).send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n4");
  EXPECT_TRUE(up(3).closed);
  EXPECT_EQ(counters().upstream_idle, 0U);
  EXPECT_EQ(counters().upstream_open, 0U);
}

TEST_F(Plain, IdleConnectionsEndBeforeTheInstanceEndsThem) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  advance(settings.upstream_idle_timeout - Milliseconds{20});
  EXPECT_FALSE(up(0).closed);
  advance(Milliseconds{40});
  EXPECT_TRUE(up(0).closed);
}

TEST_F(Plain, AnUnsafeRequestTakesOnlyAFreshConnection) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  advance(settings.reuse_unsafe_max + Milliseconds{50});
  c->send(post("/2", "x"));
  EXPECT_EQ(host.upstreams.size(), 2U);
  auto d = client();
  d->send(get("/3"));
  EXPECT_EQ(host.upstreams.size(), 2U) << "a safe one takes the older one";
}

TEST_F(Plain, ThePoolIsBounded) {
  settings.upstream_idle_max = 1;
  settings.upstream_open_max = 2;
  start();
  set_pool({endpoint(1)});
  auto a = client(), b = client(), c = client();
  a->send(get("/1"));
  b->send(get("/2"));
  c->send(get("/3"));
  EXPECT_EQ(host.upstreams.size(), 2U);
  EXPECT_EQ(c->take(), "") << "waits in the queue of its route";
  for (auto& wire : host.upstreams) wire->connect();
  up(0).send(ok("1"));
  EXPECT_TRUE(has(up(0).take(), "GET /3 ")) << "takes the place at once";
  up(0).send(ok("3"));
  EXPECT_EQ(body_of(c->take()), "3");
  up(1).send(ok("2"));
  EXPECT_FALSE(up(0).closed);
  EXPECT_TRUE(up(1).closed);
  EXPECT_EQ(counters().upstream_idle, 1U);
}

TEST_F(Plain, ABurstOpensAFewConnectionsToAPeerAndUsesThemAgain) {
  start();
  set_pool({endpoint(2, EndpointKind::kPeer)});
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(client());
    clients.back()->send(get("/" + std::to_string(i)));
  }
  EXPECT_EQ(host.upstreams.size(), 16U) << "the others wait, since a handshake costs more than many requests";
  up(0).connect();
  EXPECT_EQ(host.upstreams.size(), 17U) << "one that is open counts no longer";
  for (const char* next : {"/17 ", "/18 ", "/19 "}) {
    up(0).take();
    up(0).send(ok("done"));
    EXPECT_TRUE(has(up(0).take(), next)) << "a connection that comes free takes the next one";
  }
  up(0).send(ok("done"));
  EXPECT_EQ(host.upstreams.size(), 17U);
}

TEST_F(Plain, ABurstAtTheInstanceOpensAllAtOnce) {
  start();
  set_pool({endpoint(1)});
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(client());
    clients.back()->send(get("/x"));
  }
  EXPECT_EQ(host.upstreams.size(), 20U);
}

TEST_F(Plain, ClientsAreBoundedAndRefusedWhileDraining) {
  settings.connections_max = 1;
  start();
  auto a = client(), b = client();
  EXPECT_FALSE(a->over());
  EXPECT_TRUE(b->closed);
  EXPECT_EQ(counters().connections_refused, 1U);
}

TEST_F(Plain, DrainEndsIdleConnectionsNowAndBusyOnesAfterTheirAnswer) {
  auto idle = client(), busy = client();
  busy->send(get("/1"));
  up(0).connect();
  proxy->drain(host.clock + Milliseconds{1000});
  EXPECT_TRUE(idle->closed);
  EXPECT_FALSE(busy->over());
  up(0).send(ok("1"));
  EXPECT_TRUE(has(busy->take(), "Connection: close\r\n"));
  EXPECT_TRUE(up(0).closed);
  busy->eof();
  EXPECT_TRUE(proxy->idle());
  EXPECT_TRUE(client()->closed);
}

TEST_F(Plain, AClientThatLeavesEndsItsExchange) {
  auto c = client();
  c->send(get("/1"));
  c->fail(StreamEnd::kReset);
  EXPECT_TRUE(up(0).closed);
  EXPECT_EQ(host.accesses.at(0).status, 0);
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kNotSent);
  auto d = client();
  d->send(get("/2"));
  up(1).connect();
  d->fail(StreamEnd::kReset);
  EXPECT_EQ(host.accesses.at(1).outcome, Outcome::kUnknown);
  EXPECT_EQ(counters().open_exchanges, 0U);
  EXPECT_EQ(counters().upstream_open, 0U);
}

TEST_F(Plain, AClientThatOnlyStopsSendingStillGetsItsAnswer) {
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  c->eof();
  up(0).send(ok("1"));
  EXPECT_EQ(c->take(), ok("1"));
  EXPECT_TRUE(c->closed);
}

}  // namespace
}  // namespace proxy::testing
