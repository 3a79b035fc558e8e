// TCP routes: bytes both ways, half-close, slow sides, the lease before every write, who is connected to.
#include "proxy/halt.h"
#include "proxy/relay.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class RelayTest : public ::testing::Test, public RelayHost {
 protected:
  TimePoint relay_now() override { return clock; }
  std::unique_ptr<Stream> relay_connect(const RelayRoute&, const Endpoint& endpoint, const RelayClient&, Queueing queueing, StreamSink& sink) override {
    auto wire = std::make_shared<Wire>();
    wire->endpoint = endpoint;
    wire->queueing = queueing;
    wire->sink = &sink;
    ups.push_back(wire);
    return std::make_unique<MemoryStream>(wire);
  }
  void relay_trouble(const Endpoint& endpoint, Trouble trouble) override { troubles.emplace_back(endpoint.id, trouble); }

  void relay_ended(const AccessRecord& record) override {
    records.push_back(record);
    told.push_back(std::string(record.route) + " " + std::string(record.client) + " " + std::string(record.endpoint) + " " + std::string(record.reason));
  }

  std::shared_ptr<RelayRoute> route(PoolKind kind = PoolKind::kAll) {
    auto made = std::make_shared<RelayRoute>();
    made->name = "db";
    made->kind = kind;
    made->pool = made->service = "trader";
    made->address = "127.0.0.1:5432";
    return made;
  }
  std::shared_ptr<Wire> client(const std::shared_ptr<const RelayRoute>& of, ListenerKind kind = ListenerKind::kDownstream) {
    auto wire = std::make_shared<Wire>();
    relay->accept(std::make_unique<MemoryStream>(wire), of, {kind, {}});
    return wire;
  }
  void pool(std::vector<Endpoint> endpoints) { relay->set_endpoints({{{"trader", std::move(endpoints)}}}); }
  std::shared_ptr<LeaseView> local_primary(std::uint64_t epoch, Milliseconds valid_for = Milliseconds{1500}) {
    auto lease = std::make_shared<LeaseView>(Epoch{epoch});
    lease->valid_until_ns = std::chrono::duration_cast<std::chrono::nanoseconds>((clock + valid_for).time_since_epoch()).count();
    PrimaryView view;
    view.service = "trader";
    view.epoch = Epoch{epoch};
    view.holder = PrimaryView::Holder::kLocal;
    view.endpoint = endpoint(1);
    view.lease = lease;
    relay->set_primary(view);
    return lease;
  }
  void elsewhere(std::uint64_t epoch, PrimaryView::Holder holder) {
    PrimaryView view;
    view.service = "trader";
    view.epoch = Epoch{epoch};
    view.holder = holder;
    view.endpoint = endpoint(2, EndpointKind::kPeer);
    relay->set_primary(view);
  }
  void advance(Milliseconds by) {
    const TimePoint until = clock + by;
    while (relay->next_deadline() <= until) {
      clock = std::max(clock, relay->next_deadline());
      relay->tick(clock);
    }
    clock = until;
    relay->tick(clock);
  }
  const RelayCounters& counts() { return relay->counters().at("db"); }

  TimePoint clock{std::chrono::hours(1)};
  std::vector<std::shared_ptr<Wire>> ups;
  std::vector<std::pair<EndpointId, Trouble>> troubles;
  std::vector<AccessRecord> records;  ///< without their texts, which `told` has
  std::vector<std::string> told;
  std::unique_ptr<Relay> relay = std::make_unique<Relay>(*this);
};

TEST_F(RelayTest, BytesGoBothWaysAndEndsArePassedOnOneByOne) {
  pool({endpoint(1)});
  auto c = client(route());
  ASSERT_EQ(ups.size(), 1U);
  EXPECT_TRUE(c->paused) << "nothing is taken before there is somebody to give it to";
  ups[0]->connect();
  EXPECT_FALSE(c->paused);
  c->send("question");
  EXPECT_EQ(ups[0]->take(), "question");
  c->eof();
  EXPECT_TRUE(ups[0]->shut);
  EXPECT_FALSE(c->over()) << "the other direction goes on";
  ups[0]->send("answer");
  EXPECT_EQ(c->take(), "answer");
  ups[0]->eof();
  EXPECT_TRUE(c->closed && !c->reset);
  EXPECT_TRUE(relay->idle());
  EXPECT_EQ(counts().bytes_in, 8U);
  EXPECT_EQ(counts().bytes_out, 6U);
  EXPECT_EQ(counts().open, 0U);
}

