#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/order_backend.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class FakeOrders final : public OrderBackend {
 public:
  OrderList list;
  std::map<std::string, OrderInfo> rows;
  mutable std::vector<OrderQuestion> questions;
  mutable std::vector<std::string> services;
  std::vector<OrderDecision> decisions;
  std::vector<ApprovalOrder> approvals;
  ArmingInfo arming_info;
  std::optional<Error> failure;

  OrderList orders(const OrderQuestion& question) const override {
    questions.push_back(question);
    return list;
  }
  std::optional<OrderInfo> order(const std::string& service, const std::string& zone, const std::string& key) const override {
    services.push_back(service);
    const auto found = rows.find(zone + "|" + key);
    return found == rows.end() ? std::nullopt : std::optional(found->second);
  }
  ArmingInfo arming(const std::string&) const override { return arming_info; }
  void decide(OrderDecision decision, Completion<OrderInfo> done) override {
    decisions.push_back(decision);
    failure ? done(tl::make_unexpected(*failure)) : done(rows.begin()->second);
  }
  void approve(ApprovalOrder approval, Completion<ArmingInfo> done) override {
    approvals.push_back(approval);
    failure ? done(tl::make_unexpected(*failure)) : done(arming_info);
  }
};

class OrdersApi : public testing::Test, public ApiHarness {
 protected:
  OrdersApi() {
    OrderInfo order;
    order.service = "trader";
    order.zone = "POST /orders";
    order.key = "k/1";
    order.state = "unknown";
    order.source = "lease";
    order.epoch = Epoch{9007199254740993U};
    order.node = NodeId{0xabc};
    order.changed = Index{12};
    order.answer_kept = "none";
    order.answer_body = "body";
    orders.rows["POST /orders|k/1"] = order;
    orders.list.orders = {order};
    orders.list.next = Index{5};
    orders.list.unknown = 1;
    backend.order_backend = &orders;
  }
  FakeOrders orders;
};

TEST_F(OrdersApi, ListsSayStateFenceAndWhereTheyGoOn) {
  const auto answer = ask("GET", "/outrigger/v1/orders?state=unknown&limit=7&from=3&service=other");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto body = Json::parse(answer.body);
  EXPECT_EQ(body.at("next"), 5);
  EXPECT_EQ(body.at("counts").at("unknown"), 1);
  const auto& row = body.at("orders").at(0);
  EXPECT_EQ(row.at("changed"), 12);
  EXPECT_EQ(row.at("epoch").get<std::uint64_t>(), 9007199254740993U);
  EXPECT_EQ(row.at("node"), "0000000000000abc");
  EXPECT_FALSE(row.at("answer").contains("body")) << "lists carry no answers";
  ASSERT_EQ(orders.questions.size(), 1U);
  EXPECT_EQ(orders.questions[0].filter, OrderFilter::kUnknown);
  EXPECT_EQ(orders.questions[0].limit, 7U);
  EXPECT_EQ(orders.questions[0].from, Index{3});
  EXPECT_EQ(orders.questions[0].service, "other");
  EXPECT_EQ(backend.barriers.size(), 1U) << "an old copy may lack the order that is asked about";
}

TEST_F(OrdersApi, QuestionsOutOfBoundsAreRefused) {
  for (const char* bad : {"state=done", "limit=0", "limit=1001", "limit=x", "from=-1"}) {
    EXPECT_EQ(ask("GET", std::string("/outrigger/v1/orders?") + bad).status, 400) << bad;
  }
  EXPECT_TRUE(orders.questions.empty());
}

TEST_F(OrdersApi, OneOrderIsFoundUnderItsDecodedNames) {
  const auto answer = ask("GET", "/outrigger/v1/orders/POST%20%2Forders/k%2F1");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(Json::parse(answer.body).at("answer").at("body"), "body");
  EXPECT_EQ(ask("GET", "/outrigger/v1/orders/POST%20%2Forders/k2").status, 404);
}

