// The verbs for services and discovery, against a scripted agent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/cli/cli.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ServiceVerbs : public CliTest {};

TEST_F(ServiceVerbs, CatalogNodesOfAllAndOfOneService) {
  const std::string body = R"([{"Node":"n1","ID":"01234567-89ab-cdef-0123-456789abcdef","Address":"10.0.0.1","Datacenter":"dc1"},
                              {"Node":"node-two","Address":"10.0.0.2","Datacenter":"dc1"}])";
  fake.answer(200, body);
  EXPECT_EQ(ask({"catalog", "nodes"}).out,
            "NODE      ID        ADDRESS   DC\n"
            "n1        01234567  10.0.0.1  dc1\n"
            "node-two  -         10.0.0.2  dc1\n");
  EXPECT_EQ(asked(), "GET /v1/catalog/nodes");
  fake.answer(200, body);
  EXPECT_EQ(nlohmann::json::parse(ask({"catalog", "nodes", "--service", "a/b c", "-o", "json"}).out), nlohmann::json::parse(body));
  EXPECT_EQ(asked(), "GET /v1/catalog/service/a%2Fb%20c") << "a name is one part of the path";
}

TEST_F(ServiceVerbs, CatalogServicesAndDatacenters) {
  fake.answer(200, R"({"consul":[],"web":["blue","primary"]})");
  EXPECT_EQ(ask({"catalog", "services"}).out, "SERVICE  TAGS\nconsul\nweb      blue,primary\n");
  fake.answer(200, R"(["dc1"])");
  EXPECT_EQ(ask({"catalog", "datacenters"}).out, "dc1\n");
  EXPECT_THAT(fake.requests(), ElementsAre("GET /v1/catalog/services", "GET /v1/catalog/datacenters"));
}

TEST_F(ServiceVerbs, CatalogServiceShowsTheWorstOfItsChecks) {
  fake.answer(200, R"([{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{"ID":"w1","Address":"","Port":80,"Tags":["a"]},
                        "Checks":[{"Status":"passing"},{"Status":"warning"}]},
                       {"Node":{"Node":"n2","Address":"10.0.0.2"},"Service":{"ID":"w2","Address":"10.9.9.9","Port":81,"Tags":null},
                        "Checks":[{"Status":"critical"},{"Status":"warning"}]},
                       {"Node":{"Node":"n3","Address":"10.0.0.3"},"Service":{"ID":"w3","Address":"","Port":82,"Tags":[]},"Checks":[]}])");
  EXPECT_EQ(ask({"catalog", "service", "web"}).out,
            "NODE  ID  ADDRESS   PORT  STATUS    TAGS\n"
            "n1    w1  10.0.0.1  80    warning   a\n"
            "n2    w2  10.9.9.9  81    critical\n"
            "n3    w3  10.0.0.3  82    passing\n");
  EXPECT_EQ(asked(), "GET /v1/health/service/web");
}

TEST_F(ServiceVerbs, AnswersOfAnotherShapeDoNoHarm) {
  for (const char* body : {"[1]", "null", "{}", "[[]]", R"([{"Node":1,"Service":[],"Checks":{"a":1}}])", R"({"a":1,"b":{"c":2}})"}) {
    for (const auto& verb : std::vector<std::vector<std::string>>{{"catalog", "nodes"}, {"catalog", "services"}, {"catalog", "service", "x"}, {"catalog", "datacenters"}, {"reload"}}) {
      fake.answer(200, body);
      EXPECT_EQ(ask(verb).code, kExitOk) << body << " " << verb.back();
    }
  }
}

TEST_F(ServiceVerbs, RegisterTakesAFileOrTheInputAlsoBelowService) {
  fake.answer(200, "");
  EXPECT_EQ(ask({"services", "register", "-"}, R"({"Name":"web","Port":80})").out, "registered\n");
  EXPECT_EQ(asked(), R"(PUT /v1/agent/service/register {"Name":"web","Port":80})");
  const std::string path = testing::TempDir() + "/outrigger-cli-service.json";
  std::ofstream(path) << R"({"service":{"name":"db","port":5}})";
  fake.answer(200, "");
  EXPECT_EQ(ask({"services", "register", path}).code, kExitOk);
  EXPECT_EQ(asked(), R"(PUT /v1/agent/service/register {"name":"db","port":5})");
  std::filesystem::remove(path);
}

