// HTTP/2 streams through the whole proxy: what an instance sees of them, and what they see of its answers.
#include "tests/unit/proxy/h2_peer.h"

namespace proxy {
namespace {

using namespace testing;

TEST_F(H2Test, ARequestReachesTheInstanceAsHttp1AndItsAnswerComesBack) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a?b=c", {{"accept", "x"}, {"te", "trailers"}}), true));
  up(0).connect();
  const std::string seen = up(0).take();
  EXPECT_TRUE(seen.starts_with("GET /a?b=c HTTP/1.1\r\nHost: h\r\naccept: x\r\n")) << seen;
  EXPECT_TRUE(has(seen, "Via: 2 outrigger\r\n"));
  EXPECT_FALSE(has(seen, "te: "));
  answer(*p, 0, "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Thing: Y\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\nhi");
  EXPECT_EQ(p->status(1), "200");
  EXPECT_EQ((*p)[1].body, "hi");
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ((*p)[1].fields, (std::map<std::string, std::string>{{"content-length", "2"}, {"x-thing", "Y"}}));
  EXPECT_EQ(counters().h2_streams, 1U);
  EXPECT_EQ(counters().h2_streams_open, 0U);
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kAnswered);
}

TEST_F(H2Test, StreamsShareAConnectionAndPooledInstancesServeThem) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/1"), true) + headers(3, head_of("GET", "/3"), true));
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(0).connect();
  up(1).connect();
  const std::size_t writes = p->wire().write_calls;
  up(1).send(ok("three"));
  up(0).send(ok("one"));
  EXPECT_EQ(p->wire().write_calls, writes) << "nothing leaves before the end of the turn";
  p->pump();
  EXPECT_EQ(p->wire().write_calls, writes + 1) << "both answers in one write";
  EXPECT_EQ((*p)[1].body, "one");
  EXPECT_EQ((*p)[3].body, "three");
  p->send(headers(5, head_of("GET", "/5"), true));
  EXPECT_EQ(host.upstreams.size(), 2U) << "a pooled connection is used again";
}

