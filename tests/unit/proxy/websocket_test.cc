// Frames of tunnels: where they end, and the good-bye of a tunnel that has to end.
#include "proxy/websocket.h"

#include <random>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

std::string frame(unsigned opcode, std::size_t payload, bool masked) {
  std::string out(1, static_cast<char>(0x80 | opcode));
  const char mark = masked ? static_cast<char>(0x80) : 0;
  if (payload < 126) {
    out += static_cast<char>(mark | static_cast<char>(payload));
  } else if (payload < 65536) {
    out += static_cast<char>(mark | 126);
    out += static_cast<char>(payload >> 8);
    out += static_cast<char>(payload & 255);
  } else {
    out += static_cast<char>(mark | 127);
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(payload >> shift & 255);
  }
  if (masked) out += "\x01\x02\x03\x04";
  return out + std::string(payload, '\x88');  // a payload that looks like Close frames
}

TEST(FrameTrack, KnowsTheBordersHoweverTheBytesAreCut) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    FrameTrack track;
    std::string all;
    std::vector<std::size_t> borders{0};
    for (int i = 0; i < 6; ++i) {
      const std::size_t sizes[] = {0, 1, 125, 126, 300, 65535, 65536};
      all += frame(1, sizes[random() % 7], random() % 2 == 0);
      borders.push_back(all.size());
    }
    std::size_t at = 0;
    while (at < all.size()) {
      const std::size_t piece = std::min<std::size_t>(all.size() - at, 1 + random() % (round % 3 == 0 ? 3 : 70'000));
      track.feed(http1::bytes_of(std::string_view(all).substr(at, piece)));
      at += piece;
      EXPECT_EQ(track.at_border(), std::find(borders.begin(), borders.end(), at) != borders.end()) << at;
      EXPECT_FALSE(track.closing());
      if (round % 3 == 0 && at > 2000) break;
    }
  }
}

TEST(FrameTrack, SeesACloseWhenItHasPassedAsAWhole) {
  FrameTrack track;
  const std::string close = frame(8, 2, true);
  track.feed(http1::bytes_of(std::string_view(close).substr(0, 7)));
  EXPECT_TRUE(track.closing());
  EXPECT_FALSE(track.closed());
  track.feed(http1::bytes_of(std::string_view(close).substr(7)));
  EXPECT_TRUE(track.closed());
}

TEST(FrameTrack, ALengthOfAllOnesIsWaitedForAndNothingElse) {
  FrameTrack track;
  track.feed(http1::bytes_of(std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10)));
  track.feed(http1::bytes_of(std::string(1000, 'x')));
  EXPECT_FALSE(track.at_border());
}

TEST(CloseFrame, IsWhatTheStandardSays) {
  const CloseFrame plain(CloseCode::kServiceRestart, "x", nullptr);
  EXPECT_EQ(http1::text_of(plain.bytes()), std::string("\x88\x03\x03\xf4x", 5));
  const std::uint32_t mask = 0x01020304;
  const CloseFrame masked(CloseCode::kGoingAway, "", &mask);
  EXPECT_EQ(http1::text_of(masked.bytes()), std::string("\x88\x82\x01\x02\x03\x04\x02\xeb", 8));
}

class TunnelEnd : public ProxyTest {
 protected:
  std::shared_ptr<Wire> down;
  void open() {
    start();
    set_pool({endpoint(2)});
    down = client();
    down->send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    up(0).connect();
    up(0).take();
    up(0).send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" + frame(1, 3, false));
    ASSERT_TRUE(has(down->take(), "101"));
    ASSERT_EQ(counters().tunnels_open, 1U);
  }
};

TEST_F(TunnelEnd, ADrainTellsBothSidesAndEndsWhenBothHaveAnswered) {
  open();
  proxy->drain(host.clock + Milliseconds{5000});
  for (int i = 0; i < 82 && down->out.empty(); ++i) advance(Milliseconds{50});
  const std::string told = down->take(), asked = up(0).take();
  EXPECT_EQ(told.substr(0, 1), "\x88");
  EXPECT_EQ(told.substr(2, 2), "\x03\xf4") << "1012 to the client";
  EXPECT_EQ(asked.substr(0, 1), "\x88");
  EXPECT_NE(static_cast<unsigned char>(asked[1]) & 0x80, 0) << "a client's frames are masked";
  EXPECT_EQ(counters().tunnels_told, 1U);
  down->send(frame(1, 10, true));  // crossed our Close on its way
  EXPECT_EQ(up(0).take(), "") << "nothing may follow a Close";
  down->send(frame(8, 2, true));
  EXPECT_FALSE(down->shut);
  up(0).send(frame(8, 2, false));
  EXPECT_TRUE(down->shut);
  EXPECT_EQ(counters().tunnels_open, 0U);
}

TEST_F(TunnelEnd, NobodyIsInterruptedInsideAFrame) {
  open();
  const std::string message = frame(2, 200, false);
  up(0).send(message.substr(0, 50));
  proxy->drain(host.clock + Milliseconds{5000});
  advance(Milliseconds{4200});
  EXPECT_EQ(down->take(), message.substr(0, 50));
  up(0).send(message.substr(50));
  const std::string rest = down->take();
  EXPECT_EQ(rest.substr(0, 154), message.substr(50));
  EXPECT_EQ(rest.substr(154, 1), "\x88");
  advance(Milliseconds{1100});
  EXPECT_TRUE(down->shut) << "who does not answer is waited for a second";
}

TEST_F(TunnelEnd, GoodByesAreSpread) {
  start();
  set_pool({endpoint(2)});
  std::vector<std::shared_ptr<Wire>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(client());
    clients.back()->send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    up(static_cast<std::size_t>(i)).connect();
    up(static_cast<std::size_t>(i)).send("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
  }
  auto draining = endpoint(2);
  draining.draining = true;
  set_pool({draining});
  std::vector<std::size_t> told;  // so far, by second
  std::size_t count = 0;
  for (int second = 0; second < 30; ++second) {
    advance(Milliseconds{1000});
    for (const auto& wire : clients) count += has(wire->take(), "\x03\xf4" "connect again") ? 1 : 0;
    told.push_back(count);
  }
  EXPECT_EQ(told.back(), 40U);
  EXPECT_GT(told[9], 4U);
  EXPECT_LT(told[9], 30U);
}

TEST_F(TunnelEnd, TheClientOfALostInstanceIsToldToComeAgain) {
  open();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(down->take().substr(0, 1), "\x88");
  EXPECT_TRUE(down->shut);
  EXPECT_FALSE(down->reset);
}

TEST_F(TunnelEnd, InsideAFrameALossIsAReset) {
  open();
  up(0).send(frame(2, 200, false).substr(0, 50));
  down->take();
  up(0).fail(StreamEnd::kReset);
  EXPECT_EQ(down->take(), "");
  EXPECT_TRUE(down->reset);
}

}  // namespace
}  // namespace proxy::testing
