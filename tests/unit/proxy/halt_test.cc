// Orders to stop: what they refuse, what passes, and that nothing of what is refused leaves.
#include "proxy/halt.h"

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

HaltOrder stop(HaltScope scope = HaltScope::kGlobal, std::string name = {}, bool cancels_pass = true) {
  return {scope, std::move(name), cancels_pass, "halted, by ada at n1: prices look wrong"};
}

TEST(HaltView, ScopesNamesAndCancels) {
  HaltView view;
  EXPECT_EQ(view.stops("orders", "", false), nullptr);
  view.orders = {stop(HaltScope::kRoute, "orders"), stop(HaltScope::kAccount, "a7"), stop(HaltScope::kBroker, "alpha", false)};
  EXPECT_EQ(view.stops("orders", "", false), &view.orders[0]);
  EXPECT_EQ(view.stops("orders", "", true), nullptr) << "cancels pass";
  EXPECT_EQ(view.stops("other", "a7", false), &view.orders[1]);
  EXPECT_EQ(view.stops("other", "a70", false), nullptr);
  EXPECT_EQ(view.stops("alpha", "", false), nullptr) << "a broker is no route";
  EXPECT_EQ(view.stops_broker("alpha", "", false), &view.orders[2]);
  EXPECT_EQ(view.stops_broker("alpha", "", true), &view.orders[2]) << "cancels are stopped, too";
  EXPECT_EQ(view.stops_broker("beta", "a7", false), &view.orders[1]);
  EXPECT_TRUE(view.cuts_broker("alpha"));
  EXPECT_FALSE(view.cuts_broker("beta"));
  view.orders = {stop()};
  EXPECT_NE(view.stops("any", "", false), nullptr);
  EXPECT_FALSE(view.cuts_broker("alpha"));
}

class HaltedRoutes : public ProxyTest {
 protected:
  void SetUp() override { start(); }
  void halt(std::vector<HaltOrder> orders) {
    auto halts = std::make_shared<HaltView>();
    for (const HaltOrder& one : orders) halts->by_account = halts->by_account || one.scope == HaltScope::kAccount;
    halts->orders = std::move(orders);
    halts->account_field = "X-Account";
    proxy->set_halts(std::move(halts));
  }
  void expect_halted(Wire& wire) {
    const std::string answer = wire.take();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    EXPECT_TRUE(has(answer, "\"code\":\"halted\"")) << answer;
    EXPECT_TRUE(has(answer, "prices look wrong"));
    EXPECT_TRUE(has(answer, "outrigger resume"));
    EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
    EXPECT_FALSE(has(answer, "Retry-After")) << "nobody knows when";
  }
};

TEST_F(HaltedRoutes, WhatCouldChangeSomethingIsRefusedAndReadsPass) {
  become_primary(7);
  halt({stop()});
  auto order = client(), put = client(), read = client();
  order->send(post("/orders", "buy"));
  put->send("PUT /narrow HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(host.upstreams.empty());
  expect_halted(*order);
  expect_halted(*put);
  read->send("GET /primary/x HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(counters().halted, 2U);
  EXPECT_EQ(host.accesses.at(0).reason, "halted");
  halt({});
  order->send(post("/orders", "buy"));
  EXPECT_EQ(host.upstreams.size(), 2U) << "lifted: over the same connection";
}

TEST_F(HaltedRoutes, CancelsPassUnlessTheyAreStoppedToo) {
  become_primary(7);
  halt({stop()});
  auto c = client();
  c->send("DELETE /orders/5 HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("DELETE /orders/5 "));
  up(0).send(ok("gone"));
  EXPECT_EQ(c->take(), ok("gone"));
  halt({stop(HaltScope::kGlobal, {}, false)});
  c->send("DELETE /orders/5 HTTP/1.1\r\nHost: h\r\n\r\n");
  expect_halted(*c);
}

TEST_F(HaltedRoutes, OneRouteOrOneAccount) {
  become_primary(7);
  halt({stop(HaltScope::kRoute, "primary"), stop(HaltScope::kAccount, "a7")});
  auto on = client(), off = client(), account = client();
  off->send(post("/primary/x", "buy"));
  expect_halted(*off);
  account->send("POST /orders HTTP/1.1\r\nHost: h\r\nx-account:  a7 \r\nContent-Length: 0\r\n\r\n");
  expect_halted(*account);
  account->send("POST /orders HTTP/1.1\r\nHost: h\r\nX-Account: a8\r\nContent-Length: 0\r\n\r\n");
  on->send(post("/orders", "buy"));
  EXPECT_EQ(host.upstreams.size(), 2U);
}

TEST_F(HaltedRoutes, AnAccountIsStoppedHoweverTheFieldIsRepeatedOrSpelt) {
  become_primary(7);
  halt({stop(HaltScope::kAccount, "a7")});
  const auto with = [](std::string_view fields) { return "POST /orders HTTP/1.1\r\nHost: h\r\n" + std::string(fields) + "Content-Length: 0\r\n\r\n"; };
  std::string many = "X-Account: b0";
  for (int i = 1; i < 100; ++i) many += ",b" + std::to_string(i);
  for (const std::string& fields : {std::string("X-Account: a7\r\nX-Account: a8\r\n"), std::string("X-Account: a8\r\nX-Account: a7\r\n"),
                                    std::string("X_Account: a7\r\n"), std::string("x_ACCOUNT:a7\r\nX-Account: a8\r\n"),
                                    std::string("X-Account: a7,a7\r\n"), std::string("X-Account: a8, a7\t\r\n"),
                                    std::string("X-Account: a7 ,\r\n"), many + "\r\n", many + "\r\nX-Account: a7\r\n"}) {
    SCOPED_TRACE(fields);
    auto c = client();
    c->send(with(fields));
    expect_halted(*c);
  }
  EXPECT_TRUE(host.upstreams.empty());
  for (const char* fields : {"", "X-Account: a8,a70\r\n", "X-Account: ,\r\n", "X-Account-Of: a7\r\n", "X--Account: a7\r\n"}) client()->send(with(fields));
  EXPECT_EQ(host.upstreams.size(), 5U);
  halt({stop(HaltScope::kAccount, "a,7")});
  auto c = client();
  c->send(with("X-Account: a,7\r\n"));
  expect_halted(*c);
  c->send("DELETE /orders/5 HTTP/1.1\r\nHost: h\r\n" + many + "\r\n\r\n");
  EXPECT_EQ(host.upstreams.size(), 6U) << "a cancel, whoever it is about";
}

TEST_F(HaltedRoutes, WhoWaitsForAPrimaryIsToldAtOnce) {
  auto order = client(), read = client();
  order->send(post("/orders", "buy"));
  read->send("GET /primary/x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(counters().held_now, 2U);
  halt({stop()});
  expect_halted(*order);
  EXPECT_EQ(counters().held_now, 1U) << "the read waits on";
  become_primary(7);
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(HaltedRoutes, NothingIsWrittenOverAConnectionThatComesUpTooLate) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "buy"));
  ASSERT_EQ(host.upstreams.size(), 1U);
  halt({stop()});
  up(0).connect();
  EXPECT_EQ(up(0).out, "");
  expect_halted(*c);
}

TEST_F(HaltedRoutes, WhatIsAtTheInstanceIsAnswered) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "buy"));
  up(0).connect();
  up(0).take();
  halt({stop()});
  up(0).send(ok("done"));
  EXPECT_EQ(c->take(), ok("done"));
}

