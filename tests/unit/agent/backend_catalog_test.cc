#include "agent/backend_catalog.h"

#include <gmock/gmock.h>

#include "agent/joint_watches.h"
#include "tests/unit/agent/lone_store.h"

namespace agent {
namespace {

namespace kv = store::kv;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using Kind = api::Topic::Kind;

class BackendCatalog : public LoneCatalog {
 protected:
  JointWatches watches{*store};

  /// As a blocked query does: reads, waits above the index that it has read, and counts its wake-ups.
  struct Wait {
    api::Index index{};
    int woken = 0;
  };
  std::unique_ptr<Wait> wait(const api::Topic& topic) {
    auto out = std::make_unique<Wait>();
    out->index = backend->catalog_index(topic);
    EXPECT_TRUE(watches.add(backend->topics_of(topic), kv::Index{static_cast<std::uint64_t>(out->index)}, [it = out.get()] { ++it->woken; }));
    return out;
  }
  std::vector<std::string> tags_of(const std::string& name) {
    const auto found = backend->instances_of(name);
    return found.value.empty() ? std::vector<std::string>{"nothing there"} : found.value[0].service.tags;
  }
};

TEST_F(BackendCatalog, AQueryBlockedBeforeAnyLeaseReturnsWithTheFirst) {
  found();
  ASSERT_TRUE(enter(service("web-1", "web")));
  ASSERT_TRUE(enter(service("db-1", "db")));
  const api::Topic web{Kind::kService, "web"}, db{Kind::kService, "db"}, list{Kind::kServices, {}}, node{Kind::kNode, "n1"};
  const auto of_web = wait(web), of_db = wait(db), of_list = wait(list), of_node = wait(node);
  settle();
  EXPECT_EQ(of_web->woken + of_db->woken + of_list->woken + of_node->woken, 0) << "nothing has happened yet";
  EXPECT_THAT(tags_of("web"), Not(Contains("primary")));
  lease("web", "n1");
  ASSERT_TRUE(until([&] { return of_web->woken == 1 && of_list->woken == 1 && of_node->woken == 1; }));
  EXPECT_EQ(of_db->woken, 0) << "another service's lease";
  EXPECT_GT(backend->catalog_index(web), of_web->index);
  EXPECT_GT(backend->catalog_index(list), of_list->index);
  EXPECT_GT(backend->catalog_index(node), of_node->index);
  EXPECT_EQ(backend->catalog_index(db), of_db->index);
  EXPECT_THAT(tags_of("web"), ElementsAre("primary"));
  EXPECT_THAT(backend->services().value.at("web"), ElementsAre("primary", "replica"));
  EXPECT_EQ(backend->instances_of("web").index, backend->catalog_index(web)) << "the answer carries what is waited for";
  EXPECT_EQ(backend->services().index, backend->catalog_index(list));
  EXPECT_EQ(backend->node("n1").index, backend->catalog_index(node));
}

TEST_F(BackendCatalog, AChangeOfThePrimaryWakesWhoeverSeesTheTag) {
  found();
  ASSERT_TRUE(enter(service("web-1", "web")));
  lease("web", "n1");
  const auto of_web = wait({Kind::kService, "web"}), of_list = wait({Kind::kServices, {}}), of_node = wait({Kind::kNode, "n1"});
  settle();
  EXPECT_EQ(of_web->woken, 0) << "the lease of before is not a change";
  ASSERT_EQ(put(kv::LeaseRelease{"web", kv::Epoch{1}, {}}), kv::Outcome::kDone);
  ASSERT_TRUE(until([&] { return of_web->woken == 1 && of_node->woken == 1; }));
  EXPECT_EQ(of_list->woken, 0) << "the list names the tags, not who has them";
  EXPECT_THAT(tags_of("web"), ElementsAre("replica"));
}

TEST_F(BackendCatalog, NoQueryTakesMoreThanTwoWaits) {
  for (const auto kind : {Kind::kService, Kind::kServices, Kind::kNode, Kind::kNodes, Kind::kChecks, Kind::kEvents})
    EXPECT_LE(backend->topics_of({kind, "x"}).size(), 2u) << "the store has room for 10,000 queries of two";
}

TEST_F(BackendCatalog, RegistrationsAreBoundedAndTheOwnInstanceIsNotTaken) {
  found();
  api::Service own;
  own.id = own.name = "trader";
  local->set_instance(own, api::CheckStatus::kPassing, "");
  ASSERT_TRUE(until([&] { return catalog().instance("n1", "trader") != nullptr; }));
  EXPECT_EQ(enter(service("trader", "x")).error().code, api::Errc::kConflict);
  const auto gone = answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->deregister_service("trader", std::move(done)); });
  EXPECT_EQ(gone.error().code, api::Errc::kConflict);
  auto many = service("many", "many");
  for (std::size_t i = 0; i <= drivers::CheckSchedule::kChecksMax; ++i) many.checks.push_back(ttl("c" + std::to_string(i), "many"));
  EXPECT_EQ(enter(std::move(many)).error().code, api::Errc::kTooLarge);
  EXPECT_EQ(catalog().instance("n1", "many"), nullptr);
}

