#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

class OwnKv : public testing::Test, public ApiHarness {};

TEST_F(OwnKv, OneKey) {
  backend.set("a/b", "hello", 18446744073709551615ULL);
  const auto response = ask("GET", "/outrigger/v1/kv/a/b");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(
      response.body,
      R"({"key":"a/b","value":"aGVsbG8=","flags":18446744073709551615,"index":11,"create_index":11,"lock_index":0,"session":null})");
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  EXPECT_EQ(ask("GET", "/outrigger/v1/kv/a/b?raw").body, "hello");
  const auto missing = ask("GET", "/outrigger/v1/kv/none");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.content_type, "application/problem+json");
  EXPECT_EQ(Json::parse(missing.body).at("code"), "not_found");
  EXPECT_EQ(header(missing, "X-Consul-Index"), "1");
}

TEST_F(OwnKv, Lists) {
  backend.set("a/1", "x");
  backend.set("a/2", "");
  backend.set("b", "z");
  EXPECT_EQ(ask("GET", "/outrigger/v1/kv/a/?keys").body, R"({"index":12,"keys":["a/1","a/2"]})");
  const auto list = ask_json("/outrigger/v1/kv/a/?prefix");
  EXPECT_EQ(list.at("index"), 12);
  EXPECT_EQ(list.at("entries").size(), 2U);
  EXPECT_EQ(list.at("entries").at(1).at("value"), "");
  EXPECT_EQ(ask("GET", "/outrigger/v1/kv/none?prefix").body, R"({"index":1,"entries":[]})");
  EXPECT_EQ(ask_json("/outrigger/v1/kv/?prefix").at("entries").size(), 3U);
}

TEST_F(OwnKv, ReadsBlock) {
  backend.set("k", "1");
  const auto id = send("GET", "/outrigger/v1/kv/k?index=11&wait=30s");
  EXPECT_FALSE(answered(id));
  backend.set("k", "2");
  EXPECT_THAT(answer(id).body, HasSubstr("\"index\":12"));
}

TEST_F(OwnKv, CasAnswersIndexAndValueInOneCall) {
  const auto made = ask("PUT", "/outrigger/v1/kv/k?cas=0&flags=7", "one");
  EXPECT_EQ(made.status, 200);
  EXPECT_EQ(made.body, R"({"index":11,"key":"k","flags":7,"value":"b25l"})");
  EXPECT_EQ(header(made, "X-Consul-Index"), "11");
  EXPECT_EQ(ask("PUT", "/outrigger/v1/kv/k?cas=11", "two").status, 200);
  const auto lost = ask("PUT", "/outrigger/v1/kv/k?cas=11", "three");
  EXPECT_EQ(lost.status, 409);
  EXPECT_EQ(lost.content_type, "application/problem+json");
  const auto body = Json::parse(lost.body);
  EXPECT_EQ(body.at("code"), "conflict");
  EXPECT_EQ(body.at("current").at("index"), 12);
  EXPECT_EQ(body.at("current").at("value"), "dHdv");
  EXPECT_EQ(header(lost, "X-Consul-Index"), "12");
  const auto missing = ask("PUT", "/outrigger/v1/kv/new?cas=5", "x");
  EXPECT_EQ(missing.status, 409);
  EXPECT_EQ(Json::parse(missing.body).at("current"), nullptr);
  EXPECT_EQ(ask("POST", "/outrigger/v1/kv/k", "plain").status, 200);
}

TEST_F(OwnKv, Deletes) {
  backend.set("a/1", "x");
  backend.set("a/2", "y");
  backend.set("k", "z");
  EXPECT_EQ(ask("DELETE", "/outrigger/v1/kv/k?cas=5").status, 409);
  EXPECT_EQ(ask("DELETE", "/outrigger/v1/kv/k?cas=13").body, R"({"index":15,"deleted":"k"})");
  EXPECT_EQ(ask("DELETE", "/outrigger/v1/kv/k").status, 200) << "a missing key is deleted already";
  EXPECT_EQ(ask("DELETE", "/outrigger/v1/kv/a/?prefix").status, 200);
  EXPECT_EQ(ask_json("/outrigger/v1/kv/?keys").at("keys"), Json::array());
}

