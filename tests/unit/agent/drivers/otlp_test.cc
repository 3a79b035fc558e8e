// Spans as the collector gets them, against texts written by hand from the specification.
#include "agent/drivers/otlp.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proxy/span.h"

namespace agent::drivers {
namespace {

using nlohmann::json;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// 2026-01-01T00:00:00.5Z at ten seconds after the start of the machine.
constexpr std::int64_t kWall = 1'767'225'600'500'000'000;
const SpanClock kClock{kWall, io::TimePoint{} + std::chrono::seconds(10)};

template <std::size_t N>
std::array<char, N> hex(const char* text) {
  std::array<char, N> out;
  std::copy(text, text + N, out.begin());
  return out;
}

proxy::AccessRecord sample() {
  proxy::AccessRecord record;
  record.method = "POST";
  record.target = "/orders/7?token=secret";
  record.host = "shop.example:8443";
  record.route = "orders";
  record.route_path = "/orders";
  record.request_id = "id-1";
  record.client = "203.0.113.4";
  record.peer = "192.0.2.9";
  record.status = 201;
  record.outcome = proxy::Outcome::kAnswered;
  record.epoch = proxy::Epoch{UINT64_MAX};
  record.request_body_bytes = 12;
  record.response_body_bytes = 34;
  record.started = kClock.boot - milliseconds(100);
  record.total = microseconds(30'250);
  record.https = true;
  record.http_version = 20;
  record.traced = true;
  record.trace.trace = hex<32>("0af7651916cd43dd8448eb211c80319c");
  record.trace.span = hex<16>("00f067aa0ba902b7");
  record.trace.flags = proxy::kSampled;
  record.parent = hex<16>("b7ad6b7169203331");
  return record;
}

std::string request_of(const proxy::AccessRecord& record, std::size_t count = 1, SpanSchemes schemes = {}) {
  std::string out = otlp_head({"outrigger", "n1", "1.2.3"});
  EXPECT_EQ(append_otlp_spans(out, record, kClock, schemes), count);
  out += kOtlpTail;
  return out;
}

json attributes_of(const json& span) {
  json out = json::object();
  for (const json& one : span["attributes"]) {
    EXPECT_FALSE(out.contains(one["key"])) << "keys are unique: " << one["key"];
    out[one["key"].get<std::string>()] = one["value"];
  }
  return out;
}

TEST(Otlp, ARequestIsAServerSpanWordForWord) {
  EXPECT_EQ(request_of(sample()),
            R"({"resourceSpans":[{"resource":{"attributes":[)"
            R"({"key":"service.name","value":{"stringValue":"outrigger"}},)"
            R"({"key":"service.instance.id","value":{"stringValue":"n1"}},)"
            R"({"key":"service.version","value":{"stringValue":"1.2.3"}}]},)"
            R"("scopeSpans":[{"scope":{"name":"outrigger.proxy","version":"1.2.3"},"spans":[)"
            R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","parentSpanId":"b7ad6b7169203331","flags":769,)"
            R"("name":"POST /orders","kind":2,"startTimeUnixNano":"1767225600400000000","endTimeUnixNano":"1767225600430250000",)"
            R"("attributes":[{"key":"http.request.method","value":{"stringValue":"POST"}},)"
            R"({"key":"url.scheme","value":{"stringValue":"https"}},)"
            R"({"key":"url.path","value":{"stringValue":"/orders/7"}},)"
            R"({"key":"http.route","value":{"stringValue":"/orders"}},)"
            R"({"key":"http.response.status_code","value":{"intValue":"201"}},)"
            R"({"key":"server.address","value":{"stringValue":"shop.example"}},)"
            R"({"key":"server.port","value":{"intValue":"8443"}},)"
            R"({"key":"client.address","value":{"stringValue":"203.0.113.4"}},)"
            R"({"key":"network.peer.address","value":{"stringValue":"192.0.2.9"}},)"
            R"({"key":"network.protocol.version","value":{"stringValue":"2"}},)"
            R"({"key":"http.request.body.size","value":{"intValue":"12"}},)"
            R"({"key":"http.response.body.size","value":{"intValue":"34"}},)"
            R"({"key":"outrigger.route","value":{"stringValue":"orders"}},)"
            R"({"key":"outrigger.request_id","value":{"stringValue":"id-1"}},)"
            R"({"key":"outrigger.outcome","value":{"stringValue":"answered"}},)"
            R"({"key":"outrigger.epoch","value":{"intValue":"18446744073709551615"}}]})"
            R"(]}]}]})");
}

TEST(Otlp, AnAttemptIsAClientSpanBeneathItWordForWord) {
  proxy::ChildSpans attempts;
  proxy::ChildSpan one;
  one.span = hex<16>("1111111111111111");
  one.begun = milliseconds(5);
  one.connected = milliseconds(1);
  one.head = milliseconds(20);
  one.total = milliseconds(25);
  one.number = 2;
  one.status = 201;
  one.address = "10.0.0.2:9000";
  one.node = "n2";
  one.at_peer = true;
  attempts.add(one);
  proxy::AccessRecord record = sample();
  record.spans = attempts.bytes();
  record.span_count = attempts.count();
  const std::string text = request_of(record, 2, {.instance_https = false, .peer_https = true});
  const std::string expected =
      R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"1111111111111111","parentSpanId":"00f067aa0ba902b7","flags":257,)"
      R"("name":"POST","kind":3,"startTimeUnixNano":"1767225600405000000","endTimeUnixNano":"1767225600430000000",)"
      R"("attributes":[{"key":"http.request.method","value":{"stringValue":"POST"}},)"
      R"({"key":"url.full","value":{"stringValue":"https://10.0.0.2:9000/orders/7"}},)"
      R"({"key":"server.address","value":{"stringValue":"10.0.0.2"}},)"
      R"({"key":"server.port","value":{"intValue":"9000"}},)"
      R"({"key":"network.peer.address","value":{"stringValue":"10.0.0.2"}},)"
      R"({"key":"network.peer.port","value":{"intValue":"9000"}},)"
      R"({"key":"network.protocol.version","value":{"stringValue":"1.1"}},)"
      R"({"key":"http.response.status_code","value":{"intValue":"201"}},)"
      R"({"key":"http.request.resend_count","value":{"intValue":"1"}},)"
      R"({"key":"outrigger.endpoint_node","value":{"stringValue":"n2"}},)"
      R"({"key":"outrigger.connection_reused","value":{"boolValue":false}}],)"
      R"("events":[{"timeUnixNano":"1767225600406000000","name":"connected"},{"timeUnixNano":"1767225600425000000","name":"response_head"}]})";
  EXPECT_NE(text.find("," + expected + "]}]}]}"), std::string::npos) << text;
}

TEST(Otlp, WhatTheLedgerTookIsASpanWordForWord) {
  proxy::ChildSpans parts;
  proxy::ChildSpan one;
  one.of = proxy::SpanOf::kReserve;
  one.span = hex<16>("1111111111111111");
  one.begun = milliseconds(1);
  one.total = milliseconds(9);
  one.state = "reserved";
  one.index = 42;
  parts.add(one);
  one.of = proxy::SpanOf::kCommit;
  one.parent = std::exchange(one.span, hex<16>("2222222222222222"));
  one.begun = milliseconds(2);
  one.total = milliseconds(7);
  parts.add(one);
  proxy::AccessRecord record = sample();
  record.order = hex<16>("a1b2c3d4e5f60718");
  record.order_state = "done";
  record.epoch = proxy::Epoch{7};
  record.egress = true;
  record.spans = parts.bytes();
  const std::string text = request_of(record, 3);
  const std::string rest =
      R"("attributes":[{"key":"outrigger.order.key_hash","value":{"stringValue":"a1b2c3d4e5f60718"}},)"
      R"({"key":"outrigger.order.state","value":{"stringValue":"reserved"}},)"
      R"({"key":"outrigger.epoch","value":{"intValue":"7"}},{"key":"outrigger.raft.index","value":{"intValue":"42"}}]})";
  const std::string expected =
      R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"1111111111111111","parentSpanId":"00f067aa0ba902b7","flags":257,)"
      R"("name":"ledger reserve","kind":1,"startTimeUnixNano":"1767225600401000000","endTimeUnixNano":"1767225600410000000",)" + rest +
      R"(,{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"2222222222222222","parentSpanId":"1111111111111111","flags":257,)"
      R"("name":"ledger commit","kind":1,"startTimeUnixNano":"1767225600402000000","endTimeUnixNano":"1767225600409000000",)" + rest;
  EXPECT_NE(text.find("," + expected + "]}]}]}"), std::string::npos) << text;
  const json attributes = attributes_of(json::parse(text)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]);
  EXPECT_EQ(attributes["outrigger.order.key_hash"]["stringValue"], "a1b2c3d4e5f60718");
  EXPECT_EQ(attributes["outrigger.order.state"]["stringValue"], "done");
  EXPECT_EQ(attributes["outrigger.egress"]["boolValue"], true);
}

