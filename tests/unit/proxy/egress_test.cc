// Egress: the permit, requests to a broker, and what becomes of them when the permit is gone.
#include "proxy/egress.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

PrimaryView local_view(std::uint64_t epoch, TimePoint until) {
  PrimaryView view;
  view.service = "trader";
  view.epoch = Epoch{epoch};
  view.holder = PrimaryView::Holder::kLocal;
  view.endpoint = endpoint(1);
  auto lease = std::make_shared<LeaseView>(Epoch{epoch});
  lease->valid_until_ns = std::chrono::nanoseconds(until.time_since_epoch()).count();
  view.lease = lease;
  return view;
}

TEST(EgressPermit, SaysWhyNot) {
  const TimePoint now{std::chrono::hours(1)};
  const PrimaryView good = local_view(7, now + Milliseconds{10});
  EXPECT_EQ(egress_permit(good, {"b"}, now), EgressVerdict::kOpen);
  EXPECT_EQ(egress_permit(good, {"b", Epoch{7}, Epoch{7}, EgressDeed::kAct}, now), EgressVerdict::kOpen);
  EXPECT_EQ(egress_permit(good, {"b"}, now + Milliseconds{10}), EgressVerdict::kLeaseOver) << "valid until, not through";
  EXPECT_EQ(egress_permit(good, {"b", Epoch{6}}, now), EgressVerdict::kOldEpoch);
  EXPECT_EQ(egress_permit(good, {"b", Epoch{}, Epoch{6}}, now), EgressVerdict::kOldEpoch);
  EXPECT_EQ(egress_permit(good, {"b", Epoch{}, Epoch{8}}, now), EgressVerdict::kOldEpoch) << "nor one that is not there yet";
  PrimaryView view = good;
  view.armed = false;
  EXPECT_EQ(egress_permit(view, {"b"}, now), EgressVerdict::kNotArmed);
  EXPECT_EQ(egress_permit(view, {"b", {}, {}, EgressDeed::kRead}, now), EgressVerdict::kOpen) << "reconciling looks first";
  view.accepts_new = false;
  view.armed = true;
  EXPECT_EQ(egress_permit(view, {"b"}, now), EgressVerdict::kOpen) << "orders in flight need their broker";
  for (const auto holder : {PrimaryView::Holder::kNone, PrimaryView::Holder::kPeer}) {
    view.holder = holder;
    EXPECT_EQ(egress_permit(view, {"b", {}, {}, EgressDeed::kRead}, now), EgressVerdict::kNotPrimary);
  }
}

class Egress : public ProxyTest {
 protected:
  void SetUp() override {
    rule.name = "broker";
    rule.prefix = "/egress/broker";
    rule.base = "/v2";
    rule.host = "api.broker";
    rule.epoch_field = "X-Epoch";
    rule.fields = {{"Authorization", "Bearer s3cret", true}};
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    routes();
    pool({broker(11)});
    become_primary(7);
  }
  void routes(std::uint32_t max_conns = 0, Admission admission = {}) {
    Route route;
    route.name = "broker";
    route.path = rule.prefix;
    route.pool = "egress:broker";
    route.service = "trader";
    route.max_conns = max_conns;
    route.admission = std::move(admission);
    route.egress = std::make_shared<const EgressRule>(rule);
    auto table = RouteTable::make({route});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
  }
  static Endpoint broker(std::uint64_t id) {
    Endpoint made = endpoint(id, EndpointKind::kStatic);
    made.egress = std::make_shared<const EgressTarget>("trader", "broker");
    return made;
  }
  void pool(std::vector<Endpoint> endpoints) { proxy->set_endpoints({{PoolEndpoints{"egress:broker", std::move(endpoints)}}}); }
  /// An idle connection of the present epoch.
  void warm_up() {
    auto c = client();
    c->send(post("/egress/broker/orders", "warm"));
    up(0).connect();
    up(0).send(ok("w"));
    up(0).take();
  }
  std::string order(std::string_view fields = "") {
    return "POST /egress/broker/orders?a=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + std::string(fields) + "Content-Length: 3\r\n\r\nbuy";
  }
  const EgressCounters counts() { return proxy->routes().at(0).egress; }
  std::uint64_t refused(EgressVerdict verdict) { return counts().refused[static_cast<std::size_t>(verdict)]; }

  EgressRule rule;
};

