// A primary that may not be given orders yet: what passes, what is held, and what those are told who waited in vain.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class ArmedRoute : public ProxyTest {
 protected:
  void SetUp() override { start(); }
  std::shared_ptr<Wire> peer() { return client(ListenerKind::kPeer); }
};

TEST_F(ArmedRoute, ThePrimaryThatIsNotArmedIsGivenReadsAndNoOrder) {
  plan_primary(7);
  view.armed = false;
  view.unarmed_reason = "approval is \"awaited\"\r\n";
  proxy->set_primary(view);
  auto order = client(), read = client(), tunnel = client();
  order->send(post("/orders", "buy"));
  tunnel->send("GET /primary/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_EQ(counters().held_now, 2U);
  read->send("GET /primary/x HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  up(0).take();
  up(0).send(ok("positions"));
  EXPECT_EQ(read->take(), ok("positions"));
  advance(Milliseconds{5000});
  const std::string answer = order->take();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(has(answer, "\"code\":\"not_armed\""));
  EXPECT_TRUE(has(answer, "approval is  awaited ")) << "no quote and no line end of a reason gets into an answer: " << answer;
  EXPECT_TRUE(has(answer, "Retry-After: 1\r\n"));
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: not-sent\r\n"));
  EXPECT_EQ(counters().orders_not_armed, 2U);
  EXPECT_TRUE(host.drained.empty()) << "it does not hand over";
}

TEST_F(ArmedRoute, WhatIsHeldGoesOutOnceThePrimaryIsArmed) {
  plan_primary(7);
  view.armed = false;
  proxy->set_primary(view);
  auto c = client();
  c->send(post("/orders", "buy"));
  EXPECT_TRUE(host.upstreams.empty());
  view.armed = true;
  proxy->set_primary(view);
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  EXPECT_TRUE(up(0).take().ends_with("\r\n\r\nbuy"));
}

TEST_F(ArmedRoute, AnOrderAtTheInstanceStaysWhenThePrimaryIsDisarmed) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "buy"));
  up(0).connect();
  up(0).take();
  view.armed = false;
  proxy->set_primary(view);
  up(0).send(ok("done"));
  EXPECT_EQ(c->take(), ok("done"));
}

TEST_F(ArmedRoute, ReadsThatWaitedForAPrimaryGoToOneThatIsNotArmed) {
  auto read = client(), order = client();
  read->send("GET /primary/x HTTP/1.1\r\nHost: h\r\n\r\n");
  order->send(post("/orders", "buy"));
  EXPECT_EQ(counters().held_now, 2U);
  plan_primary(7);
  view.armed = false;
  proxy->set_primary(view);
  ASSERT_EQ(host.upstreams.size(), 1U);
  up(0).connect();
  EXPECT_TRUE(up(0).take().starts_with("GET "));
  EXPECT_EQ(counters().held_now, 1U);
}

TEST_F(ArmedRoute, APeersOrderIsToldThatThePrimaryIsNotArmed) {
  plan_primary(7);
  view.armed = false;
  view.unarmed_reason = "approval is awaited";
  proxy->set_primary(view);
  auto p = peer();
  p->send(post("/orders", "x"));
  EXPECT_TRUE(has(p->take(), "X-Outrigger-Refused: not-armed: approval is awaited\r\n"));
  EXPECT_EQ(counters().held_now, 0U) << "only the entry holds";
  p->send("GET /primary/x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(ArmedRoute, TheEntrySaysWhyThePrimaryElsewhereTakesNoOrder) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(post("/orders", "abc"));
  up(0).connect();
  const std::string refusal = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: not-armed: approval is awaited\r\n\r\n";
  up(0).send(refusal);
  EXPECT_EQ(c->out, "");
  for (int i = 0; i < 100 && c->out.empty(); ++i) {
    advance(Milliseconds{100});
    if (!up(0).take().empty()) up(0).send(refusal);
  }
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "\"code\":\"not_armed\"")) << answer;
  EXPECT_TRUE(has(answer, "approval is awaited"));
  EXPECT_EQ(counters().orders_not_armed, 1U);
  c->send(post("/orders", "abc"));
  up(0).take();
  up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: yielding\r\n\r\n");
  for (int i = 0; i < 100 && c->out.empty(); ++i) {
    advance(Milliseconds{100});
    if (!up(0).take().empty()) up(0).send("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nX-Outrigger-Refused: yielding\r\n\r\n");
  }
  EXPECT_TRUE(has(c->take(), "\"code\":\"no_primary\"")) << "what one request was told says nothing about the next";
}

}  // namespace
}  // namespace proxy::testing
