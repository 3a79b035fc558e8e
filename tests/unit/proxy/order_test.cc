// Orders under keys: reserved before the first byte, recorded before the answer, sent at most once by themselves.
#include "proxy/order.h"

#include "tests/unit/proxy/order_fixture.h"

namespace proxy::testing {
namespace {

TEST_F(Orders, NotOneByteLeavesBeforeTheKeyIsReserved) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_TRUE(host.upstreams.empty()) << "not even a connection";
  const OrderRequest& asked = ledger.asked[0].request;
  EXPECT_EQ(asked.service, "trader");
  EXPECT_EQ(asked.zone, "orders");
  EXPECT_EQ(asked.key, "k1");
  EXPECT_EQ(asked.epoch, Epoch{7});
  EXPECT_EQ(asked.fingerprint, small_digest("POST /orders\nbuy"));
  tell(OrderVerdict::kReserved, 11);
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "Idempotency-Key: k1\r\n")) << "the instance may want it, too";
}

TEST_F(Orders, TheAnswerIsRecordedBeforeTheClientSeesIt) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send("HTTP/1.1 201 Made\r\nX-Order: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 4\r\n\r\nfill");
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(ledger.settled[0].reservation, 11U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kAnswered);
  const OrderAnswer& answer = *ledger.settled[0].answer;
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.head, "Made\r\nX-Order: 5\r\n") << "nothing of one hop";
  EXPECT_EQ(answer.body, "fill");
  record();
  EXPECT_EQ(c->take(), "HTTP/1.1 201 Made\r\nX-Order: 5\r\nContent-Length: 4\r\n\r\nfill");
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kAnswered);
  EXPECT_EQ(ledger.settled.size(), 1U);
  // The connections go on: both.
  c->send(order("k2"));
  tell(OrderVerdict::kReserved, 12);
  EXPECT_TRUE(has(up(0).take(), "k2"));
}

TEST_F(Orders, ARecordedAnswerComesAgainByteForByte) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send("HTTP/1.1 201 Made\r\nX-Order: 5\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfill\r\n3\r\ned!\r\n0\r\n\r\n");
  const auto answer = ledger.settled.at(0).answer;
  record();
  const std::string first = c->take();
  auto again = client();
  again->send(order("k1"));
  tell(OrderVerdict::kAnswered, 0, answer);
  const std::string second = again->take();
  EXPECT_EQ(body_of(first), "filled!");
  EXPECT_TRUE(has(second, "Idempotent-Replayed: true\r\n")) << second;
  std::string without = second;
  without.erase(without.find("Idempotent-Replayed: true\r\n"), 27);
  EXPECT_EQ(without, first);
  EXPECT_EQ(host.upstreams.size(), 1U) << "nobody was asked";
}

TEST_F(Orders, WhatTheLedgerSaysIsToldAsTheDraftWants) {
  become_primary(7);
  struct Case {
    OrderVerdict verdict;
    std::string_view status, code, outcome;
  };
  const Case cases[] = {
      {OrderVerdict::kInFlight, "HTTP/1.1 409 Conflict", "order_in_flight", "unknown"},
      {OrderVerdict::kUnknown, "HTTP/1.1 409 Conflict", "order_unknown", "unknown"},
      {OrderVerdict::kOther, "HTTP/1.1 422 Unprocessable Content", "order_key_reused", "not-sent"},
      {OrderVerdict::kFull, "HTTP/1.1 503 Service Unavailable", "ledger_full", "not-sent"},
      {OrderVerdict::kUnavailable, "HTTP/1.1 503 Service Unavailable", "ledger_unavailable", "not-sent"},
  };
  for (const Case& each : cases) {
    auto c = client();
    c->send(order("k1"));
    tell(each.verdict);
    const std::string answer = c->take();
    EXPECT_EQ(status_line_of(answer), each.status);
    EXPECT_TRUE(has(answer, "\"" + std::string(each.code) + "\"")) << answer;
    EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: " + std::string(each.outcome))) << answer;
    EXPECT_EQ(has(answer, "Retry-After"), each.verdict != OrderVerdict::kOther);
  }
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_TRUE(ledger.settled.empty());
}

