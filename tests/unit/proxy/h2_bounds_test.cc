// What an HTTP/2 client can make the proxy keep, wait and do, and where that ends.
#include "tests/unit/proxy/h2_peer.h"

namespace proxy {
namespace {

using namespace testing;

constexpr std::uint32_t kCalm = 11;  // ENHANCE_YOUR_CALM

TEST_F(H2Test, TheWindowOfABodyOpensWhenTheInstanceHasTakenIt) {
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x"), false));
  up(0).connect();
  up(0).take();
  up(0).room = 0;
  std::uint64_t sent = 0;
  for (int i = 0; i < 3; ++i, sent += 16000) p->send(data(1, std::string(16000, 'x'), false));
  EXPECT_EQ((*p)[1].window, 0U);
  EXPECT_EQ((*p)[0].window, (1U << 20) - 65535U) << "only the greeting's";
  up(0).make_room(SIZE_MAX);
  p->pump();
  EXPECT_EQ((*p)[1].window, sent);
  // Beyond its window the client is at fault: a stream error, nothing more is kept.
  up(0).room = 0;
  for (int i = 0; i < 5; ++i) p->send(data(1, std::string(16000, 'x'), false));
  EXPECT_EQ((*p)[1].reset_code, 3U) << "FLOW_CONTROL_ERROR";
}

TEST_F(H2Test, TheInstanceIsNotReadWhileTheClientsWindowIsShut) {
  auto p = peer(number(4, 2) + number(1000, 4));  // SETTINGS_INITIAL_WINDOW_SIZE
  p->send(headers(1, head_of("GET", "/big"), true));
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n");
  std::size_t given = 0;
  while (!up(0).paused && given < 500000) {
    up(0).send(std::string(10000, 'x'));
    given += 10000;
    p->pump();
  }
  EXPECT_LE(given, 80000U) << "one high watermark and one read";
  EXPECT_EQ((*p)[1].body.size(), 1000U);
  p->send(window(1, 200000) + window(0, 200000));
  EXPECT_FALSE(up(0).paused);
  EXPECT_EQ((*p)[1].body.size(), given);
  while (given < 500000) {
    if (up(0).paused) p->send(window(1, 100000) + window(0, 100000));
    ASSERT_FALSE(up(0).paused);
    up(0).send(std::string(10000, 'x'));
    given += 10000;
    p->pump();
  }
  p->send(window(1, 500000) + window(0, 500000));
  EXPECT_EQ((*p)[1].body.size(), 500000U);
  EXPECT_TRUE((*p)[1].ended);
}

TEST_F(H2Test, NothingIsReadFromAClientThatDoesNotTakeWhatItGets) {
  auto p = peer();
  p->wire().room = 0;
  p->send(headers(1, head_of("GET", "/none"), true) + frame(kPing, 0, 0, std::string(8, 'x')));
  EXPECT_TRUE(p->wire().paused);
  p->wire().make_room(SIZE_MAX);
  p->pump();
  EXPECT_FALSE(p->wire().paused);
  EXPECT_EQ(p->frames_of(kPing), 1U);
}

TEST_F(H2Test, AShutWindowIsASlowReader) {
  settings.client_pace = {100, Milliseconds(1000)};
  set_up();
  auto p = peer(number(4, 2) + number(10, 4));
  p->send(headers(1, head_of("GET", "/a"), true) + headers(3, head_of("GET", "/b"), true));
  up(0).connect();
  up(1).connect();
  answer(*p, 0, ok(std::string(5000, 'x')));
  answer(*p, 1, ok("short"));
  for (int i = 0; i < 4; ++i) {
    advance(Milliseconds(600));
    p->send(window(1, 1));  // a byte now and then does not save it
  }
  EXPECT_EQ((*p)[1].reset_code, kCalm);
  EXPECT_EQ(counters().slow_readers, 1U);
  EXPECT_TRUE((*p)[3].ended);
  EXPECT_TRUE(p->goaways().empty()) << "one stream's fault";
}

TEST_F(H2Test, AReaderThatTakesEnoughIsLeftInPeace) {
  settings.client_pace = {100, Milliseconds(1000)};
  set_up();
  auto p = peer(number(4, 2) + number(10, 4));
  p->send(headers(1, head_of("GET", "/a"), true));
  up(0).connect();
  answer(*p, 0, ok(std::string(3000, 'x')));
  for (int i = 0; i < 30 && !(*p)[1].ended; ++i) {
    advance(Milliseconds(500));
    p->send(window(1, 120));
  }
  EXPECT_TRUE((*p)[1].ended);
  EXPECT_EQ(counters().slow_readers, 0U);
}

TEST_F(H2Test, ASlowBodyIs408) {
  settings.client_pace = {100, Milliseconds(1000)};
  set_up();
  auto p = peer();
  p->send(headers(1, head_of("POST", "/x"), false));
  up(0).connect();
  for (int i = 0; i < 6 && p->status(1).empty(); ++i) {
    p->send(data(1, "x", false));
    advance(Milliseconds(500));
    p->pump();
  }
  EXPECT_EQ(p->status(1), "408");
  EXPECT_EQ(counters().slow_bodies, 1U);
  EXPECT_TRUE(up(0).reset);
}

TEST_F(H2Test, AHeadThatDoesNotEndInTimeEndsTheConnection) {
  auto p = peer();
  p->send(frame(kHeaders, 0, 1, block(head_of("GET", "/"))));
  advance(Milliseconds(5000));
  p->send(frame(kContinuation, 0, 1, block({{"a", "b"}})));
  advance(Milliseconds(5100));
  p->pump();
  EXPECT_EQ(p->goaways(), std::vector<std::uint32_t>{kCalm});
  EXPECT_TRUE(p->wire().closed);
  EXPECT_EQ(counters().h2_head_timeouts, 1U);
  // The preface has that time, too.
  const auto wire = h2_wire();
  wire->send("PRI * HT");
  advance(Milliseconds(10100));
  proxy->send_gathered();
  EXPECT_TRUE(wire->closed);
}

// A list that was refused has an end, too: whoever sent it is not late with it.
TEST_F(H2Test, AMalformedHeadDoesNotCostTheConnection) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true));
  up(0).connect();
  p->send(headers(3, {{":method", "GET"}}, true));
  EXPECT_EQ((*p)[3].reset_code, 1U);
  advance(Milliseconds(4000));
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  advance(Milliseconds(7000));
  answer(*p, 0, "ok");
  EXPECT_TRUE(p->goaways().empty()) << "10 s after the malformed one";
  EXPECT_EQ((*p)[1].body, "ok");
  EXPECT_EQ(counters().h2_head_timeouts, 0U);
}