TEST_F(RelayTest, ASlowSideStopsTheOtherOneAndNothingIsLost) {
  pool({endpoint(1)});
  auto c = client(route());
  ups[0]->connect();
  ups[0]->room = 3;
  c->send("abcdef");
  EXPECT_TRUE(c->paused);
  EXPECT_EQ(ups[0]->take(), "abc");
  ups[0]->make_room(100);
  EXPECT_EQ(ups[0]->take(), "def");
  EXPECT_FALSE(c->paused);
  c->room = 0;
  ups[0]->send("xyz");
  ups[0]->paused = false;  // an end can be heard although nothing more is read
  ups[0]->eof();
  EXPECT_FALSE(c->shut) << "its bytes come first";
  c->make_room(100);
  EXPECT_EQ(c->take(), "xyz");
  EXPECT_TRUE(c->shut);
}

TEST_F(RelayTest, ARefusedEndpointIsLeftForAnotherAndTold) {
  pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  auto c = client(route());
  EXPECT_EQ(ups[0]->endpoint.id, EndpointId{1});
  ups[0]->fail(StreamEnd::kRefused);
  ASSERT_EQ(ups.size(), 2U);
  EXPECT_EQ(ups[1]->endpoint.id, EndpointId{2});
  EXPECT_EQ(troubles.at(0).second, Trouble::kRefused);
  ups[1]->fail(StreamEnd::kUnreachable);
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(counts().connect_failures, 2U);
  EXPECT_EQ(counts().no_endpoint, 1U);
}

TEST_F(RelayTest, TheLeastBusyIsTakenAndTheLimitHolds) {
  pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  auto of = route();
  of->connections_max = 3;
  auto a = client(of), b = client(of), c = client(of), d = client(of);
  ASSERT_EQ(ups.size(), 3U);
  EXPECT_NE(ups[0]->endpoint.id, ups[1]->endpoint.id);
  EXPECT_TRUE(d->reset);
  EXPECT_EQ(counts().refused, 1U);
}

TEST_F(RelayTest, NoByteIsWrittenUnderALeaseThatIsOver) {
  const auto lease = local_primary(1);
  auto c = client(route(PoolKind::kPrimary));
  ASSERT_EQ(ups.size(), 1U);
  EXPECT_EQ(ups[0]->queueing, Queueing::kNone) << "nothing waits behind the check";
  ups[0]->connect();
  c->send("first");
  EXPECT_EQ(ups[0]->take(), "first");
  lease->valid_until_ns = 0;
  c->send("second");
  EXPECT_EQ(ups[0]->take(), "");
  EXPECT_TRUE(ups[0]->reset && c->reset);
  EXPECT_EQ(counts().lease_stops, 1U);
}

TEST_F(RelayTest, WhatWaitedForRoomIsCheckedAgain) {
  const auto lease = local_primary(1);
  auto c = client(route(PoolKind::kPrimary));
  ups[0]->connect();
  ups[0]->room = 2;
  c->send("abcd");
  lease->valid_until_ns = 0;
  ups[0]->make_room(100);
  EXPECT_EQ(ups[0]->take(), "ab");
  EXPECT_TRUE(c->reset);
}

TEST_F(RelayTest, AnIdleConnectionIsCutWhenTheLeaseEnds) {
  local_primary(1, Milliseconds{500});
  auto c = client(route(PoolKind::kPrimary));
  ups[0]->connect();
  advance(Milliseconds{400});
  EXPECT_FALSE(c->over());
  advance(Milliseconds{200});
  EXPECT_TRUE(c->reset && ups[0]->reset);
}

