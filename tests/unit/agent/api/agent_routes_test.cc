#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_catalog.h"

namespace agent::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;
using PlainJson = nlohmann::json;

class AgentRoutes : public testing::Test, public ApiHarness {
 protected:
  FakeCatalog catalog{backend};

  Response put(const std::string& target, const std::string& body = "") { return ask("PUT", target, body); }
  Response from(const std::string& method, const std::string& target, const std::string& body, bool here, const std::string& site = "") {
    Request request;
    request.method = method;
    const auto mark = std::min(target.find('?'), target.size());
    request.path = target.substr(0, mark);
    request.query = mark == target.size() ? "" : target.substr(mark + 1);
    request.body = body;
    request.host = "127.0.0.1:8500";
    request.fetch_site = site;
    request.from_this_machine = here;
    return answer(send(request));
  }
  void expect_bad(const std::string& body, const std::string& text) {
    const auto response = put("/v1/agent/service/register", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(response.body, text) << body;
    EXPECT_THAT(catalog.registered, IsEmpty()) << body;
  }
};

// ---------------------------------------------------------------- registration

TEST_F(AgentRoutes, AServiceIsRegisteredWithEverythingThatItSays) {
  const auto response = put("/v1/agent/service/register", R"({"ID":"a/b 1","Name":"web","Tags":["x","y"],"Port":80,"Address":"10.0.0.9",
    "Meta":{"k":"v"},"TaggedAddresses":{"lan":{"Address":"1.1.1.1","Port":5}},"Weights":{"Passing":3,"Warning":2},"EnableTagOverride":true,
    "Checks":[{"TTL":"30s"},{"HTTP":"http://127.0.0.1:1/x","Interval":"10s","Timeout":"1s","Method":"PUT","Header":{"A":["b","c"]},"Body":"p",
    "TLSSkipVerify":true,"SuccessBeforePassing":2,"FailuresBeforeCritical":3,"DeregisterCriticalServiceAfter":"90m","Status":"warning","Notes":"n"},
    {"CheckID":"mine","Name":"My check","TCP":"127.0.0.1:1","Interval":10000000000}]})");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, IsEmpty());
  EXPECT_THAT(response.content_type, IsEmpty());
  ASSERT_EQ(catalog.registered.size(), 1u);
  const auto& got = catalog.registered[0];
  EXPECT_EQ(got.service.id, "a/b 1");
  EXPECT_EQ(got.service.name, "web");
  EXPECT_THAT(got.service.tags, ElementsAre("x", "y"));
  EXPECT_EQ(got.service.port, 80);
  EXPECT_EQ(got.service.meta.at("k"), "v");
  EXPECT_EQ(got.service.tagged_addresses.at("lan"), (ServiceAddress{"1.1.1.1", 5}));
  EXPECT_EQ(got.service.tagged_addresses.at("lan_ipv4"), (ServiceAddress{"10.0.0.9", 80})) << "derived, as Consul does";
  EXPECT_EQ(got.service.weight_passing, 3u);
  EXPECT_EQ(got.service.weight_warning, 2u);
  EXPECT_TRUE(got.service.enable_tag_override);
  EXPECT_FALSE(got.replace_existing_checks);
  ASSERT_EQ(got.checks.size(), 3u);
  EXPECT_EQ(got.checks[0].id, "service:a/b 1:1");
  EXPECT_EQ(got.checks[0].name, "Service 'web' check");
  EXPECT_EQ(got.checks[0].definition.kind, CheckDefinition::Kind::kTtl);
  EXPECT_EQ(got.checks[0].definition.ttl, 30s);
  const auto& http = got.checks[1].definition;
  EXPECT_EQ(http.kind, CheckDefinition::Kind::kHttp);
  EXPECT_EQ(http.target, "http://127.0.0.1:1/x");
  EXPECT_EQ(http.method, "PUT");
  EXPECT_EQ(http.body, "p");
  EXPECT_THAT(http.header.at("A"), ElementsAre("b", "c"));
  EXPECT_TRUE(http.tls_skip_verify);
  EXPECT_EQ(http.success_before_passing, 2u);
  EXPECT_EQ(http.failures_before_critical, 3u);
  EXPECT_EQ(http.deregister_after, 90min);
  EXPECT_EQ(got.checks[1].status, CheckStatus::kWarning);
  EXPECT_EQ(got.checks[1].notes, "n");
  EXPECT_EQ(got.checks[2].id, "mine");
  EXPECT_EQ(got.checks[2].definition.interval, 10s) << "integers are nanoseconds";
}