TEST_F(H2Test, BodiesStreamInBothDirectionsWithTrailers) {
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x", {{"trailer", "check"}}), false) + data(1, "abc", false));
  up(0).connect();
  p->send(data(1, "defg", false) + headers(1, {{"check", "sum"}, {"cookie", "a=b"}}, true));
  const std::string seen = up(0).take();
  EXPECT_TRUE(has(seen, "Transfer-Encoding: chunked\r\n")) << seen;
  EXPECT_TRUE(has(seen, "\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\ncheck: sum\r\n\r\n")) << seen;
  answer(*p, 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5\r\nfirst\r\n");
  EXPECT_EQ((*p)[1].body, "first");
  EXPECT_FALSE((*p)[1].ended);
  EXPECT_EQ((*p)[1].fields.count("transfer-encoding"), 0U);
  answer(*p, 0, "6\r\nsecond\r\n0\r\nT: Last\r\nSet-Cookie: a\r\n\r\n");
  EXPECT_EQ((*p)[1].body, "firstsecond");
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ((*p)[1].trailers, (std::map<std::string, std::string>{{"t", "Last"}}));
}

TEST_F(H2Test, AKnownLengthStaysOneAndABodyToTheEndOfTheConnectionEndsTheStream) {
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x", {{"content-length", "3"}}), false) + data(1, "abc", true));
  up(0).connect();
  const std::string seen = up(0).take();
  EXPECT_TRUE(has(seen, "Content-Length: 3\r\n") && seen.ends_with("\r\n\r\nabc")) << seen;
  answer(*p, 0, "HTTP/1.0 200 OK\r\n\r\nall");
  EXPECT_FALSE((*p)[1].ended);
  up(0).eof();
  p->pump();
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ((*p)[1].body, "all");
}

TEST_F(H2Test, AnswersWithoutBodyEndWithTheirHead) {
  auto p = peer();
  const std::pair<const char*, const char*> cases[] = {{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
                                                       {"GET", "HTTP/1.1 204 No\r\n\r\n"},
                                                       {"GET", "HTTP/1.1 304 Not\r\nContent-Length: 9\r\nETag: x\r\n\r\n"}};
  std::uint32_t id = 1;
  for (const auto& [method, text] : cases) {
    p->send(headers(id, head_of(method, "/n"), true));
    if (id == 1) up(0).connect();
    answer(*p, 0, text);
    EXPECT_TRUE((*p)[id].ended) << text;
    EXPECT_EQ((*p)[id].body, "");
    id += 2;
  }
  EXPECT_EQ(p->frames_of(kData), 0U);
  EXPECT_EQ((*p)[1].fields["content-length"], "5");
}

TEST_F(H2Test, InterimAnswersComeBeforeTheFinalOne) {
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x", {{"expect", "100-continue"}, {"content-length", "2"}}), false));
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "Expect: 100-continue\r\n"));
  answer(*p, 0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n");
  EXPECT_EQ((*p)[1].statuses, (std::vector<std::string>{"100", "103"}));
  p->send(data(1, "ok", true));
  answer(*p, 0, ok("x"));
  EXPECT_EQ(p->status(1), "200");
}

TEST_F(H2Test, CookieCrumbsAreJoinedAndHostMayStandForAuthority) {
  auto p = peer();
  p->send(headers(1, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "other"}, {"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}}, true));
  up(0).connect();
  const std::string seen = up(0).take();
  EXPECT_TRUE(has(seen, "Host: other\r\ncookie: a=1; b=2\r\nx: y\r\n")) << seen;
}

TEST_F(H2Test, WhatHttp1RefusesIsRefusedHereAndTheConnectionLives) {
  auto p = peer();
  const std::pair<FieldList, const char*> cases[] = {
      {{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {"host", "b"}}, "400"},
      {{{":method", "GET"}, {":scheme", "http"}, {":authority", "a,b"}, {":path", "/"}}, "400"},
      {{{":method", "GET"}, {":scheme", "http"}, {":authority", "u@a"}, {":path", "/"}}, "400"},
      {{{":method", "GET"}, {":scheme", "ftp"}, {":authority", "a"}, {":path", "/"}}, "400"},
      {{{":method", "BREW"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}}, "400"},
      {head_of("GET", "/%2"), "400"},
      {head_of("GET", "/" + std::string(9000, 'x')), "414"},
      {head_of("GET", "/", {{"big", std::string(40000, 'x')}}), "431"},
      {head_of("GET", "/", {{"expect", "tea"}}), "417"},
      {head_of("TRACE", "/"), "405"},
      {{{":method", "CONNECT"}, {":authority", "a:1"}}, "405"},
  };
  std::uint32_t id = 1;
  for (const auto& [fields, status] : cases) {
    const std::string list = block(fields);
    std::string frames = frame(kHeaders, kEndStream, id, std::string_view(list).substr(0, 16000));
    for (std::size_t at = 16000; at < list.size(); at += 16000) frames += frame(kContinuation, 0, id, std::string_view(list).substr(at, 16000));
    p->send(frames + frame(kContinuation, kEndHeaders, id, ""));
    EXPECT_EQ(p->status(id), status) << fields[0].second << ' ' << fields.back().second.substr(0, 20);
    EXPECT_TRUE((*p)[id].ended);
    id += 2;
  }
  EXPECT_TRUE(host.upstreams.empty()) << "nothing of it was forwarded";
  p->send(headers(id, head_of("GET", "/"), true));
  EXPECT_EQ(host.upstreams.size(), 1U);
}

TEST_F(H2Test, MalformedListsAreStreamErrorsAndNothingIsForwarded) {
  auto p = peer();
  const FieldList lists[] = {
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}},                                       // no authority at all
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}},                                  // no path
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", ""}},
      head_of("GET", "http://h/"),
      head_of("GET", "*"),
      {{":scheme", "http"}, {":authority", "h"}, {":path", "/"}},                                      // no method
      {{":method", "GET"}, {":authority", "h"}, {":path", "/"}},                                       // no scheme
      {{"x", "y"}, {":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}},      // order
      head_of("GET", "/", {{":path", "/b"}}),                                                          // twice, and late
      head_of("GET", "/", {{":status", "200"}}),
      {{":method", "GET"}, {":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}},
      head_of("GET", "/", {{"connection", "close"}}),
      head_of("GET", "/", {{"transfer-encoding", "chunked"}}),
      head_of("GET", "/", {{"upgrade", "h2c"}}),
      head_of("GET", "/", {{"keep-alive", "5"}}),
      head_of("GET", "/", {{"proxy-connection", "x"}}),
      head_of("GET", "/", {{"te", "gzip"}}),
      head_of("GET", "/", {{"X-Upper", "1"}}),
      head_of("GET", "/", {{"a b", "1"}}),
      head_of("GET", "/", {{"x", "a\r\nb: c"}}),
      head_of("GET", "/", {{"x", std::string("a\0b", 3)}}),
      head_of("GET", "/", {{"x", " lead"}}),
      head_of("GET", "/", {{"content-length", "1"}}),                                                  // and no body
      head_of("GET", "/", {{"content-length", "0"}, {"content-length", "0"}}),
      head_of("GET", "/", {{"content-length", "-1"}}),
      head_of("GET", "/", {{":protocol", "websocket"}}),                                               // not a CONNECT
  };
  std::uint32_t id = 1;
  for (const FieldList& list : lists) {
    p->send(headers(id, list, true));
    const bool refused = ((*p)[id].reset_code == 1U && p->status(id).empty()) || p->status(id) == "400";
    EXPECT_TRUE(refused) << "list " << id / 2 << ": status '" << p->status(id) << "'";
    id += 2;
  }
  EXPECT_TRUE(host.upstreams.empty());
  EXPECT_TRUE(p->goaways().empty());
}

TEST_F(H2Test, ALengthThatTheBodyDoesNotKeepIsNoRequest) {
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x", {{"content-length", "5"}}), false) + data(1, "abc", true));
  EXPECT_EQ((*p)[1].reset_code, 1U);
  p->send(headers(3, head_of("POST", "/x", {{"content-length", "2"}}), false) + data(3, "abc", true));
  EXPECT_EQ((*p)[3].reset_code, 1U);
  for (const auto& wire : host.upstreams) EXPECT_TRUE(wire->over()) << "what was begun towards the instance is broken off";
}

TEST_F(H2Test, AClientThatResetsCancelsTheRequestAtTheInstance) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/slow"), true));
  up(0).connect();
  p->send(reset(1));
  EXPECT_TRUE(up(0).over());
  EXPECT_EQ(host.accesses.at(0).reason, "client_reset");
  EXPECT_EQ(host.accesses.at(0).outcome, Outcome::kUnknown);
  EXPECT_EQ(counters().h2_resets, 1U);
  p->send(headers(3, head_of("GET", "/next"), true));
  EXPECT_EQ(host.upstreams.size(), 2U) << "the connection lives";
}

TEST_F(H2Test, ABrokenAnswerIsAResetAndNotAnEnd) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/"), true));
  up(0).connect();
  answer(*p, 0, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  up(0).fail(StreamEnd::kReset);
  p->pump();
  EXPECT_FALSE((*p)[1].ended);
  EXPECT_EQ((*p)[1].reset_code, 2U);
}

TEST_F(H2Test, ABodyOverTheLimitIs413AndTheRestIsNotWaitedFor) {
  auto p = peer();
  body_bytes_max = 1000;
  set_routes();
  p->send(headers(1, head_of("POST", "/x"), false) + data(1, std::string(1001, 'x'), false));
  EXPECT_EQ(p->status(1), "413");
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ((*p)[1].reset_code, 0U) << "NO_ERROR: RFC 9113, section 8.1";
}

TEST_F(H2Test, OrdersAreHeldForAPrimaryAndEndWithItsLease) {
  auto p = peer();
  nobody_is_primary(1);
  p->send(headers(1, head_of("POST", "/orders", {{"content-length", "1"}}), false) + data(1, "o", true));
  EXPECT_EQ(counters().held_now, 1U);
  become_primary(2);
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "X-Outrigger-Epoch: 2\r\n"));
  advance(Milliseconds(2000));
  p->pump();
  EXPECT_EQ(p->status(1), "504");
  EXPECT_EQ((*p)[1].fields["x-outrigger-outcome"], "unknown");
  EXPECT_TRUE(up(0).reset);
  become_primary(3);
  extend_lease(Milliseconds(-1));
  p->send(headers(3, head_of("POST", "/orders", {{"content-length", "1"}}), false) + data(3, "o", true));
  EXPECT_EQ(counters().orders_sent, 1U) << "no byte without a lease";
}

