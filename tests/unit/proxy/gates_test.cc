// An operator's hand on endpoints and breakers, connections that have served enough, and a listener that is full.
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

TimePoint at(std::int64_t ms) { return TimePoint(Milliseconds(1'000'000 + ms)); }

TEST(OutlierTrack, AnOperatorsWordStandsWhateverAnswersSay) {
  OutlierSettings settings;
  settings.consecutive = 2;
  OutlierTrack track;
  track.hold_out(at(5000));
  EXPECT_TRUE(track.ejected_here_at(at(0)));
  EXPECT_FALSE(track.feed(settings, at(1), AttemptResult::kGood));
  track.reinstate();
  EXPECT_TRUE(track.ejected_at(at(4999))) << "a check that goes well ends what live traffic has found, no more";
  EXPECT_EQ(track.ejected_until(), at(5000));
  EXPECT_EQ(track.held_out_until(), at(5000));
  EXPECT_FALSE(track.feed(settings, at(2), AttemptResult::kFailed));
  EXPECT_FALSE(track.feed(settings, at(3), AttemptResult::kFailed)) << "nothing is counted of who is out already";
  EXPECT_FALSE(track.ejected_at(at(5000)));
  track.hold_out(at(9000));
  track.hold_out({});
  EXPECT_FALSE(track.ejected_at(at(6000)));
}

TEST(BreakerTable, ResetClosesWhateverItIs) {
  BreakerRule rule;
  rule.fail = 2;
  BreakerTable table(rule);
  const EndpointId one{7}, other{8};
  for (const EndpointId id : {one, other})
    for (int i = 0; i < 2; ++i) table.result(id, at(i), false, false);
  ASSERT_EQ(table.state(one), BreakerState::kOpen);
  EXPECT_TRUE(table.reset(one));
  EXPECT_EQ(table.state(one), BreakerState::kClosed);
  EXPECT_TRUE(table.lets(one, at(3)));
  EXPECT_FALSE(table.reset(one));
  EXPECT_EQ(table.state(other), BreakerState::kOpen);
  EXPECT_FALSE(table.reset(EndpointId{99}));
  table.result(one, at(4), false, false);
  EXPECT_EQ(table.state(one), BreakerState::kClosed) << "and counts from nothing";
}

/// Keeps what is written to it, also while nobody listens to it.
class Kept final : public Stream {
 public:
  struct Seen {
    std::string text;
    std::size_t writes = 0;
    bool closed = false;
  };
  explicit Kept(Seen& seen) : seen_(seen) {}
  void set_sink(StreamSink*) override {}
  std::size_t write(std::span<const Bytes> pieces) override {
    ++seen_.writes;
    const std::size_t before = seen_.text.size();
    for (const Bytes piece : pieces) seen_.text += http1::text_of(piece);
    return seen_.text.size() - before;
  }
  void pause_reading() override {}
  void resume_reading() override {}
  void shutdown() override {}
  void close() override { seen_.closed = true; }
  void reset() override { seen_.closed = true; }

 private:
  Seen& seen_;
};

class Gates : public ProxyTest {
 protected:
  void serve(std::size_t index) {
    up(index).connect();
    up(index).send(ok("x"));
  }
};

TEST_F(Gates, Guide003AnUpstreamConnectionServesSoManyRequests) {
  settings.upstream_requests_max = 3;
  start();
  set_pool({endpoint(1)});
  auto c = client();
  for (int i = 0; i < 7; ++i) {
    c->send(get("/" + std::to_string(i)));
    const auto index = static_cast<std::size_t>(i / 3);
    ASSERT_EQ(host.upstreams.size(), index + 1) << i;
    if (i % 3 == 0) up(index).connect();
    EXPECT_TRUE(has(up(index).take(), "GET /" + std::to_string(i) + " "));
    up(index).send(ok("x"));
    EXPECT_EQ(body_of(c->take()), "x");
    EXPECT_EQ(up(index).over(), i % 3 == 2) << i;
  }
}

TEST_F(Gates, Guide003AClientConnectionServesSoManyRequests) {
  settings.client_requests_max = 3;
  start();
  set_pool({endpoint(1)});
  auto c = client();
  for (int i = 0; i < 3; ++i) {
    c->send(get("/"));
    if (i == 0) up(0).connect();
    up(0).send(ok("x"));
    const std::string answer = c->take();
    EXPECT_EQ(has(answer, "Connection: close"), i == 2) << i << answer;
    EXPECT_EQ(body_of(answer), "x");
  }
  EXPECT_TRUE(c->shut || c->over()) << "the last answer said so, and it is so";
}

TEST_F(Gates, Guide002TheClientThatIsOneTooManyGets503WithTheReason) {
  settings.connections_max = 1;
  start();
  set_pool({endpoint(1)});
  auto c = client();
  const auto come = [&](ListenerKind kind) {
    Kept::Seen seen;
    Accepted accepted;
    accepted.kind = kind;
    accepted.client = "192.0.2.9";
    proxy->accept(std::make_unique<Kept>(seen), std::move(accepted));
    return seen;
  };
  const Kept::Seen refused = come(ListenerKind::kDownstream);
  const std::string& answer = refused.text;
  EXPECT_TRUE(has(answer, "HTTP/1.1 503 Service Unavailable\r\n")) << answer;
  EXPECT_TRUE(has(answer, "\"code\":\"connections_max\""));
  EXPECT_TRUE(has(answer, "Retry-After: 1\r\n"));
  EXPECT_TRUE(has(answer, "Connection: close\r\n"));
  EXPECT_EQ(refused.writes, 1U);
  EXPECT_TRUE(refused.closed);
  EXPECT_TRUE(has(answer, "Content-Length: " + std::to_string(body_of(answer).size()) + "\r\n"));
  EXPECT_EQ(counters().connections_refused, 1U);
  c->send(get("/"));
  serve(0);
  EXPECT_EQ(body_of(c->take()), "x") << "who was there is served on";
  const Kept::Seen peer = come(ListenerKind::kPeer);
  EXPECT_EQ(peer.text, "") << "an agent asks another one when a connection just ends";
  EXPECT_TRUE(peer.closed);
}

}  // namespace
}  // namespace proxy::testing