TEST_F(Orders, AnOrderWithoutAKeyIsRefusedWhereOneIsRequired) {
  become_primary(7);
  auto c = client();
  c->send(post("/orders", "buy"));
  EXPECT_TRUE(has(c->take(), "400 Bad Request"));
  for (const std::string_view bad : {"", "a b", "\"open", "\"a\"b", "\xc3\xa4"}) {
    auto other = client();
    other->send(order(bad));
    const std::string answer = other->take();
    EXPECT_TRUE(has(answer, "order_key_malformed")) << bad << ": " << answer;
  }
  auto twice = client();
  twice->send(order("a", "buy", "Idempotency-Key: b\r\n"));
  EXPECT_TRUE(has(twice->take(), "order_key_malformed"));
  EXPECT_TRUE(ledger.asked.empty());
  OrderRule rule;
  rule.required = false;
  use(rule);
  auto free = client();
  free->send(post("/orders", "buy"));
  EXPECT_EQ(host.upstreams.size(), 1U) << "passes as on any other route";
}

TEST_F(Orders, KeysComeInQuotesFromTheQueryOrFromTheBody) {
  become_primary(7);
  auto quoted = client();
  quoted->send(order("\"a \\\"b\\\\\";x=1"));
  EXPECT_EQ(ledger.asked.back().request.key, "a \"b\\");
  OrderRule rule;
  rule.from = OrderKeyFrom::kQuery;
  rule.name = "cid";
  use(rule);
  auto query = client();
  query->send(post("/orders?a=1&cid=q-7", "buy"));
  EXPECT_EQ(ledger.asked.back().request.key, "q-7");
  rule.from = OrderKeyFrom::kJson;
  rule.name = "/id";
  rule.zone = "shared";
  use(rule);
  auto json = client();
  json->send("POST /orders HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n");
  const std::size_t before = ledger.asked.size();
  json->send("5\r\n\"j9\"}\r\n0\r\n\r\n");
  ASSERT_EQ(ledger.asked.size(), before + 1) << "only when all of it is there";
  EXPECT_EQ(ledger.asked.back().request.key, "j9");
  EXPECT_EQ(ledger.asked.back().request.zone, "shared");
  EXPECT_EQ(ledger.asked.back().request.fingerprint, small_digest("POST /orders\n{\"id\":\"j9\"}")) << "chunks do not count";
  auto none = client();
  none->send(post("/orders", "{}"));
  EXPECT_TRUE(has(none->take(), "order_key_missing"));
}

TEST_F(Orders, SafeRequestsAndUpgradesAreNoOrders) {
  become_primary(7);
  auto c = client();
  c->send(get("/orders"));
  EXPECT_TRUE(ledger.asked.empty());
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(Orders, WhoeverWaitsForA100IsToldToGoOn) {
  become_primary(7);
  auto c = client();
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(c->take(), "HTTP/1.1 100 Continue\r\n\r\n");
  c->send("buy");
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_EQ(ledger.asked[0].request.fingerprint, small_digest("POST /orders\nbuy"));
}

TEST_F(Orders, AnOrderThatOutgrowsWhatIsKeptIsRefused) {
  become_primary(7);
  auto c = client();
  c->send(order("k", std::string(4097, 'x')));
  EXPECT_TRUE(has(c->take(), "413"));
  EXPECT_TRUE(ledger.asked.empty());
}

TEST_F(Orders, AChunkedOrderOfSingleBytesIsTakenWhole) {
  become_primary(7);
  auto c = client();
  c->send("POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 3000; ++i) c->send("1\r\nx\r\n");
  c->send("0\r\n\r\n");
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_EQ(ledger.asked[0].request.fingerprint, small_digest("POST /orders\n" + std::string(3000, 'x')));
}

// ---- what goes wrong ----

TEST_F(Orders, ALostInstanceLeavesTheOrderUnknown) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).fail(StreamEnd::kReset);
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown"));
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kUnknown);
  EXPECT_EQ(ledger.settled[0].ticket, OrderTicket{});
  EXPECT_EQ(host.upstreams.size(), 1U) << "bytes have left: never sent again";
}

TEST_F(Orders, HalfAnAnswerIsNone) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  up(0).fail(StreamEnd::kReset);
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "502 Bad Gateway")) << answer;
  EXPECT_FALSE(has(answer, "half"));
  EXPECT_EQ(ledger.settled.at(0).end, OrderEnd::kUnknown);
}

TEST_F(Orders, AnInstanceThatTakesNoConnectionLeavesItNotSent) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  tell(OrderVerdict::kReserved, 11);
  up(0).fail(StreamEnd::kRefused);
  EXPECT_TRUE(ledger.settled.empty()) << "held, under its reservation";
  nobody_is_primary(8);
  advance(Milliseconds{6000});
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: not-sent"));
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kNotSent);
}

