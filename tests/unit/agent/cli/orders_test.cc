// "orders resolve --all-unknown": page by page, each order with its own fence.
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

class OrdersTest : public CliTest {
 protected:
  static std::string row(const std::string& key, int changed, std::uint64_t reserved_ms = 1'000) {
    return R"({"service":"trader","zone":"orders","key":")" + key + R"(","state":"unknown","changed":)" + std::to_string(changed) + R"(,"reserved_ms":)" + std::to_string(reserved_ms) + "}";
  }
  void page(const std::string& rows, const std::string& next, int unknown, const std::string& index) {
    fake.answer(200, R"({"orders":[)" + rows + R"(],"next":)" + next + R"(,"counts":{"reserved":0,"done":7,"not_sent":0,"unknown":)" + std::to_string(unknown) + "}}", "X-Consul-Index: " + index + "\r\n");
  }
  [[nodiscard]] static std::string fence(int changed) {
    return R"({"state":"not_sent","fence":)" + std::to_string(changed) + R"(,"who":"ann","reason":"none of them is there"})";
  }
  static std::vector<std::string> all(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words{"orders", "resolve", "--all-unknown", "not_sent", "--who", "ann", "--reason", "none of them is there"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

TEST_F(OrdersTest, EveryUnknownOrderIsDecidedWithItsOwnFence) {
  page(row("a", 11) + "," + row("b/1", 12), "15", 4, "40");
  fake.answer(200, R"({"key":"a","state":"not_sent"})");
  fake.answer(409, R"({"code":"conflict","message":"it is done since entry 39"})");
  page(row("c", 30) + "," + row("d", 41), "null", 3, "44");
  fake.answer(200, R"({"key":"c","state":"not_sent"})");
  const auto done = ask(all({"--yes"}));
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "2 orders are not_sent from now on; 1 changed meanwhile and 1 newer ones were left\n");
  EXPECT_EQ(done.err, "1 decided, 1 changed meanwhile, 0 left, of 4\n") << "told behind each page";
  const std::vector<std::string> asked{"GET /outrigger/v1/orders?state=unknown&limit=200", "POST /outrigger/v1/orders/orders/a/resolve " + fence(11),
                                       "POST /outrigger/v1/orders/orders/b%2F1/resolve " + fence(12), "GET /outrigger/v1/orders?state=unknown&limit=200&from=15",
                                       "POST /outrigger/v1/orders/orders/c/resolve " + fence(30)};
  EXPECT_EQ(fake.requests(), asked) << "d is unknown only since the question";
}

TEST_F(OrdersTest, OnlyThoseThatWereReservedBefore) {
  page(row("a", 11, 1'767'225'599'999) + "," + row("b", 12, 1'767'225'600'000), "null", 2, "40");
  fake.answer(200, R"({"key":"a","state":"done"})");
  const auto done = ask({"orders", "resolve", "--all-unknown", "done", "--status", "201", "--before", "2026-01-01T00:00:00Z", "--service", "t 1", "--who", "ann", "--yes", "-o", "json"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "{\n  \"unknown\": 2,\n  \"decided\": 1,\n  \"changed\": 0,\n  \"left\": 1\n}\n");
  ASSERT_EQ(fake.requests().size(), 2U);
  EXPECT_EQ(fake.requests()[0], "GET /outrigger/v1/orders?state=unknown&limit=200&service=t%201");
  EXPECT_EQ(fake.requests()[1], R"(POST /outrigger/v1/orders/orders/a/resolve?service=t%201 {"state":"done","fence":11,"who":"ann","reason":"","status":201})");
}

TEST_F(OrdersTest, NothingIsDecidedWithoutAYes) {
  page(row("a", 11), "null", 1, "40");
  const auto refused = ask(all({"-o", "json"}));
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.out.find("1 orders are unknown, and nobody is here to be asked"), std::string::npos) << refused.out;
  EXPECT_EQ(fake.requests().size(), 1U);
  page("", "null", 0, "40");
  EXPECT_EQ(ask(all()).out, "no order is unknown\n");
  page(row("a", 11), "null", 1, "");
  const auto undated = ask(all({"--yes"}));
  EXPECT_EQ(undated.code, 1);
  EXPECT_NE(undated.err.find("does not say of when its list is"), std::string::npos) << undated.err;
}

TEST_F(OrdersTest, AFailureEndsItAndSaysHowFarItCame) {
  page(row("a", 11) + "," + row("b", 12), "15", 3, "40");
  fake.answer(200, R"({"key":"a","state":"not_sent"})");
  fake.answer(503, R"({"code":"no_quorum","message":"no majority"})");
  const auto stopped = ask(all({"--yes"}));
  EXPECT_EQ(stopped.code, 1);
  EXPECT_EQ(stopped.out, "");
  EXPECT_EQ(stopped.err, "outrigger: no majority\n1 decided, 0 changed meanwhile, 0 left, of 3\nstopped there; what was decided is decided, run it again for the rest\n");
}

TEST_F(OrdersTest, WhatMakesNoSenseIsToldBeforeAnybodyIsAsked) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--all-unknown"}, "takes no order"},
      {{"--all-unknown", "perhaps"}, "takes no order"},
      {{"--all-unknown", "orders", "k", "done"}, "takes no order"},
      {{"--all-unknown", "done", "--fence", "7"}, "--fence is of one order"},
      {{"--all-unknown", "not_sent", "--status", "201"}, "has no --status"},
      {{"--all-unknown", "not_sent", "--before", "yesterday"}, "\"yesterday\" is no time such as 2026-11-22T10:00:00Z"},
      {{"--all-unknown", "not_sent", "--before", "2026-11-22T10:00:00Z!"}, "is no time"},
      {{"orders", "k"}, "which order"},
      {{"orders", "k", "done", "--yes"}, "are for --all-unknown"},
  };
  for (const auto& [words, said] : cases) {
    std::vector<std::string> line{"orders", "resolve"};
    line.insert(line.end(), words.begin(), words.end());
    const auto refused = ask(line);
    EXPECT_EQ(refused.code, 2) << said;
    EXPECT_NE(refused.err.find(said), std::string::npos) << refused.err;
  }
  EXPECT_TRUE(fake.requests().empty());
}

}  // namespace
}  // namespace agent::cli