TEST_F(AgentRoutes, FieldNamesComeInAnyCaseAndIdsDefaultToNames) {
  EXPECT_EQ(put("/v1/agent/service/register?replace-existing-checks", R"({"name":"web","port":80,"check":{"http":"http://h/","INTERVAL":"1s"}})").status, 200);
  const auto& got = catalog.registered.at(0);
  EXPECT_EQ(got.service.id, "web");
  EXPECT_TRUE(got.replace_existing_checks);
  EXPECT_EQ(got.checks.at(0).id, "service:web") << "a single check carries no number";
}

TEST_F(AgentRoutes, AnEmptyCheckIsNone) {
  EXPECT_EQ(put("/v1/agent/service/register", R"({"Name":"web","Check":{},"Checks":null,"Port":null})").status, 200);
  EXPECT_THAT(catalog.registered.at(0).checks, IsEmpty());
}

TEST_F(AgentRoutes, BadRegistrationsAreRefusedInConsulsWords) {
  expect_bad(R"({"Name":""})", "Missing service name");
  expect_bad(R"({"Name":"x","Prot":80})", "Request decode failed: json: unknown field \"Prot\"");
  expect_bad(R"({"Name":"x","Check":{"HTTP":"http://a"}})", "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks");
  expect_bad(R"({"Name":"x","Check":{"Notes":"n"}})", "Invalid check: TTL must be > 0 for TTL checks");
  expect_bad(R"({"Name":"x","Check":{"TTL":"1s","Interval":"1s"}})", "Invalid check: Interval and TTL cannot both be specified");
  expect_bad(R"({"Name":"x","Check":{"TTL":"10s","Status":"bad"}})", "Status for checks must 'passing', 'warning', 'critical'");
  expect_bad(R"({"Name":"x","Weights":{"Passing":0}})", "Invalid Weights: Passing must be greater than 0");
  expect_bad(R"({"Name":"x","Port":"80"})", "Request decode failed: json: \"Port\" must be an integer");
  for (const char* body : {"{", "[]", "\"x\"", "{\"Name\":\"x\",\"Port\":70000}", R"({"Name":"x","Port":-1})", R"({"Name":"x","Tags":"t"})",
                           R"({"Name":"x","Check":{"TCP":"host","Interval":"1s"}})", R"({"Name":"x","Check":{"HTTP":"ftp://h","Interval":"1s"}})",
                           R"({"Name":"x","Check":{"GRPC":"h:1","Interval":"1s"}})", R"({"Name":"x","Check":{"AliasService":"y"}})",
                           R"({"Name":"x","Check":{"Script":"true","Interval":"1s"}})", R"({"Name":"x","Kind":"connect-proxy"})",
                           R"({"Name":"x","Address":"0.0.0.0"})", R"({"Name":"x","Meta":{"a b":"c"}})", R"({"Name":"x\n"})",
                           R"({"Name":"x","Check":{"TTL":"5","Status":"passing"}})", R"({"Name":"x","Check":{"HTTP":"http://h","Interval":"1s","Header":{"A":["b\r\nC: d"]}}})",
                           R"({"Name":"x","Checks":[{"CheckID":"c","TTL":"1s"},{"CheckID":"c","TTL":"2s"}]})",
                           R"({"Name":"x","Check":{"HTTP":"http://h","TCP":"h:1","Interval":"1s"}})"})
    EXPECT_EQ(put("/v1/agent/service/register", body).status, 400) << body;
  EXPECT_THAT(catalog.registered, IsEmpty());
}

TEST_F(AgentRoutes, FieldsOfNewerVersionsArePassedOverWithAWarning) {
  const auto response = put("/v1/agent/service/register", R"({"Name":"x","Locality":{"Region":"r"},"Partition":"p","Check":{"TTL":"1s","Namespace":"n"}})");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "X-Outrigger-Warning"), "Locality is ignored");
  EXPECT_EQ(response.headers.size(), 3u) << "one each";
}

TEST_F(AgentRoutes, ProgramsRunOnlyIfTheSettingsAllowItAndOnlyFromThisMachine) {
  const std::string body = R"({"Name":"x","Check":{"Args":["true"],"Interval":"1s"}})";
  const auto refused = from("PUT", "/v1/agent/service/register", body, true);
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(refused.body, testing::StartsWith("Scripts are disabled on this agent from remote calls"));
  EXPECT_EQ(from("PUT", "/v1/agent/check/register", R"({"Name":"c","Args":["true"],"Interval":"1s"})", true).status, 500);
  catalog.policy = ScriptPolicy::kLocal;
  EXPECT_EQ(from("PUT", "/v1/agent/service/register", body, false).status, 500) << "never for another machine";
  EXPECT_EQ(from("PUT", "/v1/agent/service/register", body, true).status, 200);
  EXPECT_THAT(catalog.registered.at(0).checks.at(0).definition.args, ElementsAre("true"));
}

TEST_F(AgentRoutes, DeregistrationTakesIdsWithSlashesAndOldClientsGet) {
  for (const std::string path : {"a%2Fb%201", "a/b%201"}) {
    ASSERT_EQ(put("/v1/agent/service/register", R"({"ID":"a/b 1","Name":"web"})").status, 200);
    EXPECT_EQ(put("/v1/agent/service/deregister/" + path).status, 200);
    EXPECT_THAT(catalog.local().services, IsEmpty());
  }
  put("/v1/agent/service/register", R"({"Name":"web"})");
  EXPECT_EQ(from("GET", "/v1/agent/service/deregister/web", "", true, "same-origin").status, 400) << "a page must not";
  EXPECT_EQ(catalog.local().services.size(), 1u);
  EXPECT_EQ(ask("GET", "/v1/agent/service/deregister/web").status, 200);
  EXPECT_THAT(catalog.local().services, IsEmpty());
  EXPECT_EQ(put("/v1/agent/service/deregister/web").status, 200) << "twice is as good as once";
  EXPECT_EQ(put("/v1/agent/service/deregister/").status, 400);
}

TEST_F(AgentRoutes, TrailingPartsAndOtherMethodsAreConsuls) {
  const auto wrong = ask("DELETE", "/v1/agent/service/deregister/x");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.body, "method DELETE not allowed");
  EXPECT_EQ(header(wrong, "Allow"), "OPTIONS,PUT,GET");
}

// ---------------------------------------------------------------- reads

TEST_F(AgentRoutes, ServicesAndChecksAreObjectsByIdWithoutSerfHealth) {
  put("/v1/agent/service/register", R"({"ID":"w1","Name":"web","Tags":["t"],"Port":80,"Check":{"TTL":"10s"}})");
  const auto services = ask_json("/v1/agent/services");
  EXPECT_EQ(services.size(), 1u);
  EXPECT_EQ(services.at("w1"), PlainJson::parse(R"({"ID":"w1","Service":"web","Tags":["t"],"Meta":{},"Port":80,"Address":"",
    "Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false})"));
  const auto checks = ask_json("/v1/agent/checks");
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks.at("service:w1").at("Status"), "critical");
  EXPECT_EQ(checks.at("service:w1").at("Type"), "ttl");
  EXPECT_EQ(checks.at("service:w1").at("ServiceTags"), PlainJson::parse(R"(["t"])"));
  EXPECT_EQ(ask("GET", "/v1/agent/services?filter=Service==web").status, 400) << "refused rather than not obeyed";
}

TEST_F(AgentRoutes, OneServiceHasAContentHashAndBlocksOnIt) {
  put("/v1/agent/service/register", R"({"ID":"w1","Name":"web","Port":80})");
  const auto first = ask("GET", "/v1/agent/service/w1");
  const auto body = PlainJson::parse(first.body);
  EXPECT_EQ(body.at("ContentHash"), header(first, "X-Consul-ContentHash"));
  EXPECT_EQ(body.at("Service"), "web");
  const std::string hash = body.at("ContentHash");
  const auto waiting = send("GET", "/v1/agent/service/w1?wait=10s&hash=" + hash);
  EXPECT_FALSE(answered(waiting));
  put("/v1/agent/service/register", R"({"ID":"w1","Name":"web","Port":81})");
  ASSERT_TRUE(answered(waiting));
  EXPECT_NE(header(answer(waiting), "X-Consul-ContentHash"), hash);
  EXPECT_TRUE(answered(send("GET", "/v1/agent/service/w1?hash=" + hash))) << "an old hash does not wait";
  const auto missing = ask("GET", "/v1/agent/service/nobody");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "unknown service ID: nobody");
}

