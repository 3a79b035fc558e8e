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