TEST_F(Egress, AnOrderGoesOutAsTheBrokerWantsIt) {
  auto c = client();
  c->send(order("X-Api: 1\r\nAuthorization: Bearer fake\r\nX-Forwarded-For: 1.2.3.4\r\nX-Outrigger-Epoch: 7\r\nX-Epoch: 9\r\nX-Request-Id: mine-1\r\nConnection: x-hop\r\nX-Hop: 1\r\n"));
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(up(0).queueing, Queueing::kNone) << "nothing may wait behind the permit";
  up(0).connect();
  const std::string sent = up(0).take();
  EXPECT_TRUE(sent.starts_with("POST /v2/orders?a=1 HTTP/1.1\r\nHost: api.broker\r\n")) << sent;
  EXPECT_TRUE(has(sent, "X-Api: 1\r\n"));
  EXPECT_TRUE(has(sent, "Authorization: Bearer s3cret\r\n"));
  EXPECT_FALSE(has(sent, "fake"));
  EXPECT_TRUE(has(sent, "X-Epoch: 7\r\n"));
  EXPECT_TRUE(has(sent, "X-Request-Id: mine-1\r\n"));
  for (const char* absent : {"X-Forwarded", "Forwarded", "X-Outrigger", "Via", "X-Hop", "X-Real-IP", "X-Epoch: 9"}) EXPECT_FALSE(has(sent, absent)) << absent;
  EXPECT_TRUE(sent.ends_with("Content-Length: 3\r\nX-Request-Id: mine-1\r\nX-Epoch: 7\r\n\r\nbuy")) << sent;
  up(0).send(ok("done"));
  EXPECT_TRUE(has(c->take(), "200 OK"));
  EXPECT_EQ(host.accesses.at(0).target, "/v2/orders?a=1");
  EXPECT_EQ(host.accesses.at(0).epoch, Epoch{7});
  EXPECT_EQ(counts().bytes_out, sent.size());
  EXPECT_EQ(counts().bytes_in, 4U);
}

TEST_F(Egress, APathCannotLeaveItsBase) {
  const char* bad[] = {"/egress/broker/../broker/x", "/egress/broker/x/../../broker/y", "/egress/./broker/x", "/egress/broker/%2e%2e/broker/x"};
  for (const char* path : bad) {
    auto c = client();
    c->send(get(path));
    EXPECT_EQ(host.upstreams.size(), 0U) << path;
    EXPECT_TRUE(has(c->out, " 400 ") || has(c->out, " 404 ")) << path << c->out;
  }
  auto c = client();
  c->send(get("/egress/broker/a/../b"));
  ASSERT_EQ(host.upstreams.size(), 1U) << "within its base it is the broker's matter";
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "GET /v2/a/../b HTTP"));
  auto d = client();
  d->send(get("/egress/broker"));
  up(1).connect();
  EXPECT_TRUE(has(up(1).take(), "GET /v2 HTTP"));
}

TEST_F(Egress, AnOrderOfAnotherEpochIsRefused) {
  warm_up();
  auto c = client();
  c->send(order("X-Outrigger-Epoch: 6\r\n"));
  EXPECT_TRUE(has(c->out, "409 Conflict")) << c->out;
  EXPECT_TRUE(has(c->out, R"("code":"old_epoch")"));
  EXPECT_FALSE(has(c->out, "Retry-After"));
  EXPECT_EQ(up(0).take(), "");
  EXPECT_EQ(refused(EgressVerdict::kOldEpoch), 1U);
  for (const char* bad : {"X-Outrigger-Epoch: x\r\n", "X-Outrigger-Epoch: \r\n", "X-Outrigger-Epoch: 7\r\nX-Outrigger-Epoch: 8\r\n"}) {
    auto d = client();
    d->send(order(bad));
    EXPECT_TRUE(has(d->out, "400 Bad Request")) << bad;
  }
  EXPECT_EQ(counts().unreadable, 3U);
  EXPECT_EQ(up(0).take(), "");
}

TEST_F(Egress, WhoIsNotPrimaryIsToldSo) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(order());
  EXPECT_TRUE(has(c->out, "503 ") && has(c->out, "not_primary") && has(c->out, "Retry-After: 1")) << c->out;
  EXPECT_TRUE(has(c->out, "X-Outrigger-Outcome: not-sent"));
  nobody_is_primary(8);
  c->take();
  c->send(get("/egress/broker/x"));
  EXPECT_TRUE(has(c->out, "not_primary")) << "a read is no exception";
  EXPECT_EQ(host.upstreams.size(), 0U);
  EXPECT_EQ(refused(EgressVerdict::kNotPrimary), 2U);
  EXPECT_EQ(counters().held, 0U) << "nobody waits for a role";
}

TEST_F(Egress, WithoutItsCredentialNothingGoes) {
  rule.fields[0].known = false;
  routes();
  auto c = client();
  c->send(order());
  EXPECT_TRUE(has(c->out, "503 ") && has(c->out, "no_credential")) << c->out;
  EXPECT_EQ(counts().incomplete, 1U);
  EXPECT_EQ(host.upstreams.size(), 0U);
}

