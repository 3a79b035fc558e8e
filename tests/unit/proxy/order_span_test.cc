// What the ledger takes of an order, and what goes out to a broker, as spans of the trace that the order is part of.
#include <cstdio>

#include "proxy/egress.h"
#include "proxy/order.h"
#include "proxy/span.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

constexpr const char* kSampled1 = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
constexpr const char* kSampled0 = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";

std::string_view id(const SpanId& span) { return {span.data(), span.size()}; }

/// Remembers what it was asked; the test answers.
struct AskedLedger final : OrderLedger {
  void reserve(OrderTicket ticket, OrderRequest request) override { last = ticket, asked = std::move(request), ++questions; }
  void abandon(OrderTicket) override {}
  void settle(OrderTicket ticket, const OrderRequest& request, std::uint64_t, OrderEnd end, std::shared_ptr<const OrderAnswer> given) override {
    last = ticket, asked = request, answer = std::move(given), ended = end;
  }
  OrderTicket last{};
  OrderRequest asked;
  OrderEnd ended{};
  std::shared_ptr<const OrderAnswer> answer;
  std::size_t questions = 0;
};

class RecordHost final : public Host {
 public:
  explicit RecordHost(TestHost& below) : below_(below) {}
  TimePoint now() override { return below_.now(); }
  OrderLedger* orders() override { return below_.orders(); }
  void on_access(const AccessRecord& record) override {
    last = record;
    state = record.order_state;
    bytes = record.spans;
    spans = read_child_spans(bytes);
    below_.on_access(record);
  }
  void on_trouble(const Endpoint& endpoint, Trouble trouble) override { below_.on_trouble(endpoint, trouble); }
  void on_orders_drained(std::string_view service, Epoch epoch) override { below_.on_orders_drained(service, epoch); }
  AccessRecord last;
  std::string bytes, state;
  std::vector<ChildSpan> spans;

 private:
  TestHost& below_;
};

class OrderSpans : public ProxyTest {
 protected:
  OrderSpans() { settings.trace.on = settings.trace.spans = true; }
  void SetUp() override {
    host.ledger = &ledger;
    // 0xff, then the length of the text: enough for what is shown of it.
    settings.digest = [](std::string_view text) {
      Digest digest{};
      digest[0] = std::byte{0xff};
      digest[1] = static_cast<std::byte>(text.size());
      return digest;
    };
    settings.replay_bytes_max = 4096;
    proxy = std::make_unique<Proxy>(settings, records, host, [this](std::uint64_t bound) { return chance(bound); });
    Route orders;
    orders.name = "orders";
    orders.path = "/orders";
    orders.kind = PoolKind::kPrimary;
    orders.service = "trader";
    orders.timeouts = timeouts;
    orders.hold = hold;
    orders.order = OrderRule{};
    auto table = RouteTable::make({orders});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    become_primary(7);
  }
  void TearDown() override { proxy.reset(); }
  static std::string order(const std::string& fields) {
    return "POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k-1\r\n" + fields + "Content-Length: 3\r\n\r\nbuy";
  }
  OrderCommit commit(std::uint64_t index) {
    OrderCommit made{host.clock, host.clock + Milliseconds{4}, index};
    host.clock += Milliseconds{5};
    return made;
  }
  AskedLedger ledger;
  RecordHost records{host};
};

TEST_F(OrderSpans, ReservationAttemptAndOutcomeAreSpansAndTheCommitsLieBeneath) {
  auto c = client();
  c->send(order(kSampled1));
  EXPECT_TRUE(ledger.asked.timed);
  host.clock += Milliseconds{1};
  proxy->order_told(ledger.last, {OrderVerdict::kReserved, 11, nullptr, "", commit(11)});
  up(0).connect();
  host.clock += Milliseconds{20};
  up(0).send(ok("fill"));
  host.clock += Milliseconds{1};
  proxy->order_recorded(ledger.last, true, commit(12));
  EXPECT_TRUE(has(c->take(), "200 OK"));
  const auto& spans = records.spans;
  ASSERT_EQ(spans.size(), 5U);
  const ChildSpan &reserve = spans[0], &reserved = spans[1], &attempt = spans[2], &record = spans[3], &recorded = spans[4];
  EXPECT_EQ(reserve.of, SpanOf::kReserve);
  EXPECT_EQ(reserve.state, "reserved");
  EXPECT_EQ(reserve.index, 11U);
  EXPECT_EQ(reserve.begun, Milliseconds{0});
  EXPECT_EQ(reserve.total, Milliseconds{6});
  EXPECT_EQ(reserve.parent.front(), '\0') << "beneath the request";
  EXPECT_EQ(reserved.of, SpanOf::kCommit);
  EXPECT_EQ(id(reserved.parent), id(reserve.span));
  EXPECT_NE(id(reserved.span), id(reserve.span));
  EXPECT_EQ(reserved.begun, Milliseconds{1});
  EXPECT_EQ(reserved.total, Milliseconds{4});
  EXPECT_EQ(attempt.of, SpanOf::kAttempt);
  EXPECT_EQ(attempt.begun, Milliseconds{6});
  EXPECT_EQ(attempt.total, Milliseconds{20});
  EXPECT_EQ(record.of, SpanOf::kRecord);
  EXPECT_EQ(record.state, "done");
  EXPECT_EQ(record.begun, Milliseconds{26});
  EXPECT_EQ(record.total, Milliseconds{6});
  EXPECT_EQ(recorded.of, SpanOf::kCommit);
  EXPECT_EQ(id(recorded.parent), id(record.span));
  EXPECT_EQ(recorded.index, 12U);
  EXPECT_EQ(std::string_view(records.last.order.data(), 16), "ff03000000000000") << "of the key alone";
  EXPECT_EQ(records.state, "done");
  EXPECT_EQ(records.last.epoch, Epoch{7});
  EXPECT_EQ(records.bytes.find("k-1"), std::string::npos) << "the key is told to nobody";
}