TEST(Otlp, FailuresHaveAStatusAndAReason) {
  proxy::ChildSpans attempts;
  proxy::ChildSpan one;
  one.failure = "connect_failed";
  one.span = hex<16>("1111111111111111");
  one.number = 1;
  one.address = "unix:/run/app.sock";
  attempts.add(one);
  one.failure = {};
  one.status = 404;
  one.reused = true;
  one.address = "[2001:db8::1]:80";
  attempts.add(one);
  proxy::AccessRecord record = sample();
  record.method = "BREW";
  record.parent = {};
  record.status = 502;
  record.reason = "connect_failed";
  record.route_path = record.route = {};
  record.spans = attempts.bytes();
  const json spans = json::parse(request_of(record, 3))["resourceSpans"][0]["scopeSpans"][0]["spans"];
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_FALSE(spans[0].contains("parentSpanId")) << "the trace began here";
  EXPECT_EQ(spans[0]["flags"], 0x101);
  EXPECT_EQ(spans[0]["name"], "HTTP");
  EXPECT_EQ(spans[0]["status"]["code"], 2);
  json attributes = attributes_of(spans[0]);
  EXPECT_EQ(attributes["http.request.method"]["stringValue"], "_OTHER");
  EXPECT_EQ(attributes["http.request.method_original"]["stringValue"], "BREW");
  EXPECT_EQ(attributes["error.type"]["stringValue"], "connect_failed");
  EXPECT_FALSE(attributes.contains("http.route"));
  attributes = attributes_of(spans[1]);
  EXPECT_EQ(spans[1]["status"]["code"], 2);
  EXPECT_EQ(attributes["error.type"]["stringValue"], "connect_failed");
  EXPECT_EQ(attributes["server.address"]["stringValue"], "/run/app.sock");
  EXPECT_EQ(attributes["network.transport"]["stringValue"], "unix");
  EXPECT_EQ(attributes["url.full"]["stringValue"], "http://localhost/orders/7");
  EXPECT_FALSE(attributes.contains("http.response.status_code"));
  EXPECT_FALSE(spans[1].contains("events"));
  attributes = attributes_of(spans[2]);
  EXPECT_EQ(spans[2]["status"]["code"], 2) << "to a client 404 is an error, to a server it is not";
  EXPECT_EQ(attributes["server.address"]["stringValue"], "2001:db8::1");
  EXPECT_EQ(attributes["server.port"]["intValue"], "80");
  record.status = 404;
  record.reason = {};
  EXPECT_FALSE(json::parse(request_of(record, 3))["resourceSpans"][0]["scopeSpans"][0]["spans"][0].contains("status"));
  record.status = 0;
  EXPECT_EQ(json::parse(request_of(record, 3))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"]["code"], 2);
}

TEST(Otlp, NoByteOfARequestCanForgeASpanAndNoSecretIsTold) {
  proxy::AccessRecord record = sample();
  EXPECT_EQ(request_of(record).find("secret"), std::string::npos);
  std::string evil;
  for (int byte = 0; byte < 256; ++byte) evil += static_cast<char>(byte);
  evil += "\"}]}";
  record.method = record.target = record.host = record.route = record.route_path = record.request_id = record.client = record.peer = record.reason = evil;
  const std::string text = request_of(record);
  const json spans = json::parse(text)["resourceSpans"][0]["scopeSpans"][0]["spans"];
  EXPECT_EQ(spans.size(), 1U);
  for (const char c : text) ASSERT_TRUE(c >= ' ' && c <= '~');
}

TEST(Otlp, TheCollectorsAnswerIsReadWhateverItIs) {
  EXPECT_EQ(read_otlp_answer("{}").spans, 0U);
  EXPECT_EQ(read_otlp_answer(R"({"partialSuccess":{}})").spans, 0U);
  EXPECT_EQ(read_otlp_answer(R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}})").spans, 3U);
  EXPECT_EQ(read_otlp_answer(R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}})").message, "too old");
  EXPECT_EQ(read_otlp_answer(R"({"partialSuccess":{"rejectedSpans":4}})").spans, 4U);
  for (const char* text : {"", "x", "[]", "null", "{\"partialSuccess\":1}", "{\"partialSuccess\":{\"rejectedSpans\":-1}}",
                           "{\"partialSuccess\":{\"rejectedSpans\":\"1x\"}}", "{\"partialSuccess\":{\"rejectedSpans\":[]}}", "\xff"})
    EXPECT_EQ(read_otlp_answer(text).spans, 0U) << text;
}

TEST(Otlp, RetryAfterHasTwoForms) {
  constexpr std::int64_t kNow = 784'111'777'000;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(read_retry_after("7", kNow), milliseconds(7000));
  EXPECT_EQ(read_retry_after("0", kNow), milliseconds(0));
  EXPECT_EQ(read_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", kNow), milliseconds(10'000));
  EXPECT_EQ(read_retry_after("Sun, 06 Nov 1994 08:49:27 GMT", kNow), milliseconds(0));
  EXPECT_GT(read_retry_after("99999999999999999999999", kNow), milliseconds(1'000'000));
  for (const char* text : {"", "soon", "-1", "1.5", "7 "}) EXPECT_FALSE(read_retry_after(text, kNow)) << text;
}

}  // namespace
}  // namespace agent::drivers
