// Header fields of routes: as rules, and on their way through a proxy.
#include "proxy/field_rules.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {
namespace {

FieldRule rule(FieldVerb verb, FieldSide side, std::string_view text) {
  auto made = FieldRule::parse(verb, side, text);
  EXPECT_TRUE(made) << text << ": " << (made ? "" : made.error());
  return made.value_or(FieldRule{});
}
std::string fault(FieldVerb verb, FieldSide side, std::string_view text) {
  const auto made = FieldRule::parse(verb, side, text);
  return made ? std::string() : made.error();
}

FieldFacts facts() {
  FieldFacts f;
  f.client = "192.0.2.1";
  f.request_id = "id-1";
  f.node = "n1";
  f.route = "reads";
  f.host = "h:80";
  f.path = "/a";
  f.scheme = "https";
  f.method = "GET";
  f.epoch = Epoch{7};
  return f;
}

TEST(FieldTemplate, FillsInEveryVariable) {
  const auto made = FieldTemplate::parse("{client}|{request_id}|{node}|{epoch}|{route}|{host}|{path}|{scheme}|{method}|{{x}}");
  ASSERT_TRUE(made) << made.error();
  std::string out;
  made->append(out, facts());
  EXPECT_EQ(out, "192.0.2.1|id-1|n1|7|reads|h:80|/a|https|GET|{x}");
}

TEST(FieldTemplate, RefusesWhatItDoesNotKnow) {
  EXPECT_TRUE(has(FieldTemplate::parse("{cleint}").error(), "{client}"));
  EXPECT_TRUE(has(FieldTemplate::parse("{client").error(), "not closed"));
  EXPECT_FALSE(FieldTemplate::parse("a\r\nX: b"));
  EXPECT_FALSE(FieldTemplate::parse(std::string_view("a\0b", 3)));
}

TEST(FieldTemplate, AByteThatNoFieldMayHoldCannotComeFromAVariable) {
  const auto made = FieldTemplate::parse("{path}");
  FieldFacts f = facts();
  f.path = "/a\r\nX-Evil: 1";
  std::string out;
  made->append(out, f);
  EXPECT_EQ(out, "/a__X-Evil: 1");
}

TEST(FieldRule, WhatFramesAMessageOrBelongsToAHopIsRefused) {
  for (const FieldSide side : {FieldSide::kRequest, FieldSide::kResponse}) {
    for (const std::string_view name : {"Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Host",
                                        "Proxy-Connection", "Expect", "X-Forwarded-For", "Forwarded", "Via", "X-Outrigger-Epoch",
                                        "Content-Encoding", "X_Forwarded_For"}) {
      EXPECT_FALSE(fault(FieldVerb::kSet, side, std::string(name) + ": x").empty()) << name;
      EXPECT_FALSE(fault(FieldVerb::kDel, side, name).empty()) << name;
    }
  }
  EXPECT_FALSE(fault(FieldVerb::kSet, FieldSide::kRequest, "X-Request-Id: a").empty());
  EXPECT_TRUE(fault(FieldVerb::kSet, FieldSide::kResponse, "X-Request-Id: {request_id}").empty());
  EXPECT_FALSE(fault(FieldVerb::kSet, FieldSide::kRequest, "no colon").empty());
  EXPECT_FALSE(fault(FieldVerb::kSet, FieldSide::kRequest, "bad name: x").empty());
  EXPECT_FALSE(fault(FieldVerb::kSet, FieldSide::kRequest, ": x").empty());
}

TEST(FieldRules, TheSecurityPresetYieldsToRulesOfTheRoute) {
  FieldRules rules;
  rules.add(rule(FieldVerb::kSet, FieldSide::kResponse, "X-Frame-Options: SAMEORIGIN"));
  rules.add(rule(FieldVerb::kDel, FieldSide::kResponse, "X-XSS-Protection"));
  add_security_preset(rules, "default-src 'self' {x}");
  std::string out;
  rules.append(out, facts());
  EXPECT_EQ(out, "X-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\n"
                 "Referrer-Policy: strict-origin-when-cross-origin\r\nContent-Security-Policy: default-src 'self' {x}\r\n");
}

class RuledFields : public ProxyTest {
 protected:
  void start_with(FieldRules request, FieldRules response) {
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    Route all;
    all.name = "all";
    all.pool = "all";
    all.service = "trader";
    all.request_fields = std::move(request);
    all.response_fields = std::move(response);
    auto table = RouteTable::make({all});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
    set_pool({endpoint(1)});
  }
};

TEST_F(RuledFields, ChangeTheRequest) {
  FieldRules rules;
  rules.add(rule(FieldVerb::kSet, FieldSide::kRequest, "X-Client: {client} {host} {path} {epoch}"));
  rules.add(rule(FieldVerb::kAdd, FieldSide::kRequest, "Accept: text/x"));
  rules.add(rule(FieldVerb::kDel, FieldSide::kRequest, "cookie"));
  start_with(std::move(rules), {});
  auto c = client();
  c->send("GET /a?b=c HTTP/1.1\r\nHost: h:8080\r\nX-CLIENT: liar\r\nAccept: a/b\r\nCookie: s=1\r\nX-Keep: 1\r\n\r\n");
  up(0).connect();
  const std::string sent = up(0).take();
  EXPECT_TRUE(has(sent, "X-Client: 192.0.2.9 h:8080 /a 0\r\n")) << sent;
  EXPECT_FALSE(has(sent, "liar"));
  EXPECT_FALSE(has(sent, "Cookie"));
  EXPECT_TRUE(has(sent, "Accept: a/b\r\n") && has(sent, "Accept: text/x\r\n") && has(sent, "X-Keep: 1\r\n"));
  EXPECT_TRUE(sent.ends_with("\r\n\r\n"));
  EXPECT_EQ(sent.find("\r\n\r\n"), sent.size() - 4);
  up(0).send(ok("x"));
  EXPECT_EQ(host.accesses.at(0).target, "/a?b=c");
  EXPECT_TRUE(has(sent, "X-Request-Id: " + host.accesses.at(0).request_id + "\r\n"));
}

TEST_F(RuledFields, ChangeTheResponseAndOurOwnAnswersButDoNotMakeThoseLast) {
  FieldRules rules;
  rules.add(rule(FieldVerb::kSet, FieldSide::kResponse, "Cache-Control: public, max-age=60"));
  rules.add(rule(FieldVerb::kSet, FieldSide::kResponse, "X-Request-Id: {request_id}"));
  rules.add(rule(FieldVerb::kDel, FieldSide::kResponse, "Server"));
  add_security_preset(rules, {});
  start_with({}, std::move(rules));
  auto c = client();
  c->send(get("/"));
  up(0).connect();
  up(0).send("HTTP/1.1 404 Not Found\r\nServer: x/1\r\ncache-control: no-store\r\nContent-Length: 1\r\n\r\nx");
  const std::string answer = c->take();
  EXPECT_TRUE(has(answer, "X-Frame-Options: DENY\r\n") && has(answer, "Cache-Control: public, max-age=60\r\n"));
  EXPECT_FALSE(has(answer, "no-store") || has(answer, "Server"));
  EXPECT_TRUE(has(answer, "X-Request-Id: " + host.accesses.at(0).request_id));
  up(0).fail(StreamEnd::kReset);
  set_pool({});
  c->send(get("/"));
  const std::string own = c->take();
  EXPECT_TRUE(has(own, "503") && has(own, "X-Frame-Options: DENY\r\n")) << own;
  EXPECT_FALSE(has(own, "max-age")) << "a refusal must not be remembered";
  EXPECT_EQ(own.find("X-Request-Id"), own.rfind("X-Request-Id")) << "said once";
}

TEST_F(RuledFields, APeerHasBeenThroughThem) {
  FieldRules rules;
  rules.add(rule(FieldVerb::kAdd, FieldSide::kRequest, "X-Twice: 1"));
  start_with(std::move(rules), {});
  auto c = client(ListenerKind::kPeer);
  c->send(get("/"));
  up(0).connect();
  EXPECT_FALSE(has(up(0).take(), "X-Twice"));
}

}  // namespace
}  // namespace proxy::testing
