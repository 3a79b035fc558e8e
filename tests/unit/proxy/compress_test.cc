// Which responses are packed, and how they leave.
#include "proxy/compress.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class Packing : public ProxyTest {
 protected:
  Packing() {
    rule.level = 6;
    rule.bytes_min = 10;
    rule.types = {"text/html", "application/json"};
  }
  void start_packing() {
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    Route all;
    all.name = "all";
    all.pool = "all";
    all.compress = rule;
    auto table = RouteTable::make({all});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    set_pool({endpoint(1)});
    c = client();
  }
  std::string answer(std::string_view fields, std::string_view body, std::string_view asked = "Accept-Encoding: gzip\r\n", std::string_view method = "GET",
                     std::string_view status = "200 OK") {
    c->send(std::string(method) + " /a HTTP/1.1\r\nHost: h\r\n" + std::string(asked) + "\r\n");
    if (host.upstreams.back()->write_calls == 0) host.upstreams.back()->connect();
    host.upstreams.back()->take();
    host.upstreams.back()->send("HTTP/1.1 " + std::string(status) + "\r\n" + std::string(fields) + "\r\n" + std::string(body));
    EXPECT_EQ(host.packers_lent, 0U) << "given back";
    return c->take();
  }
  CompressRule rule;
  std::shared_ptr<Wire> c;
};

constexpr std::string_view kPage = "Content-Type: text/html; charset=utf-8\r\nContent-Length: 12\r\n";

TEST_F(Packing, APageOfTheRightTypeAndSize) {
  start_packing();
  const std::string text = answer("ETag: \"v1\"\r\nAccept-Ranges: bytes\r\nContent-Type: Text/HTML\r\nContent-Length: 12\r\n", "hello, world");
  EXPECT_EQ(text, "HTTP/1.1 200 OK\r\nETag: W/\"v1\"\r\nContent-Type: Text/HTML\r\nVary: Accept-Encoding\r\n"
                  "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nhello, world$\r\n0\r\n\r\n");
  EXPECT_EQ(proxy->routes().at(0).counters.packed, 1U);
  EXPECT_EQ(proxy->routes().at(0).counters.packed_bytes_in, 12U);
  EXPECT_EQ(host.accesses.at(0).response_bytes, 13U);
}

TEST_F(Packing, AWeakTagStaysAndVaryIsNotSaidTwice) {
  start_packing();
  const std::string text = answer("ETag: W/\"v1\"\r\nVary: Origin, accept-encoding\r\n" + std::string(kPage), "hello, world");
  EXPECT_TRUE(has(text, "ETag: W/\"v1\"\r\n"));
  EXPECT_EQ(text.find("Vary"), text.rfind("Vary"));
}

TEST_F(Packing, WhoDoesNotTakeItGetsItPlainButIsToldThatItVaries) {
  start_packing();
  for (const std::string_view asked : {"", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n"}) {
    const std::string text = answer(kPage, "hello, world", asked);
    EXPECT_TRUE(has(text, "Content-Length: 12\r\nVary: Accept-Encoding\r\n\r\nhello, world")) << text;
  }
}

TEST_F(Packing, NeverPacked) {
  start_packing();
  const std::string page(kPage);
  const auto plain = [&](const std::string& fields, std::string_view body, std::string_view method = "GET", std::string_view status = "200 OK") {
    const std::string text = answer(fields, body, "Accept-Encoding: gzip\r\n", method, status);
    EXPECT_FALSE(has(text, "gzip")) << text;
    EXPECT_FALSE(has(text, "$"));
  };
  plain(page, {}, "HEAD");
  plain(page + "Content-Encoding: br\r\n", "hello, world");
  plain(page + "Cache-Control: public, no-transform\r\n", "hello, world");
  plain(page + "Content-Range: bytes 0-11/12\r\n", "hello, world", "GET", "206 Partial Content");
  plain("Content-Type: text/html\r\n", {}, "GET", "204 No Content");
  plain("Content-Type: text/html\r\nContent-Length: 9\r\n", "too small");
  plain("Content-Type: image/png\r\nContent-Length: 12\r\n", "hello, world");
  plain("Content-Length: 12\r\n", "hello, world");
}

TEST_F(Packing, AStreamOfEventsNeverIs) {
  rule.types = {"text/event-stream"};
  start_packing();
  EXPECT_FALSE(has(answer("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), "gzip"));
}

TEST_F(Packing, EverythingLeavesWhenTheInstancePauses) {
  start_packing();
  c->send("GET /a HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
  EXPECT_EQ(body_of(c->take()), "3\r\nab|\r\n");
  // A read that fills the buffer is followed by the next: nothing is forced out, and what is kept is little.
  up(0).send("fffa\r\n" + std::string(65536 - 6, 'x'));
  EXPECT_EQ(c->take(), "");
  up(0).send("\r\n1\r\ny\r\n");
  EXPECT_EQ(c->take(), "fffc\r\n" + std::string(65530, 'x') + "y|\r\n");
  EXPECT_EQ(host.packers_lent, 1U);
  up(0).send("0\r\n\r\n");
  EXPECT_EQ(c->take(), "1\r\n$\r\n0\r\n\r\n");
  EXPECT_EQ(host.packers_lent, 0U);
}

TEST_F(Packing, AnOldClientLearnsTheEndFromTheConnection) {
  start_packing();
  c->send("GET /a HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\n" + std::string(kPage) + "\r\nhello, world");
  const std::string text = c->take();
  EXPECT_TRUE(has(text, "Connection: close\r\n\r\nhello, world$")) << text;
  EXPECT_FALSE(has(text, "Content-Length"));
}

TEST_F(Packing, WithoutAPackerItGoesAsItIs) {
  host.packers_max = 0;
  start_packing();
  EXPECT_TRUE(has(answer(kPage, "hello, world"), "Content-Length: 12\r\nVary: Accept-Encoding\r\n\r\nhello, world"));
  EXPECT_EQ(proxy->routes().at(0).counters.packed_denied, 1U);
}

TEST_F(Packing, APackerComesBackWhateverHappens) {
  start_packing();
  c->send("GET /a HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
  up(0).connect();
  up(0).send("HTTP/1.1 200 OK\r\n" + std::string(kPage) + "\r\nhel");
  EXPECT_EQ(host.packers_lent, 1U);
  c->fail(StreamEnd::kReset);
  EXPECT_EQ(host.packers_lent, 0U);
  c = client();
  c->send("GET /a HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
  host.upstreams.back()->connect();
  host.upstreams.back()->send("HTTP/1.1 200 OK\r\n" + std::string(kPage) + "\r\nhel");
  host.upstreams.back()->fail(StreamEnd::kReset);
  EXPECT_EQ(host.packers_lent, 0U);
  EXPECT_TRUE(c->reset) << "half a packed body is no whole one";
}

}  // namespace
}  // namespace proxy::testing
