// Primary routes: where orders go, the lease check, holding, the peer hop, and what is never sent twice.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class PrimaryRoute : public ProxyTest {
 protected:
  void SetUp() override { start(); }
  std::shared_ptr<Wire> peer() { return client(ListenerKind::kPeer); }
  // A primary with one idle, fresh connection to its instance.
  void warm_up() {
    become_primary(7);
    auto c = client();
    c->send(post("/orders", "warm"));
    up(0).connect();
    up(0).send(ok("w"));
    up(0).take();
    host.accesses.clear();
  }
};

// ---- local primary ----

TEST_F(PrimaryRoute, AnOrderGoesToTheLocalInstanceWithItsEpoch) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "buy"));
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(up(0).queueing, Queueing::kNone) << "nothing may wait behind the lease check";
  up(0).connect();
  const std::string request = up(0).take();
  EXPECT_TRUE(has(request, "X-Outrigger-Role: primary\r\n")) << request;
  EXPECT_TRUE(has(request, "X-Outrigger-Epoch: 7\r\n"));
  EXPECT_TRUE(has(request, "X-Outrigger-Node: node1\r\n"));
  EXPECT_TRUE(request.ends_with("\r\n\r\nbuy"));
  EXPECT_EQ(proxy->orders_in_flight("trader"), 1U);
  up(0).send(ok("done"));
  EXPECT_EQ(c->take(), ok("done"));
  EXPECT_EQ(proxy->orders_in_flight("trader"), 0U);
  EXPECT_EQ(host.accesses.at(0).epoch, Epoch{7});
  EXPECT_EQ(counters().orders_sent, 1U);
}

TEST_F(PrimaryRoute, NoByteIsWrittenOnceTheLeaseIsOver) {
  warm_up();
  auto c = client();
  lease->valid_until_ns = 0;  // the control loop yields; no view has come yet
  c->send(post("/orders", "late"));
  EXPECT_EQ(up(0).take(), "");
  EXPECT_EQ(c->out, "") << "held, not failed";
  EXPECT_EQ(counters().held_now, 1U);
  extend_lease(Milliseconds{1500});
  advance(Milliseconds{50});
  EXPECT_TRUE(up(host.upstreams.size() - 1).out.empty() || has(up(0).out, "late"));
}

TEST_F(PrimaryRoute, TheCheckIsMadeInTheCallThatWrites) {
  warm_up();
  auto c = client();
  // The clock runs while the request is dispatched: valid when the endpoint is chosen, over when the bytes would leave.
  extend_lease(Milliseconds{2});
  host.step_per_read = std::chrono::nanoseconds(900'000);
  c->send(post("/orders", "x"));
  host.step_per_read = std::chrono::nanoseconds{0};
  EXPECT_EQ(up(0).take(), "");
  EXPECT_EQ(counters().writes_denied, 1U);
  EXPECT_EQ(counters().late_lease_writes, 0U);
  EXPECT_TRUE(up(0).reset) << "the connection must not live on";
  EXPECT_EQ(counters().held_now, 1U) << "nothing was sent: it may wait";
}

TEST_F(PrimaryRoute, AWriteThatEndsTooLateIsCounted) {
  warm_up();
  auto c = client();
  up(0).before_write = [&] { host.clock += Milliseconds{5000}; };  // paused between check and system call
  c->send(post("/orders", "x"));
  EXPECT_EQ(counters().late_lease_writes, 1U);
}

TEST_F(PrimaryRoute, ABodyStopsInTheMiddleWhenTheLeaseEnds) {
  become_primary(7);
  auto c = client();
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
  up(0).connect();
  EXPECT_TRUE(up(0).take().ends_with("abc"));
  host.clock += Milliseconds{1600};
  c->send("def");
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset);
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 504 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_TRUE(has(answer, "\"code\":\"lease_lost\""));
  EXPECT_EQ(counters().lease_stops, 1U);
  EXPECT_EQ(counters().orders_unknown, 1U);
  EXPECT_EQ(proxy->orders_in_flight("trader"), 0U);
}

TEST_F(PrimaryRoute, BytesThatWaitedForRoomAreCheckedAgain) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "0123456789"));
  up(0).room = 20;
  up(0).connect();
  EXPECT_EQ(up(0).take().size(), 20U);
  host.clock += Milliseconds{1600};
  up(0).make_room(SIZE_MAX);
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->take(), "HTTP/1.1 504 "));
}

