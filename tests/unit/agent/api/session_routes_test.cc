#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Sessions : public testing::Test, public ApiHarness {
 protected:
  std::string create(const std::string& body = "") {
    const auto answer = Json::parse(ask("PUT", "/v1/session/create", body).body, nullptr, false);
    return answer.is_object() ? answer.value("ID", "") : "";
  }
};

TEST_F(Sessions, AnEmptyBodyMakesOneWithTheDefaults) {
  const auto response = ask("PUT", "/v1/session/create");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  ASSERT_EQ(backend.specs.size(), 1U);
  const auto& spec = backend.specs[0];
  EXPECT_EQ(spec.ttl, Milliseconds(0));
  EXPECT_EQ(spec.lock_delay, Milliseconds(15000));
  EXPECT_EQ(spec.behavior, SessionBehavior::kRelease);
  EXPECT_THAT(spec.node_checks, ElementsAre("serfHealth"));
  EXPECT_THAT(spec.service_checks, IsEmpty());
  EXPECT_FALSE(create("  \n").empty());
}

TEST_F(Sessions, EveryFieldInAnyCase) {
  create(
      R"({"name":"n","NODE":"n2","ttl": "90s","lockdelay":"1.5s","BEHAVIOR":"delete","nodechecks":["a"],"servicechecks":[{"ID":"b"},"c"],"Unheard":1})");
  ASSERT_EQ(backend.specs.size(), 1U);
  const auto& spec = backend.specs[0];
  EXPECT_EQ(spec.name, "n");
  EXPECT_EQ(spec.node, "n2");
  EXPECT_EQ(spec.ttl, Milliseconds(90000));
  EXPECT_EQ(spec.lock_delay, Milliseconds(1500));
  EXPECT_EQ(spec.behavior, SessionBehavior::kDelete);
  EXPECT_THAT(spec.node_checks, ElementsAre("a"));
  EXPECT_THAT(spec.service_checks, ElementsAre("b", "c"));
}

TEST_F(Sessions, LockDelayInEveryFormThatClientsSend) {
  struct Case {
    const char* text;
    int expected_ms;
  };
  for (const auto& [text, expected] :
       {Case{R"("15s")", 15000}, Case{R"("0s")", 0}, Case{"0", 0}, Case{"5", 5000}, Case{"999", 60000},
        Case{"1500000000", 1500}, Case{R"("10m")", 60000}, Case{"null", 15000}, Case{R"("")", 15000}}) {
    create(std::string(R"({"LockDelay":)") + text + "}");
    EXPECT_EQ(backend.specs.back().lock_delay, Milliseconds(expected)) << text;
  }
}

TEST_F(Sessions, ChecksMayBeNamedTheOldWayOrNotAtAll) {
  create(R"({"Checks":[]})");
  EXPECT_THAT(backend.specs.back().node_checks, IsEmpty());
  create(R"({"NodeChecks":[]})");
  EXPECT_THAT(backend.specs.back().node_checks, IsEmpty());
  create(R"({"checks":["a","b"],"NodeChecks":["b","c"]})");
  EXPECT_THAT(backend.specs.back().node_checks, ElementsAre("b", "c", "a"));
  create(R"({"Checks":null})");
  EXPECT_THAT(backend.specs.back().node_checks, ElementsAre("serfHealth"));
}

