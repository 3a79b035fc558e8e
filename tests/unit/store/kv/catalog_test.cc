#include <gmock/gmock.h>

#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<std::string> ids(const std::vector<const Check*>& checks) {
  std::vector<std::string> found;
  for (const Check* check : checks) found.push_back(check->node + "/" + check->id);
  return found;
}
std::vector<std::string> ids(const std::vector<const ServiceInstance*>& instances) {
  std::vector<std::string> found;
  for (const ServiceInstance* instance : instances) found.push_back(instance->node + "/" + instance->id);
  return found;
}

class CatalogTest : public testing::Test {
 protected:
  void SetUp() override {
    m.run(NodeSet{node("n1")});
    m.run(NodeSet{node("n2", "10.0.0.2")});
    m.run(CheckSet{check_row("n1", "serfHealth"), KeepStatus::kReplace});
    m.run(ServiceSet{instance("n1", "web1", "web", {"a", "b"}), {check_row("n1", "service:web1", "web1")}, {}, {}});
    m.run(ServiceSet{instance("n2", "web2", "web", {"b", "c"}), {}, {}, {}});
    m.run(ServiceSet{instance("n1", "db1", "db"), {}, {}, {}});  // entry 6
  }
  [[nodiscard]] const Catalog& catalog() const { return m.state.catalog(); }
  Machine m;
};