TEST_F(PrimaryRoute, AnOrderWaitingForItsAnswerIsCutOffWhenTheLeaseEnds) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).connect();
  EXPECT_LE(proxy->next_deadline(), lease->valid_until()) << "the driver must be asked to tick then";
  advance(Milliseconds{1000});
  extend_lease(Milliseconds{1500});
  advance(Milliseconds{1400});
  EXPECT_FALSE(up(0).reset) << "renewed in time";
  advance(Milliseconds{200});
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown\r\n"));
}

TEST_F(PrimaryRoute, AnAnswerCutOffByTheLeaseIsNoWholeAnswer) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
  nobody_is_primary(7);
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kUnknown);
}

TEST_F(PrimaryRoute, TunnelsOfAPrimaryRouteAreCheckedToo) {
  become_primary(7);
  auto c = client();
  c->send("GET /primary/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  up(0).take();
  c->send("fine");
  EXPECT_EQ(up(0).take(), "fine");
  host.clock += Milliseconds{1600};
  c->send("late");
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->take(), "connect again"));
  EXPECT_TRUE(c->shut);
}

// ---- holding ----

TEST_F(PrimaryRoute, OrdersWaitForAPrimaryAndGoInOrder) {
  nobody_is_primary(3);
  auto a = client(), b = client();
  a->send(post("/orders", "first"));
  b->send(post("/orders", "second"));
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_EQ(counters().held_now, 2U);
  EXPECT_GT(counters().held_bytes_now, 10U);
  host.clock += Milliseconds{300};
  become_primary(4);
  EXPECT_EQ(counters().held_now, 0U);
  EXPECT_EQ(counters().held_bytes_now, 0U);
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(0).connect();
  up(1).connect();
  EXPECT_TRUE(up(0).take().ends_with("first"));
  EXPECT_TRUE(up(1).take().ends_with("second"));
  up(0).send(ok("1"));
  EXPECT_EQ(a->take(), ok("1"));
  EXPECT_EQ(host.accesses.at(0).held, Milliseconds{300});
  EXPECT_EQ(host.accesses.at(0).epoch, Epoch{4});
}

TEST_F(PrimaryRoute, HoldingEndsWith503AndNotSent) {
  nobody_is_primary(3);
  auto c = client();
  c->send(post("/orders", "x"));
  advance(hold - Milliseconds{50});
  EXPECT_EQ(c->out, "");
  advance(Milliseconds{100});
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(has(answer, "Retry-After: 1\r\n"));
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
  EXPECT_TRUE(has(answer, "\"code\":\"no_primary\""));
  EXPECT_EQ(counters().held_expired, 1U);
  EXPECT_FALSE(c->shut);
}

TEST_F(PrimaryRoute, NoHoldNoWaiting) {
  hold = Milliseconds{0};
  set_routes();
  auto c = client();
  c->send(post("/orders", "x"));
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 503 "));
}

TEST_F(PrimaryRoute, TheHoldQueueIsBoundedInCount) {
  settings.hold_count_max = 2;
  start();
  auto a = client(), b = client(), c = client();
  for (auto& w : {a, b, c}) w->send(post("/orders", "x"));
  EXPECT_EQ(a->out + b->out, "");
  EXPECT_TRUE(has(c->take(), "\"code\":\"hold_queue_full\""));
  EXPECT_EQ(counters().held_refused, 1U);
  EXPECT_EQ(counters().held_now, 2U);
}

TEST_F(PrimaryRoute, TheHoldQueueIsBoundedInBytes) {
  settings.hold_bytes_max = 3000;
  start();
  auto a = client(), b = client();
  a->send(post("/orders", std::string(2000, 'x')));
  b->send(post("/orders", std::string(2000, 'x')));
  EXPECT_EQ(a->out, "");
  EXPECT_TRUE(has(b->take(), "\"code\":\"hold_queue_full\""));
}

TEST_F(PrimaryRoute, AHeldBodyIsReadUpToTheReplayBuffer) {
  settings.replay_bytes_max = 1000;
  start();
  auto c = client();
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n" + std::string(900, 'a'));
  EXPECT_FALSE(c->paused);
  c->send(std::string(200, 'b'));
  EXPECT_TRUE(c->paused);
  become_primary(2);
  up(0).connect();
  EXPECT_FALSE(c->paused);
  c->send(std::string(1900, 'c'));
  EXPECT_EQ(body_of(up(0).take()), std::string(900, 'a') + std::string(200, 'b') + std::string(1900, 'c'));
}