TEST_F(OrdersApi, ADecisionNeedsAStateAndAFence) {
  const std::string path = "/outrigger/v1/orders/POST%20%2Forders/k%2F1/resolve";
  for (const char* bad : {"", "[]", R"({"state":"done"})", R"({"state":"unknown","fence":12})", R"({"state":"done","fence":12,"status":99})",
                          R"({"state":"done","fence":12,"body":"x"})", R"({"state":"not_sent","fence":12,"status":201})", R"({"state":"done","fence":12,"sttus":201})",
                          R"({"state":"done","fence":12,"who":"a\r\nb"})", R"({"state":"done","fence":"12"})"}) {
    EXPECT_EQ(ask("POST", path, bad).status, 400) << bad;
  }
  EXPECT_TRUE(orders.decisions.empty());
  ASSERT_EQ(ask("POST", path, R"({"state":"done","status":201,"body":"{}","fence":18446744073709551615,"who":"ann","reason":"looked"})").status, 200);
  ASSERT_EQ(orders.decisions.size(), 1U);
  const OrderDecision& decision = orders.decisions[0];
  EXPECT_EQ(decision.zone, "POST /orders");
  EXPECT_EQ(decision.key, "k/1");
  EXPECT_TRUE(decision.done);
  EXPECT_EQ(decision.status, 201);
  EXPECT_EQ(decision.fence, Index{18446744073709551615U}) << "never through a double";
  EXPECT_EQ(decision.who, "ann");
  orders.failure = Error{Errc::kConflict, "it is done since entry 13", {}};
  const auto late = ask("POST", path, R"({"state":"not_sent","fence":12})");
  EXPECT_EQ(late.status, 409);
  EXPECT_THAT(late.body, HasSubstr("since entry 13"));
}

TEST_F(OrdersApi, ArmingIsToldAndApprovalsNameTheirEpoch) {
  orders.arming_info.service = "trader";
  orders.arming_info.configured = true;
  orders.arming_info.phase = "waiting";
  orders.arming_info.reason = "approval of epoch 7 is awaited";
  const auto body = Json::parse(ask("GET", "/outrigger/v1/arming").body);
  EXPECT_EQ(body.at("armed"), false);
  EXPECT_EQ(body.at("phase"), "waiting");
  EXPECT_EQ(body.at("approved_epoch"), nullptr);
  EXPECT_EQ(ask("POST", "/outrigger/v1/arming/approve", R"({"epoch":7,"force":true,"who":"ann"})").status, 200);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/arming/approve", R"({"epoch":9007199254740993})").status, 200);
  ASSERT_EQ(orders.approvals.size(), 2U);
  EXPECT_EQ(orders.approvals[0].epoch, Epoch{7});
  EXPECT_TRUE(orders.approvals[0].force);
  EXPECT_EQ(orders.approvals[1].epoch, Epoch{9007199254740993U});
  for (const char* blind : {"", "{}", R"({"epoch":null})", R"({"epoch":0})", R"({"force":true})"}) {
    const auto refused = ask("POST", "/outrigger/v1/arming/approve", blind);
    EXPECT_EQ(refused.status, 400) << blind;
    EXPECT_THAT(refused.body, HasSubstr("GET /outrigger/v1/arming says which one waits")) << blind;
  }
  for (const char* bad : {R"({"epoch":"7"})", R"({"forse":true})", "[]", "{"}) EXPECT_EQ(ask("POST", "/outrigger/v1/arming/approve", bad).status, 400) << bad;
  EXPECT_EQ(orders.approvals.size(), 2U);
}

TEST_F(OrdersApi, AnAgentThatHasNoLedgerSaysSo) {
  backend.order_backend = nullptr;
  EXPECT_EQ(ask("GET", "/outrigger/v1/orders").status, 503);
  EXPECT_EQ(ask("GET", "/outrigger/v1/arming").status, 503);
}

}  // namespace
}  // namespace agent::api
