#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class Elections : public testing::Test, public ApiHarness {
 protected:
  void hold(std::uint64_t epoch, std::uint64_t holder) {
    ElectionInfo election;
    election.name = "job";
    election.epoch = Epoch{epoch};
    election.holder = NodeId{holder};
    election.holder_name = holder == 0 ? "" : "c1";
    election.lease = Milliseconds(1500);
    backend.set_election(election);
  }
};

TEST_F(Elections, VerifyTellsWhetherAnEpochStillCounts) {
  hold(7, 5);
  const auto good = ask("GET", "/outrigger/v1/election/job/verify?epoch=7");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.body, R"({"valid":true,"name":"job","epoch":7,"holder":"c1","lease_ms":1500,"index":11})");
  EXPECT_EQ(header(good, "X-Consul-Index"), "11");
  EXPECT_EQ(backend.barriers.size(), 1U) << "a guard must not be told by an old copy";
  struct Case {
    const char *epoch, *message;
  };
  for (const auto& [epoch, message] :
       {Case{"6", "is over; the current one is 7"}, Case{"8", "was never granted; the last one is 7"}}) {
    const auto bad = ask("GET", std::string("/outrigger/v1/election/job/verify?epoch=") + epoch);
    EXPECT_EQ(bad.status, 409);
    EXPECT_EQ(bad.content_type, "application/problem+json");
    const auto body = Json::parse(bad.body);
    EXPECT_EQ(body.at("code"), "conflict");
    EXPECT_EQ(body.at("valid"), false);
    EXPECT_EQ(body.at("epoch"), 7);
    EXPECT_THAT(body.at("message").get<std::string>(), HasSubstr(message));
  }
  hold(7, 0);
  const auto vacant = ask("GET", "/outrigger/v1/election/job/verify?epoch=7");
  EXPECT_EQ(vacant.status, 409);
  EXPECT_THAT(vacant.body, HasSubstr("nobody holds it now"));
  EXPECT_EQ(ask("GET", "/outrigger/v1/election/none/verify?epoch=1").status, 409);
}

TEST_F(Elections, VerifyNeedsAnEpochAndAFreshRead) {
  for (const char* query : {"", "?epoch", "?epoch=", "?epoch=x", "?epoch=-1", "?epoch=0", "?epoch=1&stale&consistent"})
    EXPECT_EQ(ask("GET", std::string("/outrigger/v1/election/job/verify") + query).status, 400) << query;
  hold(7, 5);
  backend.failure = Error{Errc::kNoLeader, "n2 does not answer", {}};
  EXPECT_EQ(ask("GET", "/outrigger/v1/election/job/verify?epoch=7").status, 503);
}

TEST_F(Elections, WatchSendsTheStateAndEveryChange) {
  const auto id = send("GET", "/outrigger/v1/election/job/watch");
  settle();
  ASSERT_EQ(outputs[id].size(), 2U);
  EXPECT_EQ(outputs[id][0].kind, Output::Kind::kStreamBegin);
  EXPECT_THAT(
      outputs[id][1].response.body,
      HasSubstr("id: 1\nevent: election\ndata: {\"name\":\"job\",\"holder\":null,\"holder_id\":null,\"epoch\":0"));
  hold(1, 5);
  settle();
  ASSERT_EQ(outputs[id].size(), 3U);
  EXPECT_THAT(outputs[id][2].response.body, HasSubstr("id: 11\nevent: election\n"));
  EXPECT_THAT(outputs[id][2].response.body,
              HasSubstr("\"holder\":\"c1\",\"holder_id\":\"0000000000000005\",\"epoch\":1"));
  api.on_hangup(id);
  EXPECT_EQ(backend.watch_count(), 0U);
  EXPECT_EQ(ask("GET", "/outrigger/v1/election/" + std::string(65, 'x') + "/watch").status, 400);
}

}  // namespace
}  // namespace agent::api