TEST_F(PrimaryRoute, AClientThatLeavesWhileHeldHasSentNoOrder) {
  auto c = client(), d = client();
  c->send(post("/orders", "x"));
  d->send(post("/orders", "y"));
  c->eof();
  EXPECT_TRUE(c->closed);
  d->fail(StreamEnd::kReset);
  EXPECT_EQ(counters().held_now, 0U);
  become_primary(2);
  EXPECT_TRUE(host.upstreams.empty()) << "nobody is there to get the answer";
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kNotSent);
}

TEST_F(PrimaryRoute, ARefusedConnectIsHeldAndTriedAgain) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).fail(StreamEnd::kRefused);
  EXPECT_EQ(c->out, "") << "nothing was sent, so it may wait";
  EXPECT_EQ(host.troubles.at(0).second, Trouble::kRefused);
  advance(Milliseconds{20});
  ASSERT_EQ(host.upstreams.size(), 2U) << "asked again soon";
  up(1).fail(StreamEnd::kRefused);
  peer_is_primary(8, 2);
  ASSERT_EQ(host.upstreams.size(), 3U) << "and at once where the new primary is";
  EXPECT_EQ(up(2).endpoint.kind, EndpointKind::kPeer);
  up(2).connect();
  up(2).send(ok("done"));
  EXPECT_EQ(c->take(), ok("done"));
}

// ---- what is never sent twice ----

TEST_F(PrimaryRoute, AnOrderThatMayHaveArrivedIsNeverSentAgain) {
  warm_up();
  for (int round = 0; round < 2; ++round) {
    auto c = client();
    const std::size_t before = host.upstreams.size();
    c->send(post("/orders", "x"));
    if (host.upstreams.size() > before) host.upstreams.back()->connect();
    host.upstreams.back()->fail(StreamEnd::kReset);
    const std::string answer = c->take();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
    EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
    advance(Milliseconds{200});
    EXPECT_EQ(host.accesses.back().attempts, 1U);
  }
  EXPECT_EQ(host.upstreams.size(), 2U);
  EXPECT_EQ(counters().orders_unknown, 2U);
  EXPECT_EQ(host.troubles.size(), 2U);
}

TEST_F(PrimaryRoute, EvenAReadOfAPrimaryRouteIsSentOnce) {
  become_primary(7);
  auto c = client();
  c->send(get("/primary/x"));
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(c->take().starts_with("HTTP/1.1 502 "));
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(PrimaryRoute, AStreamThatTookNothingIsNotASend) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).room = 0;
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(counters().held_now, 1U);
  EXPECT_EQ(counters().orders_sent, 0U);
}

// ---- the view changes ----

TEST_F(PrimaryRoute, AChangeOfHolderEndsWhatIsThere) {
  become_primary(7);
  auto sent = client(), connecting = client();
  sent->send(post("/orders", "a"));
  up(0).connect();
  connecting->send(post("/orders", "b"));
  peer_is_primary(8, 2);
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(sent->take(), "HTTP/1.1 504 "));
  EXPECT_TRUE(up(1).reset);
  ASSERT_EQ(host.upstreams.size(), 3U) << "the unsent one goes to the new holder";
  EXPECT_EQ(up(2).endpoint.id, EndpointId{2});
  up(2).connect();
  const std::string hop = up(2).take();
  EXPECT_TRUE(has(hop, "X-Outrigger-Hop: node1\r\n")) << hop;
  EXPECT_FALSE(has(hop, "X-Outrigger-Epoch")) << "the peer says under which epoch it acts";
  EXPECT_EQ(proxy->orders_in_flight("trader"), 0U);
}

TEST_F(PrimaryRoute, TheAnswerOfAPeerThatWasPrimaryIsWaitedForAMoment) {
  peer_is_primary(7, 2);
  auto answered = client(), silent = client(), refused = client();
  for (auto& one : {answered, silent, refused}) one->send(post("/orders", "a"));
  for (std::size_t i = 0; i < 3; ++i) up(i).connect();
  peer_is_primary(8, 3);
  EXPECT_EQ(host.upstreams.size(), 3U) << "what was sent is not sent again";
  up(0).send(ok("done"));
  EXPECT_EQ(body_of(answered->take()), "done") << "it was on its way when the role went";
  up(2).send("HTTP/1.1 421 Misdirected Request\r\nX-Outrigger-Refused: not-primary\r\nContent-Length: 0\r\n\r\n");
  advance(Milliseconds{100});
  ASSERT_EQ(host.upstreams.size(), 4U);
  EXPECT_EQ(up(3).endpoint.id, EndpointId{3}) << "what it did not take goes to the new one";
  advance(Milliseconds{800});
  EXPECT_EQ(silent->take(), "");
  advance(Milliseconds{200});
  EXPECT_TRUE(has(silent->take(), "\"code\":\"primary_changed\""));
  EXPECT_TRUE(up(1).reset);
}

