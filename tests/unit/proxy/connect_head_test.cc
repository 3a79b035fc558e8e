// CONNECT: what is read, and what is refused because it could be read in two ways.
#include "proxy/connect_head.h"

#include <gtest/gtest.h>

#include "proxy/http1/writer.h"

namespace proxy::testing {
namespace {

ConnectHead parse(std::string_view text) { return parse_connect_head(http1::bytes_of(text)); }

TEST(ConnectHead, ReadsTheTargetAndWhereTheTunnelBegins) {
  const std::string text = "CONNECT API.Broker:443 HTTP/1.1\r\nHost: api.broker:443\r\nUser-Agent: x\r\n\r\n";
  const ConnectHead head = parse(text + "\x16\x03");
  ASSERT_EQ(head.state, ConnectHead::State::kRead);
  EXPECT_EQ(head.target, "api.broker:443");
  EXPECT_EQ(head.bytes, text.size());
  EXPECT_EQ(parse("CONNECT [::1]:0443 HTTP/1.0\r\n\r\n").target, "[::1]:443");
  for (std::size_t i = 0; i + 1 < text.size(); ++i) EXPECT_EQ(parse(text.substr(0, i)).state, ConnectHead::State::kMore) << i;
}

TEST(ConnectHead, RefusesTheRest) {
  const std::pair<const char*, int> bad[] = {
      {"GET / HTTP/1.1\r\n\r\n", 405}, {"X", 405}, {"connect a:1 HTTP/1.1\r\n\r\n", 405},
      {"CONNECT a HTTP/1.1\r\n\r\n", 400}, {"CONNECT a:0 HTTP/1.1\r\n\r\n", 400}, {"CONNECT a:65536 HTTP/1.1\r\n\r\n", 400},
      {"CONNECT :1 HTTP/1.1\r\n\r\n", 400}, {"CONNECT a:1 HTTP/2\r\n\r\n", 400}, {"CONNECT a:1  HTTP/1.1\r\n\r\n", 400},
      {"CONNECT a/b:1 HTTP/1.1\r\n\r\n", 400}, {"CONNECT a:1 HTTP/1.1\r\nbad\r\n\r\n", 400}, {"CONNECT a:1 HTTP/1.1\r\n: x\r\n\r\n", 400},
      {"CONNECT a:1 HTTP/1.1\r\nA: b\nHost: c\r\n\r\n", 400}, {"CONNECT user@a:1 HTTP/1.1\r\n\r\n", 400}, {"CONNECT\r\n\r\n", 405}};
  for (const auto& [text, status] : bad) {
    const ConnectHead head = parse(text);
    EXPECT_EQ(head.state, ConnectHead::State::kRefused) << text;
    EXPECT_EQ(head.status, status) << text;
  }
  EXPECT_EQ(parse("CONNECT a:1 HTTP/1.1\r\nX: " + std::string(9000, 'a')).status, 431);
}

}  // namespace
}  // namespace proxy::testing
