#include "agent/catalog_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/registration.h"

namespace agent {
namespace {

namespace kv = store::kv;
using namespace std::chrono_literals;
using testing::ElementsAre;
using Kind = api::CheckDefinition::Kind;

class CatalogRows : public ::testing::Test {
 protected:
  kv::StateMachine state;
  std::uint64_t index = 1;

  CatalogRows() {
    for (const char* name : {"n1", "n2"}) {
      kv::Node node;
      node.name = name;
      node.address = "10.0.0.1";
      apply(kv::NodeSet{node});
    }
  }
  void apply(kv::CommandBody body) {
    const auto applied = state.apply(kv::Index{++index}, kv::encode({{kv::NodeId{1}, index}, std::move(body)}));
    ASSERT_TRUE(applied) << applied.error().detail;
    ASSERT_EQ(applied->outcome, kv::Outcome::kDone);
  }
  void add(const std::string& node, const std::string& id, const std::string& owner) {
    kv::ServiceSet command;
    command.instance.node = node;
    command.instance.id = id;
    command.instance.name = "trader";
    command.instance.tags = {"blue"};
    command.instance.definition = owner;
    apply(std::move(command));
  }
  void elect(kv::NodeId holder, const std::string& node) {
    kv::LeaseAcquire acquire;
    acquire.service = "trader";
    acquire.holder = holder;
    acquire.holder_name = node;
    apply(acquire);
  }
  std::vector<std::string> tags(const std::string& node, const std::string& id) {
    return to_api(*state.catalog().instance(node, id), state).tags;
  }
};

TEST_F(CatalogRows, WithoutAnElectionThereAreNoDerivedTags) {
  add("n1", "trader", kOwnInstance);
  EXPECT_THAT(tags("n1", "trader"), ElementsAre("blue"));
}

TEST_F(CatalogRows, TheHoldersOwnInstanceIsThePrimary) {
  add("n1", "trader", kOwnInstance);
  add("n1", "second", "");
  add("n2", "trader", kOwnInstance);
  elect(kv::NodeId{7}, "n1");
  EXPECT_THAT(tags("n1", "trader"), ElementsAre("blue", "primary"));
  EXPECT_THAT(tags("n1", "second"), ElementsAre("blue", "replica")) << "another instance of that name on the same node";
  EXPECT_THAT(tags("n2", "trader"), ElementsAre("blue", "replica"));
  kv::LeaseRelease release;
  release.service = "trader";
  release.epoch = kv::Epoch{1};
  apply(release);
  EXPECT_THAT(tags("n1", "trader"), ElementsAre("blue", "replica")) << "vacant: nobody is";
}

TEST_F(CatalogRows, AServiceWithoutAnAgentsInstanceIsThePrimaryOnTheHoldersNode) {
  add("n2", "a", "");
  elect(kv::NodeId{8}, "n2");
  EXPECT_THAT(tags("n2", "a"), ElementsAre("blue", "primary"));
}

TEST_F(CatalogRows, ADefinitionSurvivesItsText) {
  api::CheckDefinition check;
  check.kind = Kind::kHttp;
  check.target = "https://h/x";
  check.method = "POST";
  check.body = "b\"\n";
  check.header = {{"A", {"1", "2"}}, {"B", {}}};
  check.tls_skip_verify = true;
  check.interval = 1500ms;
  check.timeout = 20ms;
  check.success_before_passing = 2;
  check.failures_before_critical = 3;
  check.deregister_after = 90min;
  check.from_file = true;
  EXPECT_EQ(api::parse_definition(api::definition_text(check)).value(), check);
  check = {};
  check.kind = Kind::kExec;
  check.args = {"/bin/sh", "-c", "exit 1"};
  EXPECT_EQ(api::parse_definition(api::definition_text(check)).value(), check);
  EXPECT_EQ(api::definition_text({}), "");
  EXPECT_EQ(api::parse_definition("").value(), api::CheckDefinition{});
}

TEST_F(CatalogRows, ATextThatWeDidNotWriteIsACheckThatSomebodyElseKeeps) {
  for (const char* text : {"x", "{}", "[]", R"({"kind":"odd"})", R"({"kind":"http","interval_ms":"1"})"}) {
    EXPECT_EQ(api::parse_definition(text).has_value(), std::string_view(text) == "{}") << text;
    kv::Check row;
    row.definition = text;
    EXPECT_EQ(plan_of(to_api(row, {})), std::nullopt) << text;
  }
}

TEST_F(CatalogRows, PlansHaveTheDefaultsOfTheirKind) {
  api::Check check;
  check.id = "c";
  check.definition.kind = Kind::kTcp;
  check.definition.interval = 1s;
  EXPECT_EQ(plan_of(check)->timeout, 10s);
  check.definition.kind = Kind::kExec;
  EXPECT_EQ(plan_of(check)->timeout, 30s);
  check.definition.timeout = 5s;
  EXPECT_EQ(plan_of(check)->timeout, 5s);
  check.definition.kind = Kind::kMaintenance;
  EXPECT_EQ(plan_of(check), std::nullopt);
}

TEST_F(CatalogRows, ServicesGoToRowsAndBack) {
  api::Service service;
  service.id = "i", service.name = "web", service.tags = {"t"}, service.address = "1.2.3.4", service.port = 65535;
  service.meta = {{"a", "b"}};
  service.tagged_addresses["lan"] = {"1.1.1.1", 5};
  service.weight_passing = 7, service.weight_warning = 0, service.enable_tag_override = true;
  kv::ServiceSet command;
  command.instance = to_store(service, "n1", "");
  apply(std::move(command));
  const api::Service back = to_api(*state.catalog().instance("n1", "i"), state);
  EXPECT_EQ(back.node, "n1");
  EXPECT_EQ(back.tags, service.tags);
  EXPECT_EQ(back.port, 65535);
  EXPECT_EQ(back.meta, service.meta);
  EXPECT_EQ(back.tagged_addresses, service.tagged_addresses);
  EXPECT_EQ(back.weight_passing, 7u);
  EXPECT_EQ(back.weight_warning, 0u);
  EXPECT_TRUE(back.enable_tag_override);
}

}  // namespace
}  // namespace agent