TEST_F(H2Test, AnIdleConnectionEndsAndPingsDoNotProlongIt) {
  auto p = peer();
  for (int i = 0; i < 10; ++i) {
    advance(Milliseconds(7600));
    p->pump();
    if (p->wire().over()) break;
    p->send(frame(kPing, 0, 0, std::string(8, 'x')));
  }
  EXPECT_EQ(p->goaways(), std::vector<std::uint32_t>{0U});
  EXPECT_TRUE(p->wire().closed);
}

TEST_F(H2Test, AnIdleConnectionThatTakesNothingIsBrokenOff) {
  settings.client_pace.bytes_per_second = 0;
  set_up();
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true));
  up(0).connect();
  p->wire().room = 0;
  answer(*p, 0, ok("a"));
  advance(Milliseconds(75100));
  EXPECT_TRUE(p->wire().reset);
}

TEST_F(H2Test, DrainLetsStreamsFinishAndTakesThoseOnTheirWay) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true));
  up(0).connect();
  proxy->drain(host.clock + Milliseconds(10000));
  p->pump();
  EXPECT_EQ(p->goaways(), std::vector<std::uint32_t>{0U});
  EXPECT_EQ(p->last_streams().back(), 0x7fffffffU) << "requests on their way are let in";
  p->send(headers(3, head_of("GET", "/b"), true));
  ASSERT_EQ(host.upstreams.size(), 2U);
  up(1).connect();
  advance(Milliseconds(600));
  p->pump();
  EXPECT_EQ(p->last_streams().back(), 3U);
  p->send(headers(5, head_of("GET", "/c"), true));
  EXPECT_EQ(host.upstreams.size(), 2U) << "the client knows that this one was not taken";
  answer(*p, 0, ok("a"));
  EXPECT_FALSE(proxy->idle());
  answer(*p, 1, ok("b"));
  EXPECT_EQ((*p)[1].body + (*p)[3].body, "ab");
  EXPECT_TRUE(p->wire().closed);
  EXPECT_TRUE(proxy->idle());
}

