// Pools of several endpoints: spreading, retries of safe requests, ejection, moves away from what has failed.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Pool : public ProxyTest {
 protected:
  void SetUp() override {
    start();
    set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  }
  std::size_t last() const { return host.upstreams.size() - 1; }
};

TEST_F(Pool, RequestsAreSpreadOverAllEndpoints) {
  std::vector<std::shared_ptr<Wire>> clients;
  std::map<std::uint64_t, int> count;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(client());
    clients.back()->send(get("/x"));
    ++count[static_cast<std::uint64_t>(up(last()).endpoint.id)];
  }
  EXPECT_EQ(count[1], 10);
  EXPECT_EQ(count[2], 10);
  EXPECT_EQ(count[3], 10);
}

TEST_F(Pool, AWebSocketIsNoLoad) {
  set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  auto socket = client();
  socket->send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const EndpointId busy = up(0).endpoint.id;
  up(0).connect();
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  std::vector<std::shared_ptr<Wire>> clients;
  int there = 0;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(client());
    clients.back()->send(get("/x"));
    there += up(last()).endpoint.id == busy ? 1 : 0;
  }
  EXPECT_EQ(there, 10) << "half of the reads, although a tunnel stands there";
}

TEST_F(Pool, ARefusedConnectMovesEvenAnOrderElsewhere) {
  auto c = client();
  c->send(post("/x", "body"));
  const EndpointId first = up(0).endpoint.id;
  up(0).fail(StreamEnd::kRefused);
  ASSERT_EQ(host.upstreams.size(), 2U);
  EXPECT_NE(up(1).endpoint.id, first) << "another one than the last";
  up(1).connect();
  EXPECT_TRUE(up(1).take().ends_with("body"));
  up(1).send(ok("fine"));
  EXPECT_EQ(c->take(), ok("fine"));
  EXPECT_EQ(host.accesses.at(0).attempts, 2U);
  EXPECT_EQ(host.troubles.at(0), std::make_pair(first, Trouble::kRefused));
  EXPECT_EQ(counters().retries, 1U);
}

TEST_F(Pool, ASafeRequestMovesWhenItsConnectionBreaks) {
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  up(1).connect();
  EXPECT_TRUE(up(1).take().starts_with("GET /x "));
  up(1).send(ok("fine"));
  EXPECT_EQ(c->take(), ok("fine"));
}

constexpr const char* kFailedThere =
    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\nX-Outrigger-Outcome: unknown\r\n\r\n{}\n";

TEST_F(Pool, ASafeRequestMovesWhenAPeerSaysThatItsInstanceFailed) {
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send(kFailedThere);
  EXPECT_EQ(c->out, "") << "the peer's failure is not the client's";
  EXPECT_FALSE(up(0).over()) << "the mesh connection is in order";
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  up(1).send(ok("fine"));
  EXPECT_EQ(c->take(), ok("fine"));
}

TEST_F(Pool, APeersFailureIsPassedOnForUnsafeRequestsAndWhereNothingElseIs) {
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto order = client();
  order->send(post("/x", "1"));
  up(0).connect();
  up(0).send(kFailedThere);
  EXPECT_TRUE(order->take().starts_with("HTTP/1.1 502 "));
  EXPECT_EQ(host.upstreams.size(), 1U);
  set_pool({endpoint(2, EndpointKind::kPeer)});
  auto read = client();
  read->send(get("/x"));
  up(last()).connect();
  up(last()).send(kFailedThere);
  EXPECT_TRUE(read->take().starts_with("HTTP/1.1 502 "));
}

TEST_F(Pool, AFailureAtAPeerIsCalledThatWhenNothingElseMayBeTried) {
  settings.retry_burst = 0;
  settings.retry_percent = 0;
  start();
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 3\r\nX-Outrigger-Outcome: unknown\r\n\r\n{}\n");
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 504 ")) << answer;
  EXPECT_TRUE(has(answer, "\"code\":\"failed_at_peer\"") && has(answer, "X-Outrigger-Outcome: unknown\r\n")) << answer;
}