TEST_F(BackendCatalog, ChecksOfUnknownServicesAndOfTheMeshAreRefused) {
  found();
  const auto set = [&](api::CheckRegistration check) {
    return answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->register_check(std::move(check), std::move(done)); });
  };
  EXPECT_EQ(set(ttl("c", "nobody")).error().detail, "ServiceID \"nobody\" does not exist");
  EXPECT_EQ(set(ttl("serfHealth", "")).error().code, api::Errc::kConflict);
  ASSERT_TRUE(set(ttl("c", ""))) << "of the node, whose row is made first";
  ASSERT_NE(catalog().check("n1", "c"), nullptr);
  const auto update = answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->update_check("x", api::CheckStatus::kPassing, "", std::move(done)); });
  EXPECT_EQ(update.error().detail, "CheckID \"x\" does not have associated TTL");
}

TEST_F(BackendCatalog, MaintenanceTakesAServiceOutAndBack) {
  found();
  ASSERT_TRUE(enter(service("web-1", "web")));
  const auto maintain = [&](const std::string& id, bool enable) {
    return answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->set_maintenance(id, enable, "why", std::move(done)); });
  };
  ASSERT_TRUE(maintain("web-1", true));
  EXPECT_EQ(backend->instances_of("web").value.at(0).status(), api::CheckStatus::kCritical);
  ASSERT_TRUE(maintain("web-1", false));
  EXPECT_EQ(backend->instances_of("web").value.at(0).status(), api::CheckStatus::kPassing);
  EXPECT_TRUE(maintain("web-1", false)) << "it was off already";
  EXPECT_EQ(maintain("nobody", true).error().code, api::Errc::kNotFound);
}

TEST_F(BackendCatalog, NodesOfOthersAreRegisteredAndAgentsAreNot) {
  found();
  const auto set = [&](api::CatalogRegistration registration) {
    return answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->catalog_register(std::move(registration), std::move(done)); });
  };
  api::CatalogRegistration out;
  out.node.name = "ext";
  out.node.address = "10.9.9.9";
  out.service = service("db", "db").service;
  ASSERT_TRUE(set(out));
  ASSERT_NE(catalog().instance("ext", "db"), nullptr);
  out.node.id = "no uuid";
  EXPECT_EQ(set(out).error().code, api::Errc::kBadRequest);
  ASSERT_EQ(put(kv::NodeSet{own_row()}), kv::Outcome::kDone);
  kv::Check alive;
  alive.node = "n1";
  alive.id = std::string(api::kSerfHealth);
  ASSERT_EQ(put(kv::CheckSet{alive, kv::KeepStatus::kReplace}), kv::Outcome::kDone);
  api::CatalogRegistration agent;
  agent.node.name = "n1";
  agent.node.address = "6.6.6.6";
  EXPECT_EQ(set(agent).error().code, api::Errc::kRefused) << "an agent of ours speaks for itself";
  EXPECT_EQ(catalog().node("n1")->address, "10.0.0.1");
}

TEST_F(BackendCatalog, WithoutALeaderACommandSaysSoAndAReadGoesOn) {
  make_backend(io::Milliseconds(50));
  const auto refused = enter(service("web", "web"));
  EXPECT_EQ(refused.error().code, api::Errc::kNoLeader);
  EXPECT_TRUE(backend->services().value.empty());
  EXPECT_EQ(backend->catalog_index({Kind::kServices, {}}), api::Index{1}) << "never 0";
}

TEST_F(BackendCatalog, DestructionInMidCommandCallsNobody) {
  found();
  backend->register_service(service("web", "web"), [](const api::Result<std::monostate>&) { FAIL() << "nobody is there any more"; });
  backend.reset();
  settle();
}

}  // namespace
}  // namespace agent