TEST_F(H2Test, AWebSocketRunsThroughAStream) {
  auto p = peer();
  p->send(headers(1, {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/ws"},
                      {"sec-websocket-version", "13"}}, false) + data(1, "early", false));
  up(0).connect();
  const std::string seen = up(0).take();
  EXPECT_TRUE(seen.starts_with("GET /ws HTTP/1.1\r\n")) << seen;
  EXPECT_TRUE(has(seen, "Upgrade: websocket\r\n") && has(seen, "Connection: Upgrade\r\n") && has(seen, "sec-websocket-key: ")) << seen;
  EXPECT_FALSE(has(seen, "early")) << "nothing before the instance has agreed";
  answer(*p, 0, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello");
  EXPECT_EQ(p->status(1), "200");
  EXPECT_EQ((*p)[1].fields.size(), 0U);
  EXPECT_EQ((*p)[1].body, "hello");
  EXPECT_EQ(up(0).take(), "early");
  p->send(data(1, "ping", false));
  EXPECT_EQ(up(0).take(), "ping");
  p->send(data(1, "", true));
  EXPECT_TRUE(up(0).shut);
  up(0).eof();
  p->pump();
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ(counters().tunnels_open, 0U);
}

TEST_F(H2Test, AWebSocketThatTheInstanceRefusesGetsItsAnswer) {
  auto p = peer();
  p->send(headers(1, {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/ws"}}, false));
  up(0).connect();
  answer(*p, 0, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(p->status(1), "403");
  EXPECT_TRUE((*p)[1].ended);
}

}  // namespace
}  // namespace proxy