TEST_F(Pool, TheAnswerThatEjectsAnEndpointIsStillPassedOn) {
  settings.outlier.consecutive = 1;
  start();
  set_pool({endpoint(1), endpoint(2)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_EQ(c->take(), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_EQ(counters().ejections, 1U);
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(Pool, ThePeerAnswerThatEjectsAPeerMovesItsRequestOnce) {
  settings.outlier.consecutive = 1;
  start();
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send(kFailedThere);
  ASSERT_EQ(host.upstreams.size(), 2U);
  EXPECT_EQ(counters().ejections, 1U);
  up(1).connect();
  up(1).send(ok("fine"));
  EXPECT_EQ(c->take(), ok("fine"));
  EXPECT_EQ(host.accesses.at(0).attempts, 2U);
}

TEST_F(Pool, AnInstancesOwn502IsItsAnswer) {
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
}

TEST_F(Pool, AnUnsafeRequestDoesNot) {
  auto c = client();
  c->send(post("/x", "1"));
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(host.upstreams.size(), 1U);
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
}

TEST_F(Pool, NothingMovesOnceTheAnswerHasBegun) {
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(Pool, NorWhereTheRouteForbidsIt) {
  retry = false;
  set_routes();
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
}

TEST_F(Pool, ASlowFirstByteMovesASafeRequest) {
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  advance(timeouts.read_try + Milliseconds{20});
  ASSERT_EQ(host.upstreams.size(), 2U);
  EXPECT_TRUE(up(0).reset);
  up(1).connect();
  up(1).send(ok("quick"));
  EXPECT_EQ(c->take(), ok("quick"));
  EXPECT_EQ(counters().first_byte_timeouts, 1U);
}

TEST_F(Pool, ASlowEndpointWithoutAlternativeIsWaitedFor) {
  set_pool({endpoint(1)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  advance(timeouts.read_try * 3);
  EXPECT_EQ(host.upstreams.size(), 1U);
  up(0).send(ok("slow"));
  EXPECT_EQ(c->take(), ok("slow"));
}

TEST_F(Pool, AttemptsAreBoundedAndTheLastErrorIsKept) {
  auto c = client();
  c->send(get("/x"));
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(host.upstreams.size(), i + 1);
    up(i).connect();
    up(i).fail(StreamEnd::kReset);
  }
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "\"code\":\"upstream_closed\""));
  EXPECT_EQ(host.accesses.at(0).attempts, 3U);
}

TEST_F(Pool, WhenAllRefuseTheClientIsToldThatNothingWasSent) {
  auto c = client();
  c->send(post("/x", "1"));
  for (std::size_t i = 0; i < 3; ++i) up(i).fail(StreamEnd::kRefused);
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
  EXPECT_TRUE(has(answer, "Retry-After: 1\r\n"));
}

TEST_F(Pool, TheBudgetStopsAStormOfRetries) {
  settings.retry_burst = 2;
  settings.retry_percent = 0;
  settings.outlier.consecutive = 0;
  start();
  set_pool({endpoint(1), endpoint(2), endpoint(3)});
  for (int i = 0; i < 4; ++i) {
    auto c = client();
    c->send(get("/x"));
    const std::size_t at = last();
    up(at).connect();
    up(at).fail(StreamEnd::kReset);
    if (i < 2) {
      EXPECT_EQ(last(), at + 1);
      EXPECT_EQ(c->out, "");
    } else {
      EXPECT_EQ(last(), at);
      EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
    }
  }
  EXPECT_EQ(counters().retries, 2U);
  EXPECT_EQ(counters().retries_denied, 2U);
}

TEST_F(Pool, AStalePooledConnectionIsRepairedInvisibly) {
  set_pool({endpoint(1)});
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  c->take();
  c->send(get("/2"));
  up(0).eof();
  ASSERT_EQ(host.upstreams.size(), 2U) << "the same endpoint, over a new connection";
  up(1).connect();
  up(1).send(ok("2"));
  EXPECT_EQ(c->take(), ok("2"));
  EXPECT_EQ(counters().ejections, 0U);
}

TEST_F(Pool, RequestsWaitingAtACriticalEndpointMoveAtOnce) {
  auto c = client(), d = client();
  c->send(get("/x"));
  const EndpointId first = up(0).endpoint.id;
  up(0).connect();
  d->send(get("/y"));
  std::vector<Endpoint> all = {endpoint(1), endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)};
  for (Endpoint& e : all) {
    if (e.id == first) e.health = Health::kCritical;
  }
  set_pool(all);
  ASSERT_EQ(host.upstreams.size(), 3U);
  EXPECT_TRUE(up(0).reset);
  EXPECT_FALSE(up(1).over());
  up(2).connect();
  EXPECT_TRUE(up(2).take().starts_with("GET /x "));
}

TEST_F(Pool, RequestsAtAnEndpointThatHasGoneMoveToo) {
  auto c = client();
  c->send(get("/x"));
  const EndpointId first = up(0).endpoint.id;
  set_pool({endpoint(first == EndpointId{1} ? 2 : 1)});
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  up(1).send(ok("1"));
  EXPECT_EQ(c->take(), ok("1"));
  set_pool({});
  set_pool({});
  EXPECT_TRUE(proxy->endpoints().empty());
}

TEST_F(Pool, AnUnsafeRequestStaysWhereItIs) {
  auto c = client();
  c->send(post("/x", "1"));
  up(0).connect();
  set_pool({endpoint(9)});
  EXPECT_FALSE(up(0).over());
  up(0).send(ok("1"));
  EXPECT_EQ(c->take(), ok("1"));
  EXPECT_TRUE(up(0).closed) << "not kept for later";
}

TEST_F(Pool, FailuresEjectAndTrafficMovesAway) {
  settings.outlier.consecutive = 3;
  settings.outlier.max_ejected_percent = 50;
  start();
  set_pool({endpoint(1), endpoint(2)});
  // Both get requests; endpoint 1 refuses all of them.
  int refused = 0;
  for (int i = 0; i < 12; ++i) {
    auto c = client();
    c->send(get("/x"));
    if (up(last()).endpoint.id == EndpointId{1} && up(last()).sink != nullptr && !up(last()).over()) {
      ++refused;
      up(last()).fail(StreamEnd::kRefused);
    }
    Wire& wire = up(last());
    if (wire.out.empty()) wire.connect();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  }
  EXPECT_EQ(refused, 3) << "after three in a row nobody asks it again";
  EXPECT_EQ(counters().ejections, 1U);
  std::vector<Proxy::EndpointStatus> status = proxy->endpoints();
  ASSERT_EQ(status.size(), 2U);
  EXPECT_TRUE(status[0].ejected);
  EXPECT_EQ(status[0].failures, 3U);
  EXPECT_FALSE(status[1].ejected);
}

TEST_F(Pool, TheLastEndpointIsNeverEjected) {
  settings.outlier.consecutive = 1;
  start();
  set_pool({endpoint(1)});
  for (int i = 0; i < 5; ++i) {
    auto c = client();
    c->send(get("/x"));
    ASSERT_EQ(host.upstreams.size(), static_cast<std::size_t>(i) + 1) << "still asked";
    up(last()).fail(StreamEnd::kRefused);
  }
  EXPECT_EQ(counters().ejections, 0U);
}

TEST_F(Pool, ARefusingPeerIsPassedOver) {
  set_pool({endpoint(2, EndpointKind::kPeer), endpoint(3, EndpointKind::kPeer)});
  auto c = client();
  c->send(get("/x"));
  up(0).connect();
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: no-instance\r\n\r\n");
  ASSERT_EQ(host.upstreams.size(), 2U);
  EXPECT_NE(up(1).endpoint.id, up(0).endpoint.id);
  up(1).connect();
  up(1).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: no-instance\r\n\r\n");
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "\"code\":\"refused_by_peer\"")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
}

TEST_F(Pool, DrainingAndWeightlessEndpointsGetNothing) {
  Endpoint draining = endpoint(1), weightless = endpoint(2), fit = endpoint(3);
  draining.draining = true;
  weightless.weight = 0;
  set_pool({draining, weightless, fit});
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(client());
    clients.back()->send(get("/x"));
    EXPECT_EQ(up(last()).endpoint.id, EndpointId{3});
  }
}

TEST_F(Pool, AChangedAddressIsNotServedByOldConnections) {
  set_pool({endpoint(1)});
  auto c = client();
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  Endpoint moved = endpoint(1);
  moved.address = "10.0.0.99:9000";
  set_pool({moved});
  EXPECT_TRUE(up(0).closed);
  c->send(get("/2"));
  EXPECT_EQ(up(1).endpoint.address, "10.0.0.99:9000");
}

TEST_F(Pool, EveryRequestEndsOnceInAStorm) {
  // Random events on random wires: whatever happens, the books balance.
  settings.connections_max = 50;
  settings.outlier.consecutive = 2;
  start();
  set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  become_primary(1);
  std::vector<std::shared_ptr<Wire>> clients;
  std::uint64_t epoch = 1;
  for (int step = 0; step < 20000; ++step) {
    const auto pick = [&](std::size_t size) { return static_cast<std::size_t>(chance(size)); };
    switch (pick(12)) {
      case 0: clients.push_back(client(pick(4) == 0 ? ListenerKind::kPeer : ListenerKind::kDownstream)); break;
      case 1: case 2: {
        if (clients.empty()) break;
        Wire& c = *clients[pick(clients.size())];
        if (c.sink == nullptr || c.paused || c.over()) break;
        const char* const paths[] = {"/x", "/orders", "/narrow", "/primary/a"};
        const std::string path = paths[pick(4)];
        c.send(pick(2) == 0 ? get(path) : post(path, std::string(pick(300), 'b')));
        break;
      }
      case 3: case 4: case 5: case 6: {
        if (host.upstreams.empty()) break;
        Wire& u = *host.upstreams[pick(host.upstreams.size())];
        if (u.sink == nullptr || u.over()) break;
        if (u.out.empty()) { u.connect(); break; }
        if (u.paused) break;
        u.out.clear();
        if (pick(8) == 0) u.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        else if (pick(8) == 0) u.send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: x\r\n\r\n");
        else if (pick(6) == 0) u.send("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nX-Outrigger-Outcome: unknown\r\n\r\n");
        else if (pick(12) == 0) u.send("HTTP/1.1 garbage\r\n\r\n");
        else if (pick(12) == 0) u.eof();
        else u.send(ok("answer"));
        break;
      }
      case 7: if (!host.upstreams.empty()) host.upstreams[pick(host.upstreams.size())]->fail(StreamEnd::kReset); break;
      case 8: if (!clients.empty() && pick(3) == 0) clients[pick(clients.size())]->fail(StreamEnd::kReset); break;
      case 9: advance(Milliseconds{static_cast<std::int64_t>(pick(200))}); break;
      case 10: {
        if (pick(5) != 0) { if (lease) extend_lease(Milliseconds{1500}); break; }
        ++epoch;
        const std::size_t kind = pick(3);
        kind == 0 ? become_primary(epoch) : kind == 1 ? peer_is_primary(epoch, 2) : nobody_is_primary(epoch);
        break;
      }
      case 11: {
        Endpoint one = endpoint(1);
        if (pick(3) == 0) one.health = Health::kCritical;
        if (pick(2) == 0) set_pool({one, endpoint(2, EndpointKind::kPeer)});
        else if (pick(6) == 0) set_pool({endpoint(2, EndpointKind::kPeer)});
        break;
      }
      default: break;
    }
    std::erase_if(clients, [](const auto& wire) { return wire->over() || wire->sink == nullptr; });
    std::erase_if(host.upstreams, [](const auto& wire) { return wire->over() || wire->sink == nullptr; });
    ASSERT_EQ(counters().requests, host.accesses.size() + counters().open_exchanges) << "step " << step;
    ASSERT_LE(counters().held_now, counters().open_exchanges);
    ASSERT_EQ(counters().open_connections, clients.size()) << "step " << step;
    ASSERT_EQ(counters().upstream_open, host.upstreams.size()) << "step " << step;
  }
  EXPECT_GT(host.accesses.size(), 500U);
  EXPECT_EQ(counters().late_lease_writes, 0U);
}

}  // namespace
}  // namespace proxy::testing
