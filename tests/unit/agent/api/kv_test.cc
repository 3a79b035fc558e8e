#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Kv : public testing::Test, public ApiHarness {};

TEST_F(Kv, GetAnswersInConsulsForm) {
  backend.set("a/b", "hello", 18446744073709551615ULL);
  backend.info.last_contact = Milliseconds(7);
  const auto response = ask("GET", "/v1/kv/a/b");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(
      response.body,
      R"([{"LockIndex":0,"Key":"a/b","Flags":18446744073709551615,"Value":"aGVsbG8=","CreateIndex":11,"ModifyIndex":11}])");
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  EXPECT_EQ(header(response, "X-Consul-KnownLeader"), "true");
  EXPECT_EQ(header(response, "X-Consul-LastContact"), "7");
}

TEST_F(Kv, LockedEntryShowsItsSession) {
  backend.set("k", "");
  EXPECT_THAT(ask("GET", "/v1/kv/k").body, HasSubstr(R"("Value":null)"));
  EXPECT_THAT(ask("GET", "/v1/kv/k").body, testing::Not(HasSubstr("Session")));
}

TEST_F(Kv, MissingKeyIs404WithAllHeaders) {
  backend.info.known_leader = false;
  for (const char* target : {"/v1/kv/none", "/v1/kv/none?recurse", "/v1/kv/none?keys"}) {
    const auto response = ask("GET", target);
    EXPECT_EQ(response.status, 404) << target;
    EXPECT_THAT(response.body, IsEmpty()) << target;
    EXPECT_EQ(header(response, "X-Consul-Index"), "1") << target;
    EXPECT_EQ(header(response, "X-Consul-KnownLeader"), "false") << target;
    EXPECT_EQ(header(response, "X-Consul-LastContact"), "0") << target;
  }
}

TEST_F(Kv, ADeletedKeyLeavesAHigherIndex) {
  backend.set("k", "v");
  backend.erase("k");
  EXPECT_EQ(header(ask("GET", "/v1/kv/k"), "X-Consul-Index"), "12");
  EXPECT_EQ(header(ask("GET", "/v1/kv/?recurse"), "X-Consul-Index"), "12");
}

TEST_F(Kv, RecurseListsEverythingBelow) {
  backend.set("a/1", "x");
  backend.set("a/2", "y");
  backend.set("b", "z");
  const auto response = ask("GET", "/v1/kv/a/?recurse=false");
  const auto list = Json::parse(response.body);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[1]["Key"], "a/2");
  EXPECT_EQ(header(response, "X-Consul-Index"), "12");
}

TEST_F(Kv, KeysWithSeparatorAreCutAndUnique) {
  for (const char* key : {"a/1", "a/b/1", "a/b/2", "a/c", "x"}) backend.set(key, "v");
  EXPECT_EQ(Json::parse(ask("GET", "/v1/kv/a/?keys").body), Json({"a/1", "a/b/1", "a/b/2", "a/c"}));
  EXPECT_EQ(Json::parse(ask("GET", "/v1/kv/a/?keys&separator=/").body), Json({"a/1", "a/b/", "a/c"}));
  EXPECT_EQ(Json::parse(ask("GET", "/v1/kv/?keys&separator=/").body), Json({"a/", "x"}));
}

TEST_F(Kv, KeysAtTheRootOfAnEmptyStoreIsAnEmptyList) {
  const auto response = ask("GET", "/v1/kv/?keys");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "[]");
}

TEST_F(Kv, RawAnswersTheBytes) {
  backend.set("k", std::string("\x00<script>", 9));
  const auto response = ask("GET", "/v1/kv/k?raw");
  EXPECT_EQ(response.body, std::string("\x00<script>", 9));
  EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(ask("GET", "/v1/kv/none?raw").status, 404);
}