TEST_F(RelayTest, AnotherPrimaryCutsOldConnectionsAndGetsThoseThatWait) {
  local_primary(1);
  auto old = client(route(PoolKind::kPrimary));
  ups[0]->connect();
  elsewhere(2, PrimaryView::Holder::kNone);
  EXPECT_TRUE(old->reset);
  auto waiting = client(route(PoolKind::kPrimary));
  EXPECT_EQ(ups.size(), 1U);
  EXPECT_FALSE(waiting->over());
  elsewhere(3, PrimaryView::Holder::kPeer);
  ASSERT_EQ(ups.size(), 2U);
  EXPECT_EQ(ups[1]->endpoint.kind, EndpointKind::kPeer);
  EXPECT_EQ(ups[1]->queueing, Queueing::kSome) << "the peer checks its own lease";
  auto late = client(route(PoolKind::kPrimary));
  elsewhere(2, PrimaryView::Holder::kNone);
  EXPECT_FALSE(late->over()) << "older news";
}

TEST_F(RelayTest, NobodyWaitsLongerThanTheHold) {
  auto c = client(route(PoolKind::kPrimary));
  advance(Milliseconds{4900});
  EXPECT_FALSE(c->over());
  advance(Milliseconds{300});
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(counts().no_endpoint, 1U);
}

TEST_F(RelayTest, APeersConnectionGoesToTheLocalServiceOrNowhere) {
  elsewhere(1, PrimaryView::Holder::kPeer);
  EXPECT_TRUE(client(route(PoolKind::kPrimary), ListenerKind::kPeer)->reset) << "it never hops on";
  pool({endpoint(2, EndpointKind::kPeer)});
  EXPECT_TRUE(client(route(), ListenerKind::kPeer)->reset);
  local_primary(2);
  EXPECT_FALSE(client(route(PoolKind::kPrimary), ListenerKind::kPeer)->over());
  EXPECT_EQ(ups.size(), 1U);
}

TEST_F(RelayTest, SilenceEndsAConnectionAndAConnectThatDoesNot) {
  pool({endpoint(1)});
  auto of = route();
  of->idle_timeout = Milliseconds{1000};
  auto c = client(of);
  ups[0]->connect();
  advance(Milliseconds{900});
  c->send("x");
  advance(Milliseconds{900});
  EXPECT_FALSE(c->over());
  advance(Milliseconds{200});
  EXPECT_TRUE(c->reset);
  EXPECT_EQ(counts().idle_timeouts, 1U);
  auto d = client(of);
  advance(Milliseconds{1100});
  EXPECT_TRUE(d->reset) << "nobody else is there to try";
  EXPECT_EQ(troubles.at(0).second, Trouble::kTimedOut);
}

TEST_F(RelayTest, ACriticalEndpointLosesItsConnections) {
  pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  auto c = client(route());
  ups[0]->connect();
  Endpoint sick = endpoint(1);
  sick.health = Health::kCritical;
  pool({sick, endpoint(2, EndpointKind::kPeer)});
  EXPECT_TRUE(c->reset);
  client(route());
  EXPECT_EQ(ups[1]->endpoint.id, EndpointId{2});
}

TEST_F(RelayTest, EachConnectionLeavesOneRecord) {
  auto of = route(PoolKind::kPrimary);
  RelayClient who{ListenerKind::kDownstream, ProxyHeader::Ends{*parse_ip("192.0.2.7"), *parse_ip("10.0.0.1"), 4711, 5432}};
  auto c = std::make_shared<Wire>();
  relay->accept(std::make_unique<MemoryStream>(c), of, who);
  advance(Milliseconds{300});
  local_primary(4);
  advance(Milliseconds{20});
  ups.at(0)->connect();
  c->send("question");
  ups[0]->send("answer!");
  advance(Milliseconds{700});
  EXPECT_TRUE(records.empty()) << "at its end";
  c->eof();
  ups[0]->eof();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(told[0], "db 192.0.2.7 127.0.0.1:5432 ");
  const AccessRecord& record = records[0];
  EXPECT_EQ(record.outcome, Outcome::kTunnelled);
  EXPECT_EQ(record.status, 0);
  EXPECT_EQ(record.epoch, Epoch{4});
  EXPECT_EQ(record.request_body_bytes, 8U);
  EXPECT_EQ(record.response_body_bytes, 7U);
  EXPECT_EQ(record.held, Milliseconds{300});
  EXPECT_EQ(record.connected, Milliseconds{20});
  EXPECT_EQ(record.upstream_total, Milliseconds{720});
  EXPECT_EQ(record.total, Milliseconds{1020});
  EXPECT_TRUE(record.logged);
}

