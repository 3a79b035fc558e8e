#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_catalog.h"

namespace agent::api {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;
using PlainJson = nlohmann::json;

class CatalogRoutes : public testing::Test, public ApiHarness {
 protected:
  FakeCatalog catalog{backend};

  CatalogRoutes() {
    catalog.put_node({"n2", "11111111-2222-3333-4444-555555555555", "10.0.0.2", {}, {{"zone", "z2"}}, {}, {}});
    catalog.put_check(FakeCatalog::serf("n2"));
    add("n1", "w1", {"blue", "x"}, CheckStatus::kPassing);
    add("n2", "w2", {"green", "x"}, CheckStatus::kWarning);
    add("n2", "w3", {"green"}, CheckStatus::kCritical);
  }
  void add(const std::string& node, const std::string& id, std::vector<std::string> tags, CheckStatus status) {
    Service service;
    service.node = node, service.id = id, service.name = "web", service.tags = tags, service.port = 80;
    service.meta = {{"v", "1"}};
    catalog.put_service(service);
    Check check;
    check.node = node, check.id = "service:" + id, check.name = "c", check.status = status;
    check.service_id = id, check.service_name = "web", check.service_tags = tags;
    check.definition.kind = CheckDefinition::Kind::kHttp;
    check.definition.header["Authorization"] = {"secret"};
    catalog.put_check(check);
  }
  std::vector<std::string> health_ids(const std::string& query) {
    std::vector<std::string> out;
    for (const auto& one : ask_json("/v1/health/service/web" + query)) out.push_back(one.at("Service").at("ID"));
    return out;
  }
  std::vector<std::string> catalog_ids(const std::string& query) {
    std::vector<std::string> out;
    for (const auto& one : ask_json("/v1/catalog/service/web" + query)) out.push_back(one.at("ServiceID"));
    return out;
  }
  std::string index_of(const std::string& target) { return header(ask("GET", target), "X-Consul-Index"); }
};

TEST_F(CatalogRoutes, HealthHasNodeServiceAndChecksWithTheNodesFirst) {
  const auto one = ask_json("/v1/health/service/web").at(0);
  EXPECT_EQ(one.at("Node").at("Node"), "n1");
  EXPECT_EQ(one.at("Node").at("Datacenter"), "dc1");
  EXPECT_EQ(one.at("Node").at("Meta"), PlainJson::parse(R"({"zone":"z1"})"));
  EXPECT_EQ(one.at("Service").at("Service"), "web");
  EXPECT_EQ(one.at("Service").at("Weights"), PlainJson::parse(R"({"Passing":1,"Warning":1})"));
  EXPECT_EQ(one.at("Checks").at(0).at("CheckID"), "serfHealth");
  EXPECT_EQ(one.at("Checks").at(0).at("Name"), "Serf Health Status");
  EXPECT_EQ(one.at("Checks").at(1).at("ServiceTags"), PlainJson::parse(R"(["blue","x"])"));
  EXPECT_EQ(one.at("Checks").at(1).at("Definition"), PlainJson::object()) << "headers of checks may be secrets";
}

TEST_F(CatalogRoutes, TheFlatListHasTheSameInstancesInTheSameOrder) {
  for (const std::string query : {"", "?tag=x", "?tag=x&tag=green", "?node-meta=zone:z2", "?near=_agent", "?tag=nobody"})
    EXPECT_EQ(health_ids(query), catalog_ids(query)) << query;
  const auto one = ask_json("/v1/catalog/service/web").at(0);
  for (const char* field : {"ID", "Node", "Address", "Datacenter", "TaggedAddresses", "NodeMeta", "ServiceID", "ServiceName", "ServiceTags",
                            "ServiceAddress", "ServicePort", "ServiceMeta", "ServiceWeights", "ServiceEnableTagOverride", "CreateIndex", "ModifyIndex"})
    EXPECT_TRUE(one.contains(field)) << field;
}

TEST_F(CatalogRoutes, TagsAreAndedAndPassingMeansEveryCheck) {
  EXPECT_THAT(health_ids(""), ElementsAre("w1", "w2", "w3"));
  EXPECT_THAT(health_ids("?tag=x"), ElementsAre("w1", "w2"));
  EXPECT_THAT(health_ids("?tag=x&tag=green"), ElementsAre("w2"));
  EXPECT_THAT(health_ids("?tag="), ElementsAre("w1", "w2", "w3"));
  EXPECT_THAT(health_ids("?passing"), ElementsAre("w1")) << "a warning is not passing";
  EXPECT_THAT(health_ids("?passing=true"), ElementsAre("w1"));
  EXPECT_THAT(health_ids("?passing=false"), ElementsAre("w1", "w2", "w3"));
  const auto bad = ask("GET", "/v1/health/service/web?passing=x");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.body, "Invalid value for ?passing");
  catalog.put_check(FakeCatalog::serf("n1", CheckStatus::kCritical));
  EXPECT_THAT(health_ids("?passing"), IsEmpty()) << "a dead node takes its services along";
}