TEST_F(H2Test, WhatStillRunsWhenTheDrainEndsIsTold) {
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true));
  up(0).connect();
  proxy->drain(host.clock + Milliseconds(2000));
  advance(Milliseconds(2100));
  p->pump();
  EXPECT_EQ(p->status(1), "504");
  EXPECT_TRUE(p->wire().closed);
  EXPECT_TRUE(proxy->idle());
}

TEST_F(H2Test, RenewedClientsComeAgain) {
  auto p = peer();
  const auto old = client();
  proxy->renew_clients();
  p->pump();
  advance(Milliseconds(600));
  p->pump();
  EXPECT_TRUE(p->wire().closed);
  EXPECT_FALSE(old->over()) << "HTTP/1 has no way to ask for it";
}

TEST_F(H2Test, StreamsBeyondTheBoundAreRefusedAndMayBeTriedAgain) {
  settings.h2.streams_max = 2;
  settings.connections_max = 3;
  set_up();
  auto p = peer();
  p->send(headers(1, head_of("GET", "/a"), true) + headers(3, head_of("GET", "/b"), true));
  auto q = peer();
  q->send(headers(1, head_of("GET", "/a"), true) + headers(3, head_of("GET", "/b"), true));
  EXPECT_EQ((*q)[3].reset_code, 7U) << "all connections together are bounded";
  EXPECT_EQ(counters().h2_streams_open, 3U);
  EXPECT_EQ(counters().h2_streams_refused, 1U);
  p->send(headers(5, head_of("GET", "/c"), true));
  EXPECT_EQ(host.upstreams.size(), 3U);
  EXPECT_TRUE((*p)[5].reset_code == 7U || p->wire().closed) << "whoever has read our SETTINGS knows better";
}

// ---- floods ----

struct FloodCase {
  const char* name;
  std::size_t place;  ///< in Counters::h2_floods
  std::function<std::string(std::uint32_t i)> frame;
  std::uint32_t enough;
};

TEST_F(H2Test, EachFloodIsSentAwayAndCounted) {
  const FloodCase cases[] = {
      {"rapid reset", 0, [](std::uint32_t i) { return headers(2 * i + 1, head_of("GET", "/"), true) + reset(2 * i + 1); }, 201},
      {"malformed streams", 0, [](std::uint32_t i) { return headers(2 * i + 1, {{":method", "GET"}}, true); }, 201},
      {"settings", 1, [](std::uint32_t) { return frame(kSettings, 0, 0, ""); }, 1001},
      {"ping", 1, [](std::uint32_t) { return frame(kPing, 0, 0, std::string(8, 'x')); }, 1001},
      {"priority", 1, [](std::uint32_t) { return frame(kPriority, 0, 1, std::string(5, '\1')); }, 1001},
      {"unknown", 1, [](std::uint32_t) { return frame(99, 0, 0, "x"); }, 1001},
      {"empty data behind the end", 3, [](std::uint32_t i) { return i == 0 ? headers(1, head_of("GET", "/x"), true) + reset(1) : data(1, "", false); }, 102},
      {"continuation", 2, [](std::uint32_t i) { return i == 0 ? frame(kHeaders, 0, 1, block({{":method", "GET"}})) : frame(kContinuation, 0, 1, ""); }, 11},
      {"empty data", 3, [](std::uint32_t i) { return i == 0 ? headers(1, head_of("POST", "/x"), false) : data(1, "", false); }, 102},
      {"padding only", 3, [](std::uint32_t i) { return i == 0 ? headers(1, head_of("POST", "/x"), false) : frame(kData, kPadded, 1, std::string("\x01\0", 2)); }, 102},
      {"windows", 4, [](std::uint32_t) { return window(0, 1); }, 1001},
  };
  for (const FloodCase& one : cases) {
    SCOPED_TRACE(one.name);
    set_up();
    auto p = peer();
    std::uint32_t sent = 0;
    while (!p->wire().over() && sent < 3000) p->send(one.frame(sent++));
    EXPECT_TRUE(p->wire().closed);
    ASSERT_FALSE(p->goaways().empty());
    EXPECT_EQ(p->goaways().back(), kCalm);
    EXPECT_GE(sent, one.enough / 2) << "an honest client may do some of it";
    EXPECT_LE(sent, one.enough + 2);
    EXPECT_EQ(counters().h2_floods[one.place], 1U);
    EXPECT_EQ(counters().open_exchanges, 0U);
    EXPECT_EQ(counters().h2_streams_open, 0U);
    proxy.reset();
  }
}