TEST_F(RelayTest, RecordsSayWhyAConnectionEnded) {
  auto of = route();
  of->connections_max = 1;
  of->access_log = false;
  client(of);
  EXPECT_EQ(told.back(), "db unix  no_endpoint");
  EXPECT_EQ(records.back().outcome, Outcome::kNotSent);
  EXPECT_EQ(records.back().connected, kNotMeasured);
  EXPECT_FALSE(records.back().logged);
  pool({endpoint(1)});
  auto c = client(of);
  client(of);
  EXPECT_EQ(told.back(), "db unix  tcp_connections_max");
  ups.at(0)->connect();
  c->fail(StreamEnd::kReset);
  EXPECT_EQ(told.back(), "db unix 127.0.0.1:5432 client_reset");
  client(of);
  ups.at(1)->connect();
  ups[1]->fail(StreamEnd::kReset);
  EXPECT_EQ(told.back(), "db unix 127.0.0.1:5432 upstream_reset");
  client(of);
  ups.at(2)->connect();
  pool({});
  EXPECT_EQ(told.back(), "db unix 127.0.0.1:5432 endpoint_gone");
  auto leased = route(PoolKind::kPrimary);
  const auto lease = local_primary(1);
  c = client(leased);
  ups.at(3)->connect();
  lease->valid_until_ns = 0;
  c->send("x");
  EXPECT_EQ(told.back(), "db unix 127.0.0.1:5432 lease_lost");
  local_primary(2);
  client(leased);
  elsewhere(3, PrimaryView::Holder::kPeer);
  EXPECT_EQ(told.back(), "db unix 127.0.0.1:5432 primary_changed");
  client(leased);
  EXPECT_TRUE(ups.at(5)->endpoint.kind == EndpointKind::kPeer);
  relay->end_all();
  EXPECT_EQ(told.back().substr(told.back().rfind(' ')), " agent_stops");
  EXPECT_TRUE(records.back().at_peer);
}

TEST_F(RelayTest, ABrokenSideBreaksTheOther) {
  pool({endpoint(1)});
  auto c = client(route()), d = client(route());
  for (const auto& up : ups) up->connect();
  ups[0]->fail(StreamEnd::kReset);
  EXPECT_TRUE(c->reset);
  d->fail(StreamEnd::kReset);
  EXPECT_TRUE(ups[1]->reset);
  EXPECT_TRUE(relay->idle());
  client(route());
  relay->end_all();
  EXPECT_TRUE(relay->idle());
}

// --- to a broker: the permit stands before every write ---

class RelayEgress : public RelayTest {
 protected:
  RelayEgress() {
    EgressRule rule;
    rule.name = "fix";
    auto made = route();
    made->name = "fix";
    made->egress = std::make_shared<const EgressRule>(rule);
    out = made;
    pool({endpoint(5, EndpointKind::kStatic)});
  }
  std::shared_ptr<Wire> asking() {
    auto wire = std::make_shared<Wire>();
    RelayClient who;
    who.asked = true;
    relay->accept(std::make_unique<MemoryStream>(wire), out, who);
    return wire;
  }
  /// One look at the clock, counted from now, that finds the lease over.
  TimePoint relay_now() override { return late_read > 0 && --late_read == 0 ? clock + std::chrono::hours(1) : clock; }
  int late_read = 0;
  const EgressCounters& egress() { return relay->counters().at("fix").egress; }
  std::shared_ptr<const RelayRoute> out;
};