TEST_F(CatalogRoutes, NodeMetaAndFiltersSelectOrAreRefused) {
  EXPECT_THAT(health_ids("?node-meta=zone:z2"), ElementsAre("w2", "w3"));
  EXPECT_THAT(health_ids("?node-meta=zone:z2&node-meta=rack:1"), IsEmpty());
  EXPECT_EQ(ask_json("/v1/catalog/nodes?node-meta=zone:z1").size(), 1u);
  EXPECT_EQ(ask_json("/v1/catalog/services?node-meta=zone:z1").at("web"), PlainJson::parse(R"(["blue","x"])"));
  EXPECT_EQ(ask_json("/v1/health/state/any?node-meta=zone:z1").size(), 2u);
  for (const char* path : {"/v1/health/service/web", "/v1/catalog/service/web", "/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any",
                           "/v1/health/node/n1", "/v1/catalog/node/n1", "/v1/health/checks/web"})
    EXPECT_EQ(ask("GET", std::string(path) + "?filter=a==b").status, 400) << path;
}

TEST_F(CatalogRoutes, NearTheAgentIsByRoundTrip) {
  MemberInfo near, here;
  near.name = "n2", near.rtt = 3ms;
  here.name = "n1";
  backend.member_list = {near, here};
  EXPECT_THAT(health_ids("?near=_agent"), ElementsAre("w1", "w2", "w3")) << "itself first";
  backend.self_info.name = "n2";
  EXPECT_THAT(health_ids("?near=_agent"), ElementsAre("w2", "w3", "w1"));
  EXPECT_THAT(health_ids("?near=n1"), ElementsAre("w1", "w2", "w3")) << "distances of others are not known";
}

TEST_F(CatalogRoutes, UnknownNamesAreEmptyAnswersNotErrors) {
  EXPECT_EQ(ask("GET", "/v1/health/service/nobody").body, "[]");
  EXPECT_EQ(ask("GET", "/v1/health/service/nobody").status, 200);
  EXPECT_EQ(ask("GET", "/v1/catalog/service/nobody").body, "[]");
  EXPECT_EQ(ask("GET", "/v1/catalog/node/nobody").body, "null");
  EXPECT_EQ(ask("GET", "/v1/health/node/nobody").body, "[]");
  EXPECT_EQ(ask("GET", "/v1/health/checks/nobody").body, "[]");
  EXPECT_EQ(ask("GET", "/v1/health/state/foo").body, "[]");
  EXPECT_NE(index_of("/v1/health/service/nobody"), "0");
  EXPECT_EQ(ask("GET", "/v1/health/service/").body, "Missing service name");
  EXPECT_EQ(ask("GET", "/v1/health/service/").status, 400);
  EXPECT_EQ(ask("GET", "/v1/catalog/datacenters").body, "[\"dc1\"]");
}

TEST_F(CatalogRoutes, NodesServicesAndStates) {
  EXPECT_EQ(ask_json("/v1/catalog/nodes").at(1).at("Address"), "10.0.0.2");
  EXPECT_EQ(ask_json("/v1/catalog/nodes").at(1).at("TaggedAddresses"), PlainJson(nullptr));
  EXPECT_TRUE(ask_json("/v1/catalog/services").contains("web"));
  const auto node = ask_json("/v1/catalog/node/n2");
  EXPECT_EQ(node.at("Node").at("Node"), "n2");
  EXPECT_EQ(node.at("Services").at("w3").at("Service"), "web");
  EXPECT_EQ(ask_json("/v1/health/node/n2").size(), 3u);
  EXPECT_EQ(ask_json("/v1/health/checks/web").size(), 3u);
  EXPECT_EQ(ask_json("/v1/health/state/critical").size(), 1u);
  EXPECT_EQ(ask_json("/v1/health/state/any").size(), 5u);
}

TEST_F(CatalogRoutes, ABlockedQueryWakesForItsOwnServiceOnly) {
  const auto waiting = send("GET", "/v1/health/service/web?wait=60s&index=" + index_of("/v1/health/service/web"));
  const auto other = send("GET", "/v1/health/service/db?wait=60s&index=" + index_of("/v1/health/service/db"));
  EXPECT_FALSE(answered(waiting));
  Service db;
  db.node = "n2", db.id = db.name = "db";
  catalog.put_service(db);
  EXPECT_TRUE(answered(other));
  EXPECT_FALSE(answered(waiting)) << "somebody else's change";
  Check check = catalog.check("n1", "service:w1");
  check.status = CheckStatus::kCritical;
  catalog.put_check(check);
  ASSERT_TRUE(answered(waiting));
  EXPECT_EQ(PlainJson::parse(answer(waiting).body).at(0).at("Checks").at(1).at("Status"), "critical");
}