// ---------------------------------------------------------------- checks

TEST_F(AgentRoutes, ChecksAreRegisteredAndRemoved) {
  EXPECT_EQ(put("/v1/agent/check/register", R"({"name":"disk","ttl":"30s","notes":"n"})").status, 200);
  EXPECT_EQ(catalog.checks_registered.at(0).id, "disk") << "the id is the name unless given";
  EXPECT_EQ(put("/v1/agent/check/register", R"({"ID":"i","Name":"c","ServiceID":"w1","TCP":"h:1","Interval":"1s"})").status, 200);
  EXPECT_EQ(catalog.checks_registered.at(1).service_id, "w1");
  EXPECT_EQ(put("/v1/agent/check/register", R"({"TTL":"10s"})").body, "Missing check name");
  EXPECT_EQ(put("/v1/agent/check/register", R"({"Name":"c"})").body, "Invalid check: TTL must be > 0 for TTL checks");
  EXPECT_EQ(ask("GET", "/v1/agent/check/deregister/disk").status, 200);
  EXPECT_EQ(put("/v1/agent/check/deregister/disk").status, 200);
}

TEST_F(AgentRoutes, ResultsOfTtlChecksByPutAndByGet) {
  put("/v1/agent/check/register", R"({"Name":"c","TTL":"30s"})");
  EXPECT_EQ(put("/v1/agent/check/pass/c?note=all+well").status, 200);
  EXPECT_EQ(catalog.check("n1", "c").status, CheckStatus::kPassing);
  EXPECT_EQ(catalog.check("n1", "c").output, "all well");
  EXPECT_EQ(ask("GET", "/v1/agent/check/fail/c").status, 200);
  EXPECT_EQ(catalog.check("n1", "c").status, CheckStatus::kCritical);
  EXPECT_EQ(put("/v1/agent/check/warn/c").status, 200);
  EXPECT_EQ(catalog.check("n1", "c").status, CheckStatus::kWarning);
  EXPECT_EQ(put("/v1/agent/check/update/c", R"({"Status":"passing","Output":"o"})").status, 200);
  EXPECT_EQ(catalog.check("n1", "c").output, "o");
  const auto bad = put("/v1/agent/check/update/c", R"({"Status":"foo"})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.body, "Invalid check status: 'foo'");
  const auto unknown = put("/v1/agent/check/pass/nope");
  EXPECT_EQ(unknown.status, 500);
  EXPECT_EQ(unknown.body, "CheckID \"nope\" does not have associated TTL");
  EXPECT_EQ(from("GET", "/v1/agent/check/fail/c", "", true, "cross-site").status, 400);
}

// ---------------------------------------------------------------- maintenance, health

TEST_F(AgentRoutes, MaintenanceNeedsToKnowWhichWay) {
  EXPECT_EQ(put("/v1/agent/maintenance").body, "Missing value for enable");
  EXPECT_EQ(put("/v1/agent/maintenance?enable=x").body, "Invalid value for enable: \"x\"");
  EXPECT_EQ(put("/v1/agent/maintenance?enable=x").status, 400);
  EXPECT_EQ(put("/v1/agent/maintenance?enable=true&reason=why").status, 200);
  EXPECT_EQ(put("/v1/agent/maintenance?enable=false").status, 200);
  const auto unknown = put("/v1/agent/service/maintenance/nope?enable=true");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.body, "No service registered with ID \"nope\"");
  EXPECT_THAT(catalog.maintenance, ElementsAre(std::pair{"/why", true}, std::pair{"/", false}, std::pair{"nope/", true}));
}

