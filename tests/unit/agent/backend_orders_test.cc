// What operators ask of orders and arming, over a real store of one node: approvals are of the epoch that whoever approves has seen.
#include "agent/backend_orders.h"

#include "agent/arming_driver.h"
#include "tests/unit/agent/lone_store.h"

namespace agent {
namespace {

namespace kv = store::kv;

class AgentOrdersTest : public LoneStore {
 protected:
  AgentOrdersTest() {
    found();
    OrderParts parts;
    parts.store = store.get();
    parts.write_timeout = io::kPatience;
    parts.service = "trader";
    parts.arming_configured = true;
    parts.log = [this](std::string_view what, const std::string& detail) { said.push_back(std::string(what) + " " + detail); };
    orders.emplace(std::move(parts));
  }
  static api::ApprovalOrder approval(std::uint64_t epoch, const std::string& who = "ann", bool force = false) {
    return {"", api::Epoch{epoch}, force, who, "positions checked"};
  }
  api::Result<api::ArmingInfo> approve(const api::ApprovalOrder& wanted) {
    return answer<api::ArmingInfo>([&](api::Completion<api::ArmingInfo> done) { orders->approve(wanted, std::move(done)); });
  }
  void next_epoch() {
    const kv::Lease* before = state().lease("trader");
    if (before != nullptr) put(kv::LeaseRelease{"trader", before->epoch, {}});
    lease("trader", "n2");
  }
  std::optional<Approval> row() {
    const kv::Entry* entry = state().get(approval_key("trader"));
    return entry == nullptr ? std::nullopt : parse_approval(entry->value);
  }
  /// Begun, and not waited for.
  void begin(const api::ApprovalOrder& wanted) {
    orders->approve(wanted, [this](api::Result<api::ArmingInfo> result) { answers.push_back(std::move(result)); });
  }

  std::vector<std::string> said;
  std::optional<AgentOrders> orders;
  std::vector<api::Result<api::ArmingInfo>> answers;
};

TEST_F(AgentOrdersTest, ManyUnknownOrdersAreWarnedOfAtEachDoubling) {
  OrderParts parts;
  parts.loop = loop.get();
  parts.store = store.get();
  parts.service = "trader";
  parts.unknown_warn = 2;
  parts.look_every = io::Milliseconds(1);
  std::vector<std::string> warned;
  parts.log = [&](std::string_view what, const std::string& detail) { warned.push_back(std::string(what) + " " + detail); };
  AgentOrders watching(std::move(parts));
  next_epoch();
  const auto unknown = [&](const std::string& key) {
    kv::OrderReserve reserve;
    reserve.name = {"trader", "orders", key};
    reserve.epoch = kv::Epoch{1};
    reserve.node = kv::NodeId{9};
    ASSERT_EQ(put(reserve), kv::Outcome::kDone);
    ASSERT_EQ(put(kv::OrderOutcome{reserve.name, state().orders().find(reserve.name)->reserved, kv::OrderState::kUnknown, {}, 1}), kv::Outcome::kDone);
  };
  unknown("a");
  unknown("b");
  ASSERT_TRUE(until([&] { return warned.size() == 1; }));
  EXPECT_TRUE(warned[0].starts_with("orders_unknown 2 orders are unknown: they end by the hook's or a person's decision alone")) << warned[0];
  unknown("c");
  bool looked = false;
  io::Timer looks(*loop, [&looked] { looked = true; });  // behind those that are due before it
  looks.arm_after(io::Milliseconds(20));
  ASSERT_TRUE(until([&] { return looked; }));
  unknown("d");
  ASSERT_TRUE(until([&] { return warned.size() == 2; }));
  EXPECT_TRUE(warned[1].starts_with("orders_unknown 4 orders")) << warned[1] << ": not at the third one";
}

TEST_F(AgentOrdersTest, AnApprovalIsOfTheEpochThatWaitsAndOfNoOther) {
  EXPECT_EQ(approve(approval(1)).error().code, api::Errc::kConflict) << "nobody is primary";
  next_epoch();
  next_epoch();
  EXPECT_EQ(state().lease("trader")->epoch, kv::Epoch{2});
  for (const std::uint64_t other : {1U, 3U}) {
    const auto refused = approve(approval(other));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, api::Errc::kConflict);
    EXPECT_NE(refused.error().detail.find("the present epoch is 2, not " + std::to_string(other)), std::string::npos) << refused.error().detail;
  }
  EXPECT_FALSE(row());
  const auto taken = approve(approval(2));
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->approved, api::Epoch{2});
  EXPECT_EQ(taken->approved_by, "ann");
  EXPECT_EQ(said.size(), 1U) << "those that were refused are in no log";
}

// The lease moves on, and somebody approves the new epoch, while an approval of the old one is on its way.
TEST_F(AgentOrdersTest, AnApprovalOfAnEpochThatIsOverReplacesNoNewerOne) {
  next_epoch();
  begin(approval(1, "late"));
  ASSERT_TRUE(until([&] { return !said.empty(); })) << "it was the right epoch when it was weighed";
  // Its row is not written yet; these go before it, or it goes before these.
  put(kv::LeaseRelease{"trader", kv::Epoch{1}, {}});
  lease("trader", "n2");
  put(kv::Set{approval_key("trader"), approval_text({Epoch{2}, false, "bob"}, ""), 0});
  ASSERT_TRUE(until([&] { return !answers.empty(); }));
  ASSERT_TRUE(row());
  EXPECT_EQ(row()->epoch, Epoch{2});
  EXPECT_EQ(row()->who, "bob");
}

TEST_F(AgentOrdersTest, AnApprovalThatIsOvertakenIsWeighedAgain) {
  next_epoch();
  // Somebody writes the row between the look and the write, every time.
  begin(approval(1, "late"));
  store->write(kv::LeaseRelease{"trader", kv::Epoch{1}, {}}, io::in_good_time(), [](const store::Result<store::Written>&) {});
  kv::LeaseAcquire acquire;
  acquire.service = "trader";
  acquire.holder = kv::NodeId{9};
  acquire.holder_name = "n2";
  acquire.lease_ms = 600'000;
  acquire.margin_ms = 500;
  store->write(acquire, io::in_good_time(), [](const store::Result<store::Written>&) {});
  store->write(kv::Set{approval_key("trader"), approval_text({Epoch{2}, false, "bob"}, ""), 0}, io::in_good_time(),
               [](const store::Result<store::Written>&) {});
  ASSERT_TRUE(until([&] { return !answers.empty(); }));
  ASSERT_FALSE(answers[0]);
  EXPECT_EQ(answers[0].error().code, api::Errc::kConflict);
  EXPECT_NE(answers[0].error().detail.find("the present epoch is 2, not 1"), std::string::npos) << answers[0].error().detail;
  EXPECT_EQ(row()->who, "bob");
}

TEST_F(AgentOrdersTest, TwoPeopleAtOnceAreBothHeard) {
  next_epoch();
  begin(approval(1, "ann"));
  begin(approval(1, "bob", true));
  ASSERT_TRUE(until([&] { return answers.size() == 2; }));
  for (const auto& one : answers) {
    ASSERT_TRUE(one) << one.error().detail;
    EXPECT_EQ(one->approved, api::Epoch{1});
  }
  ASSERT_TRUE(row());
  EXPECT_EQ(row()->epoch, Epoch{1});
  EXPECT_EQ(said.size(), 2U) << "each is in the log once";
}

}  // namespace
}  // namespace agent