TEST_F(CatalogRoutes, TheIndexOfAServiceThatIsGoneIsHigherThanBefore) {
  const auto before = std::stoull(index_of("/v1/health/service/web"));
  const auto waiting = send("GET", "/v1/health/service/web?wait=60s&index=" + std::to_string(before));
  catalog.remove_service("n1", "w1");
  ASSERT_TRUE(answered(waiting));
  catalog.remove_service("n2", "w2");
  catalog.remove_service("n2", "w3");
  EXPECT_EQ(ask("GET", "/v1/health/service/web").body, "[]");
  EXPECT_GT(std::stoull(index_of("/v1/health/service/web")), before);
}

TEST_F(CatalogRoutes, ReadsTakeTheModeThatTheyAskFor) {
  ask("GET", "/v1/health/service/web?stale");
  ask("GET", "/v1/catalog/nodes?consistent");
  ask("GET", "/v1/catalog/services");
  EXPECT_THAT(backend.barriers, ElementsAre(ReadMode::kStale, ReadMode::kConsistent, ReadMode::kDefault));
  EXPECT_EQ(ask("GET", "/v1/catalog/services?dc=elsewhere").status, 500);
}

TEST_F(CatalogRoutes, ExternalNodesAreRegisteredAsConsulHasIt) {
  const auto response = ask("PUT", "/v1/catalog/register", R"({"Node":"ext1","Address":"10.9.9.9","NodeMeta":{"a":"b"},
    "Service":{"Service":"db","Port":5},"Check":{"Name":"c1","Status":"passing","ServiceID":"db"}})");
  EXPECT_EQ(response.body, "true");
  EXPECT_EQ(response.content_type, "application/json");
  const auto& got = catalog.catalog_registered.at(0);
  EXPECT_EQ(got.node.name, "ext1");
  EXPECT_EQ(got.node.meta.at("a"), "b");
  EXPECT_EQ(got.service->id, "db");
  EXPECT_EQ(got.service->node, "ext1");
  EXPECT_EQ(got.checks.at(0).id, "c1") << "the id is the name unless given";
  EXPECT_EQ(got.checks.at(0).status, CheckStatus::kPassing);
  const auto without = ask("PUT", "/v1/catalog/register", R"({"Node":"ext1"})");
  EXPECT_EQ(without.status, 500);
  EXPECT_EQ(without.body, "Must provide address if SkipNodeUpdate is not set");
  EXPECT_EQ(ask("PUT", "/v1/catalog/register", R"({"Node":"ext1","SkipNodeUpdate":true})").status, 200);
  EXPECT_EQ(ask("PUT", "/v1/catalog/register", R"({"Node":"e","Address":"1","Foo":1})").body, "Request decode failed: json: unknown field \"Foo\"");
  EXPECT_EQ(ask("PUT", "/v1/catalog/register", R"({"Node":"e","Address":"1","Check":{"Name":"c","Status":"odd"}})").status, 400);
}

TEST_F(CatalogRoutes, DeregistrationNamesANodeAndMaybeMore) {
  EXPECT_EQ(ask("PUT", "/v1/catalog/deregister", R"({"Node":"ext1","ServiceID":"db"})").body, "true");
  EXPECT_EQ(catalog.catalog_deregistered.at(0).service_id, "db");
  EXPECT_EQ(ask("PUT", "/v1/catalog/deregister", "{}").body, "Must provide node");
}

TEST_F(CatalogRoutes, PrometheusGetsTargetsWithLabels) {
  const auto response = ask("GET", "/outrigger/v1/sd/prometheus?service=web");
  EXPECT_EQ(response.content_type, "application/json") << "Prometheus refuses anything else";
  const auto groups = PlainJson::parse(response.body);
  ASSERT_EQ(groups.size(), 3u) << response.status << response.body;
  EXPECT_EQ(groups.at(0).at("targets"), PlainJson::parse(R"(["10.0.0.1:80"])")) << "without an address of its own, the node's";
  EXPECT_EQ(groups.at(0).at("labels").at("__meta_outrigger_service"), "web");
  EXPECT_EQ(groups.at(0).at("labels").at("__meta_outrigger_tags"), ",blue,x,");
  EXPECT_EQ(groups.at(0).at("labels").at("__meta_outrigger_service_metadata_v"), "1");
  EXPECT_EQ(groups.at(1).at("labels").at("__meta_outrigger_health"), "warning");
  for (const auto& [key, value] : groups.at(0).at("labels").items()) EXPECT_TRUE(value.is_string()) << key;
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus").size(), 3u);
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus?passing").size(), 1u);
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus?service=nobody"), PlainJson::array());
  Service portless;
  portless.node = "n1", portless.id = portless.name = "idle";
  catalog.put_service(portless);
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus").size(), 3u) << "nothing to scrape without a port";
  Service six;
  six.node = "n1", six.id = six.name = "six", six.address = "::1", six.port = 9;
  catalog.put_service(six);
  EXPECT_EQ(ask_json("/outrigger/v1/sd/prometheus?service=six").at(0).at("targets").at(0), "[::1]:9");
}

}  // namespace
}  // namespace agent::api