TEST_F(OrderSpans, WhatTheLedgerSaysIsSaid) {
  const std::pair<OrderVerdict, const char*> cases[] = {{OrderVerdict::kInFlight, "reserved"},     {OrderVerdict::kUnknown, "unknown"},
                                                        {OrderVerdict::kOther, "key_reused"},      {OrderVerdict::kFull, "ledger_full"},
                                                        {OrderVerdict::kUnavailable, "ledger_unavailable"}};
  for (const auto& [verdict, state] : cases) {
    auto c = client();
    c->send(order(kSampled1));
    proxy->order_told(ledger.last, {verdict, 0, nullptr, "rows", {}});
    ASSERT_EQ(records.spans.size(), 1U) << state;
    EXPECT_EQ(records.spans[0].state, state);
    EXPECT_EQ(records.state, state);
  }
  // An order that went out and whose answer never came.
  auto c = client();
  c->send(order(kSampled1));
  proxy->order_told(ledger.last, {OrderVerdict::kReserved, 11, nullptr, "", {}});
  up(0).connect();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(ledger.ended, OrderEnd::kUnknown);
  EXPECT_EQ(records.state, "unknown");
}

TEST_F(OrderSpans, WhoeverIsNotSampledAsksForNoTimesAndLeavesNothing) {
  auto c = client();
  c->send(order(kSampled0));
  EXPECT_FALSE(ledger.asked.timed);
  proxy->order_told(ledger.last, {OrderVerdict::kReserved, 11, nullptr, "", commit(11)});
  up(0).connect();
  up(0).send(ok("fill"));
  proxy->order_recorded(ledger.last, true, commit(12));
  EXPECT_TRUE(has(c->take(), "200 OK"));
  EXPECT_TRUE(records.bytes.empty());
  EXPECT_EQ(records.last.order.front(), '\0');
  EXPECT_TRUE(records.state.empty());
}

TEST_F(OrderSpans, ARequestToABrokerGoesOnWithTheServicesTraceAndTheFieldArrivesAsItWas) {
  EgressRule rule;
  rule.name = "broker";
  rule.prefix = "/egress/broker";
  rule.host = "api.broker";
  Route route;
  route.name = "broker";
  route.path = rule.prefix;
  route.pool = "egress:broker";
  route.service = "trader";
  route.egress = std::make_shared<const EgressRule>(rule);
  auto table = RouteTable::make({route});
  ASSERT_TRUE(table) << table.error().detail;
  proxy->set_routes(*table);
  Endpoint broker = endpoint(11, EndpointKind::kStatic);
  broker.egress = std::make_shared<const EgressTarget>("trader", "broker");
  proxy->set_endpoints({{PoolEndpoints{"egress:broker", {broker}}}});
  auto c = client();
  c->send(std::string("POST /egress/broker/orders HTTP/1.1\r\nHost: h\r\n") + kSampled1 + "tracestate: a=1\r\nContent-Length: 3\r\n\r\nbuy");
  up(0).connect();
  const std::string sent = up(0).take();
  EXPECT_TRUE(has(sent, kSampled1)) << sent;
  EXPECT_EQ(sent.find("traceparent"), sent.rfind("traceparent")) << "once";
  EXPECT_EQ(sent.find("tracestate"), sent.rfind("tracestate")) << "once";
  up(0).send(ok("done"));
  ASSERT_EQ(records.spans.size(), 1U);
  EXPECT_EQ(id(records.last.parent), "b7ad6b7169203331");
  EXPECT_EQ(std::string_view(records.last.trace.trace.data(), 32), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_TRUE(records.last.egress);
  EXPECT_EQ(records.last.epoch, Epoch{7});
}

}  // namespace
}  // namespace proxy::testing
