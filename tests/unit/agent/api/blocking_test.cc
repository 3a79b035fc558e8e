#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

class Blocking : public testing::Test, public ApiHarness {};

TEST_F(Blocking, WaitsUntilTheIndexIsAbove) {
  const Index index = backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=" + std::to_string(static_cast<std::uint64_t>(index)));
  EXPECT_FALSE(answered(id));
  EXPECT_EQ(api.waiting(), 1U);
  backend.set("other", "x");
  EXPECT_FALSE(answered(id)) << "another key woke it";
  backend.set("k", "2");
  const auto response = answer(id);
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr("Mg=="));
  EXPECT_EQ(header(response, "X-Consul-Index"), "13");
  EXPECT_EQ(api.waiting(), 0U);
  EXPECT_EQ(backend.watch_count(), 0U);
  EXPECT_GT(wakes, 0);
}

TEST_F(Blocking, IndexZeroOrAbsentAnswersAtOnce) {
  backend.set("k", "1");
  EXPECT_EQ(ask("GET", "/v1/kv/k?index=0&wait=10s").status, 200);
  EXPECT_EQ(ask("GET", "/v1/kv/k?wait=10s").status, 200);
  EXPECT_EQ(ask("GET", "/v1/kv/k?index=&wait=10s").status, 200);
  EXPECT_EQ(ask("GET", "/v1/kv/none?wait=10s").status, 404);
}

TEST_F(Blocking, AnOldIndexAnswersAtOnceAndAFutureOneWaits) {
  backend.set("k", "1");
  EXPECT_EQ(ask("GET", "/v1/kv/k?index=3").status, 200);
  const auto future = send("GET", "/v1/kv/k?index=500&wait=1s");
  EXPECT_FALSE(answered(future));
  backend.set("k", "2");
  EXPECT_FALSE(answered(future));
  advance(seconds(1));
  EXPECT_EQ(header(answer(future), "X-Consul-Index"), "12");
}

TEST_F(Blocking, TimeoutAnswersWithTheSameIndex) {
  backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=11&wait=2s");
  advance(Milliseconds(1999));
  EXPECT_FALSE(answered(id));
  advance(Milliseconds(1));
  const auto response = answer(id);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(header(response, "X-Consul-Index"), "11");
  EXPECT_EQ(backend.watch_count(), 0U);
  const auto missing = send("GET", "/v1/kv/none?index=1&wait=2s");
  advance(seconds(2));
  EXPECT_EQ(answer(missing).status, 404);
}

TEST_F(Blocking, TimeoutAnswersWithoutALeaderToo) {
  backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=11&wait=2s");
  settle();
  backend.failure = Error{Errc::kNoLeader, "", {}};
  backend.info.known_leader = false;
  advance(seconds(2));
  EXPECT_EQ(answer(id).status, 200);
  EXPECT_EQ(header(answer(id), "X-Consul-KnownLeader"), "false");
}

TEST_F(Blocking, DefaultCapAndJitterOfTheWait) {
  backend.set("k", "1");
  struct Case {
    const char* wait;
    Milliseconds expected;
  };
  for (const auto& [wait, expected] :
       {Case{"", minutes(5)}, Case{"&wait=0s", minutes(5)}, Case{"&wait=1h", minutes(10)},
        Case{"&wait=1.9761512279510498s", Milliseconds(1976)}}) {
    std::uint64_t bound = 0;
    chance = [&bound](std::uint64_t b) { return bound = b, b - 1; };
    const auto id = send("GET", std::string("/v1/kv/k?index=11") + wait);
    settle();
    EXPECT_EQ(bound, static_cast<std::uint64_t>(expected.count() / 16) + 1) << wait;
    EXPECT_EQ(api.next_deadline(), now + expected + expected / 16) << wait;
    api.on_hangup(id);
    EXPECT_EQ(api.next_deadline(), TimePoint::max()) << wait;
  }
}

TEST_F(Blocking, SpuriousWakeUpsAreNotPassedOn) {
  backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=11");
  settle();
  backend.wake_spuriously();
  EXPECT_FALSE(answered(id));
  EXPECT_EQ(api.waiting(), 1U);
  backend.set("k", "2");
  EXPECT_EQ(answer(id).status, 200);
}

TEST_F(Blocking, AChangeBetweenReadAndWatchIsNotMissed) {
  backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=11");
  backend.set("k", "2");  // the barrier has not answered yet
  EXPECT_EQ(answer(id).status, 200);
}

TEST_F(Blocking, DeleteWakesKeyAndPrefix) {
  backend.set("a/k", "1");
  const auto key = send("GET", "/v1/kv/a/k?index=11"), prefix = send("GET", "/v1/kv/a/?recurse&index=11"),
             keys = send("GET", "/v1/kv/?keys&index=11"), other = send("GET", "/v1/kv/b?recurse&index=11");
  settle();
  backend.erase("a/k");
  EXPECT_EQ(answer(key).status, 404);
  EXPECT_EQ(answer(prefix).status, 404);
  EXPECT_EQ(answer(keys).body, "[]");
  EXPECT_FALSE(answered(other));
}