TEST_F(AgentRoutes, HealthOfOneServiceIsAStatusCode) {
  put("/v1/agent/service/register", R"({"ID":"w1","Name":"web","Check":{"TTL":"10s","Status":"passing"}})");
  const std::pair<CheckStatus, int> codes[] = {{CheckStatus::kPassing, 200}, {CheckStatus::kWarning, 429}, {CheckStatus::kCritical, 503}};
  for (const auto& [status, code] : codes) {
    catalog.check("n1", "service:w1").status = status;
    const auto response = ask("GET", "/v1/agent/health/service/id/w1");
    EXPECT_EQ(response.status, code);
    EXPECT_EQ(header(response, "X-Consul-Reason"), to_string(status));
    const auto body = PlainJson::parse(response.body);
    EXPECT_EQ(body.at("AggregatedStatus"), to_string(status));
    EXPECT_EQ(body.at("Service").at("ID"), "w1");
    EXPECT_EQ(body.at("Checks").size(), 1u);
    const auto text = ask("GET", "/v1/agent/health/service/name/web?format=text");
    EXPECT_EQ(text.status, code);
    EXPECT_EQ(text.body, to_string(status));
    EXPECT_EQ(text.content_type, "text/plain");
  }
}

TEST_F(AgentRoutes, HealthCountsTheNodesChecksAndMaintenanceAboveAll) {
  put("/v1/agent/service/register", R"({"ID":"w1","Name":"web"})");
  put("/v1/agent/service/register", R"({"ID":"w2","Name":"web","Check":{"TTL":"10s","Status":"warning"}})");
  EXPECT_EQ(ask("GET", "/v1/agent/health/service/id/w1").status, 200);
  EXPECT_EQ(ask("GET", "/v1/agent/health/service/name/web").status, 429) << "the worst counts";
  EXPECT_EQ(PlainJson::parse(ask("GET", "/v1/agent/health/service/name/web").body).size(), 2u);
  Check check = FakeCatalog::serf("n1", CheckStatus::kCritical);
  check.id = kNodeMaintenance;
  catalog.put_check(check);
  EXPECT_EQ(ask("GET", "/v1/agent/health/service/id/w1?format=text").body, "maintenance");
}

