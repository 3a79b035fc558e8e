// Attempts as spans: what is written down of each, and which of them the endpoint hears of.
#include "proxy/span.h"

#include "proxy/field_rules.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

constexpr const char* kSampledParent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
constexpr const char* kUnsampledParent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";

TEST(ChildSpansTest, WhatGoesInComesOut) {
  ChildSpans spans;
  const std::string address(300, 'a');
  for (std::uint32_t i = 1; i <= ChildSpans::kCountMax + 2; ++i) {
    ChildSpan span;
    span.span.fill(static_cast<char>('a' + i % 6));
    span.number = i;
    span.status = i == 1 ? 0 : 200;
    span.total = Milliseconds{i};
    span.address = address;
    span.node = "n2";
    span.failure = i == 1 ? "connect_failed" : "";
    spans.add(span);
  }
  const std::string copy(spans.bytes());
  spans.clear();
  EXPECT_TRUE(spans.bytes().empty());
  const auto read = read_child_spans(copy);
  ASSERT_EQ(read.size(), ChildSpans::kCountMax) << "the rest is counted";
  EXPECT_EQ(read[0].failure, "connect_failed");
  EXPECT_EQ(read[0].address, address.substr(0, ChildSpans::kTextMax));
  EXPECT_EQ(read[23].number, 24U);
  EXPECT_EQ(read[23].node, "n2");
  EXPECT_EQ(read[23].failure, "");
  EXPECT_EQ(read[23].total, Milliseconds{24});
}

/// Keeps the spans of the last record.
class SpanHost final : public Host {
 public:
  explicit SpanHost(TestHost& below) : below_(below) {}
  TimePoint now() override { return below_.now(); }
  void on_access(const AccessRecord& record) override {
    last = record;
    bytes = record.spans;
    spans = read_child_spans(bytes);
    EXPECT_EQ(spans.size(), record.span_count);
    path = record.route_path;
    below_.on_access(record);
  }
  void on_trouble(const Endpoint& endpoint, Trouble trouble) override { below_.on_trouble(endpoint, trouble); }
  void on_orders_drained(std::string_view service, Epoch epoch) override { below_.on_orders_drained(service, epoch); }
  AccessRecord last;
  std::string bytes, path;
  std::vector<ChildSpan> spans;

 private:
  TestHost& below_;
};

class Spans : public ProxyTest {
 protected:
  void TearDown() override { proxy.reset(); }  // it tells spans_host of what was under way
  Spans() { settings.trace.on = settings.trace.spans = true; }
  void begin() {
    proxy = std::make_unique<Proxy>(settings, spans_host, host, [this](std::uint64_t bound) { return chance(bound); });
    set_routes();
    set_pool({endpoint(1), endpoint(2, EndpointKind::kPeer)});
  }
  static std::string told(const std::string& request) {
    const std::size_t at = request.find("\r\ntraceparent: ");
    return at == std::string::npos ? "none" : request.substr(at + 15, 55);
  }
  static std::string_view id(const SpanId& span) { return {span.data(), span.size()}; }
  SpanHost spans_host{host};
};

TEST_F(Spans, EachAttemptIsOneAndItsEndpointHearsOfIt) {
  begin();
  auto c = client();
  c->send(std::string("GET /x HTTP/1.1\r\nHost: h\r\n") + kSampledParent + "tracestate: a=1\r\n\r\n");
  host.clock += Milliseconds{2};
  up(0).connect();
  const std::string first = told(up(0).take());
  host.clock += Milliseconds{5};
  up(0).fail(StreamEnd::kReset);
  host.clock += Milliseconds{1};
  up(1).connect();
  const std::string request = up(1).take(), second = told(request);
  EXPECT_TRUE(has(request, "\r\ntracestate: a=1\r\n"));
  host.clock += Milliseconds{10};
  up(1).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  host.clock += Milliseconds{3};
  up(1).send("ok");
  const auto& spans = spans_host.spans;
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(first, "00-0af7651916cd43dd8448eb211c80319c-" + std::string(id(spans[0].span)) + "-01");
  EXPECT_EQ(second, "00-0af7651916cd43dd8448eb211c80319c-" + std::string(id(spans[1].span)) + "-01");
  EXPECT_NE(id(spans[0].span), id(spans[1].span));
  EXPECT_NE(id(spans[0].span), id(spans_host.last.trace.span)) << "the request has a span of its own";
  EXPECT_EQ(spans[0].failure, "upstream_closed");
  EXPECT_EQ(spans[0].status, 0);
  EXPECT_EQ(spans[0].begun, Milliseconds{0});
  EXPECT_EQ(spans[0].connected, Milliseconds{2});
  EXPECT_EQ(spans[0].head, kNotMeasured);
  EXPECT_EQ(spans[0].total, Milliseconds{7});
  EXPECT_EQ(spans[1].failure, "");
  EXPECT_EQ(spans[1].status, 200);
  EXPECT_EQ(spans[1].number, 2U);
  EXPECT_EQ(spans[1].begun, Milliseconds{7});
  EXPECT_EQ(spans[1].head, Milliseconds{11});
  EXPECT_EQ(spans[1].total, Milliseconds{14});
  EXPECT_EQ(spans[1].address, up(1).endpoint.address);
  EXPECT_NE(spans[0].at_peer, spans[1].at_peer);
  EXPECT_EQ(spans_host.path, "/");
}

