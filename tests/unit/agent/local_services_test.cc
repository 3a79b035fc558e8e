#include "agent/local_services.h"

#include <gmock/gmock.h>

#include "agent/catalog_rows.h"
#include "tests/unit/agent/lone_store.h"

namespace agent {
namespace {

namespace kv = store::kv;
using namespace std::chrono_literals;
using testing::IsEmpty;

class LocalServicesTest : public LoneCatalog {
 protected:
  const kv::ServiceInstance* row(const std::string& id) { return catalog().instance("n1", id); }
  const kv::Check* check(const std::string& id) { return catalog().check("n1", id); }
  bool has_status(const std::string& id, kv::CheckStatus status) {
    return until([&] { return check(id) != nullptr && check(id)->status == status; });
  }
  FileServices files(std::vector<api::ServiceRegistration> services, std::vector<api::CheckRegistration> checks = {}) {
    return {std::move(services), std::move(checks)};
  }
  api::ServiceRegistration with_ttl(const std::string& id) {
    auto out = service(id, "web");
    out.checks.push_back(ttl("service:" + id, id));
    return out;
  }
};

TEST_F(LocalServicesTest, WhatFilesNameIsRegisteredAndWhatTheyNoLongerNameIsRemoved) {
  found();
  local->set_files(files({with_ttl("a"), service("b", "web")}, {ttl("disk", "")}));
  ASSERT_TRUE(until([&] { return row("a") != nullptr && row("b") != nullptr && check("disk") != nullptr && check("service:a") != nullptr; }));
  EXPECT_EQ(row("a")->definition, kFromFile);
  ASSERT_TRUE(enter(service("by-hand", "web")));
  local->set_files(files({service("b", "web")}));
  ASSERT_TRUE(until([&] { return row("a") == nullptr && check("disk") == nullptr; }));
  EXPECT_NE(row("b"), nullptr);
  EXPECT_NE(row("by-hand"), nullptr) << "what was registered by hand is nobody's file's business";
  EXPECT_THAT(said, IsEmpty());
}

TEST_F(LocalServicesTest, WhatIsRightIsNotWrittenAgain) {
  found();
  local->set_files(files({with_ttl("a")}));
  ASSERT_TRUE(until([&] { return row("a") != nullptr && check("service:a") != nullptr; }));
  settle();
  const auto index = row("a")->modify;
  const kv::Index node = state().topic_index({kv::Topic::Kind::kNode, "n1"});
  const auto applied = kv::value(state().applied());
  for (int i = 0; i < 3; ++i) {
    local->set_files(files({with_ttl("a")}));
    settle();
  }
  EXPECT_EQ(kv::value(state().applied()), applied + 9) << "the log holds what settle() writes and nothing else";
  EXPECT_EQ(row("a")->modify, index);
  EXPECT_EQ(state().topic_index({kv::Topic::Kind::kNode, "n1"}), node);
}

TEST_F(LocalServicesTest, ARowChangedByOthersIsSetRightAgain) {
  found();
  local->set_files(files({service("a", "web")}));
  ASSERT_TRUE(until([&] { return row("a") != nullptr; }));
  kv::ServiceSet other;
  other.instance = *row("a");
  other.instance.port = 666;
  ASSERT_EQ(put(other), kv::Outcome::kDone);
  EXPECT_TRUE(until([&] { return row("a")->port == 80; }));
  ASSERT_EQ(put(kv::ServiceRemove{"n1", "a"}), kv::Outcome::kDone);
  EXPECT_TRUE(until([&] { return row("a") != nullptr; }));
}

TEST_F(LocalServicesTest, TheInstanceHasItsRowItsStatusAndGoesWhenItHasAnotherName) {
  found();
  api::Service own;
  own.id = own.name = "trader";
  local->set_instance(own, api::CheckStatus::kPassing, "fine");
  ASSERT_TRUE(has_status("service:trader", kv::CheckStatus::kPassing));
  EXPECT_EQ(row("trader")->definition, kOwnInstance);
  local->set_instance(own, api::CheckStatus::kCritical, "no answer");
  ASSERT_TRUE(has_status("service:trader", kv::CheckStatus::kCritical));
  EXPECT_EQ(check("service:trader")->output, "no answer");
  own.id = own.name = "broker";
  local->set_instance(own, api::CheckStatus::kPassing, "");
  EXPECT_TRUE(until([&] { return row("trader") == nullptr && row("broker") != nullptr; }));
}

TEST_F(LocalServicesTest, ATtlCheckHearsItsOwnerAndItsRowFollows) {
  found();
  auto web = service("web", "web");
  web.checks.push_back(ttl("service:web", "web"));
  ASSERT_TRUE(enter(web));
  ASSERT_TRUE(has_status("service:web", kv::CheckStatus::kCritical)) << "until somebody speaks for it";
  ASSERT_TRUE(until([&] { return local->live("service:web") != nullptr; }));
  EXPECT_EQ(local->update_ttl("service:web", api::CheckStatus::kPassing, "good"), std::optional(true));
  const auto written = answer<std::monostate>([&](api::CatalogBackend::Done done) { local->await_status("service:web", std::move(done)); });
  EXPECT_TRUE(written);
  EXPECT_EQ(check("service:web")->status, kv::CheckStatus::kPassing);
  EXPECT_EQ(local->update_ttl("service:web", api::CheckStatus::kPassing, "still"), std::optional(false)) << "nothing to wait for";
  EXPECT_EQ(local->live("service:web")->output, "still") << "the newest output is here, whatever the row says";
  EXPECT_EQ(local->update_ttl("nobody", api::CheckStatus::kPassing, ""), std::nullopt);
}

TEST_F(LocalServicesTest, ARestartGoesOnWithTheStatesOfTheRows) {
  found();
  auto web = service("web", "web");
  web.checks.push_back(ttl("service:web", "web", api::CheckStatus::kPassing));
  ASSERT_TRUE(enter(web));
  const auto node = state().topic_index({kv::Topic::Kind::kNode, "n1"});
  local = nullptr;
  make_local();
  ASSERT_TRUE(until([&] { return local->live("service:web") != nullptr; }));
  EXPECT_EQ(local->live("service:web")->state, drivers::CheckState::kPassing);
  settle();
  EXPECT_EQ(state().topic_index({kv::Topic::Kind::kNode, "n1"}), node) << "a restart of the agent is no change of the service";
}

TEST_F(LocalServicesTest, ProgramsRunOnlyWhereTheyMay) {
  found();
  api::CheckRegistration program = ttl("p", "");
  program.definition = {};
  program.definition.kind = api::CheckDefinition::Kind::kExec;
  program.definition.args = {"/bin/true"};
  program.definition.interval = 1h;
  ASSERT_EQ(put(kv::NodeSet{own_row()}), kv::Outcome::kDone);
  ASSERT_EQ(put(kv::CheckSet{to_store(program, "n1"), kv::KeepStatus::kReplace}), kv::Outcome::kDone);
  settle();
  EXPECT_EQ(local->live("p"), nullptr) << "a row that somebody has written makes nobody run anything";
  local->set_scripts(api::ScriptPolicy::kLocal);
  ASSERT_TRUE(until([&] { return local->live("p") != nullptr; }));
  local->set_scripts(api::ScriptPolicy::kNone);
  ASSERT_TRUE(until([&] { return local->live("p") == nullptr; }));
  local->set_scripts(api::ScriptPolicy::kFiles);
  local->set_files(files({}, {program}));
  EXPECT_TRUE(until([&] { return local->live("p") != nullptr; })) << "the same, word for word, is in a file";
}

TEST_F(LocalServicesTest, NothingIsProposedBeforeThereIsALeaderAndEverythingAfterwards) {
  local->set_files(files({service("a", "web")}));
  api::Service own;
  own.id = own.name = "trader";
  local->set_instance(own, api::CheckStatus::kPassing, "");
  for (int i = 0; i < 20; ++i) loop->poll();
  EXPECT_EQ(catalog().node("n1"), nullptr);
  found();
  EXPECT_TRUE(until([&] { return row("a") != nullptr && row("trader") != nullptr; })) << "and the node's row, which nobody has made";
}

TEST_F(LocalServicesTest, AWaiterWhoseOwnerGoesAwayIsNotCalled) {
  found();
  auto web = service("web", "web");
  web.checks.push_back(ttl("service:web", "web"));
  ASSERT_TRUE(enter(web));
  ASSERT_TRUE(until([&] { return local->live("service:web") != nullptr; }));
  ASSERT_TRUE(local->update_ttl("service:web", api::CheckStatus::kPassing, ""));
  std::optional<api::Result<std::monostate>> got;
  local->await_status("service:web", [&](api::Result<std::monostate> result) { got = std::move(result); });
  local.reset();
  settle();  // the write for the row comes back meanwhile
  EXPECT_FALSE(got);
}

}  // namespace
}  // namespace agent
