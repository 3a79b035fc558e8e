#include "agent/reconcile_words.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace agent {
namespace {

TEST(ReconcileWords, TheHookIsToldWhatItHasToLookFor) {
  AskHook ask;
  ask.epoch = Epoch{18'446'744'073'709'551'615U};
  ask.more = true;
  OrderSeen seen;
  seen.zone = "POST /orders";
  seen.key = "k\"1";
  seen.fingerprint = "9b";
  seen.reserved_ms = 1'760'000'000'000;
  seen.attempt = 2;
  seen.epoch = 6;
  ask.orders = {seen};
  const auto json = nlohmann::json::parse(reconcile_question(ask, "trader", "n2"));
  EXPECT_EQ(json.at("epoch").get<std::uint64_t>(), 18'446'744'073'709'551'615U) << "never through a double";
  EXPECT_EQ(json.at("service"), "trader");
  EXPECT_EQ(json.at("node"), "n2");
  EXPECT_EQ(json.at("armed"), false);
  EXPECT_EQ(json.at("more"), true);
  EXPECT_EQ(json.at("orders").at(0), (nlohmann::json{{"zone", "POST /orders"}, {"key", "k\"1"}, {"state", "unknown"}, {"fingerprint", "9b"},
                                                     {"reserved_ms", 1'760'000'000'000}, {"attempt", 2}, {"epoch", 6}}));
}

TEST(ReconcileWords, VerdictsAreReadWithTheirAnswers) {
  const HookAnswer answer = reconcile_answer(R"({"verdicts": [
    {"zone": "z", "key": "a", "state": "done", "status": 201, "body": {"id": 7}},
    {"zone": "z", "key": "b", "state": "done", "status": null, "body": null},
    {"zone": "z", "key": "c", "state": "not_sent"}, {"zone": "z", "key": "d", "state": "unknown"}], "flat": false})");
  ASSERT_TRUE(answer.ok) << answer.detail;
  ASSERT_EQ(answer.findings.size(), 4u);
  EXPECT_EQ(answer.findings[0].status, 201);
  EXPECT_EQ(answer.findings[0].body, "{\"id\":7}");
  EXPECT_EQ(answer.findings[1].standing, OrderStanding::kDone);
  EXPECT_EQ(answer.findings[1].status, 0);
  EXPECT_EQ(answer.findings[2].standing, OrderStanding::kNotSent);
  EXPECT_EQ(answer.findings[3].standing, OrderStanding::kUnknown);
  EXPECT_EQ(answer.flat, false);
  EXPECT_TRUE(reconcile_answer("{}").ok);
  EXPECT_FALSE(reconcile_answer("{}").flat.has_value());
}

TEST(ReconcileWords, WhatIsNoAnswerIsRefusedAsAWholeAndSaysWhy) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"", "said nothing"},
           {"ok", ""},
           {"[]", "no JSON object"},
           {"{\"flat\": 1}", "\"flat\""},
           {"{\"verdicts\": {}}", "\"verdicts\""},
           {R"({"verdicts": [{"zone": "z", "state": "done"}]})", "without \"key\""},
           {R"({"verdicts": [{"key": "k", "state": "done"}]})", "\"zone\""},
           {R"({"verdicts": [{"zone": "z", "key": "k", "state": "maybe"}]})", "\"state\""},
           {R"({"verdicts": [{"zone": "z", "key": "k", "state": "reserved"}]})", "\"state\""},
           {R"({"verdicts": [{"zone": "z", "key": "a", "state": "not_sent"}, {"zone": "z", "key": "k", "state": "done", "status": 99}]})", "\"status\""},
           {R"({"verdicts": [{"zone": "z", "key": "k", "state": "done", "status": 201.5}]})", "\"status\""},
           {R"({"verdicts": [{"zone": "z", "key": "k", "state": "done", "status": 201, "body": ")" + std::string(kFindingBodyBytesMax + 1, 'x') + "\"}]}", "\"body\""},
           {std::string(kHookAnswerBytesMax + 1, ' '), "1 MiB"},
           {std::string(100'000, '['), ""}}) {
    const HookAnswer answer = reconcile_answer(text);
    EXPECT_FALSE(answer.ok) << text.substr(0, 80);
    EXPECT_TRUE(answer.findings.empty());
    EXPECT_NE(answer.detail.find(why), std::string::npos) << answer.detail;
  }
}

}  // namespace
}  // namespace agent
