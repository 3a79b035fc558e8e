// Answers of an instance that fails: what it says of itself is no word about the order (decision 0085).
#include "proxy/order.h"

#include "tests/unit/proxy/order_fixture.h"

namespace proxy::testing {
namespace {

// What a server says of its own failure is no word about the order: the hook asks the broker, and nobody is told that it failed.
TEST_F(Orders, AnInstanceThatFailsDoesNotSettleTheOrder) {
  become_primary(7);
  for (const std::string status : {"500 Oops", "502 Bad Gateway", "504 Gateway Timeout"}) {
    auto c = sent(order("k" + status.substr(0, 3)));
    up(host.upstreams.size() - 1).send("HTTP/1.1 " + status + "\r\nX-Why: 1\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfail");
    ASSERT_FALSE(ledger.settled.empty());
    EXPECT_EQ(ledger.settled.back().end, OrderEnd::kUnknown) << status;
    EXPECT_EQ(ledger.settled.back().answer, nullptr);
    EXPECT_EQ(ledger.settled.back().reservation, 11U);
    EXPECT_EQ(c->out, "") << "the ledger comes first here, too";
    record();
    EXPECT_EQ(c->take(), "HTTP/1.1 " + status + "\r\nX-Why: 1\r\nContent-Length: 4\r\nX-Outrigger-Outcome: unknown\r\n\r\nfail");
    EXPECT_EQ(host.accesses.back().outcome, Outcome::kUnknown);
  }
  EXPECT_EQ(ledger.settled.size(), 3U) << "once each";
  EXPECT_EQ(counters().orders_recorded, 0U);
  EXPECT_EQ(counters().orders_unknown, 3U);
}

TEST_F(Orders, WhichAnswersLeaveAnOrderUnknownIsTheRoutesRule) {
  become_primary(7);
  OrderRule rule;
  rule.unknown_statuses = {503};
  use(rule);
  sent(order("k1"));
  up(0).send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(ledger.settled.at(0).end, OrderEnd::kAnswered);
  record();
  auto c = client();
  c->send(order("k2"));
  tell(OrderVerdict::kReserved, 12);
  up(0).send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(ledger.settled.at(1).end, OrderEnd::kUnknown);
}

TEST_F(Orders, ALongAnswerThatLeavesTheOrderUnknownIsCountedAsThat) {
  OrderRule rule;
  rule.answer_bytes_max = 64;
  use(rule);
  become_primary(7);
  auto c = sent(order("k1"));
  up(0).send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 200\r\n\r\n" + std::string(100, 'a'));
  ASSERT_EQ(ledger.settled.size(), 1U);
  EXPECT_EQ(ledger.settled[0].end, OrderEnd::kUnknown);
  record();
  up(0).send(std::string(100, 'b'));
  EXPECT_TRUE(has(c->take(), "X-Outrigger-Outcome: unknown\r\n"));
  ASSERT_EQ(host.accesses.size(), 1U);
  EXPECT_EQ(host.accesses[0].outcome, Outcome::kUnknown);
  EXPECT_EQ(counters().orders_unknown, 1U);
  // Over the same connection, perhaps by the same exchange.
  c->send(order("k2"));
  tell(OrderVerdict::kReserved, 12);
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + std::string(100, 'a'));
  record();
  up(0).send(std::string(100, 'b'));
  ASSERT_EQ(host.accesses.size(), 2U);
  EXPECT_EQ(host.accesses[1].outcome, Outcome::kAnswered);
  EXPECT_EQ(counters().orders_unknown, 1U);
}

}  // namespace
}  // namespace proxy::testing