TEST_F(H2Test, TheSameSpreadOverTimeIsNoFlood) {
  auto p = peer();
  for (std::uint32_t i = 0; i < 500; ++i) {
    p->send(headers(2 * i + 1, head_of("GET", "/"), true) + reset(2 * i + 1) + frame(kPing, 0, 0, std::string(8, 'x')));
    if (i % 100 == 99) advance(Milliseconds(10000));
  }
  EXPECT_FALSE(p->wire().over());
  EXPECT_EQ(counters().h2_resets, 500U);
}

TEST_F(H2Test, GarbageEndsTheConnectionAndNothingElse) {
  const std::string cases[] = {
      std::string("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
      std::string(kH2Preface) + data(1, "x", true),                                              // no SETTINGS first
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + data(1, "x", true),                 // DATA on an idle stream
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + frame(kSettings, 0, 0, "12345"),    // a length that cannot be
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + headers(2, head_of("GET", "/"), true),  // even stream
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),  // HPACK
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + window(0, 0x7fffffff),
      std::string(kH2Preface) + frame(kSettings, 0, 0, "") + number(0x10000, 3) + std::string(6, '\0'),  // too long a frame
  };
  for (const std::string& bytes : cases) {
    const auto wire = h2_wire();
    wire->send(bytes);
    proxy->send_gathered();
    EXPECT_TRUE(wire->over()) << bytes.substr(24);
    EXPECT_TRUE(has(wire->take(), std::string_view("\x07\0\0\0\0\0", 6))) << "GOAWAY";
  }
  EXPECT_TRUE(host.upstreams.empty());
}

// ---- without TLS ----

TEST_F(H2Test, AListenerForBothTellsThemApartByTheirFirstBytes) {
  const auto wire = h2_wire(Protocol::kEither);
  const std::string all = std::string(kH2Preface) + frame(kSettings, 0, 0, "") + headers(1, head_of("GET", "/"), true);
  for (const char byte : all) wire->send(std::string(1, byte));
  EXPECT_EQ(host.upstreams.size(), 1U);
  EXPECT_EQ(counters().h2_connections, 1U);
  for (const std::string& request : {get("/one"), post("/two", ""), std::string("PRO / HTTP/1.1\r\nHost: h\r\n\r\n")}) {
    const auto old = h2_wire(Protocol::kEither);
    for (const char byte : request) {
      if (!old->over()) old->send(std::string(1, byte));
    }
    EXPECT_EQ(counters().h2_connections, 1U);
  }
  EXPECT_EQ(host.upstreams.size(), 3U);
  EXPECT_EQ(counters().requests_malformed, 1U);
  const auto both = h2_wire(Protocol::kEither);
  both->send(get("/at-once"));
  EXPECT_EQ(host.upstreams.size(), 4U);
  const auto plain = h2_wire(Protocol::kHttp1);
  plain->send(all);
  EXPECT_TRUE(has(plain->take(), "HTTP/1.1 505 ")) << "where it was not allowed";
}

TEST_F(H2Test, AnUndecidedConnectionIsNotWaitedForForEver) {
  const auto wire = h2_wire(Protocol::kEither);
  wire->send("PRI *");
  advance(Milliseconds(10100));
  EXPECT_TRUE(wire->closed);
  const auto silent = h2_wire(Protocol::kEither);
  proxy->drain(host.clock + Milliseconds(1000));
  EXPECT_TRUE(silent->closed);
}

}  // namespace
}  // namespace proxy
