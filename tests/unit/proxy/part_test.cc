// Connections of a listener that goes, or of a process that has a successor: nobody's request meets a closed connection.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Parting : public ProxyTest {
 protected:
  void SetUp() override {
    start();
    set_pool({endpoint(1)});
  }
  std::shared_ptr<Wire> client_at(std::uint64_t listener) {
    auto wire = std::make_shared<Wire>();
    Accepted accepted;
    accepted.client = "192.0.2.9";
    accepted.listener = listener;
    proxy->accept(std::make_unique<MemoryStream>(wire), std::move(accepted));
    return wire;
  }
  TimePoint in(Milliseconds time) const { return host.clock + time; }
};

TEST_F(Parting, AnIdleConnectionBringsOneMoreRequestAndIsToldToClose) {
  auto c = client_at(1);
  proxy->part_with(1, in(Milliseconds{3000}));
  EXPECT_FALSE(c->over());
  advance(Milliseconds{1000});
  c->send(get("/1"));
  up(0).connect();
  up(0).send(ok("1"));
  EXPECT_TRUE(has(c->take(), "Connection: close\r\n"));
  EXPECT_TRUE(c->shut);
}

TEST_F(Parting, WhatStaysIdleIsClosedAtItsTime) {
  auto c = client_at(1), other = client_at(2);
  proxy->part_with(1, in(Milliseconds{3000}));
  advance(Milliseconds{2900});
  EXPECT_FALSE(c->closed);
  advance(Milliseconds{200});
  EXPECT_TRUE(c->closed);
  EXPECT_FALSE(other->over()) << "another listener's";
}

TEST_F(Parting, AnAnswerThatHasBegunWithoutTheWordKeepsTheConnectionForOneMore) {
  auto c = client_at(1);
  c->send(get("/1"));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
  EXPECT_FALSE(has(c->take(), "Connection: close"));
  proxy->part_with(1, in(Milliseconds{3000}));
  up(0).send("cd");
  EXPECT_FALSE(c->shut) << "the client was told nothing and may be sending already";
  c->send(get("/2"));
  up(0).send(ok("2"));
  EXPECT_TRUE(has(c->take(), "Connection: close\r\n"));
}

TEST_F(Parting, RequestsEndByThemselvesAlsoBehindThatTime) {
  auto c = client_at(1);
  c->send(get("/1"));
  up(0).connect();
  proxy->part_with(std::nullopt, in(Milliseconds{100}));
  advance(Milliseconds{500});
  EXPECT_FALSE(c->over());
  up(0).send(ok("1"));
  EXPECT_TRUE(has(c->take(), "Connection: close\r\n"));
}

TEST_F(Parting, AllOfThemAtOnceAndOurOwnAnswersSayItToo) {
  catch_all = false;
  set_routes();
  auto c = client_at(1), d = client();
  proxy->part_with(std::nullopt, in(Milliseconds{1000}));
  for (const auto& wire : {c, d}) {
    wire->send(get("/nowhere"));
    EXPECT_TRUE(has(wire->take(), "Connection: close\r\n"));
  }
  auto late = client();
  EXPECT_FALSE(late->over()) << "those to come are not meant";
}

TEST_F(Parting, AnOrderIsHeldAsLongAsEver) {
  auto c = client_at(1);
  nobody_is_primary(1);
  c->send(post("/orders", "x"));
  proxy->part_with(std::nullopt, in(Milliseconds{10}));
  advance(Milliseconds{1000});
  EXPECT_EQ(counters().held_now, 1U);
  peer_is_primary(2, 2);
  up(0).connect();
  up(0).send(ok("taken"));
  EXPECT_TRUE(has(c->take(), "taken"));
}

}  // namespace
}  // namespace proxy::testing