TEST_F(RelayEgress, OnlyThePrimaryConnects) {
  auto c = client(out);
  EXPECT_TRUE(c->reset);
  EXPECT_TRUE(ups.empty());
  elsewhere(3, PrimaryView::Holder::kPeer);
  EXPECT_TRUE(client(out)->reset);
  EXPECT_TRUE(ups.empty()) << "it never goes by way of a peer";
  EXPECT_EQ(egress().refused[static_cast<std::size_t>(EgressVerdict::kNotPrimary)], 2U);
  local_primary(4);
  auto d = client(out);
  ASSERT_EQ(ups.size(), 1U);
  EXPECT_EQ(ups[0]->queueing, Queueing::kNone);
  ups[0]->connect();
  d->send("8=FIX");
  EXPECT_EQ(ups[0]->take(), "8=FIX");
  EXPECT_EQ(egress().bytes_out, 5U);
}

TEST_F(RelayEgress, AfterAPauseAllConnectionsAreCutByTheFirstByte) {
  local_primary(4);
  auto a = client(out), b = client(out);
  ups[0]->connect();
  ups[1]->connect();
  clock += Milliseconds{1500};
  a->send("order");
  EXPECT_EQ(ups[0]->take() + ups[1]->take(), "");
  EXPECT_TRUE(ups[0]->reset && ups[1]->reset && a->reset && b->reset);
  EXPECT_EQ(egress().resets, 2U);
  EXPECT_TRUE(relay->idle());
}

TEST_F(RelayEgress, WithoutAByteTheEndOfTheLeaseCutsThemToo) {
  local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  advance(Milliseconds{1600});
  EXPECT_TRUE(ups[0]->reset && a->reset);
}

TEST_F(RelayEgress, AWriteThatWasDeniedEndsItsTunnelThoughTheLeaseIsRenewedRightThen) {
  local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  late_read = 2;  // of this event: the one before the write
  a->send("order");
  EXPECT_EQ(ups[0]->take(), "");
  EXPECT_TRUE(ups[0]->reset && a->reset) << "bytes are missing: nothing else may follow";
}

TEST_F(RelayEgress, WhatIsQueuedIsThrownAway) {
  auto lease = local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  ups[0]->room = 2;
  a->send("order");
  EXPECT_EQ(ups[0]->take(), "or");
  lease->valid_until_ns = 0;
  ups[0]->make_room(100);
  EXPECT_EQ(ups[0]->take(), "");
  EXPECT_TRUE(ups[0]->reset);
}

TEST_F(RelayEgress, AgainPrimaryAnOldTunnelIsCut) {
  local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  local_primary(6);
  EXPECT_TRUE(ups[0]->reset && a->reset);
  auto b = client(out);
  ups[1]->connect();
  b->send("x");
  EXPECT_EQ(ups[1]->take(), "x");
}

TEST_F(RelayEgress, DisarmedTunnelsAreCut) {
  auto lease = local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  PrimaryView view;
  view.service = "trader";
  view.epoch = Epoch{4};
  view.holder = PrimaryView::Holder::kLocal;
  view.endpoint = endpoint(1);
  view.lease = lease;
  view.armed = false;
  relay->set_primary(view);
  EXPECT_TRUE(ups[0]->reset && a->reset);
  EXPECT_TRUE(client(out)->reset);
  EXPECT_EQ(egress().refused[static_cast<std::size_t>(EgressVerdict::kNotArmed)], 1U);
}

TEST_F(RelayEgress, NewsOfNamesCutNobody) {
  local_primary(4);
  auto a = client(out);
  ups[0]->connect();
  pool({endpoint(6, EndpointKind::kStatic)});
  EXPECT_FALSE(ups[0]->over());
  a->send("x");
  EXPECT_EQ(ups[0]->take(), "x");
  relay->set_endpoints({});
  EXPECT_TRUE(ups[0]->over()) << "the egress itself is gone";
}