TEST_F(Orders, AReservationOfAnOldEpochIsGivenBackFirst) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  tell(OrderVerdict::kReserved, 11);
  up(0).fail(StreamEnd::kRefused);
  become_primary(9);
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kNotSent);
  EXPECT_EQ(ledger.asked.size(), 1U) << "not before the ledger knows";
  record();
  ASSERT_EQ(ledger.asked.size(), 2U);
  EXPECT_EQ(ledger.asked[1].request.epoch, Epoch{9});
  tell(OrderVerdict::kReserved, 12);
  up(host.upstreams.size() - 1).connect();
  EXPECT_TRUE(has(up(host.upstreams.size() - 1).take(), "X-Outrigger-Epoch: 9"));
}

TEST_F(Orders, AnOrderReservedForAnotherAgentsEpochGoesThere) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  peer_is_primary(8, 2);
  tell(OrderVerdict::kReserved, 11);
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kNotSent);
  EXPECT_TRUE(host.upstreams.empty());
  record();
  ASSERT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(up(0).endpoint.kind, EndpointKind::kPeer);
  EXPECT_EQ(ledger.asked.size(), 1U) << "the agent there asks";
}

TEST_F(Orders, AStaleEpochWaitsForTheNextPrimary) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  tell(OrderVerdict::kStale);
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(counters().held_now + ledger.asked.size(), 2U) << "held, or asked what is known";
}

TEST_F(Orders, TheLeaseThatEndsWhileTheInstanceWorksLeavesItUnknown) {
  become_primary(7);
  auto c = sent(order("k1"));
  nobody_is_primary(8);
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown"));
  EXPECT_TRUE(up(0).reset);
  EXPECT_EQ(ledger.settled.at(0).end, OrderEnd::kUnknown);
}

TEST_F(Orders, AnAnswerThatHasComeIsRecordedThoughTheLeaseEnds) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send(ok("fill"));
  nobody_is_primary(8);
  EXPECT_EQ(c->out, "");
  record();
  EXPECT_EQ(body_of(c->take()), "fill");
  EXPECT_EQ(ledger.settled.size(), 1U);
}

TEST_F(Orders, AnAnswerThatTheLedgerDoesNotTakeIsNotPassedOn) {
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send(ok("fill"));
  record(false);
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "504")) << answer;
  EXPECT_FALSE(has(answer, "fill"));
  EXPECT_TRUE(has(answer, "X-Outrigger-Outcome: unknown"));
}

TEST_F(Orders, ALedgerThatIsSilentIsNotWaitedForForEver) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  advance(Milliseconds{6000});
  EXPECT_TRUE(has(c->take(), "ledger_unavailable"));
  ASSERT_EQ(ledger.abandoned.size(), 1U) << "what is reserved late is given back by the host";
  EXPECT_EQ(ledger.abandoned[0], ledger.asked[0].ticket);
  EXPECT_FALSE(tell(OrderVerdict::kReserved, 11));
  EXPECT_TRUE(host.upstreams.empty());

  become_primary(8, Milliseconds{100000});
  auto other = sent(order("k2"));
  up(0).send(ok("fill"));
  advance(Milliseconds{61000});
  EXPECT_TRUE(has(other->take(), "X-Outrigger-Outcome: unknown"));
  EXPECT_EQ(ledger.settled.size(), 1U) << "the host goes on recording";
  record();
}

// ---- clients that leave ----

TEST_F(Orders, AnOrderAtTheInstanceOutlivesItsClient) {
  become_primary(7);
  auto c = sent(order("k1"));
  c->fail(StreamEnd::kReset);
  EXPECT_FALSE(up(0).over()) << "how it ends must be known";
  EXPECT_FALSE(proxy->idle());
  up(0).send(ok("fill"));
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kAnswered);
  record();
  EXPECT_TRUE(proxy->idle());
  EXPECT_EQ(counters().orders_without_client, 1U);
  EXPECT_EQ(counters().open_exchanges, 0U);
}

TEST_F(Orders, AClientThatLeavesBeforeItsOrderIsSentTakesItBack) {
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  c->fail(StreamEnd::kReset);
  EXPECT_EQ(ledger.abandoned.size(), 1U);
  EXPECT_FALSE(tell(OrderVerdict::kReserved, 11));
  EXPECT_TRUE(host.upstreams.empty());
  auto other = client();
  other->send(order("k2"));
  tell(OrderVerdict::kReserved, 12);
  other->fail(StreamEnd::kReset);  // connecting: not a byte has left
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kNotSent);
  EXPECT_TRUE(proxy->idle());
}