TEST_F(AgentRoutes, HealthOfWhatIsNotHereIsNotFoundInThreeShapes) {
  const auto by_id = ask("GET", "/v1/agent/health/service/id/nope");
  EXPECT_EQ(by_id.status, 404);
  EXPECT_EQ(header(by_id, "X-Consul-Reason"), "ServiceId nope not found");
  EXPECT_EQ(PlainJson::parse(by_id.body), PlainJson::parse(R"({"AggregatedStatus":"critical","Service":null,"Checks":null})"));
  EXPECT_EQ(ask("GET", "/v1/agent/health/service/id/nope?format=text").body, "\"ServiceId nope not found\"");
  const auto by_name = ask("GET", "/v1/agent/health/service/name/nope");
  EXPECT_EQ(by_name.status, 404);
  EXPECT_EQ(by_name.body, "[]");
}

TEST_F(AgentRoutes, FailuresOfTheStoreLookAsConsulsClientsKnowThem) {
  catalog.failure = Error{Errc::kNoLeader, "nobody leads", {}};
  const auto response = put("/v1/agent/service/register", R"({"Name":"web"})");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "No cluster leader\nnobody leads");
}

TEST_F(AgentRoutes, ForceLeaveAndReload) {
  EXPECT_EQ(put("/v1/agent/force-leave/n2").status, 200);
  EXPECT_EQ(ask("GET", "/v1/agent/force-leave/n2").status, 200);
  EXPECT_THAT(catalog.left, ElementsAre("n2", "n2"));
  catalog.report.applied = {"node.log_level"};
  catalog.report.needs_restart = {"api.listen"};
  const auto good = put("/v1/agent/reload");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(PlainJson::parse(good.body).at("applied"), PlainJson::parse(R"(["node.log_level"])"));
  EXPECT_EQ(PlainJson::parse(good.body).at("needs_restart"), PlainJson::parse(R"(["api.listen"])"));
  catalog.report.problems = {"file:1: bad"};
  EXPECT_EQ(put("/v1/agent/reload").status, 500);
}

TEST_F(AgentRoutes, WithoutACatalogTheAnswerSaysSo) {
  backend.catalog_backend = nullptr;
  EXPECT_EQ(ask("GET", "/v1/agent/services").status, 500);
  EXPECT_EQ(put("/v1/agent/service/register", R"({"Name":"web"})").status, 500);
  EXPECT_EQ(ask("GET", "/v1/catalog/nodes").status, 500);
}

}  // namespace
}  // namespace agent::api