TEST_F(Egress, UnarmedReadsPassAndOrdersDoNot) {
  warm_up();
  view.armed = false;
  proxy->set_primary(view);
  EXPECT_FALSE(up(0).over()) << "it may still be read from";
  auto c = client();
  c->send(order());
  EXPECT_TRUE(has(c->out, "503 ") && has(c->out, "not_armed")) << c->out;
  c->take();
  c->send(get("/egress/broker/positions"));
  EXPECT_TRUE(has(up(0).take(), "GET /v2/positions"));
  up(0).send(ok("p"));
  EXPECT_TRUE(has(c->take(), "200 OK"));
}

TEST_F(Egress, DisarmingCutsTheOrderThatIsThere) {
  auto c = client();
  c->send(order());
  up(0).connect();
  view.armed = false;
  proxy->set_primary(view);
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->out, "504 ") && has(c->out, "X-Outrigger-Outcome: unknown")) << c->out;
}

TEST_F(Egress, APauseBeforeTheWriteLeavesNothing) {
  warm_up();
  auto idle = client();
  idle->send(post("/egress/broker/orders", "second"));  // busy on the first connection
  auto c = client();
  c->send(order());
  up(1).connect();
  up(1).send(ok("x"));  // idle now
  up(0).take();
  up(1).take();
  auto late = client();
  host.clock += Milliseconds{1500};  // the process is stopped, and wakes with this event
  late->send(order());
  EXPECT_EQ(up(0).out + up(1).out, "");
  EXPECT_TRUE(has(late->out, "lease_over")) << late->out;
  advance(Milliseconds{10});
  EXPECT_TRUE(up(0).reset) << "the busy one";
  EXPECT_TRUE(up(1).reset) << "and the idle one";
  EXPECT_TRUE(has(idle->out, "504 ")) << "it may have arrived";
  EXPECT_EQ(counts().resets, 2U);
  EXPECT_EQ(refused(EgressVerdict::kLeaseOver), 1U);
}

TEST_F(Egress, TheCheckIsMadeInTheCallThatWrites) {
  warm_up();
  auto c = client();
  // The clock runs while the request is dispatched: open when it is let in, over when its bytes would leave.
  extend_lease(Milliseconds{2});
  host.step_per_read = std::chrono::nanoseconds(900'000);
  c->send(order());
  host.step_per_read = std::chrono::nanoseconds{0};
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset);
  EXPECT_EQ(counters().writes_denied, 1U);
  EXPECT_TRUE(has(c->out, "503 ") && has(c->out, "lease_over") && has(c->out, "not-sent")) << c->out;
}

TEST_F(Egress, WhatTheLeaseDeniesOneTakesAllOthersWithIt) {
  warm_up();
  auto busy = client();
  busy->send(post("/egress/broker/orders", "a"));
  up(0).take();
  auto fresh = client();
  fresh->send(order());
  bool cut_before_answer = false;
  host.clock += Milliseconds{1500};
  up(1).connect();  // the write that finds out
  cut_before_answer = up(0).reset && up(1).reset;
  EXPECT_TRUE(cut_before_answer);
  EXPECT_EQ(up(1).out, "");
  EXPECT_TRUE(has(busy->out, "unknown"));
  EXPECT_TRUE(has(fresh->out, "lease_over"));
}

TEST_F(Egress, QueuedBytesAreThrownAway) {
  auto c = client();
  c->send(order());
  up(0).room = 20;
  up(0).connect();
  const std::string part = up(0).take();
  EXPECT_EQ(part.size(), 20U);
  host.clock += Milliseconds{1500};
  up(0).make_room(SIZE_MAX);
  EXPECT_EQ(up(0).take(), "") << "the rest is not sent when there is room again";
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->out, "unknown"));
}

TEST_F(Egress, AgainPrimaryItUsesNoOldConnection) {
  warm_up();
  auto waiting = client();
  waiting->send(order());
  up(0).take();
  become_primary(9);  // the view in between was never seen
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(waiting->out, "504 "));
  auto c = client();
  c->send(order());
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  EXPECT_TRUE(has(up(1).take(), "X-Epoch: 9\r\n"));
  auto zombie = client();
  zombie->send(order("X-Outrigger-Epoch: 7\r\n"));
  EXPECT_TRUE(has(zombie->out, "old_epoch"));
}

