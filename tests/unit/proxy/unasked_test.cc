// What never became a request has a line in the log all the same, and a name where it was answered.
#include "tests/unit/proxy/h2_peer.h"

#include "proxy/trail.h"

namespace proxy {
namespace {

using namespace testing;

/// What stands in the records.
struct Seen {
  std::string reason, id, method, target, client, trail;
  int status = 0;
  std::uint8_t version = 0;
};

class SeenHost final : public Host {
 public:
  explicit SeenHost(TestHost& below) : below_(below) {}
  TimePoint now() override { return below_.now(); }
  void on_access(const AccessRecord& r) override {
    all.push_back({std::string(r.reason), std::string(r.request_id), std::string(r.method), std::string(r.target), std::string(r.client),
                   std::string(r.trail), r.status, r.http_version});
  }
  void on_trouble(const Endpoint&, Trouble) override {}
  void on_orders_drained(std::string_view, Epoch) override {}
  std::vector<Seen> all;

 private:
  TestHost& below_;
};

class Unasked : public H2Test {
 protected:
  void TearDown() override { proxy.reset(); }  // it tells `seen` of what was under way
  void begin() {
    settings.trails = true;
    proxy = std::make_unique<Proxy>(settings, seen, host, [this](std::uint64_t bound) { return chance(bound); });
    set_routes();
    set_pool({endpoint(1)});
  }
  /// The one record that there is; empties the list.
  Seen only() {
    EXPECT_EQ(seen.all.size(), 1U) << (seen.all.empty() ? "" : seen.all.front().reason);
    const Seen out = seen.all.empty() ? Seen{} : seen.all.back();
    seen.all.clear();
    return out;
  }
  SeenHost seen{host};
};

TEST_F(Unasked, EachRefusedHeadOfHttp1HasARecordAndAName) {
  begin();
  const std::pair<std::string, int> cases[] = {
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nBig: " + std::string(40000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(40000, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
      {"GET / HTTP/9.1\r\nHost: h\r\n\r\n", 505},
      {std::string("\x16\x03\x01", 3) + std::string(50, '\0'), 400},
  };
  for (const auto& [bytes, status] : cases) {
    auto c = client();
    for (std::size_t at = 0; at < bytes.size() && !c->over() && c->out.empty(); at += 4096) c->send(bytes.substr(at, 4096));
    const std::string answer = c->take();
    const Seen line = only();
    EXPECT_EQ(line.status, status) << bytes.substr(0, 40);
    EXPECT_EQ(line.version, 11);
    EXPECT_EQ(line.client, "192.0.2.9");
    EXPECT_EQ(line.id.size(), 32U);
    EXPECT_TRUE(has(answer, "X-Request-Id: " + line.id + "\r\n")) << "so that somebody can ask for it: " << answer;
    const auto steps = read_trail(line.trail);
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(steps[0].step, Step::kAnswer);
    EXPECT_EQ(steps[0].text, line.reason);
    EXPECT_EQ(steps[1].step, Step::kEnd);
  }
}

TEST_F(Unasked, AHeadThatComesTooLateHasOne) {
  begin();
  auto c = client();
  c->send("GET / HTTP/1.1\r\nHost:");
  advance(Milliseconds{10100});
  EXPECT_EQ(status_line_of(c->take()), "HTTP/1.1 408 Request Timeout");
  const Seen line = only();
  EXPECT_EQ(line.reason, "head_timeout");
  EXPECT_EQ(line.status, 408);
  EXPECT_EQ(counters().requests, 1U);
  EXPECT_EQ(counters().responses_4xx, 1U);
}

TEST_F(Unasked, AnIdleClientThatLeavesHasNone) {
  begin();
  client()->eof();
  auto p = peer();
  p->wire().eof();
  advance(Milliseconds{80000});
  EXPECT_TRUE(seen.all.empty());
}

TEST_F(Unasked, HeadsThatHttp2RefusesHaveARecordAndAName) {
  begin();
  auto p = peer();
  p->send(headers(1, head_of("GET", "/%2"), true));
  EXPECT_EQ(p->status(1), "400");
  Seen line = only();
  EXPECT_EQ(line.status, 400);
  EXPECT_EQ(line.version, 20);
  p->send(headers(3, head_of("GET", "/" + std::string(9000, 'x')), true));
  EXPECT_EQ(p->status(3), "414");
  line = only();
  EXPECT_EQ(line.status, 414);
  EXPECT_EQ(line.id, (*p)[3].fields["x-request-id"]);
  EXPECT_EQ(read_trail(line.trail).size(), 2U);
}

TEST_F(Unasked, StreamsThatWereNotLetInHaveOne) {
  settings.connections_max = 1;
  begin();
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true) + headers(3, head_of("POST", "/b"), true));
  EXPECT_EQ((*p)[3].reset_code, 7U);
  const Seen line = only();
  EXPECT_EQ(line.reason, "too_many_streams");
  EXPECT_EQ(line.status, 0) << "no answer, but a reset";
  EXPECT_EQ(line.method, "POST");
  EXPECT_EQ(line.target, "/b");
}

TEST_F(Unasked, MalformedStreamsAndBrokenConnectionsHaveOne) {
  begin();
  auto p = peer();
  p->send(headers(1, {{":method", "GET"}}, true));
  EXPECT_EQ((*p)[1].reset_code, 1U);
  EXPECT_EQ(only().reason, "h2_malformed");
  auto broken = peer();
  broken->send(number(0x10000, 3) + std::string(6, '\0'));
  EXPECT_TRUE(broken->wire().closed);
  EXPECT_EQ(only().reason, "h2_protocol_error");
  auto late = peer();
  late->send(frame(kHeaders, 0, 1, block(head_of("GET", "/"))));
  advance(Milliseconds(10100));
  late->pump();
  EXPECT_EQ(only().reason, "head_timeout");
}

TEST_F(Unasked, AFloodWithoutARequestHasOneLineForTheConnection) {
  begin();
  auto p = peer();
  for (int i = 0; i < 3000 && !p->wire().over(); ++i) p->send(frame(kPing, 0, 0, std::string(8, 'x')));
  EXPECT_EQ(only().reason, "h2_flood");
}

// A request that was under way tells of the fault itself; a second line would count it twice.
TEST_F(Unasked, ARequestUnderWayIsToldOnce) {
  begin();
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x", {{"content-length", "3"}}), false));
  up(0).connect();
  p->send(data(1, "too long", true));
  EXPECT_EQ(only().method, "POST");
}

}  // namespace
}  // namespace proxy