TEST_F(Spans, UnsampledRequestsHaveNoneAndTellOfTheRequestsOwn) {
  begin();
  auto c = client();
  c->send(std::string("GET /x HTTP/1.1\r\nHost: h\r\n") + kUnsampledParent + "\r\n");
  up(0).connect();
  const std::string request = told(up(0).take());
  up(0).send(ok(""));
  EXPECT_TRUE(spans_host.spans.empty());
  EXPECT_EQ(request.substr(36, 16), id(spans_host.last.trace.span));
  EXPECT_TRUE(request.ends_with("-00"));
}

TEST_F(Spans, WithoutACollectorTheRequestsOwnSpanIsTold) {
  settings.trace.spans = false;
  begin();
  auto c = client();
  c->send(std::string("GET /x HTTP/1.1\r\nHost: h\r\n") + kSampledParent + "\r\n");
  up(0).connect();
  const std::string request = told(up(0).take());
  up(0).send(ok(""));
  EXPECT_TRUE(spans_host.spans.empty());
  EXPECT_EQ(request.substr(36, 16), id(spans_host.last.trace.span));
}

TEST_F(Spans, AClientThatLeavesAndAPeerThatRefusesAreNamed) {
  begin();
  auto c = client();
  c->send(std::string("GET /x HTTP/1.1\r\nHost: h\r\n") + kSampledParent + "\r\n");
  up(0).connect();
  c->fail(StreamEnd::kReset);
  ASSERT_EQ(spans_host.spans.size(), 1U);
  EXPECT_EQ(spans_host.spans[0].failure, "client_gone");
  peer_is_primary(3, 7);
  auto d = client();
  d->send(std::string("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n") + kSampledParent + "\r\n");
  const std::size_t at = host.upstreams.size() - 1;
  up(at).connect();
  up(at).send("HTTP/1.1 421 Misdirected Request\r\nX-Outrigger-Refused: not-primary\r\nContent-Length: 0\r\n\r\n");
  advance(Milliseconds{6000});
  ASSERT_GE(spans_host.spans.size(), 1U);
  EXPECT_EQ(spans_host.spans[0].failure, "refused_by_peer");
  EXPECT_EQ(spans_host.spans[0].status, 421);
  EXPECT_TRUE(spans_host.spans[0].at_peer);
}

// The head is written anew when the route's rules leave fields out: trace and state must not get lost on the way.
TEST_F(Spans, RulesOfTheRouteKeepTheTrace) {
  begin();
  Route all;
  all.name = "all";
  all.pool = "all";
  all.service = "trader";
  for (const char* text : {"X-Desk: {request_id}", "Accept: a"}) {
    auto rule = FieldRule::parse(FieldVerb::kSet, FieldSide::kRequest, text);
    ASSERT_TRUE(rule) << rule.error();
    all.request_fields.add(std::move(*rule));
  }
  auto table = RouteTable::make({all});
  ASSERT_TRUE(table);
  proxy->set_routes(*table);
  auto c = client();
  c->send(std::string("GET /x HTTP/1.1\r\nHost: h\r\nAccept: b\r\n") + kSampledParent + "tracestate: a=1,b=2\r\nX-After: 1\r\n\r\n");
  up(0).connect();
  const std::string request = up(0).take();
  up(0).send(ok(""));
  ASSERT_EQ(spans_host.spans.size(), 1U);
  EXPECT_EQ(told(request), "00-0af7651916cd43dd8448eb211c80319c-" + std::string(id(spans_host.spans[0].span)) + "-01");
  EXPECT_TRUE(has(request, "\r\ntracestate: a=1,b=2\r\n")) << request;
  EXPECT_TRUE(has(request, "\r\nX-After: 1\r\n"));
  EXPECT_TRUE(has(request, "\r\nX-Desk: ")) << request;
  EXPECT_FALSE(has(request, "Accept: b"));
  const std::size_t once = request.find("tracestate:");
  EXPECT_EQ(request.find("tracestate:", once + 1), std::string::npos);
  EXPECT_EQ(request.find("traceparent:"), request.rfind("traceparent:"));
}

}  // namespace
}  // namespace proxy::testing