TEST_F(ServiceVerbs, WhatIsNoRegistrationIsNotSent) {
  EXPECT_THAT(ask({"services", "register", "/no/such/file"}).err, HasSubstr("cannot read /no/such/file"));
  for (const char* text : {"", "[]", "{", "7"}) {
    const auto result = ask({"services", "register", "-"}, text);
    EXPECT_EQ(result.code, kExitFailed) << text;
    EXPECT_THAT(result.err, HasSubstr("holds no JSON object")) << text;
  }
  EXPECT_THAT(fake.requests(), IsEmpty());
}

TEST_F(ServiceVerbs, ARefusalOfTheAgentIsShownAndFails) {
  fake.answer(400, "Missing service name");
  const auto result = ask({"services", "register", "-"}, "{}");
  EXPECT_NE(result.code, kExitOk);
  EXPECT_THAT(result.err, HasSubstr("Missing service name"));
}

TEST_F(ServiceVerbs, DeregisterNamesTheIdAsConsulDoesOrWithoutTheFlag) {
  fake.answer(200, "");
  EXPECT_EQ(ask({"services", "deregister", "w/1 a"}).out, "deregistered w/1 a\n");
  fake.answer(200, "");
  EXPECT_EQ(ask({"services", "deregister", "--id", "w2"}).code, kExitOk);
  EXPECT_THAT(fake.requests(), ElementsAre("PUT /v1/agent/service/deregister/w%2F1%20a", "PUT /v1/agent/service/deregister/w2"));
  EXPECT_EQ(ask({"services", "deregister"}).code, kExitUsage);
}

TEST_F(ServiceVerbs, MaintIsForTheNodeOrOneServiceAndWantsOneOfTwoWords) {
  for (int i = 0; i < 2; ++i) fake.answer(200, "");
  EXPECT_EQ(ask({"maint", "--enable", "--reason", "new disk & fan"}).out, "maintenance is on\n");
  EXPECT_EQ(ask({"maint", "--disable", "--service", "w/1"}).out, "maintenance is off\n");
  EXPECT_THAT(fake.requests(), ElementsAre("PUT /v1/agent/maintenance?enable=true&reason=new%20disk%20%26%20fan",
                                           "PUT /v1/agent/service/maintenance/w%2F1?enable=false&reason="));
  EXPECT_EQ(ask({"maint"}).code, kExitUsage);
  EXPECT_EQ(ask({"maint", "--enable", "--disable"}).code, kExitUsage);
  EXPECT_EQ(fake.requests().size(), 2U);
}

TEST_F(ServiceVerbs, EventsCarryTheirFiltersAndPayload) {
  fake.answer(200, R"({"ID":"x"})");
  EXPECT_EQ(ask({"event", "--name", "de ploy", "v1.2", "--node", "n.*", "--service", "web", "--tag", "a&b"}).out, "fired de ploy\n");
  EXPECT_EQ(asked(), "PUT /v1/event/fire/de%20ploy?node=n.%2A&service=web&tag=a%26b v1.2");
  EXPECT_EQ(ask({"event"}).code, kExitUsage);
}

TEST_F(ServiceVerbs, ReloadSaysWhatIsInForceAndWhatWaits) {
  fake.answer(200, R"({"applied":["services","route"],"needs_restart":["raft"]})");
  EXPECT_EQ(ask({"reload"}).out, "in force now: services,route\nneeds a restart: raft\n");
  fake.answer(200, R"({"applied":[],"needs_restart":[]})");
  EXPECT_EQ(ask({"reload"}).out, "in force now: nothing new\n");
  fake.answer(500, "outrigger.toml:3:1: service.leese: unknown key");
  const auto refused = ask({"reload"});
  EXPECT_EQ(refused.code, kExitFailed);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("service.leese"), HasSubstr("unknown key")));
  EXPECT_EQ(asked(), "PUT /v1/agent/reload");
}

TEST_F(ServiceVerbs, ForceLeaveNamesTheMember) {
  fake.answer(200, "");
  EXPECT_THAT(ask({"force-leave", "n 2"}).out, HasSubstr("n 2 is pushed out"));
  EXPECT_EQ(asked(), "PUT /v1/agent/force-leave/n%202");
}

TEST_F(ServiceVerbs, AnAgentThatIsGoneFailsEveryVerb) {
  for (const auto& verb : std::vector<std::vector<std::string>>{{"catalog", "nodes"}, {"services", "deregister", "x"}, {"maint", "--enable"}, {"event", "x"}, {"reload"}}) {
    const auto result = ask(verb);  // the scripted agent closes without an answer
    EXPECT_EQ(result.code, kExitFailed) << verb.front();
    EXPECT_THAT(result.err, HasSubstr("without an answer")) << verb.front();
  }
}

}  // namespace
}  // namespace agent::cli