TEST_F(RelayEgress, ConnectIsAnsweredByHttp) {
  auto refused = asking();
  EXPECT_TRUE(refused->closed && !refused->reset);
  EXPECT_TRUE(has(refused->out, "HTTP/1.1 503 ") && has(refused->out, "not_primary") && has(refused->out, "Retry-After: 1")) << refused->out;
  local_primary(4);
  auto c = asking();
  EXPECT_EQ(c->out, "");
  ups[0]->connect();
  EXPECT_EQ(c->take(), "HTTP/1.1 200 Connection established\r\n\r\n");
  c->send("hello");
  EXPECT_EQ(ups[0]->take(), "hello");
  auto d = asking();
  ups[1]->fail(StreamEnd::kRefused);
  EXPECT_TRUE(has(d->out, "503 ") && has(d->out, "no_endpoint")) << d->out;
}

class RelayHalted : public RelayEgress {
 protected:
  void halt(HaltScope scope, const std::string& name, bool cancels_pass) {
    auto view = std::make_shared<HaltView>();
    view->orders.push_back({scope, name, cancels_pass, "halted, by ada at n1: prices look wrong"});
    relay->set_halts(view);
  }
  void resume() { relay->set_halts(std::make_shared<HaltView>()); }
  std::shared_ptr<Wire> open() {
    auto c = asking();
    ups.back()->connect();
    EXPECT_EQ(c->take(), "HTTP/1.1 200 Connection established\r\n\r\n");
    return c;
  }
  void expect_refused() {
    const std::size_t before = ups.size();
    auto c = asking();
    EXPECT_TRUE(has(c->out, "HTTP/1.1 503 ") && has(c->out, "\"halted\"") && has(c->out, "prices look wrong") && has(c->out, "outrigger resume")) << c->out;
    EXPECT_TRUE(c->closed && client(out)->reset);
    EXPECT_EQ(ups.size(), before) << "nothing goes out";
  }
};

TEST_F(RelayHalted, NoNewConnectionToAHaltedBrokerAndOpenOnesGoOnWhileCancelsPass) {
  local_primary(4);
  auto c = open();
  auto connecting = asking();
  ASSERT_EQ(ups.size(), 2U);
  halt(HaltScope::kBroker, "fix", true);
  EXPECT_TRUE(ups[1]->over() && has(connecting->out, "\"halted\"")) << "it was not open yet";
  expect_refused();
  c->send("cancel 7");
  EXPECT_EQ(ups[0]->take(), "cancel 7");
  EXPECT_EQ(relay->counters().at("fix").halted, 3U);
  EXPECT_EQ(records.back().reason, "halted");
  halt(HaltScope::kGlobal, "", true);
  expect_refused();
  EXPECT_FALSE(ups[0]->over());
  resume();
  open();
}

TEST_F(RelayHalted, OneThatStopsCancelsResetsWhatIsOpen) {
  local_primary(4);
  for (const HaltScope scope : {HaltScope::kBroker, HaltScope::kGlobal}) {
    auto c = open();
    halt(scope, scope == HaltScope::kBroker ? "fix" : "", false);
    EXPECT_TRUE(c->reset && ups.back()->reset);
    expect_refused();
    resume();
  }
}

TEST_F(RelayHalted, OtherBrokersAndTcpRoutesGoOn) {
  local_primary(4);
  auto c = open();
  for (const HaltScope scope : {HaltScope::kBroker, HaltScope::kRoute, HaltScope::kAccount}) halt(scope, "another", false);
  EXPECT_FALSE(c->reset);
  open();
  auto plain = route();
  auto d = client(plain);
  ups.back()->connect();
  halt(HaltScope::kGlobal, "", true);
  d->send("x");
  EXPECT_EQ(ups.back()->take(), "x");
  const std::size_t before = ups.size();
  client(plain);
  EXPECT_EQ(ups.size(), before + 1) << "of a TCP route nobody knows whether it carries orders";
  halt(HaltScope::kRoute, "db", false);
  EXPECT_TRUE(d->reset && client(plain)->reset);
}

}  // namespace
}  // namespace proxy::testing
