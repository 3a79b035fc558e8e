#include "agent/dns_catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace agent {
namespace {

using testing::ElementsAre;

/// A view that counts how often it is asked for copies.
struct CountedView final : api::CatalogView {
  std::map<std::string, std::vector<api::ServiceInstance>> of;  ///< by lower-case name
  std::vector<api::Node> all_nodes;
  std::vector<std::string> more_names;  ///< of services that nobody asks for
  std::uint64_t index = 1;  ///< of everything
  mutable int reads = 0;
  mutable std::string asked;  ///< name of the service whose instances were read last

  template <typename T>
  [[nodiscard]] api::Indexed<T> answer(T value) const {
    ++reads;
    return {std::move(value), api::Index{index}};
  }
  [[nodiscard]] api::Indexed<std::vector<api::Node>> nodes() const override { return answer(all_nodes); }
  [[nodiscard]] api::Indexed<std::optional<api::NodeServices>> node(const std::string&) const override {
    return answer(std::optional<api::NodeServices>());
  }
  [[nodiscard]] api::Indexed<std::map<std::string, std::vector<std::string>>> services() const override {
    std::map<std::string, std::vector<std::string>> names;
    for (const auto& [lower, instances] : of) names[instances.at(0).service.name];
    for (const auto& name : more_names) names[name];
    return answer(names);
  }
  [[nodiscard]] api::Indexed<std::vector<api::ServiceInstance>> instances_of(const std::string& service) const override {
    asked = service;
    const auto it = of.find(dns::lower_case(service));
    return answer(it == of.end() ? std::vector<api::ServiceInstance>() : it->second);
  }
  [[nodiscard]] api::Indexed<std::vector<api::Check>> checks_of(const std::string&) const override {
    return answer(std::vector<api::Check>());
  }
  [[nodiscard]] api::Indexed<std::vector<api::Check>> checks_in(std::optional<api::CheckStatus>) const override {
    return answer(std::vector<api::Check>());
  }
  [[nodiscard]] api::Indexed<std::vector<api::Event>> events() const override { return answer(std::vector<api::Event>()); }
  [[nodiscard]] api::Index catalog_index(const api::Topic&) const override { return api::Index{index}; }

  api::ServiceInstance& add(const std::string& name, const std::string& address = {}) {
    api::ServiceInstance made;
    made.node.name = "N1";
    made.node.address = "10.0.0.1";
    made.service.name = name;
    made.service.address = address;
    made.service.port = 80;
    made.service.weight_passing = 7;
    made.service.weight_warning = 3;
    return of[dns::lower_case(name)].emplace_back(made);
  }
};

class DnsCatalogTest : public testing::Test {
 protected:
  CountedView view;
  DnsCatalog catalog{view, [] { return std::uint64_t{77}; }};
};

TEST_F(DnsCatalogTest, NotReadyUntilSaid) {
  EXPECT_FALSE(catalog.ready());
  catalog.set_ready();
  EXPECT_TRUE(catalog.ready());
  EXPECT_EQ(catalog.version(), 77U);
}

TEST_F(DnsCatalogTest, TranslatesAnInstance) {
  view.add("Web", "2001:db8::1").service.tags = {"blue", "primary"};
  const auto all = catalog.instances("web");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].node, "N1");
  EXPECT_EQ(all[0].node_place, dns::Place::parse("10.0.0.1"));
  EXPECT_EQ(all[0].place, dns::Place::parse("2001:db8::1"));
  EXPECT_EQ(all[0].port, 80);
  EXPECT_EQ(all[0].weight, 7);
  EXPECT_EQ(all[0].health, dns::Health::kPassing);
  EXPECT_THAT(all[0].tags, ElementsAre("blue", "primary"));
  EXPECT_TRUE(catalog.instances("other").empty());
}

TEST_F(DnsCatalogTest, TheWorstCheckCounts) {
  auto& instance = view.add("web");
  instance.checks.resize(2);
  instance.checks[0].status = api::CheckStatus::kPassing;
  instance.checks[1].status = api::CheckStatus::kWarning;
  EXPECT_EQ(catalog.instances("web")[0].health, dns::Health::kWarning);
  EXPECT_EQ(catalog.instances("web")[0].weight, 3);
  instance.checks[0].status = api::CheckStatus::kCritical;
  ++view.index;
  EXPECT_EQ(catalog.instances("web")[0].health, dns::Health::kCritical);
}

