// Names of requests: ids and traces, whose are taken, who hears of them, what stands in the record.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Keeps what the shared fixture does not.
class Recorder final : public Host {
 public:
  explicit Recorder(TestHost& below) : below_(below) {}
  TimePoint now() override { return below_.now(); }
  void on_access(const AccessRecord& record) override {
    last = record;
    ++count;
    host = record.host;
    client = record.client;
    peer = record.peer;
    reason = record.reason;
    below_.on_access(record);
  }
  void on_trouble(const Endpoint& endpoint, Trouble trouble) override { below_.on_trouble(endpoint, trouble); }
  void on_orders_drained(std::string_view service, Epoch epoch) override { below_.on_orders_drained(service, epoch); }
  AccessRecord last;
  int count = 0;
  std::string host, client, peer, reason;

 private:
  TestHost& below_;
};

class Naming : public ProxyTest {
 protected:
  Naming() { settings.request_id.to_client = true; }
  void TearDown() override { proxy.reset(); }  // before the host that it tells
  void begin() {
    proxy = std::make_unique<Proxy>(settings, recorder, host, [this](std::uint64_t bound) { return chance(bound); });
    set_routes();
    set_pool({endpoint(1)});
    become_primary(3);
  }
  /// What the instance gets when `c` sends a GET with these field lines.
  std::string asked(const std::shared_ptr<Wire>& c, const std::string& fields) {
    c->send("GET /x HTTP/1.1\r\nHost: shop:8080\r\n" + fields + "\r\n");
    if (host.upstreams.size() == 1 && !connected_) up(0).connect();
    connected_ = true;
    return up(0).take();
  }
  std::string answered(const std::shared_ptr<Wire>& c, const std::string& response) {
    up(0).send(response);
    return c->take();
  }
  static std::string field(const std::string& text, const std::string& name) {
    const std::size_t at = text.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "none";
    const std::size_t from = at + name.size() + 4;
    return text.substr(from, text.find("\r\n", from) - from);
  }
  Recorder recorder{host};
  bool connected_ = false;
};

TEST_F(Naming, AStrangersIdIsReplacedATrustedProxysIsKept) {
  begin();
  auto c = client();
  const std::string drawn = field(asked(c, "X-Request-Id: forged\r\n"), "X-Request-Id");
  EXPECT_EQ(drawn.size(), 32U);
  EXPECT_EQ(field(answered(c, ok("")), "X-Request-Id"), drawn) << "the client can ask for it by that name";
  auto trusted = TrustedProxies::parse({"192.0.2.0/24"});
  auto t = client(ListenerKind::kDownstream, &*trusted);
  EXPECT_EQ(field(asked(t, "X-Request-Id: edge-7\r\nX-Forwarded-For: 6.6.6.6\r\n"), "X-Request-Id"), "edge-7");
  EXPECT_EQ(field(answered(t, ok("")), "X-Request-Id"), "edge-7");
  EXPECT_EQ(recorder.client, "6.6.6.6");
  EXPECT_EQ(recorder.peer, "192.0.2.9");
  EXPECT_EQ(recorder.host, "shop:8080");
}