TEST_F(Kv, EscapedSlashesAndPlusesAreOneKey) {
  ask("PUT", "/v1/kv/a%2Fb+c", "v");
  ask("PUT", "/v1/kv//x/../y", "v");
  ASSERT_EQ(backend.writes.size(), 2U);
  EXPECT_EQ(backend.writes[0].key, "a/b+c");
  EXPECT_EQ(backend.writes[1].key, "/x/../y");
  EXPECT_EQ(ask("PUT", "/v1/kv/a%00", "v").status, 400);
}

TEST_F(Kv, PutAnswersTrueAndTheIndex) {
  const auto response = ask("PUT", "/v1/kv/k?flags=18446744073709551615", std::string("b\0y", 3));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body, "true");
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  ASSERT_EQ(backend.writes.size(), 1U);
  EXPECT_EQ(backend.writes[0].kind, KvWrite::Kind::kSet);
  EXPECT_EQ(backend.writes[0].value, std::string("b\0y", 3));
  EXPECT_EQ(backend.writes[0].flags, 18446744073709551615ULL);
}

TEST_F(Kv, CasZeroCreatesOnly) {
  EXPECT_EQ(ask("PUT", "/v1/kv/k?cas=0", "v").body, "true");
  const auto lost = ask("PUT", "/v1/kv/k?cas=0", "w");
  EXPECT_EQ(lost.status, 200);
  EXPECT_EQ(lost.body, "false");
  EXPECT_EQ(ask("PUT", "/v1/kv/k?cas=11", "w").body, "true");
}

TEST_F(Kv, DeleteInAllItsForms) {
  backend.set("t/1", "v");
  backend.set("t/2", "v");
  backend.set("k", "v");
  EXPECT_EQ(ask("DELETE", "/v1/kv/none").body, "true");
  EXPECT_EQ(ask("DELETE", "/v1/kv/k?cas=5").body, "false");
  EXPECT_EQ(ask("DELETE", "/v1/kv/k?cas=0").body, "false");
  EXPECT_EQ(ask("GET", "/v1/kv/k").status, 200);
  EXPECT_EQ(ask("DELETE", "/v1/kv/k?cas=13").body, "true");
  EXPECT_EQ(ask("DELETE", "/v1/kv/t?recurse").body, "true");
  EXPECT_EQ(ask("GET", "/v1/kv/t?recurse").status, 404);
  EXPECT_EQ(ask("DELETE", "/v1/kv/?recurse").body, "true");
}