struct Bad {
  const char* body;
  int status;
  const char* text;
};
class SessionRefusal : public testing::TestWithParam<Bad>, public ApiHarness {};
TEST_P(SessionRefusal, SaysWhyAndMakesNone) {
  const auto response = ask("PUT", "/v1/session/create", GetParam().body);
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_THAT(response.body, StartsWith(GetParam().text));
  EXPECT_THAT(backend.specs, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    All, SessionRefusal,
    testing::Values(Bad{R"({"TTL":"5s"})", 500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"},
                    Bad{R"({"TTL":"25h"})", 500, "Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]"},
                    Bad{R"({"ttl":9999999999})", 500, "Invalid Session TTL '9999000000'"},
                    Bad{R"({"TTL":"tomorrow"})", 500, "Session TTL '\"tomorrow\"' invalid: "},
                    Bad{R"({"Behavior":"explode"})", 500, "Invalid Behavior setting 'explode'"},
                    Bad{R"({"LockDelay":"x"})", 400, "Request decode failed: \"LockDelay\" must be a duration"},
                    Bad{R"({"LockDelay":-5})", 400, "Request decode failed: "},
                    Bad{R"({"Name":5})", 400, "Request decode failed: "},
                    Bad{R"({"Checks":"a"})", 400, "Request decode failed: "},
                    Bad{R"({"Checks":[7]})", 400, "Request decode failed: "},
                    Bad{R"({"ServiceChecks":[{}]})", 400, "Request decode failed: "},
                    Bad{"[]", 400, "Request decode failed: "}, Bad{"{", 400, "Request decode failed: it is no JSON"}));

TEST_F(Sessions, ASmallerTtlNeedsTheSetting) {
  ApiHarness small(Limits{.session_ttl_min = Milliseconds(500)});
  EXPECT_EQ(small.ask("PUT", "/v1/session/create", R"({"TTL":"1s"})").status, 200);
  EXPECT_THAT(small.ask("PUT", "/v1/session/create", R"({"TTL":"100ms"})").body,
              StartsWith("Invalid Session TTL '100000000', must be between [500ms=24h"));
}

TEST_F(Sessions, WhatTheStateRefusesIs500) {
  backend.failure = Error{Errc::kRefused, "Missing node registration", {}};
  const auto response = ask("PUT", "/v1/session/create", R"({"Node":"nix"})");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "Missing node registration");
}

TEST_F(Sessions, InfoShowsAllOfIt) {
  const std::string id = create(
      R"({"Name":"a\"b","Node":"n1","TTL":"1500ms0s","LockDelay":"5s","Behavior":"delete","ServiceChecks":["web"]})");
  EXPECT_EQ(id, "") << "1.5 s is below the least TTL";
  const std::string real = create(
      R"({"Name":"a\"b","Node":"n1","TTL":"10.5s","LockDelay":"5s","Behavior":"delete","ServiceChecks":["web"]})");
  const auto response = ask("GET", "/v1/session/info/" + real);
  EXPECT_EQ(
      response.body,
      R"([{"ID":")" + real +
          R"(","Name":"a\"b","Node":"n1","LockDelay":5000000000,"Behavior":"delete","TTL":"10500ms",)" +
          R"("NodeChecks":["serfHealth"],"ServiceChecks":[{"ID":"web","Namespace":""}],"CreateIndex":11,"ModifyIndex":11}])");
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  EXPECT_EQ(header(response, "X-Consul-KnownLeader"), "true");
  const auto none = ask("GET", "/v1/session/info/00000000-0000-0000-0000-000000000000");
  EXPECT_EQ(none.status, 200);
  EXPECT_EQ(none.body, "[]");
  EXPECT_EQ(ask("GET", "/v1/session/info/").body, "Missing session");
  EXPECT_EQ(ask("GET", "/v1/session/node/").body, "Missing node name");
  EXPECT_EQ(ask("GET", "/v1/session/node/").status, 400);
}

TEST_F(Sessions, ListsOfAllAndOfANode) {
  create(R"({"Node":"n1"})");
  create(R"({"Node":"n2","LockDelay":0,"Checks":[]})");
  EXPECT_EQ(ask_json("/v1/session/list").size(), 2U);
  const auto of_node = ask_json("/v1/session/node/n2");
  ASSERT_EQ(of_node.size(), 1U);
  EXPECT_EQ(of_node[0].at("TTL"), "");
  EXPECT_EQ(of_node[0].at("LockDelay"), 0);
  EXPECT_EQ(of_node[0].at("NodeChecks"), Json::array());
  EXPECT_EQ(of_node[0].at("ServiceChecks"), nullptr);
  EXPECT_EQ(ask("GET", "/v1/session/node/none").body, "[]");
}

TEST_F(Sessions, ListsBlock) {
  create();
  const auto list = send("GET", "/v1/session/list?index=11"), info = send("GET", "/v1/session/info/x?index=11&wait=1s");
  EXPECT_FALSE(answered(list));
  create();
  EXPECT_EQ(header(answer(list), "X-Consul-Index"), "12");
  EXPECT_EQ(answer(info).body, "[]");
}

TEST_F(Sessions, RenewAnswersTheSession) {
  const std::string id = create(R"({"TTL":"10s"})");
  EXPECT_EQ(ask("POST", "/v1/session/renew/" + id).status, 405);
  const auto response = ask("PUT", "/v1/session/renew/" + id);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Json::parse(response.body).at(0).at("TTL"), "10s");
  EXPECT_THAT(backend.renewed, ElementsAre(id));
  const auto missing = ask("PUT", "/v1/session/renew/abc");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "Session id 'abc' not found");
  EXPECT_EQ(ask("PUT", "/v1/session/renew/").status, 400);
}

TEST_F(Sessions, DestroyIsTrueAlsoForUnknownOnes) {
  const std::string id = create();
  EXPECT_EQ(ask("PUT", "/v1/kv/k?acquire=" + id, "v").body, "true");
  const auto response = ask("PUT", "/v1/session/destroy/" + id);
  EXPECT_EQ(response.body, "true");
  EXPECT_EQ(header(response, "X-Consul-Index"), "13");
  EXPECT_EQ(ask("PUT", "/v1/session/destroy/" + id).body, "true");
  EXPECT_EQ(ask("PUT", "/v1/session/destroy/").body, "Missing session");
  EXPECT_FALSE(ask_json("/v1/kv/k").at(0).contains("Session"));
}

}  // namespace
}  // namespace agent::api