TEST_F(Blocking, CreationWakesWhoWaitsForAMissingKey) {
  const auto id = send("GET", "/v1/kv/new?index=1&consistent");
  EXPECT_FALSE(answered(id));
  backend.set("new", "x");
  EXPECT_EQ(answer(id).status, 200);
  EXPECT_THAT(backend.barriers, ElementsAre(ReadMode::kConsistent))
      << "what woke it is newer than what the first round allowed, so no second one is needed";
}

TEST_F(Blocking, AHungUpClientFreesItsWait) {
  backend.set("k", "1");
  const auto id = send("GET", "/v1/kv/k?index=11");
  settle();
  EXPECT_EQ(backend.watch_count(), 1U);
  api.on_hangup(id);
  EXPECT_EQ(backend.watch_count(), 0U);
  EXPECT_EQ(api.waiting(), 0U);
  EXPECT_EQ(api.open(), 0U);
  backend.set("k", "2");
  EXPECT_FALSE(answered(id));
}

TEST_F(Blocking, AHangUpDuringTheBarrierIsHarmless) {
  const auto id = send("GET", "/v1/kv/k");
  api.on_hangup(id);
  EXPECT_FALSE(answered(id));
  const auto write = send("PUT", "/v1/kv/k", "v");
  api.on_hangup(write);
  EXPECT_FALSE(answered(write));
}

TEST_F(Blocking, AHalfClosedClientDoesNotWait) {
  backend.set("k", "1");
  const auto waiting = send("GET", "/v1/kv/k?index=11");
  settle();
  EXPECT_TRUE(api.on_client_end(waiting));
  EXPECT_EQ(api.open(), 0U);
  const auto early = send("GET", "/v1/kv/k?index=11");
  EXPECT_FALSE(api.on_client_end(early));
  EXPECT_EQ(answer(early).status, 200) << "it still reads, so it gets its answer now";
}

TEST_F(Blocking, WaitsAreBounded) {
  ApiHarness small(Limits{.waits_max = 2});
  small.backend.set("k", "1");
  const auto first = small.send("GET", "/v1/kv/k?index=11"), second = small.send("GET", "/v1/kv/k?index=11"),
             third = small.send("GET", "/v1/kv/k?index=11");
  EXPECT_EQ(small.answer(third).status, 503);
  EXPECT_FALSE(small.answered(first));
  small.api.on_hangup(first);
  const auto fourth = small.send("GET", "/v1/kv/k?index=11");
  EXPECT_FALSE(small.answered(fourth));
  small.backend.set("k", "2");
  EXPECT_EQ(small.answer(second).status, 200);
  EXPECT_EQ(small.answer(fourth).status, 200);
  EXPECT_EQ(small.api.waiting(), 0U);
}

TEST_F(Blocking, AFullWatchTableIsBusy) {
  backend.watches_max = 0;
  backend.set("k", "1");
  EXPECT_EQ(ask("GET", "/v1/kv/k?index=11").status, 503);
}

TEST_F(Blocking, TenThousandWaitersWakeTogether) {
  backend.set("k", "1");
  std::vector<ExchangeId> ids;
  for (int i = 0; i < 10000; ++i) ids.push_back(send("GET", "/v1/kv/k?index=11"));
  settle();
  EXPECT_EQ(api.waiting(), 10000U);
  backend.set("k", "2");
  settle();
  for (const auto id : ids) ASSERT_EQ(outputs[id].size(), 1U);
  EXPECT_EQ(api.open(), 0U);
}

TEST_F(Blocking, StopEndsWaitsAndRefusesTheRest) {
  backend.set("k", "1");
  const auto waiting = send("GET", "/outrigger/v1/role?index=5");
  const auto stream = send("GET", "/outrigger/v1/role/watch");
  const auto writing = send("PUT", "/v1/kv/k", "2");
  collect();
  api.stop();
  EXPECT_EQ(answer(waiting).status, 503);
  EXPECT_THAT(answer(waiting).body, HasSubstr("\"code\":\"stopping\""));
  EXPECT_EQ(outputs[stream].back().kind, Output::Kind::kStreamEnd);
  EXPECT_EQ(answer(writing).body, "true") << "what is under way is finished";
  EXPECT_EQ(ask("GET", "/v1/kv/k").status, 500);
  EXPECT_EQ(api.open(), 0U);
}

TEST_F(Blocking, TheCoreMayDieBeforeItsCompletions) {
  FakeBackend late;
  {
    Api short_lived(late, [](std::uint64_t) { return 0; }, {}, {});
    Request request{.method = "GET", .path = "/v1/kv/k", .host = "127.0.0.1"};
    short_lived.on_request(ExchangeId{1}, request, now);
    request = {.method = "GET", .path = "/outrigger/v1/role", .query = "index=9", .host = "127.0.0.1"};
    short_lived.on_request(ExchangeId{2}, request, now);
    EXPECT_EQ(late.watch_count(), 1U);
  }
  EXPECT_EQ(late.watch_count(), 0U);
  late.settle();
}

}  // namespace
}  // namespace agent::api
