// TCP routes: bytes both ways, half-close, slow sides, the lease before every write, who is connected to.
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

}  // namespace
}  // namespace proxy::testing