TEST_F(Naming, TheInstancesOwnIdGivesWay) {
  begin();
  auto c = client();
  asked(c, "");
  const std::string answer = answered(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: other\r\n\r\n");
  EXPECT_FALSE(has(answer, "other"));
  EXPECT_EQ(field(answer, "X-Request-Id").size(), 32U);
}

TEST_F(Naming, ResponsesStayAsTheyAreWhereThatIsSet) {
  settings.request_id.to_client = false;
  begin();
  auto c = client();
  asked(c, "");
  EXPECT_EQ(field(answered(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-Id: other\r\n\r\n"), "X-Request-Id"), "other");
}

TEST_F(Naming, AnotherNameTakesTheUsualOnesPlace) {
  settings.request_id.field = "X-Correlation-Id";
  settings.request_id.from_anyone = true;
  begin();
  auto c = client();
  const std::string request = asked(c, "x-correlation-id: mine\r\nX_Correlation_Id: twin\r\nX-Request-Id: app\r\n");
  EXPECT_EQ(field(request, "X-Correlation-Id"), "mine");
  EXPECT_FALSE(has(request, "twin")) << "CGI would make one variable of both";
  EXPECT_EQ(field(request, "X-Request-Id"), "app") << "a field like any other now";
  const std::string answer = answered(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-correlation-id: other\r\nX-Request-Id: app\r\n\r\n");
  EXPECT_EQ(field(answer, "X-Correlation-Id"), "mine");
  EXPECT_FALSE(has(answer, "other"));
  EXPECT_EQ(field(answer, "X-Request-Id"), "app");
}

TEST_F(Naming, APeersWordAboutIdAndClientIsTaken) {
  begin();
  auto c = client(ListenerKind::kPeer);
  EXPECT_EQ(field(asked(c, "X-Request-Id: from-entry\r\nX-Real-IP: 203.0.113.4\r\n"), "X-Request-Id"), "from-entry");
  EXPECT_EQ(field(answered(c, ok("")), "X-Request-Id"), "none") << "the entry has said it to the client";
  EXPECT_EQ(recorder.client, "203.0.113.4");
  EXPECT_TRUE(recorder.last.from_peer);
}

TEST_F(Naming, WithoutTracesTheFieldsPassThrough) {
  begin();
  auto c = client();
  const std::string request = asked(c, std::string("traceparent: ") + kParent + "\r\ntracestate: a=1\r\n");
  EXPECT_EQ(field(request, "traceparent"), kParent);
  EXPECT_EQ(field(request, "tracestate"), "a=1");
  answered(c, ok(""));
  EXPECT_FALSE(recorder.last.traced);
}

TEST_F(Naming, ATraceGoesOnUnderASpanOfItsOwn) {
  settings.trace.on = true;
  begin();
  auto c = client();
  std::string request = asked(c, std::string("TraceParent: ") + kParent + "\r\nTraceState: a=1\r\nTracestate: b=2\r\n");
  const std::string told = field(request, "traceparent");
  EXPECT_EQ(told.substr(0, 36), std::string(kParent).substr(0, 36)) << "the same trace";
  EXPECT_NE(told.substr(36, 16), std::string(kParent).substr(36, 16)) << "another span";
  EXPECT_EQ(told.substr(52), "-01");
  EXPECT_EQ(field(request, "tracestate"), "a=1,b=2");
  EXPECT_FALSE(has(request, "TraceParent"));
  answered(c, ok(""));
  EXPECT_TRUE(recorder.last.traced);
  EXPECT_EQ(std::string_view(recorder.last.parent.data(), 16), "b7ad6b7169203331");
  EXPECT_EQ(std::string_view(recorder.last.trace.span.data(), 16), told.substr(36, 16));
  const std::string unsampled = asked(c, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n");
  EXPECT_TRUE(field(unsampled, "traceparent").ends_with("-00")) << "the caller has decided";
}

TEST_F(Naming, AMalformedParentBeginsATraceAndTakesItsStateWithIt) {
  settings.trace.on = true;
  begin();
  auto c = client();
  const std::string request = asked(c, "traceparent: 00-zz-1-01\r\ntracestate: a=1\r\n");
  EXPECT_TRUE(parse_traceparent(field(request, "traceparent"))) << request;
  EXPECT_TRUE(field(request, "traceparent").ends_with("-03")) << "sampled, and its id is random";
  EXPECT_EQ(field(request, "tracestate"), "none");
  EXPECT_EQ(field(request, "X-Request-Id"), field(request, "traceparent").substr(3, 32)) << "one name for both";
  answered(c, ok(""));
  const std::string bad_state = asked(c, std::string("traceparent: ") + kParent + "\r\ntracestate: A=1\r\n");
  EXPECT_EQ(field(bad_state, "traceparent").substr(3, 32), std::string(kParent).substr(3, 32));
  EXPECT_EQ(field(bad_state, "tracestate"), "none");
}

TEST_F(Naming, StrangersDoNotDecideWhereThatIsSetNorIsEveryTraceSampled) {
  settings.trace.on = true;
  settings.trace.from_anyone = false;
  settings.trace.sample_every = 0;
  begin();
  auto c = client();
  const std::string request = asked(c, std::string("traceparent: ") + kParent + "\r\n");
  EXPECT_NE(field(request, "traceparent").substr(3, 32), std::string(kParent).substr(3, 32));
  EXPECT_TRUE(field(request, "traceparent").ends_with("-02"));
}

// ---- the record ----

TEST_F(Naming, TheTimesOfTheLastAttemptStandInTheRecord) {
  begin();
  auto c = client();
  c->send(get("/x"));
  host.clock += Milliseconds{3};
  up(0).connect();
  host.clock += Milliseconds{20};
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  host.clock += Milliseconds{7};
  up(0).send("ok");
  EXPECT_EQ(recorder.last.connected, Milliseconds{3});
  EXPECT_EQ(recorder.last.upstream_head, Milliseconds{23});
  EXPECT_EQ(recorder.last.upstream_total, Milliseconds{30});
  EXPECT_EQ(recorder.last.total, Milliseconds{30});
  c->send(get("/x"));
  EXPECT_EQ((up(0).send(ok("")), recorder.last.connected), Milliseconds{0}) << "a kept connection";
  const Proxy::RouteStatus route = proxy->routes().back();
  EXPECT_EQ(route.name, "all");
  EXPECT_EQ(route.times.count(), 2U);
  EXPECT_EQ(route.counters.responses_2xx, 2U);
  EXPECT_EQ(route.counters.response_bytes, 2U);
  EXPECT_EQ(proxy->endpoints().at(0).times.max(), Milliseconds{30});
}

TEST_F(Naming, WhatNeverBecameARequestIsWrittenDownToo) {
  begin();
  client()->send("GET / HTTP/1.1\r\nHost : h\r\n\r\n");
  EXPECT_EQ(recorder.count, 1);
  EXPECT_EQ(recorder.last.status, 400);
  EXPECT_EQ(recorder.client, "192.0.2.9");
  EXPECT_EQ(recorder.reason, "bad_header");
  EXPECT_EQ(recorder.last.connected, kNotMeasured);
}

}  // namespace
}  // namespace proxy::testing
