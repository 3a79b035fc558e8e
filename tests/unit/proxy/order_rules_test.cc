// Which key an order has, whoever asks and wherever it comes in.
#include "tests/unit/proxy/order_fixture.h"

namespace proxy::testing {
namespace {

class OrderKeys : public Orders {
 protected:
  void let_keyless_pass(OrderKeyFrom from, std::string name) {
    OrderRule rule;
    rule.from = from;
    rule.name = std::move(name);
    rule.required = false;
    use(rule);
  }
};

TEST_F(OrderKeys, AKeyInTheBodyThatIsNoneDoesNotLetAnOrderPassWithoutOne) {
  become_primary(7);
  let_keyless_pass(OrderKeyFrom::kJson, "/id");
  auto c = client();
  c->send(post("/orders", R"({"id":36893488147419103232})"));
  EXPECT_TRUE(has(c->take(), "order_key_malformed"));
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_EQ(counters().orders_unkeyed, 1U);
  EXPECT_EQ(counters().orders_keyless, 0U);
  auto none = client();
  none->send(post("/orders", "{}"));
  EXPECT_EQ(host.upstreams.size(), 1U) << "without a key it passes, and is counted";
  EXPECT_EQ(counters().orders_keyless, 1U);
}

TEST_F(OrderKeys, OrdersWithoutOneAreCountedWhereTheyComeIn) {
  become_primary(7);
  let_keyless_pass(OrderKeyFrom::kHeader, "Idempotency-Key");
  client()->send(post("/orders", "buy"));
  EXPECT_EQ(counters().orders_keyless, 1U);
  client(ListenerKind::kPeer)->send(post("/orders", "buy"));
  EXPECT_EQ(counters().orders_keyless, 1U) << "the agent there has counted it";
  EXPECT_EQ(host.upstreams.size(), 2U);
}

TEST_F(OrderKeys, AHostThatReadsNoJsonTakesNoOrderForOneWithoutAKey) {
  settings.json_text = nullptr;
  start();
  become_primary(7);
  let_keyless_pass(OrderKeyFrom::kJson, "/id");
  auto c = client();
  c->send(post("/orders", R"({"id":"k"})"));
  EXPECT_TRUE(has(c->take(), "order_key_malformed"));
  EXPECT_TRUE(host.upstreams.empty());
}

TEST_F(OrderKeys, AKeyThatConnectionNamesWouldNotReachTheNextAgent) {
  for (const bool here : {true, false}) {
    here ? become_primary(7) : peer_is_primary(8, 2);
    auto c = client();
    c->send(order("k", "buy", "Connection: idempotency-key\r\n"));
    EXPECT_TRUE(has(c->take(), "order_key_malformed"));
  }
  EXPECT_TRUE(ledger.asked.empty());
  EXPECT_TRUE(host.upstreams.empty());
}

// ---- routes that change, agents that differ ----

Route keyed_route(std::string name) {
  Route route;
  route.name = std::move(name);
  route.path = "/orders";
  route.kind = PoolKind::kPrimary;
  route.service = "trader";
  route.order = OrderRule{};
  return route;
}

class OrderRules : public OrderKeys {
 protected:
  void use_routes(std::vector<Route> routes) {
    auto table = RouteTable::make(std::move(routes));
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
  }
  // What the ledger is asked about an order that comes in here while this agent is primary.
  OrderRequest asked_for(std::string_view text, ListenerKind kind = ListenerKind::kDownstream) {
    const std::size_t before = ledger.asked.size();
    auto c = client(kind);
    c->send(text);
    EXPECT_EQ(ledger.asked.size(), before + 1) << c->take();
    return ledger.asked.empty() ? OrderRequest{} : ledger.asked.back().request;
  }
  // The line that tells a peer about an order.
  std::string told_to_peer(std::string_view text) {
    auto c = client();
    c->send(text);
    Wire& peer = *host.upstreams.back();
    peer.connect();
    const std::string head = peer.take();
    const auto at = head.find("X-Outrigger-Order: ");
    return at == std::string::npos ? "" : head.substr(at, head.find("\r\n", at) + 2 - at);
  }
  static std::string from_peer(std::string_view key, std::string_view word) { return order(key, "buy", word); }
};

TEST_F(OrderRules, AKeyIsTheSameOrderWhateverItsRouteIsCalledAndWhicheverHostItComesBy) {
  become_primary(7);
  Route one = keyed_route("POST|PUT api.example/orders"), other = keyed_route("the dashboard calls it so");
  one.methods = {http1::Method::kPost, http1::Method::kPut};
  one.host = "api.example";
  use_routes({one, other});
  const OrderRequest first = asked_for("POST /orders HTTP/1.1\r\nHost: api.example\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n\r\nbuy");
  const OrderRequest second = asked_for("POST /orders HTTP/1.1\r\nHost: 10.0.0.2:8080\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n\r\nbuy");
  EXPECT_EQ(first.zone, "orders");
  EXPECT_EQ(std::tie(first.service, first.zone, first.key, first.fingerprint), std::tie(second.service, second.zone, second.key, second.fingerprint));
}

TEST_F(OrderRules, ThePrimarysAgentIsToldByWhichRuleAnOrderCameIn) {
  peer_is_primary(8, 2);
  EXPECT_EQ(told_to_peer(order("k")), "X-Outrigger-Order: orders/header:idempotency-key -\r\n");
  EXPECT_EQ(told_to_peer(order("k", "buy", "X-Outrigger-Order: mine\r\n")), "X-Outrigger-Order: orders/header:idempotency-key -\r\n");
  OrderRule rule;
  rule.from = OrderKeyFrom::kJson;
  rule.name = "/the id\r\n";
  rule.zone = "z";
  rule.required = false;
  use(rule);
  EXPECT_EQ(told_to_peer(post("/orders", "{}")), "X-Outrigger-Order: z/json:/the%20id%0d%0a -\r\n");
  EXPECT_EQ(told_to_peer(get("/orders")), "") << "a read is no order";
  let_keyless_pass(OrderKeyFrom::kHeader, "Idempotency-Key");
  EXPECT_EQ(told_to_peer(post("/orders", "buy")), "") << "nor is what has no key";
}

TEST_F(OrderRules, AnAgentWithAnotherRuleRefusesAndSendsNothing) {
  become_primary(7);
  const std::string word = "X-Outrigger-Order: orders/header:idempotency-key -\r\n";
  EXPECT_EQ(asked_for(from_peer("k", word), ListenerKind::kPeer).key, "k") << "the same rule";
  Route none = keyed_route("orders"), zone = none, place = none, elsewhere = none, reads = none;
  none.order.reset();
  zone.order->zone = "other";
  place.order->name = "X-Order";
  elsewhere.path = "/other";
  reads.methods = {http1::Method::kGet};
  Route pool = none;
  pool.kind = PoolKind::kAll;
  pool.pool = "all";
  set_pool({endpoint(1)});
  for (const Route& route : {none, zone, place, elsewhere, reads, pool}) {
    use_routes({route});
    auto c = client(ListenerKind::kPeer);
    c->send(from_peer("k", word));
    const std::string answer = c->take();
    EXPECT_EQ(status_line_of(answer), "HTTP/1.1 421 Misdirected Request");
    EXPECT_TRUE(has(answer, "X-Outrigger-Refused: order-rules-differ\r\n")) << answer;
    EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n")) << answer;
  }
  use({});
  for (const char* odd : {"X-Outrigger-Order: orders/header:idempotency-key\r\n", "X-Outrigger-Order: orders/header:idempotency-key abc\r\n", "X-Outrigger-Order: \r\n"}) {
    auto c = client(ListenerKind::kPeer);
    c->send(from_peer("k", odd));
    EXPECT_TRUE(has(c->take(), "order-rules-differ")) << odd;
  }
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_EQ(ledger.asked.size(), 1U);
}

TEST_F(OrderRules, AKeyThatIsLostOnTheWayIsNotAnOrderWithoutOne) {
  become_primary(7);
  let_keyless_pass(OrderKeyFrom::kHeader, "Idempotency-Key");
  auto c = client(ListenerKind::kPeer);
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nX-Outrigger-Order: orders/header:idempotency-key -\r\nContent-Length: 3\r\n\r\nbuy");
  EXPECT_TRUE(has(c->take(), "order_key_missing"));
  EXPECT_TRUE(host.upstreams.empty());
  client(ListenerKind::kPeer)->send(post("/orders", "buy"));
  EXPECT_EQ(host.upstreams.size(), 1U) << "what is known of one request says nothing about the next";
}

TEST_F(OrderRules, WhoeverIsRefusedThereIsToldWhatIsKnownHereOrWhy) {
  peer_is_primary(8, 2);
  const auto refuse = [&] { host.upstreams.back()->send("HTTP/1.1 421 Misdirected Request\r\nX-Outrigger-Refused: order-rules-differ\r\nContent-Length: 0\r\n\r\n"); };
  auto c = client();
  c->send(order("k1"));
  up(0).connect();
  refuse();
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_TRUE(ledger.asked[0].request.look_only);
  auto answer = std::make_shared<OrderAnswer>();
  answer->status = 201;
  answer->head = "Created\r\n";
  tell(OrderVerdict::kAnswered, 0, answer);
  EXPECT_EQ(status_line_of(c->take()), "HTTP/1.1 201 Created");

  auto fresh = client();
  fresh->send(order("k2"));
  refuse();
  tell(OrderVerdict::kNothing);
  for (int i = 0; i < 200 && fresh->out.empty(); ++i) {
    advance(Milliseconds{100});
    if (!host.upstreams.back()->take().empty()) refuse();
  }
  const std::string said = fresh->take();
  EXPECT_EQ(status_line_of(said), "HTTP/1.1 503 Service Unavailable");
  EXPECT_TRUE(has(said, "\"order_rules_differ\"")) << said;
  EXPECT_TRUE(has(said, "X-Outrigger-Outcome: not-sent")) << said;
  EXPECT_EQ(counters().orders_rules_differ, 1U);
}

// ---- who asks ----

TEST_F(OrderRules, TheSameKeyOfAnotherAccountIsAnotherOrder) {
  become_primary(7);
  const Digest nobody = asked_for(order("k")).fingerprint;
  EXPECT_EQ(nobody, small_digest("POST /orders\nbuy"));
  const Digest a = asked_for(order("k", "buy", "X-Account: a\r\n")).fingerprint, b = asked_for(order("k", "buy", "X-Account: b\r\n")).fingerprint;
  EXPECT_EQ(asked_for(order("k", "buy", "x-account: a\r\n")).fingerprint, a);
  EXPECT_EQ(asked_for(order("k", "buy", "X_Account: a\r\n")).fingerprint, a) << "many applications read it as that";
  EXPECT_NE(a, b);
  EXPECT_NE(a, nobody);
  EXPECT_NE(asked_for(order("k", "buy", "X-Account: a\r\nX-Account: b\r\n")).fingerprint, b) << "nor are two of them the last one";
  OrderRule rule;
  rule.account_field = "X-Api-Key";
  use(rule);
  EXPECT_EQ(asked_for(order("k", "buy", "X-Account: a\r\n")).fingerprint, nobody);
  EXPECT_NE(asked_for(order("k", "buy", "X-Api-Key: s\r\n")).fingerprint, nobody);
}

TEST_F(OrderRules, TheSameKeyOfAnotherClientOfTheRouteIsAnotherOrder) {
  become_primary(7);
  const auto use_secrets = [&](const std::vector<std::string>& secrets) {
    Route route = keyed_route("orders");
    for (const std::string& secret : secrets) route.admission.credentials.entries.push_back(*Credentials::parse(secret));
    use_routes({route});
  };
  const auto token = [](std::string_view secret) { return "sha256:" + hex_text(small_digest(secret)); };
  const auto by = [&](const std::string& secret) { return asked_for(order("k", "buy", "Authorization: Bearer " + secret + "\r\n")).fingerprint; };
  use_secrets({"desk-a:" + token("one"), "desk-b:" + token("two"), token("three"), token("four")});
  const Digest a = by("one"), b = by("two"), c = by("three");
  EXPECT_NE(a, b);
  EXPECT_NE(c, by("four"));
  EXPECT_EQ(by("one"), a);
  use_secrets({"desk-b:" + token("two"), "desk-a:" + token("one-of-may"), "desk-a:" + token("one")});
  EXPECT_EQ(by("one-of-may"), a) << "a new secret of the same name is the same client";
  EXPECT_EQ(by("two"), b);
}

// Only the agent that a client has met checks its credentials; the ledger is asked by the primary's.
TEST_F(OrderRules, WhoAsksIsTheSameWhicheverAgentTheOrderComesInAt) {
  Route route = keyed_route("orders");
  route.admission.credentials.entries.push_back(*Credentials::parse("desk-a:sha256:" + hex_text(small_digest("one"))));
  use_routes({route});
  const std::string text = order("k", "buy", "Authorization: Bearer one\r\nX-Account: a\r\n");
  peer_is_primary(8, 2);
  const std::string word = told_to_peer(text);
  EXPECT_EQ(word, "X-Outrigger-Order: orders/header:idempotency-key " + hex_text(small_digest("account a\ntoken desk-a")) + "\r\n");
  nobody_is_primary(9);
  const Digest looked = asked_for(text).fingerprint;
  become_primary(10);
  const Digest here = asked_for(text).fingerprint;
  EXPECT_EQ(looked, here);
  EXPECT_EQ(asked_for(from_peer("k", word), ListenerKind::kPeer).fingerprint, here) << "its own fields do not count there";
  EXPECT_EQ(asked_for(from_peer("k", word + "X-Account: b\r\n"), ListenerKind::kPeer).fingerprint, here);
}

// Exchanges are used again.
TEST_F(OrderRules, NothingThatIsKnownOfAnOrderIsLeftForTheNextOne) {
  become_primary(7);
  const auto ended = [&](std::string_view text, ListenerKind kind = ListenerKind::kDownstream) {
    const Digest fingerprint = asked_for(text, kind).fingerprint;
    tell(OrderVerdict::kOther);
    EXPECT_EQ(counters().open_exchanges, 0U);
    return fingerprint;
  };
  const Digest nobody = ended(order("k"));
  const std::string word = "X-Outrigger-Order: orders/header:idempotency-key " + std::string(64, 'a') + "\r\n";
  EXPECT_NE(ended(order("k", "buy", "X-Account: a\r\n")), nobody);
  EXPECT_EQ(ended(order("k")), nobody);
  EXPECT_NE(ended(from_peer("k", word), ListenerKind::kPeer), nobody);
  EXPECT_EQ(ended(order("k")), nobody);
  ended(from_peer("k", word), ListenerKind::kPeer);
  EXPECT_NE(ended(order("k", "buy", "X-Account: a\r\n")), nobody) << "who has met it is known for one order only";
  Route closed = keyed_route("orders");
  closed.admission.credentials.entries.push_back(*Credentials::parse("desk-a:sha256:" + hex_text(small_digest("one"))));
  use_routes({closed});
  EXPECT_NE(ended(order("k", "buy", "Authorization: Bearer one\r\n")), nobody);
  use({});
  EXPECT_EQ(ended(order("k")), nobody);
}

// ---- clients that have said all they have to say ----

TEST_F(OrderKeys, AClientThatSendsNoMoreGetsTheAnswerToItsOrder) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  c->eof();
  EXPECT_TRUE(ledger.abandoned.empty());
  tell(OrderVerdict::kReserved, 11);
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  up(0).send(ok("fill"));
  record();
  EXPECT_EQ(body_of(c->take()), "fill");
  EXPECT_EQ(counters().open_exchanges, 0U);
  auto half = client();
  half->send("POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k2\r\nContent-Length: 3\r\n\r\nb");
  half->eof();
  EXPECT_TRUE(half->over()) << "half a request is none";
  EXPECT_EQ(ledger.asked.size(), 1U);
}

}  // namespace
}  // namespace proxy::testing