TEST_F(DnsCatalogTest, WeightsThatSrvCannotSayAreCut) {
  view.add("web").service.weight_passing = 70000;
  EXPECT_EQ(catalog.instances("web")[0].weight, 65535);
}

TEST_F(DnsCatalogTest, CopiesOnlyWhatHasChanged) {
  view.add("web");
  view.all_nodes.push_back({});
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(catalog.instances("web").empty());
    EXPECT_EQ(catalog.node("n1"), nullptr);
  }
  EXPECT_EQ(view.reads, 3) << "names, instances, nodes";
  view.add("web");
  EXPECT_EQ(catalog.instances("web").size(), 1U) << "the index has not moved";
  ++view.index;
  EXPECT_EQ(catalog.instances("web").size(), 2U);
  view.of.clear();
  ++view.index;
  EXPECT_TRUE(catalog.instances("web").empty());
}

TEST_F(DnsCatalogTest, NodesByAnySpelling) {
  api::Node node;
  node.name = "Web-1";
  node.address = "10.0.0.9";
  node.meta = {{"rack", "r2"}, {"a", "b"}};
  view.all_nodes = {node};
  ASSERT_NE(catalog.node("web-1"), nullptr);
  EXPECT_EQ(catalog.node("web-1")->name, "Web-1");
  EXPECT_EQ(catalog.node("web-1")->meta.size(), 2U);
  EXPECT_EQ(catalog.node("web-2"), nullptr);
}

TEST_F(DnsCatalogTest, WhoLivesWhere) {
  api::Node node;
  node.name = "N1";
  node.address = "10.0.0.1";
  view.all_nodes = {node};
  view.add("web", "10.0.0.5");
  view.add("web", "10.0.0.5");
  view.add("Db", "10.0.0.5");
  view.add("on-node");
  const auto names = [this](const std::string& ip) {
    std::vector<std::string> out;
    for (const auto& one : catalog.residents(dns::Place::parse(ip)))
      out.push_back((one.kind == dns::Resident::Kind::kNode ? "node " : "service ") + one.name);
    return out;
  };
  EXPECT_THAT(names("10.0.0.1"), ElementsAre("node N1"));
  EXPECT_THAT(names("10.0.0.5"), testing::UnorderedElementsAre("service web", "service Db"));
  EXPECT_TRUE(names("10.0.0.6").empty());
  const int reads = view.reads;
  names("10.0.0.5");
  EXPECT_EQ(view.reads, reads);
}

TEST_F(DnsCatalogTest, UnknownNamesCostNothing) {
  view.add("web");
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(catalog.instances("no-" + std::to_string(i)).empty());
  EXPECT_EQ(view.reads, 1) << "the names, once";
  EXPECT_FALSE(catalog.instances("web").empty());
  EXPECT_FALSE(catalog.instances("web").empty());
  EXPECT_EQ(view.reads, 2);
}

TEST_F(DnsCatalogTest, OfTwoSpellingsTheOneAskedForIsMeant) {
  view.add("web").service.port = 1;
  view.more_names = {"WEB", "Web"};
  EXPECT_EQ(catalog.instances("web").size(), 1U);
  EXPECT_EQ(view.asked, "web");
  view.of.clear();
  view.add("WEB");
  ++view.index;
  EXPECT_EQ(catalog.instances("web").size(), 1U);
  EXPECT_EQ(view.asked, "WEB") << "the first of the others";
}

TEST_F(DnsCatalogTest, ManyServicesDoNotGrowItWithoutEnd) {
  for (std::size_t i = 0; i < DnsCatalog::kServicesMax + 10; ++i) view.add("s" + std::to_string(i));
  for (std::size_t i = 0; i < DnsCatalog::kServicesMax + 10; ++i)
    EXPECT_EQ(catalog.instances("s" + std::to_string(i)).size(), 1U);
  const int reads = view.reads;
  EXPECT_FALSE(catalog.instances("s0").empty());  // was let go when the table was full
  EXPECT_EQ(view.reads, reads + 1);
}

}  // namespace
}  // namespace agent