TEST_F(Orders, ADrainWaitsForOrdersWithoutClients) {
  become_primary(7);
  auto c = sent(order("k1"));
  c->fail(StreamEnd::kReset);
  proxy->drain(host.clock + Milliseconds{1000});
  EXPECT_FALSE(proxy->idle());
  advance(Milliseconds{3000});
  EXPECT_TRUE(proxy->idle());
  EXPECT_EQ(ledger.settled.at(0).end, OrderEnd::kUnknown);
}

// ---- long answers, other agents ----

TEST_F(Orders, OfALongAnswerTheStatusIsKeptAndTheRestStreams) {
  OrderRule rule;
  rule.answer_bytes_max = 64;
  use(rule);
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + std::string(100, 'a'));
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_FALSE(ledger.settled[0].answer->kept);
  EXPECT_EQ(ledger.settled[0].answer->body, "");
  EXPECT_TRUE(up(0).paused);
  EXPECT_EQ(c->out, "");
  record();
  up(0).send(std::string(100, 'b'));
  EXPECT_EQ(c->take(), "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + std::string(100, 'a') + std::string(100, 'b'));
  auto again = client();
  again->send(order("k1"));
  tell(OrderVerdict::kAnswered, 0, ledger.settled[0].answer);
  const std::string second = again->take();
  EXPECT_EQ(status_line_of(second), "HTTP/1.1 200 OK");
  EXPECT_TRUE(has(second, "order_answer_not_kept"));
}

TEST_F(Orders, ARecordThatIsNoAnswerIsNotPassedOn) {
  become_primary(7);
  for (const auto& [status, head] : {std::pair(100, "Go on\r\n"), std::pair(999, "What\r\n"), std::pair(200, "OK\r\nbroken\r\n"),
                                     std::pair(200, "OK\r\nContent-Length: 9\r\n"), std::pair(200, "no line end")}) {
    auto answer = std::make_shared<OrderAnswer>();
    answer->status = status;
    answer->head = head;
    answer->body = "fill";
    auto c = client();
    c->send(order("k1"));
    tell(OrderVerdict::kAnswered, 0, answer);
    const std::string said = c->take();
    EXPECT_EQ(status_line_of(said), "HTTP/1.1 500 Internal Server Error") << head;
    EXPECT_TRUE(has(said, "order_answer_broken")) << said;
  }
}

TEST_F(Orders, AnyAgentKnowsAnAnswerThoughNobodyLeads) {
  nobody_is_primary(8);
  auto c = client();
  c->send(order("k1"));
  ASSERT_EQ(ledger.asked.size(), 1U);
  EXPECT_TRUE(ledger.asked[0].request.look_only);
  auto answer = std::make_shared<OrderAnswer>();
  answer->status = 204;
  answer->head = "No Content\r\nX-Order: 1\r\n";
  tell(OrderVerdict::kAnswered, 0, answer);
  EXPECT_EQ(c->take(), "HTTP/1.1 204 No Content\r\nX-Order: 1\r\nIdempotent-Replayed: true\r\n\r\n");
  auto fresh = client();
  fresh->send(order("k2"));
  tell(OrderVerdict::kNothing);
  EXPECT_EQ(counters().held_now, 1U);
  become_primary(9);
  EXPECT_EQ(ledger.asked.back().request.epoch, Epoch{9});
  EXPECT_FALSE(ledger.asked.back().request.look_only);
}

TEST_F(Orders, AnAgentThatCannotLookWaitsForThePrimary) {
  nobody_is_primary(8);
  auto c = client();
  c->send(order("k1"));
  tell(OrderVerdict::kUnavailable);
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(counters().held_now, 1U);
  EXPECT_EQ(ledger.asked.size(), 1U) << "asked once";
}

TEST_F(Orders, OnlyTheAgentOfThePrimaryReserves) {
  peer_is_primary(8, 2);
  auto c = client();
  c->send(order("k1"));
  EXPECT_TRUE(ledger.asked.empty());
  ASSERT_EQ(host.upstreams.size(), 1U);
  c->fail(StreamEnd::kReset);

  become_primary(9);
  auto hop = client(ListenerKind::kPeer);
  hop->send(order("k2"));
  ASSERT_EQ(ledger.asked.size(), 1U);
  tell(OrderVerdict::kStale);
  EXPECT_TRUE(has(hop->take(), "X-Outrigger-Refused: not-primary"));
}