struct Refusal {
  const char* method;
  const char* target;
  int status;
  const char* body;
};
class KvRefusal : public testing::TestWithParam<Refusal>, public ApiHarness {};
TEST_P(KvRefusal, SaysWhyAndWritesNothing) {
  const auto& [method, target, status, body] = GetParam();
  const auto response = ask(method, target, "v");
  EXPECT_EQ(response.status, status);
  EXPECT_THAT(response.body, StartsWith(body));
  EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
  EXPECT_THAT(backend.writes, IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    All, KvRefusal,
    testing::Values(Refusal{"GET", "/v1/kv/", 400, "Missing key name"},
                    Refusal{"PUT", "/v1/kv/", 400, "Missing key name"},
                    Refusal{"DELETE", "/v1/kv/", 400, "Missing key name"},
                    Refusal{"PUT", "/v1/kv/k?cas=1&acquire=x", 400, "Conflicting flags: cas=1&acquire=x"},
                    Refusal{"PUT", "/v1/kv/k?release=y&acquire=x", 400, "Conflicting flags: "},
                    Refusal{"DELETE", "/v1/kv/k?cas=1&recurse", 400, "Conflicting flags: "},
                    Refusal{"PUT", "/v1/kv/k?cas=x", 400, "Invalid cas: "},
                    Refusal{"PUT", "/v1/kv/k?cas", 400, "Invalid cas: "},
                    Refusal{"DELETE", "/v1/kv/k?cas", 400, "Invalid cas: "},
                    Refusal{"PUT", "/v1/kv/k?flags=-1", 400, "Invalid flags: "},
                    Refusal{"PUT", "/v1/kv/k?acquire=", 500, "missing session"},
                    Refusal{"PUT", "/v1/kv/outrigger/election/trader", 403, "Permission denied: "},
                    Refusal{"PUT", "/v1/kv/outrigger/arming/trader/approval", 403, "Permission denied: "},
                    Refusal{"DELETE", "/v1/kv/outrigger/election/?recurse", 403, "Permission denied: "},
                    Refusal{"PUT", "/v1/kv/k?dc=other", 500, "No path to datacenter"},
                    Refusal{"GET", "/v1/kv/k?stale&consistent", 400,
                            "Cannot specify ?stale with ?consistent, conflicting semantics."},
                    Refusal{"GET", "/v1/kv/k?index=x", 400, "Invalid index"},
                    Refusal{"GET", "/v1/kv/k?index=1&wait=5", 400, "Invalid wait"},
                    Refusal{"POST", "/v1/kv/k", 405, "method POST not allowed"},
                    Refusal{"HEAD", "/v1/kv/k", 405, "method HEAD not allowed"},
                    Refusal{"GET", "/v1/kv/%zz", 400, "the path has a broken escape"},
                    Refusal{"GET", "/v1/kv/k?a=%zz", 400, "the query string is malformed"},
                    Refusal{"GET", "/v1/nothing", 404, "there is nothing at /v1/nothing"}));

class KvLocks : public testing::Test, public ApiHarness {
 protected:
  std::string session() {
    const auto body = Json::parse(ask("PUT", "/v1/session/create").body, nullptr, false);
    return body.at("ID").get<std::string>();
  }
};

TEST_F(KvLocks, OneHolderAtATime) {
  const std::string mine = session(), other = session();
  const auto won = ask("PUT", "/v1/kv/lock?flags=3304740253564472344&acquire=" + mine, "me");
  EXPECT_EQ(won.body, "true");
  EXPECT_EQ(header(won, "X-Consul-Index"), "13");
  EXPECT_EQ(ask("PUT", "/v1/kv/lock?acquire=" + other, "you").body, "false");
  EXPECT_EQ(ask("PUT", "/v1/kv/lock?acquire=" + mine, "me again").body, "true") << "the holder may acquire again";
  const auto entry = ask_json("/v1/kv/lock").at(0);
  EXPECT_EQ(entry.at("Session"), mine);
  EXPECT_EQ(entry.at("LockIndex"), 1);
  EXPECT_EQ(ask("PUT", "/v1/kv/lock?release=" + other).body, "false");
  EXPECT_EQ(ask("PUT", "/v1/kv/lock?release=" + mine, "done").body, "true");
  EXPECT_FALSE(ask_json("/v1/kv/lock").at(0).contains("Session"));
  EXPECT_EQ(ask("PUT", "/v1/kv/lock?acquire=" + other, "you").body, "true");
  EXPECT_EQ(ask_json("/v1/kv/lock").at(0).at("LockIndex"), 2);
}

TEST_F(KvLocks, AnUnknownSessionIsRefusedInTheWordsThatClientsParse) {
  const auto response = ask("PUT", "/v1/kv/lock?acquire=abc", "v");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "invalid session \"abc\"");
  EXPECT_EQ(ask("GET", "/v1/kv/lock").status, 404);
}

TEST_F(KvLocks, AKeyUnderALockDelayAnswersAPlainFalse) {
  const std::string mine = session();
  backend.held_back = {"lock"};
  const auto response = ask("PUT", "/v1/kv/lock?acquire=" + mine, "v");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "false");
}

TEST_F(Kv, AWriteTellsTheIndexUnderWhichTheKeyIsKnown) {
  EXPECT_EQ(header(ask("PUT", "/v1/kv/k", "v"), "X-Consul-Index"), "11");
  EXPECT_EQ(header(ask("DELETE", "/v1/kv/k"), "X-Consul-Index"), "12");
}

