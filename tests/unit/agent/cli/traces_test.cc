#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/cli/verbs_traces.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::HasSubstr;

constexpr const char* kTrace =
    R"({"trace_id":"0af7651916cd43dd8448eb211c80319c","nodes":["n1","n2"],"silent":["n3"],"left_out":2,"spans":[)"
    R"({"span_id":"a","parent_id":"f","name":"POST /orders","kind":"server","node":"n1","service":"outrigger","start_us":1000000,"duration_us":8000,"failed":false,)"
    R"("attributes":{"http.response.status_code":201},"events":[]},)"
    R"({"span_id":"c","parent_id":"b","name":"ledger commit","kind":"internal","node":"n2","service":"outrigger","start_us":1003000,"duration_us":2000,"failed":false,)"
    R"("attributes":{"outrigger.order.state":"reserved","outrigger.raft.index":7},"events":[]},)"
    R"({"span_id":"b","parent_id":"a","name":"ledger reserve","kind":"internal","node":"n2","service":"outrigger","start_us":1002000,"duration_us":4000,"failed":false,)"
    R"("attributes":{},"events":[]},)"
    R"({"span_id":"x","parent_id":"x","name":"circle","kind":"internal","node":"n2","service":"trader","start_us":1007999,"duration_us":1,"failed":true,"attributes":{},"events":[]}]})";

class TracesTest : public CliTest {};

TEST_F(TracesTest, OneTraceIsAWaterfallWithEachSpanUnderItsParent) {
  const auto rows = waterfall(Json::parse(kTrace), 8);
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_EQ(rows[1][1], "POST /orders");
  EXPECT_EQ(rows[1][6], "|========|");
  EXPECT_EQ(rows[1][7], "201");
  EXPECT_EQ(rows[2][1], "  ledger reserve");
  EXPECT_EQ(rows[2][4], "2.000");
  EXPECT_EQ(rows[2][5], "4.000");
  EXPECT_EQ(rows[2][6], "|  ====  |");
  EXPECT_EQ(rows[3][1], "    ledger commit");
  EXPECT_EQ(rows[3][6], "|   ==   |");
  EXPECT_EQ(rows[3][7], "reserved, index 7");
  EXPECT_EQ(rows[4][1], "circle") << "a span beneath itself is shown all the same";
  EXPECT_EQ(waterfall(Json::parse(R"({"spans":7})"), 8).size(), 1U);
  EXPECT_EQ(waterfall(Json::parse(R"({"spans":[7,{"span_id":"a","start_us":"x"}]})"), 8).size(), 3U) << "whatever the answer is";
}

TEST_F(TracesTest, AsTextAndAsJson) {
  fake.answer(200, kTrace);
  const auto text = ask({"traces", "0af7651916cd43dd8448eb211c80319c"});
  EXPECT_EQ(text.code, kExitOk) << text.err;
  EXPECT_EQ(asked(), "GET /outrigger/v1/traces/0af7651916cd43dd8448eb211c80319c");
  EXPECT_THAT(text.out, HasSubstr("spans may be missing: n3"));
  EXPECT_THAT(text.out, HasSubstr("2 spans more were not kept"));
  fake.answer(200, kTrace);
  EXPECT_EQ(Json::parse(ask({"traces", "0af7651916cd43dd8448eb211c80319c", "-o", "json"}).out), Json::parse(kTrace));
}

TEST_F(TracesTest, WhatSpansSayCannotSpeakToTheTerminal) {
  // A span of anybody: a title, a cleared screen, a row of its own, 8-bit controls; and letters of two bytes that stay.
  fake.answer(200, R"({"trace_id":"0af\u001b[2J","nodes":[],"silent":["n\u001b3"],"left_out":0,"spans":[{"span_id":"a","name":"\u001b]0;x\u0007\u009b2Jhello\nfake row\u007f \u00fc",)"
                   R"("kind":"server","node":"n1","service":"\u001b[31mred","start_us":1,"duration_us":2,"failed":false,"attributes":{},"events":[]}]})");
  const auto one = ask({"traces", "0af7651916cd43dd8448eb211c80319c"});
  EXPECT_EQ(one.code, kExitOk) << one.err;
  EXPECT_EQ(std::count(one.out.begin(), one.out.end(), '\n'), 4) << one.out;
  EXPECT_TRUE(std::none_of(one.out.begin(), one.out.end(), [](char c) { return c == '\x1b' || c == '\x07' || c == '\x7f'; })) << one.out;
  EXPECT_EQ(one.out.find("\xc2\x9b"), std::string::npos);
  EXPECT_THAT(one.out, HasSubstr(R"(\x1b]0;x\x07\xc2\x9b2Jhello\x0afake row\x7f ü)"));
  EXPECT_THAT(one.out, HasSubstr(R"(trace 0af\x1b[2J)"));
  EXPECT_THAT(one.out, HasSubstr(R"(missing: n\x1b3)"));
  fake.answer(200, R"({"traces":[{"trace_id":"0af7","name":"a\nb","route":null,"status":200,"start_us":1,"duration_us":1,"spans":1,"order":null,"failed":false}]})");
  EXPECT_THAT(ask({"traces"}).out, HasSubstr(R"(a\x0ab)"));
}

TEST_F(TracesTest, TheListPassesItsFiltersOn) {
  fake.answer(200, R"({"node":"n1","kept":1,"traces":[{"trace_id":"0af7","name":"POST /orders","route":"orders","status":502,"start_us":1700000000123456,)"
                   R"("duration_us":12345,"spans":6,"left_out":0,"order":null,"failed":true}]})");
  const auto done = ask({"traces", "--min", "10ms", "--status", "5xx", "--route", "orders", "--order", "k 1", "--limit", "7"});
  EXPECT_EQ(done.code, kExitOk) << done.err;
  EXPECT_EQ(asked(), "GET /outrigger/v1/traces?limit=7&min=10ms&status=5xx&route=orders&order=k%201");
  EXPECT_THAT(done.out, HasSubstr("0af7   22:13:20  12.345   502 !   6      orders  POST /orders  -"));
  EXPECT_NE(ask({"traces", "--limit", "0"}).code, kExitOk);
}

}  // namespace
}  // namespace agent::cli