TEST_F(Egress, TheSameEpochAgainIsANewConnectionToo) {
  warm_up();
  extend_lease(Milliseconds{0});
  advance(Milliseconds{10});
  EXPECT_TRUE(up(0).reset);
  extend_lease(Milliseconds{1500});  // a renewal that came late
  auto c = client();
  c->send(order());
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  EXPECT_TRUE(has(up(1).take(), "buy"));
}

TEST_F(Egress, AQueuedRequestAsksAgain) {
  routes(1);
  auto first = client();
  first->send(order());
  up(0).connect();
  auto second = client();
  second->send(order());
  EXPECT_EQ(host.upstreams.size(), 1U);
  peer_is_primary(8, 2);
  EXPECT_TRUE(has(second->out, "not_primary")) << second->out;
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(Egress, AnOrderThatWaitsForItsRateBelongsToTheEpochInWhichItCame) {
  Admission slow;
  slow.rate.emplace();
  slow.rate->count = 1;
  slow.rate->burst = 5;
  slow.rate->nodelay = false;
  slow.rate_zone = "z";
  routes(0, slow);
  auto first = client();
  first->send(order());
  ASSERT_EQ(host.upstreams.size(), 1U);
  auto second = client(), third = client();
  second->send(order());
  third->send(get("/egress/broker/positions"));
  peer_is_primary(8, 2);
  become_primary(9, Milliseconds{60'000});
  advance(Milliseconds{2500});
  EXPECT_TRUE(has(second->out, "old_epoch")) << second->out;
  ASSERT_EQ(host.upstreams.size(), 2U) << "the read alone goes out";
  up(1).connect();
  EXPECT_TRUE(has(up(1).take(), "GET /v2/positions"));
}

TEST_F(Egress, AnotherWayToVerifyTheBrokerIsAnotherConnection) {
  struct Way final : EgressTarget {
    explicit Way(int of) : EgressTarget("trader", "broker"), way(of) {}
    bool is_like(const EgressTarget& other) const override {
      const auto* const same = dynamic_cast<const Way*>(&other);
      return same != nullptr && same->way == way;
    }
    int way;
  };
  const auto by = [&](int way) {
    Endpoint made = broker(11);
    made.egress = std::make_shared<const Way>(way);
    pool({made});
  };
  by(1);
  warm_up();
  by(1);
  auto c = client();
  c->send(order());
  ASSERT_EQ(host.upstreams.size(), 1U) << "settings that say the same leave the connection";
  up(0).send(ok("w"));
  by(2);
  auto d = client();
  d->send(order());
  EXPECT_EQ(host.upstreams.size(), 2U);
}

TEST_F(Egress, OnlyReadsAreSentAgain) {
  pool({broker(11), broker(12)});
  auto c = client();
  c->send(order());
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(has(c->out, "502 ") && has(c->out, "unknown")) << c->out;
  EXPECT_EQ(host.upstreams.size(), 1U);
  auto d = client();
  d->send(get("/egress/broker/x"));
  up(1).connect();
  up(1).fail(StreamEnd::kReset);
  ASSERT_EQ(host.upstreams.size(), 3U);
  up(2).connect();
  EXPECT_TRUE(has(up(2).take(), "GET /v2/x"));
}

TEST_F(Egress, ABodyThatIsStillComingIsNotSentOn) {
  auto c = client();
  c->send("POST /egress/broker/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
  up(0).connect();
  up(0).take();
  lease->valid_until_ns = 0;  // demoted; the view is on its way
  c->send("67890");
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset);
  EXPECT_TRUE(has(c->out, "unknown"));
}

TEST_F(Egress, AWriteThatWasDeniedEndsItsRequestThoughTheLeaseIsRenewedRightThen) {
  auto c = client();
  c->send("POST /egress/broker/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
  up(0).connect();
  up(0).take();
  // Over at the look before the write, not over any more at the next look.
  host.clock += Milliseconds{1502};
  host.step_per_read = -Milliseconds{1};
  c->send("67890");
  host.step_per_read = std::chrono::nanoseconds{0};
  EXPECT_EQ(up(0).take(), "");
  EXPECT_TRUE(up(0).reset) << "the rest of its body is lost: nothing else may follow on this connection";
  EXPECT_TRUE(has(c->out, "unknown")) << c->out;
}

TEST_F(Egress, ARouteToABrokerThatCannotBeIsRefused) {
  Route route;
  route.name = "broker";
  route.pool = "p";
  route.egress = std::make_shared<const EgressRule>(rule);
  EXPECT_FALSE(RouteTable::make({route})) << "no service";
  route.service = "trader";
  EXPECT_TRUE(RouteTable::make({route}));
  route.hedge = HedgeRule{};
  EXPECT_FALSE(RouteTable::make({route}));
}

}  // namespace
}  // namespace proxy::testing