TEST_F(Kv, AnUnknownOutcomeIsNeverCalledAFailure) {
  backend.failure = Error{Errc::kOutcomeUnknown, "no answer in time: the outcome is unknown", {}};
  const auto response = ask("PUT", "/v1/kv/k", "v");
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, HasSubstr("the outcome is unknown"));
  const auto own = Json::parse(ask("PUT", "/outrigger/v1/kv/k", "v").body);
  EXPECT_EQ(own.at("code"), "outcome_unknown");
}

TEST_F(Kv, BoundsOfKeyAndValue) {
  EXPECT_EQ(ask("PUT", "/v1/kv/k", std::string(512 * 1024, 'x')).body, "true");
  const auto value = ask("PUT", "/v1/kv/k", std::string(512 * 1024 + 1, 'x'));
  EXPECT_EQ(value.status, 413);
  EXPECT_THAT(value.body, HasSubstr("max size: 524288 bytes"));
  EXPECT_EQ(ask("PUT", "/v1/kv/" + std::string(1024, 'k'), "v").body, "true");
  EXPECT_EQ(ask("PUT", "/v1/kv/" + std::string(1025, 'k'), "v").status, 400);
}

TEST_F(Kv, OwnDatacenterIsAccepted) {
  EXPECT_EQ(ask("PUT", "/v1/kv/k?dc=dc1", "v").status, 200);
  backend.self_info.cluster = "prod";
  EXPECT_EQ(ask("PUT", "/v1/kv/k?dc=prod&token=x", "v").status, 200);
  EXPECT_EQ(ask("PUT", "/v1/kv/k?dc=dc1", "v").status, 500);
}

TEST_F(Kv, MethodListIsTold) {
  EXPECT_EQ(header(ask("POST", "/v1/kv/k"), "Allow"), "OPTIONS,GET,PUT,DELETE");
  const auto options = ask("OPTIONS", "/v1/kv/k");
  EXPECT_EQ(options.status, 200);
  EXPECT_EQ(header(options, "Allow"), "OPTIONS,GET,PUT,DELETE");
}

TEST_F(Kv, PrettyIsIndented) {
  backend.set("k", "v", 18446744073709551615ULL);
  const auto response = ask("GET", "/v1/kv/k?pretty");
  EXPECT_THAT(response.body, HasSubstr("\n        \"Flags\": 18446744073709551615"));
}

TEST_F(Kv, ReadModesReachTheStore) {
  ask("GET", "/v1/kv/k");
  ask("GET", "/v1/kv/k?stale");
  ask("GET", "/v1/kv/k?consistent=");
  EXPECT_THAT(backend.barriers, ElementsAre(ReadMode::kDefault, ReadMode::kStale, ReadMode::kConsistent));
}

TEST_F(Kv, StoreErrorsInConsulsWords) {
  backend.failure = Error{Errc::kNoLeader, "n2 and n3 do not answer", {}};
  auto response = ask("PUT", "/v1/kv/k", "v");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "No cluster leader\nn2 and n3 do not answer")
      << "the first line is for clients, the rest for people";
  EXPECT_EQ(ask("GET", "/v1/kv/k").body, "No cluster leader\nn2 and n3 do not answer");
  backend.failure = Error{Errc::kTimeout, "no majority answered within 2000 ms", {}};
  response = ask("PUT", "/v1/kv/k", "v");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "no majority answered within 2000 ms");
  backend.failure = Error{Errc::kBusy, "too many writes", Milliseconds(1200)};
  response = ask("PUT", "/v1/kv/k", "v");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(header(response, "Retry-After"), "2");
}

TEST_F(Kv, AnswersAreBounded) {
  ApiHarness small(Limits{.answer_bytes_max = 1000});
  small.backend.set("k", std::string(2000, 'x'));
  EXPECT_EQ(small.ask("GET", "/v1/kv/k").status, 413);
}

}  // namespace
}  // namespace agent::api