TEST_F(CatalogTest, Lookups) {
  EXPECT_EQ(catalog().node("n2")->address, "10.0.0.2");
  EXPECT_EQ(catalog().node("n3"), nullptr);
  EXPECT_THAT(ids(catalog().instances_of_node("n1")), ElementsAre("n1/db1", "n1/web1"));
  EXPECT_THAT(ids(catalog().instances_of_service("web")), ElementsAre("n1/web1", "n2/web2"));
  EXPECT_THAT(ids(catalog().instances_of_service("none")), IsEmpty());
  EXPECT_THAT(catalog().tags_of_service("web"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(ids(catalog().checks_of_instance("n1", "web1")), ElementsAre("n1/serfHealth", "n1/service:web1"));
  EXPECT_THAT(ids(catalog().checks_of_instance("n2", "web2")), IsEmpty());
  EXPECT_THAT(ids(catalog().checks_of_service("web")), ElementsAre("n1/service:web1"));
  EXPECT_THAT(ids(catalog().checks_of_node("n1")), ElementsAre("n1/serfHealth", "n1/service:web1"));
  EXPECT_THAT(ids(catalog().checks_in(CheckStatus::kPassing)), SizeIs(2));
  EXPECT_THAT(ids(catalog().checks_in(CheckStatus::kCritical)), IsEmpty());
  EXPECT_EQ(catalog().check("n1", "service:web1")->service_name, "web");
  EXPECT_THAT(catalog().service_names(), SizeIs(2));
  m.expect_mirrored();
}

TEST_F(CatalogTest, AnIdenticalRegistrationMovesNoIndexAndWakesNobody) {
  m.expect_mirrored();
  const auto watch = m.state.watch({Topic::Kind::kService, "web"}, m.now());
  EXPECT_EQ(m.outcome(NodeSet{node("n1")}), Outcome::kUnchanged);
  EXPECT_EQ(m.outcome(ServiceSet{instance("n1", "web1", "web", {"a", "b"}),
                                 {check_row("n1", "service:web1", "web1", CheckStatus::kCritical)},
                                 OldChecks::kRemove, KeepStatus::kKeep}),
            Outcome::kUnchanged)
      << "the check keeps the status that it has";
  EXPECT_EQ(m.outcome(CheckStatusSet{"n1", "serfHealth", CheckStatus::kPassing, ""}), Outcome::kUnchanged);
  EXPECT_EQ(catalog().service_index("web"), Index{5});
  EXPECT_EQ(catalog().services_index(), Index{6});
  EXPECT_THAT(m.state.take_woken(), IsEmpty());
  m.state.unwatch(*watch);
  m.expect_mirrored();
}

TEST_F(CatalogTest, IndexesMoveWithWhatTheyAreAbout) {
  m.run(CheckStatusSet{"n1", "service:web1", CheckStatus::kWarning, "slow"});
  EXPECT_EQ(catalog().service_index("web"), m.now());
  EXPECT_EQ(catalog().service_index("db"), Index{6}) << "another service's check";
  EXPECT_EQ(catalog().checks_index(), m.now());
  EXPECT_EQ(catalog().node_index("n1"), m.now());
  EXPECT_EQ(catalog().services_index(), Index{6}) << "names and tags are the same";
  EXPECT_EQ(catalog().nodes_index(), Index{2});
  m.run(CheckStatusSet{"n1", "serfHealth", CheckStatus::kCritical, "gone"});
  EXPECT_EQ(catalog().service_index("db"), m.now()) << "a node's check is a check of all its services";
  m.run(NodeSet{node("n2", "10.0.0.9")});
  EXPECT_EQ(catalog().service_index("web"), m.now()) << "its answers show the address";
  EXPECT_EQ(catalog().nodes_index(), m.now());
  EXPECT_EQ(catalog().services_index(), Index{6});
  m.run(ServiceSet{instance("n1", "db1", "db", {"new"}), {}, {}, {}});
  EXPECT_EQ(catalog().services_index(), m.now());
}

TEST_F(CatalogTest, AnIndexNeverGoesBackWhenTheLastInstanceIsGone) {
  const Index before = catalog().service_index("db");
  m.run(ServiceRemove{"n1", "db1"});
  EXPECT_GT(catalog().service_index("db"), before);
  const Index gone = catalog().service_index("db");
  m.expect_mirrored();
  StateMachine again;
  ASSERT_TRUE(again.load(m.state.applied(), m.state.records()));
  EXPECT_EQ(again.catalog().service_index("db"), gone) << "a restart remembers";
  EXPECT_THAT(catalog().service_names(), SizeIs(1));
  EXPECT_EQ(catalog().service_index("never"), Index{1});
}

TEST_F(CatalogTest, RemovingANodeTakesEverythingOfItsOwn) {
  EXPECT_EQ(m.outcome(NodeRemove{"n1"}), Outcome::kDone);
  EXPECT_EQ(m.outcome(NodeRemove{"n1"}), Outcome::kNotFound);
  EXPECT_EQ(catalog().node("n1"), nullptr);
  EXPECT_EQ(catalog().instance_count(), 1U);
  EXPECT_EQ(catalog().check_count(), 0U);
  EXPECT_THAT(ids(catalog().instances_of_service("web")), ElementsAre("n2/web2"));
  EXPECT_EQ(catalog().service_index("db"), Index{m.index() - 1});
  m.run(NodeRemove{"n2"});
  EXPECT_EQ(catalog().bytes(), 0U) << "what comes in goes out again";
  m.expect_mirrored();
}

TEST_F(CatalogTest, OldChecksStayUnlessAskedOtherwise) {
  m.run(ServiceSet{instance("n1", "web1", "web", {"a", "b"}), {check_row("n1", "second", "web1")}, {}, {}});
  EXPECT_THAT(ids(catalog().checks_of_service("web")), ElementsAre("n1/second", "n1/service:web1"));
  m.run(ServiceSet{instance("n1", "web1", "web", {"a", "b"}), {check_row("n1", "second", "web1")}, OldChecks::kRemove, {}});
  EXPECT_THAT(ids(catalog().checks_of_service("web")), ElementsAre("n1/second"));
  m.expect_mirrored();
}

TEST_F(CatalogTest, AnInstanceUnderAnotherNameLeavesTheOldService) {
  m.run(ServiceSet{instance("n1", "web1", "shop"), {}, {}, {}});
  EXPECT_THAT(ids(catalog().instances_of_service("web")), ElementsAre("n2/web2"));
  EXPECT_THAT(ids(catalog().instances_of_service("shop")), ElementsAre("n1/web1"));
  EXPECT_EQ(catalog().service_index("web"), m.now());
  m.expect_mirrored();
}

TEST_F(CatalogTest, WhatIsMissingIsNamed) {
  EXPECT_EQ(m.run(ServiceSet{instance("n9", "x", "x"), {}, {}, {}}).detail, "node 'n9'");
  EXPECT_EQ(m.run(CheckSet{check_row("n9", "c"), {}}).detail, "node 'n9'");
  EXPECT_EQ(m.run(CheckSet{check_row("n1", "c", "none"), {}}).detail, "service 'none'");
  EXPECT_EQ(m.run(CheckStatusSet{"n1", "none", CheckStatus::kPassing, ""}).detail, "check 'none'");
  EXPECT_EQ(m.run(CheckRemove{"n1", "none"}).outcome, Outcome::kNotFound);
  EXPECT_EQ(m.run(ServiceRemove{"n1", "none"}).outcome, Outcome::kNotFound);
}

TEST_F(CatalogTest, TopicsWake) {
  const auto wait = [&](Topic::Kind kind, const std::string& name) { return *m.state.watch({kind, name}, m.now()); };
  const WatchId service = wait(Topic::Kind::kService, "web");
  const WatchId services = wait(Topic::Kind::kServices, "");
  const WatchId one = wait(Topic::Kind::kNode, "n2");
  const WatchId nodes = wait(Topic::Kind::kNodes, "");
  const WatchId checks = wait(Topic::Kind::kChecks, "");
  m.run(CheckSet{check_row("n2", "c", "web2"), {}});
  EXPECT_THAT(m.state.take_woken(), testing::UnorderedElementsAre(service, one, checks));
  m.run(ServiceRemove{"n2", "web2"});
  EXPECT_THAT(m.state.take_woken(), ElementsAre(services));
  m.run(NodeRemove{"n2"});
  EXPECT_THAT(m.state.take_woken(), ElementsAre(nodes));
}

TEST_F(CatalogTest, BoundsOfRows) {
  ServiceInstance wanted = instance("n1", "x", "x");
  wanted.tags.assign(kTagsMax + 1, "t");
  EXPECT_EQ(check(ServiceSet{wanted, {}, {}, {}}).error().code, Errc::kTooLarge);
  wanted = instance("n1", "x", "x");
  wanted.port = 65'536;
  EXPECT_EQ(check(ServiceSet{wanted, {}, {}, {}}).error().code, Errc::kMalformed);
  wanted = instance("n1", "", "x");
  EXPECT_EQ(check(ServiceSet{wanted, {}, {}, {}}).error().code, Errc::kBadKey);
  wanted = instance("n1", "x", "x");
  EXPECT_EQ(check(ServiceSet{wanted, {check_row("n1", "c", "other")}, {}, {}}).error().code, Errc::kMalformed);
  Check row = check_row("n1", "c");
  row.output.assign(kOutputBytesMax + 1, 'x');
  EXPECT_EQ(check(CheckSet{row, {}}).error().code, Errc::kTooLarge);
  Node home = node("n1");
  for (std::size_t i = 0; i <= kMetaMax; ++i) home.meta["k" + std::to_string(i)] = "v";
  EXPECT_EQ(check(NodeSet{home}).error().code, Errc::kTooLarge);
}

TEST(CatalogBounds, TheCatalogSaysWhatIsFull) {
  Machine m;
  m.run(NodeSet{node("n1")});
  ServiceInstance big = instance("n1", "x", "x");
  big.definition.assign(kDefinitionBytesMax, 'x');
  Applied last;
  for (std::size_t i = 0; i < 5'000 && last.outcome == Outcome::kDone; ++i) {
    big.id = "x" + std::to_string(i);
    last = m.run(ServiceSet{big, {}, {}, {}});
  }
  EXPECT_EQ(last.outcome, Outcome::kFull);
  EXPECT_THAT(last.detail, HasSubstr("64 MiB"));
  EXPECT_LE(m.state.catalog().bytes(), kCatalogBytesMax);
}

TEST(Counters, AForgottenNameIsNeverBelowWhatItWas) {
  IndexCounters counters;
  Journal journal;
  for (std::uint64_t i = 0; i < kIndexCountersMax + 10; ++i)
    counters.touch("S" + std::to_string(i), Index{100 + i}, journal);
  EXPECT_EQ(counters.all().size(), kIndexCountersMax);
  EXPECT_EQ(counters.of("S0"), Index{109}) << "the floor";
  EXPECT_GE(counters.of("never"), Index{109});
  EXPECT_EQ(counters.of("S10"), Index{110});
}

}  // namespace
}  // namespace store::kv