TEST_F(PrimaryRoute, ANewEpochOfTheSameHolderIsAChange) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "a"));
  up(0).connect();
  become_primary(8);
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->take(), "\"code\":\"primary_changed\""));
}

TEST_F(PrimaryRoute, OldViewsAreIgnored) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "a"));
  up(0).connect();
  nobody_is_primary(6);
  EXPECT_FALSE(up(0).reset);
  up(0).send(ok("1"));
  EXPECT_EQ(c->take(), ok("1"));
}

TEST_F(PrimaryRoute, TheSameViewAgainChangesNothing) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "a"));
  up(0).connect();
  proxy->set_primary(view);
  EXPECT_FALSE(up(0).reset);
  EXPECT_EQ(proxy->orders_in_flight("trader"), 1U);
}

TEST_F(PrimaryRoute, AYieldingPrimaryLetsOrdersFinishAndHoldsNewOnes) {
  become_primary(7);
  auto a = client(), b = client();
  a->send(post("/orders", "a"));
  up(0).connect();
  view.accepts_new = false;
  proxy->set_primary(view);
  EXPECT_TRUE(host.drained.empty());
  b->send(post("/orders", "b"));
  EXPECT_EQ(host.upstreams.size(), 1U);
  up(0).send(ok("1"));
  EXPECT_EQ(a->take(), ok("1"));
  ASSERT_EQ(host.drained.size(), 1U);
  EXPECT_EQ(host.drained[0], std::make_pair(std::string("trader"), Epoch{7}));
  peer_is_primary(8, 2);
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  EXPECT_TRUE(up(1).take().ends_with("\r\n\r\nb"));
  EXPECT_EQ(host.drained.size(), 1U) << "said once";
}

TEST_F(PrimaryRoute, AnIdlePrimaryIsDrainedAtOnce) {
  become_primary(7);
  view.accepts_new = false;
  proxy->set_primary(view);
  proxy->set_primary(view);
  EXPECT_EQ(host.drained.size(), 1U);
}

// ---- entry side of the peer hop ----

TEST_F(PrimaryRoute, ARefusalOfThePeerMeansNothingWasSent) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(post("/orders", "abc"));
  up(0).connect();
  EXPECT_TRUE(up(0).take().ends_with("abc"));
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: not-primary\r\n\r\n");
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(counters().peer_refusals_received, 1U);
  EXPECT_FALSE(up(0).over()) << "the mesh connection is in order";
  advance(Milliseconds{20});
  EXPECT_TRUE(up(0).take().ends_with("abc")) << "asked again: perhaps it has the lease by now";
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: not-primary\r\n\r\n");
  peer_is_primary(9, 3);
  up(1).connect();
  EXPECT_TRUE(up(1).take().ends_with("abc"));
  up(1).send(ok("done"));
  EXPECT_EQ(c->take(), ok("done"));
  EXPECT_EQ(host.accesses.at(0).attempts, 3U);
}

TEST_F(PrimaryRoute, ABodyTooLargeToRepeatIs503AfterARefusal) {
  settings.replay_bytes_max = 100;
  start();
  peer_is_primary(8, 2);
  auto c = client();
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n");
  up(0).connect();
  c->send(std::string(300, 'x'));
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: not-primary\r\n\r\n");
  const std::string answer = c->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
}

TEST_F(PrimaryRoute, AnAnswerOfThePeerKeepsItsOutcome) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).connect();
  up(0).send("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nX-Outrigger-Outcome: unknown\r\n\r\n");
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown\r\n"));
}

TEST_F(PrimaryRoute, APeerThatBreaksAfterTheRequestLeavesTheOutcomeOpen) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(post("/orders", "x"));
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_EQ(host.upstreams.size(), 1U);
}

// ---- peer side of the hop ----