class SentBack : public Orders {
 protected:
  // The holder elsewhere has reserved it and could not send it; in our copy of the ledger it is reserved still.
  std::shared_ptr<Wire> refused_after_reservation() {
    peer_is_primary(8, 2);
    auto c = client();
    c->send(order("k1"));
    up(0).connect();
    refuse();
    EXPECT_EQ(ledger.asked.size(), 1U);
    EXPECT_TRUE(ledger.asked.back().request.look_only);
    nobody_is_primary(9);
    tell(OrderVerdict::kInFlight);
    return c;
  }
  void refuse(std::string_view why = "no-instance") {
    host.upstreams.back()->send("HTTP/1.1 421 Misdirected Request\r\nX-Outrigger-Refused: " + std::string(why) + "\r\nContent-Length: 0\r\n\r\n");
  }
};

TEST_F(SentBack, ItsOwnReservationDoesNotStandInItsWay) {
  auto c = refused_after_reservation();
  EXPECT_EQ(c->out, "");
  EXPECT_EQ(counters().held_now, 1U);
  become_primary(10);
  ASSERT_EQ(ledger.asked.size(), 2U);
  EXPECT_FALSE(ledger.asked[1].request.look_only);
  tell(OrderVerdict::kReserved, 11);
  up(1).connect();
  up(1).send(ok("fill"));
  record();
  EXPECT_EQ(c->take(), ok("fill"));
}

TEST_F(SentBack, WhenTheWaitIsOverTheLedgerIsAskedOnceMore) {
  for (const auto& [verdict, status, outcome] : {std::tuple(OrderVerdict::kNothing, "HTTP/1.1 503 Service Unavailable", "not-sent"),
                                                 std::tuple(OrderVerdict::kInFlight, "HTTP/1.1 409 Conflict", "unknown"),
                                                 std::tuple(OrderVerdict::kUnavailable, "HTTP/1.1 409 Conflict", "unknown"),
                                                 std::tuple(OrderVerdict::kStale, "HTTP/1.1 409 Conflict", "unknown")}) {
    SCOPED_TRACE(static_cast<int>(verdict));
    TearDown();
    ledger = {};
    host.upstreams.clear();
    SetUp();
    auto c = refused_after_reservation();
    advance(hold);
    ASSERT_EQ(ledger.asked.size(), 2U);
    EXPECT_TRUE(ledger.asked[1].request.look_only);
    tell(verdict);
    const std::string said = c->take();
    EXPECT_EQ(status_line_of(said), status);
    EXPECT_TRUE(has(said, "X-Outrigger-Outcome: " + std::string(outcome) + "\r\n")) << said;
    EXPECT_EQ(ledger.asked.size(), 2U);
  }
}

TEST_F(SentBack, NoRefusalSaysNotSentAboutAKeyThatIsReserved) {
  auto c = refused_after_reservation();
  become_primary(10);
  tell(OrderVerdict::kFull);
  const std::string said = c->take();
  EXPECT_EQ(status_line_of(said), "HTTP/1.1 409 Conflict");
  EXPECT_TRUE(has(said, "\"order_in_flight\"") && has(said, "X-Outrigger-Outcome: unknown")) << said;
}

TEST_F(SentBack, AReservationThatCannotBeItsOwnIsToldAtOnce) {
  nobody_is_primary(8);
  auto c = client();
  c->send(order("k1"));
  tell(OrderVerdict::kInFlight);
  EXPECT_EQ(status_line_of(c->take()), "HTTP/1.1 409 Conflict");
  peer_is_primary(9, 2);
  c->send(order("k2"));
  up(0).connect();
  refuse("order-rules-differ");
  ASSERT_EQ(ledger.asked.size(), 2U);
  tell(OrderVerdict::kInFlight);
  EXPECT_EQ(status_line_of(c->take()), "HTTP/1.1 409 Conflict") << "it was refused there before anything was reserved";
}

TEST_F(Orders, AnAgentWithoutALedgerTakesNoOrders) {
  host.ledger = nullptr;
  become_primary(7);
  auto c = client();
  c->send(order("k1"));
  EXPECT_TRUE(has(c->take(), "no_ledger"));
  EXPECT_TRUE(host.upstreams.empty());
}

TEST(OrderKey, QueriesAreReadAsTheyAreWritten) {
  EXPECT_EQ(query_parameter("a=1&b=%20x&c", "b"), "%20x");
  EXPECT_EQ(query_parameter("a=1&b=2&c", "c"), "");
  EXPECT_EQ(query_parameter("ab=1", "b"), std::nullopt);
  EXPECT_EQ(query_parameter("", "b"), std::nullopt);
}

}  // namespace
}  // namespace proxy::testing