TEST_F(HaltedRoutes, APeerIsSentAway) {
  become_primary(7);
  halt({stop()});
  auto peer = client(ListenerKind::kPeer);
  peer->send(post("/orders", "buy"));
  const std::string answer = peer->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 421 ")) << answer;
  EXPECT_TRUE(host.upstreams.empty());
}

TEST_F(HaltedRoutes, ATunnelEndsWhenNotEvenCancelsMayPass) {
  become_primary(7);
  auto c = client();
  c->send("GET /primary/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  up(0).send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  halt({stop()});
  EXPECT_FALSE(up(0).over());
  halt({stop(HaltScope::kRoute, "orders", false)});
  EXPECT_FALSE(up(0).over()) << "another route";
  halt({stop(HaltScope::kRoute, "primary", false)});
  EXPECT_TRUE(up(0).over());
}

// An order that was placed before the halt is not to be told as refused.
struct Ledger final : OrderLedger {
  void reserve(OrderTicket ticket, OrderRequest request) override { asked.emplace_back(ticket, std::move(request)); }
  void abandon(OrderTicket) override {}
  void settle(OrderTicket, const OrderRequest&, std::uint64_t reservation, OrderEnd end, std::shared_ptr<const OrderAnswer>) override {
    settled.emplace_back(reservation, end);
  }
  std::vector<std::pair<OrderTicket, OrderRequest>> asked;
  std::vector<std::pair<std::uint64_t, OrderEnd>> settled;
};

class HaltedOrders : public HaltedRoutes {
 protected:
  void SetUp() override {
    host.ledger = &ledger;
    settings.digest = [](std::string_view) { return Digest{}; };
    start();
    Route orders;
    orders.name = "orders";
    orders.path = "/orders";
    orders.kind = PoolKind::kPrimary;
    orders.service = "trader";
    orders.order = OrderRule{};
    auto table = RouteTable::make({orders});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    become_primary(7);
  }
  void TearDown() override { proxy.reset(); }
  static std::string order() { return "POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k1\r\nContent-Length: 3\r\n\r\nbuy"; }
  Ledger ledger;
};

TEST_F(HaltedOrders, AreLookedUpAndNeverReserved) {
  halt({stop()});
  auto known = client(), fresh = client();
  known->send(order());
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_TRUE(ledger.asked[0].second.look_only);
  auto answer = std::make_shared<OrderAnswer>();
  answer->status = 201;
  answer->head = "Made\r\n";
  answer->body = "fill";
  proxy->order_told(ledger.asked[0].first, {OrderVerdict::kAnswered, 0, answer, {}});
  EXPECT_TRUE(known->take().starts_with("HTTP/1.1 201 Made"));
  fresh->send(order());
  ASSERT_EQ(ledger.asked.size(), 2U);
  EXPECT_TRUE(ledger.asked[1].second.look_only);
  proxy->order_told(ledger.asked[1].first, {OrderVerdict::kNothing, 0, nullptr, {}});
  expect_halted(*fresh);
  EXPECT_TRUE(host.upstreams.empty());
}

TEST_F(HaltedOrders, GiveAReservationBackThatCameWithTheHalt) {
  auto c = client();
  c->send(order());
  ASSERT_EQ(ledger.asked.size(), 1U);
  halt({stop()});
  proxy->order_told(ledger.asked[0].first, {OrderVerdict::kReserved, 11, nullptr, {}});
  EXPECT_TRUE(host.upstreams.empty());
  expect_halted(*c);
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0], std::pair(std::uint64_t{11}, OrderEnd::kNotSent));
}

}  // namespace
}  // namespace proxy::testing