TEST_F(PrimaryRoute, APeersOrderIsServedUnderOurOwnLease) {
  become_primary(7);
  auto p = peer();
  p->send("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nX-Outrigger-Hop: node2\r\nX-Forwarded-For: 192.0.2.77\r\n"
          "X-Real-IP: 192.0.2.77\r\nX-Request-Id: r1\r\n\r\nx");
  up(0).connect();
  const std::string request = up(0).take();
  EXPECT_TRUE(has(request, "X-Forwarded-For: 192.0.2.77\r\n")) << request;
  EXPECT_TRUE(has(request, "X-Request-Id: r1\r\n"));
  EXPECT_TRUE(has(request, "X-Outrigger-Epoch: 7\r\n"));
  EXPECT_FALSE(has(request, "X-Outrigger-Hop"));
  up(0).send(ok("done"));
  EXPECT_EQ(p->take(), ok("done"));
}

TEST_F(PrimaryRoute, APeersOrderNeverHopsAgain) {
  auto p = peer();
  peer_is_primary(8, 2);
  p->send(post("/orders", "x"));
  std::string answer = p->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 421 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Refused: not-primary\r\n"));
  EXPECT_TRUE(host.upstreams.empty());
  become_primary(9);
  lease->valid_until_ns = 0;
  p->send(post("/orders", "x"));
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: not-primary\r\n"));
  become_primary(10);
  view.accepts_new = false;
  proxy->set_primary(view);
  p->send(post("/orders", "x"));
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: yielding\r\n"));
  EXPECT_EQ(counters().peer_refusals_sent, 3U);
  EXPECT_FALSE(p->shut);
  EXPECT_EQ(counters().held_now, 0U) << "only the entry holds";
}

TEST_F(PrimaryRoute, APeersOrderThatFindsNoInstanceIsRefused) {
  become_primary(7);
  auto p = peer();
  p->send(post("/orders", "x"));
  up(0).fail(StreamEnd::kRefused);
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: no-instance\r\n"));
  p->send(post("/orders", "y"));
  up(1).connect();
  up(1).fail(StreamEnd::kReset);
  const std::string answer = p->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown\r\n"));
  EXPECT_FALSE(has(answer, "Refused")) << "that one may have arrived";
}

TEST_F(PrimaryRoute, APeersReadIsServedLocallyOrRefused) {
  set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  auto p = peer();
  for (int i = 0; i < 3; ++i) {
    p->send(get("/x"));
    up(0).connect();
    EXPECT_EQ(up(0).endpoint.id, EndpointId{1});
    up(0).take();
    up(0).send(ok("1"));
  }
  p->take();
  set_pool({endpoint(2, EndpointKind::kPeer)});
  p->send(get("/x"));
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: no-instance\r\n"));
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(PrimaryRoute, ALeaseThatEndsWhileConnectingForAPeerIsARefusal) {
  become_primary(7);
  auto p = peer();
  p->send(post("/orders", "x"));
  host.clock += Milliseconds{1600};
  up(0).connect();
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: not-primary\r\n"));
}

TEST_F(PrimaryRoute, HeldOrdersEndWithTheDrain) {
  auto c = client();
  c->send(post("/orders", "x"));
  proxy->drain(host.clock + Milliseconds{200});
  advance(Milliseconds{250});
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "\"code\":\"draining\"")) << answer;
  EXPECT_TRUE(c->shut);
}

TEST_F(PrimaryRoute, RoutesMayChangeUnderARequest) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "x"));
  for (int i = 0; i < 3; ++i) set_routes();
  up(0).connect();
  up(0).send(ok("1"));
  EXPECT_EQ(c->take(), ok("1"));
  EXPECT_EQ(host.accesses.at(0).route, "orders");
}

TEST_F(PrimaryRoute, NormalisedPathsCannotSlipPastARoute) {
  nobody_is_primary(3);
  set_pool({endpoint(1)});
  for (const std::string path : {"//orders", "/./orders", "/x/../orders", "/%6frders", "/orders/", "/orders%2f1", "/x/%2e%2e/orders"}) {
    auto c = client();
    c->send(post(path, "x"));
    EXPECT_EQ(c->out, "") << path;
    EXPECT_TRUE(host.upstreams.empty()) << path << " must be held, not sent to some instance";
    c->fail(StreamEnd::kReset);
  }
}

}  // namespace
}  // namespace proxy::testing