TEST_F(OwnKv, Refusals) {
  struct Case {
    const char *method, *target;
    int status;
    const char* code;
  };
  for (const auto& [method, target, status, code] :
       {Case{"GET", "/outrigger/v1/kv/", 400, "bad_request"}, Case{"PUT", "/outrigger/v1/kv/", 400, "bad_request"},
        Case{"PUT", "/outrigger/v1/kv/k?cas=x", 400, "bad_request"},
        Case{"PUT", "/outrigger/v1/kv/k?cas", 400, "bad_request"},
        Case{"PUT", "/outrigger/v1/kv/k?flags=-1", 400, "bad_request"},
        Case{"DELETE", "/outrigger/v1/kv/k?cas=0", 400, "bad_request"},
        Case{"DELETE", "/outrigger/v1/kv/k?cas=1&prefix", 400, "bad_request"},
        Case{"DELETE", "/outrigger/v1/kv/", 400, "bad_request"},
        Case{"PUT", "/outrigger/v1/kv/outrigger/election/x", 403, "forbidden"},
        Case{"PUT", "/outrigger/v1/kv/outrigger/arming/trader/approval", 403, "forbidden"},
        Case{"DELETE", "/outrigger/v1/kv/outrigger/election/?prefix", 403, "forbidden"},
        Case{"PUT", "/outrigger/v1/kv/a%00b", 400, "bad_request"},
        Case{"PATCH", "/outrigger/v1/kv/k", 405, "method_not_allowed"}}) {
    const auto response = ask(method, target, "v");
    EXPECT_EQ(response.status, status) << target;
    EXPECT_EQ(Json::parse(response.body).at("code"), code) << target;
  }
  EXPECT_EQ(ask("PUT", "/outrigger/v1/kv/k", std::string(512 * 1024 + 1, 'x')).status, 413);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/kv/" + std::string(1025, 'k'), "v").status, 400);
  EXPECT_THAT(backend.writes, IsEmpty());
}

TEST_F(OwnKv, QuotasAreShownAndSet) {
  backend.usage_info.whole = {"", 3, 99, 1000000, 268435456};
  backend.usage_info.quotas = {{"jobs/", 2, 40, 0, 100}};
  const auto shown = ask_json("/outrigger/v1/quotas");
  EXPECT_EQ(shown.at("whole").at("bytes_max"), 268435456);
  EXPECT_EQ(shown.at("quotas").at(0).at("prefix"), "jobs/");
  EXPECT_EQ(shown.at("quotas").at(0).at("entries_max"), nullptr);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/quotas/jobs/", R"({"bytes_max":100})").status, 200);
  EXPECT_EQ(ask("PUT", "/outrigger/v1/quotas/jobs/?entries_max=5").status, 200);
  EXPECT_EQ(ask("DELETE", "/outrigger/v1/quotas/jobs/").status, 200);
  ASSERT_EQ(backend.quotas_set.size(), 3U);
  EXPECT_EQ(backend.quotas_set[0].bytes_max, 100U);
  EXPECT_EQ(backend.quotas_set[1].entries_max, 5U);
  EXPECT_EQ(backend.quotas_set[2].entries_max + backend.quotas_set[2].bytes_max, 0U);
  for (const char* body : {"", "{}", "[]", "{", R"({"bytes_max":-1})", R"({"bytes_max":"x"})", R"({"bytes_max":0})"})
    EXPECT_EQ(ask("PUT", "/outrigger/v1/quotas/jobs/", body).status, 400) << body;
  EXPECT_EQ(ask("PUT", "/outrigger/v1/quotas/", R"({"bytes_max":1})").status, 405);
}

}  // namespace
}  // namespace agent::api
