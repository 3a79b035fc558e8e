// What a listener does with every request: redirect to https, HSTS, the certificate of the client.
#include <gtest/gtest.h>

#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

class ListenerRulesTest : public ProxyTest {
 protected:
  std::shared_ptr<Wire> client_of(ListenerRules rules, Scheme scheme = Scheme::kHttp, std::string certificate = {}, const TrustedProxies* trusted = nullptr) {
    auto wire = std::make_shared<Wire>();
    Accepted accepted;
    accepted.scheme = scheme;
    accepted.client = "192.0.2.9";
    accepted.trusted = {std::shared_ptr<const void>(), trusted};
    accepted.rules = std::make_shared<const ListenerRules>(std::move(rules));
    accepted.client_certificate = std::move(certificate);
    proxy->accept(std::make_unique<MemoryStream>(wire), std::move(accepted));
    return wire;
  }
  static ListenerRules to_https(std::uint16_t port) {
    ListenerRules rules;
    rules.redirect_https_port = port;
    return rules;
  }
  static ListenerRules with_hsts() {
    ListenerRules rules;
    rules.hsts = "max-age=60";
    return rules;
  }
};

TEST_F(ListenerRulesTest, EveryRequestIsSentToTheSamePlaceOverHttps) {
  start();
  auto wire = client_of(to_https(443));
  wire->send("GET /a%20b?c=d HTTP/1.1\r\nHost: site.example:8080\r\n\r\n");
  std::string out = wire->take();
  EXPECT_TRUE(out.starts_with("HTTP/1.1 301 ")) << out;
  EXPECT_TRUE(has(out, "Location: https://site.example/a%20b?c=d\r\n")) << out;
  wire->send("POST /orders HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nContent-Length: 2\r\n\r\n{}");
  out = wire->take();
  EXPECT_TRUE(out.starts_with("HTTP/1.1 308 ")) << "the body must come again, not be forgotten: " << out;
  EXPECT_TRUE(has(out, "Location: https://[2001:db8::1]/orders\r\n")) << out;
  EXPECT_TRUE(host.upstreams.empty());
}

TEST_F(ListenerRulesTest, AnotherPortIsNamed) {
  start();
  auto wire = client_of(to_https(8443));
  wire->send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(has(wire->take(), "Location: https://h:8443/\r\n"));
}

TEST_F(ListenerRulesTest, WithoutAHostThereIsNowhereToSendTo) {
  start();
  auto wire = client_of(to_https(443));
  wire->send("GET / HTTP/1.0\r\n\r\n");
  const std::string out = wire->take();
  EXPECT_TRUE(out.starts_with("HTTP/1.1 400 ")) << out;
  EXPECT_FALSE(has(out, "Location:"));
}

TEST_F(ListenerRulesTest, HstsStandsInEveryAnswerAndTakesThePlaceOfTheInstances) {
  start();
  set_pool({endpoint(1)});
  auto wire = client_of(with_hsts(), Scheme::kHttps);
  wire->send(get("/x"));
  up(0).connect();
  EXPECT_TRUE(has(up(0).take(), "X-Forwarded-Proto: https\r\n"));
  up(0).send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nstrict-transport-security: max-age=1\r\n\r\n");
  std::string out = wire->take();
  EXPECT_TRUE(has(out, "Strict-Transport-Security: max-age=60\r\n")) << out;
  EXPECT_FALSE(has(out, "max-age=1\r\n")) << out;
  wire->send("GET /a b HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(has(wire->take(), "Strict-Transport-Security: max-age=60\r\n")) << "our own answers, too";
}

TEST_F(ListenerRulesTest, OnlyAProvedClientIsNamedToTheInstance) {
  start();
  set_pool({endpoint(1)});
  auto liar = client_of({}, Scheme::kHttps);
  const std::string claim = "GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Client-Cert: Subject=\"CN=boss\"\r\n\r\n";
  liar->send(claim);
  up(0).connect();
  EXPECT_FALSE(has(up(0).take(), "Client-Cert"));
  auto proved = client_of({}, Scheme::kHttps, "Hash=ab;Subject=\"CN=alice\"");
  proved->send(claim);
  up(1).connect();
  std::string head = up(1).take();
  EXPECT_TRUE(has(head, "X-Forwarded-Client-Cert: Hash=ab;Subject=\"CN=alice\"\r\n")) << head;
  EXPECT_FALSE(has(head, "boss"));
  const TrustedProxies all = *TrustedProxies::parse({"192.0.2.0/24"});
  auto front = client_of({}, Scheme::kHttps, {}, &all);
  front->send(claim);
  up(2).connect();
  EXPECT_TRUE(has(up(2).take(), "X-Forwarded-Client-Cert: Subject=\"CN=boss\"\r\n")) << "a trusted proxy has seen it";
}

}  // namespace
}  // namespace proxy::testing
